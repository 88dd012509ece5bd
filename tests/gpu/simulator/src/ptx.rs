//! Reads PTX as NVRTC writes it: the kernels of a module as lists of operations on numbered registers.
//!
//! Source of the language: NVIDIA's "PTX ISA", 9.0. Only what NVRTC writes for CubeCL's kernels is known here; anything else is refused by
//! its name, never skipped.

use std::collections::HashMap;

use crate::kernel::{Address, Instruction, Kernel, Op, PARAMETERS, SPECIAL, Slot, Space};

/// The kernels of a module.
///
/// # Errors
/// The statements that are not known.
pub(crate) fn kernels(text: &str) -> Result<Vec<Kernel>, String> {
    let mut kernels = Vec::new();
    let mut shared = HashMap::new();
    let mut rest = text;
    while let Some(at) = rest.find(['.', '/']) {
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with(".extern .shared") {
            let statement = until(&mut rest, ';');
            let name = statement.rsplit(' ').next().unwrap_or("").trim_end_matches("[]");
            shared.insert(name.to_owned(), None);
        } else if rest.starts_with(".shared") {
            let statement = until(&mut rest, ';');
            let (name, bytes) = array(statement).ok_or_else(|| statement.to_owned())?;
            shared.insert(name.to_owned(), Some(bytes));
        } else if rest.starts_with(".visible .entry") {
            let head = until(&mut rest, '{');
            kernels.push(Reader::new(head, &shared)?.read(&mut rest)?);
        } else if rest.starts_with(".section") || rest.starts_with(".file") {
            break;
        } else if [".func", ".global", ".const", ".visible"].iter().any(|word| rest.starts_with(word)) {
            return Err(until(&mut rest, ';').lines().next().unwrap_or("").to_owned());
        } else {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        }
    }
    Ok(kernels)
}

/// What comes before `end`; the rest starts after it.
fn until<'a>(rest: &mut &'a str, end: char) -> &'a str {
    let (before, after) = rest.split_once(end).unwrap_or((rest, ""));
    *rest = after;
    before.trim()
}

/// `.shared .align 16 .b8 name[128]` as a name and its bytes.
fn array(statement: &str) -> Option<(&str, usize)> {
    let (before, length) = statement.trim_end_matches(']').split_once('[')?;
    let mut words = before.split_whitespace().rev();
    let name = words.next()?;
    Some((name, length.parse::<usize>().ok()? * size(words.next()?)?))
}

/// Bytes of a type such as `.u32`.
fn size(kind: &str) -> Option<usize> {
    Some(match kind.trim_start_matches('.') {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "tf32" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Word,
    Long,
    Predicate,
}

struct Reader<'a> {
    kernel: Kernel,
    /// Names of registers, the innermost block last.
    scopes: Vec<HashMap<String, (Class, Slot)>>,
    ranges: Vec<(String, Class, Slot, usize)>,
    constants: HashMap<(Class, u64), Slot>,
    parameters: HashMap<String, usize>,
    shared: HashMap<String, usize>,
    dynamic: Vec<String>,
    labels: HashMap<String, usize>,
    /// Branches whose labels come later.
    branches: Vec<(usize, String)>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn new(head: &'a str, shared: &HashMap<String, Option<usize>>) -> Result<Reader<'a>, String> {
        let (name, list) = head.trim_start_matches(".visible .entry").split_once('(').ok_or_else(|| head.to_owned())?;
        let kernel = Kernel { name: name.trim().to_owned(), longs: 2, words: SPECIAL.len(), ..Kernel::default() };
        let mut reader = Reader {
            kernel,
            scopes: vec![HashMap::new()],
            ranges: Vec::new(),
            constants: HashMap::new(),
            parameters: HashMap::new(),
            shared: HashMap::new(),
            dynamic: Vec::new(),
            labels: HashMap::new(),
            branches: Vec::new(),
            text: "",
        };
        let mut offset: usize = 0;
        let list = list.split_once(')').map_or(list, |(list, _)| list);
        for parameter in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let (name, bytes) = match array(parameter) {
                Some(array) => array,
                None => {
                    let mut words = parameter.split_whitespace();
                    let kind = words.nth(1).unwrap_or("");
                    let name = words.next_back().unwrap_or("");
                    (name, size(kind).ok_or_else(|| parameter.to_owned())?)
                }
            };
            offset = offset.next_multiple_of(8);
            reader.parameters.insert(name.to_owned(), offset);
            reader.kernel.parameters.push((offset, bytes));
            offset += bytes;
        }
        let mut fixed: Vec<_> = shared.iter().collect();
        fixed.sort();
        for (name, bytes) in fixed {
            match bytes {
                Some(bytes) => reader.take_shared(name, *bytes),
                None => reader.dynamic.push(name.clone()),
            }
        }
        Ok(reader)
    }

    fn take_shared(&mut self, name: &str, bytes: usize) {
        let start = self.kernel.shared.next_multiple_of(128);
        self.shared.insert(name.to_owned(), start);
        self.kernel.shared = start + bytes;
    }

    /// The body, from after its `{` to after its `}`.
    fn read(mut self, rest: &mut &'a str) -> Result<Kernel, String> {
        // After what the kernel asks for itself comes what the launch adds. All its names are one place.
        let body = declared_shared(rest);
        for (name, bytes) in body {
            self.take_shared(&name, bytes);
        }
        self.kernel.shared = self.kernel.shared.next_multiple_of(128);
        for name in std::mem::take(&mut self.dynamic) {
            self.shared.insert(name, self.kernel.shared);
        }
        let mut unknown = Vec::new();
        loop {
            *rest = rest.trim_start();
            if rest.starts_with("//") || rest.starts_with(".loc") {
                *rest = rest.find('\n').map_or("", |end| &rest[end..]);
            } else if rest.starts_with('{') {
                *rest = &rest[1..];
                self.scopes.push(HashMap::new());
            } else if rest.starts_with('}') {
                *rest = &rest[1..];
                self.scopes.pop();
                if self.scopes.is_empty() {
                    break;
                }
            } else if rest.is_empty() {
                return Err("the text ends inside a kernel".to_owned());
            } else {
                let word = rest.find(|c: char| c.is_whitespace() || ":;".contains(c)).unwrap_or(0);
                if rest[word..].starts_with(':') && !rest[word..].starts_with("::") {
                    self.labels.insert(rest[..word].to_owned(), self.kernel.code.len());
                    *rest = &rest[word + 1..];
                } else {
                    let statement = until(rest, ';');
                    self.text = statement;
                    if self.statement(statement).is_none() {
                        unknown.push(statement);
                    }
                }
            }
        }
        if !unknown.is_empty() {
            return Err(unknown.join("; "));
        }
        for (at, label) in std::mem::take(&mut self.branches) {
            self.kernel.code[at].op = Op::Branch(*self.labels.get(&label).ok_or(label)?);
        }
        self.kernel.code.push(Instruction { guard: None, op: Op::Exit, text: "the end".into() });
        Ok(self.kernel)
    }

    /// [`None`]: not known.
    fn statement(&mut self, statement: &str) -> Option<()> {
        if statement.starts_with(".pragma") || statement.starts_with(".shared") {
            return Some(());
        }
        if let Some(declared) = statement.strip_prefix(".reg") {
            return self.declare(declared.trim());
        }
        let (guard, statement) = match statement.strip_prefix('@') {
            Some(guarded) => {
                let (predicate, rest) = guarded.split_once(char::is_whitespace)?;
                let not = predicate.starts_with('!');
                (Some((self.register(predicate.trim_start_matches('!'), Class::Predicate)?, not)), rest.trim())
            }
            None => (None, statement),
        };
        let (mnemonic, operands) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        let op = crate::operations::read(self, mnemonic, &split(operands))?;
        self.kernel.code.push(Instruction { guard, op, text: self.text.into() });
        Some(())
    }

    /// `.b32 %r<123>` or `.b32 a, b`.
    fn declare(&mut self, declared: &str) -> Option<()> {
        let (kind, names) = declared.split_once(char::is_whitespace)?;
        let class = match size(kind) {
            Some(8) => Class::Long,
            Some(_) => Class::Word,
            None if kind == ".pred" => Class::Predicate,
            None => return None,
        };
        for name in names.split(',').map(str::trim) {
            if let Some((prefix, count)) = name.trim_end_matches('>').split_once('<') {
                let count = count.parse().ok()?;
                let first = self.take(class, count);
                self.ranges.push((prefix.to_owned(), class, first, count));
            } else {
                let slot = self.take(class, 1);
                self.scopes.last_mut()?.insert(name.to_owned(), (class, slot));
            }
        }
        Some(())
    }

    fn take(&mut self, class: Class, count: usize) -> Slot {
        let next = match class {
            Class::Word => &mut self.kernel.words,
            Class::Long => &mut self.kernel.longs,
            Class::Predicate => &mut self.kernel.predicates,
        };
        *next += count;
        *next - count
    }

    fn register(&self, name: &str, class: Class) -> Option<Slot> {
        for scope in self.scopes.iter().rev() {
            if let Some((found, slot)) = scope.get(name) {
                return (*found == class).then_some(*slot);
            }
        }
        let digits = name.rfind(|c: char| !c.is_ascii_digit())? + 1;
        let number: usize = name[digits..].parse().ok()?;
        let (_, _, first, count) =
            self.ranges.iter().find(|(prefix, found, ..)| prefix == &name[..digits] && *found == class)?;
        (number < *count).then_some(first + number)
    }

    fn constant(&mut self, class: Class, value: u64) -> Slot {
        if let Some(slot) = self.constants.get(&(class, value)) {
            return *slot;
        }
        let slot = self.take(class, 1);
        match class {
            Class::Word => self.kernel.word_constants.push((slot, value as u32)),
            _ => self.kernel.long_constants.push((slot, value)),
        }
        self.constants.insert((class, value), slot);
        slot
    }
}

/// What operations ask of the text's names.
pub(crate) trait Names {
    fn word(&mut self, name: &str) -> Option<Slot>;
    fn long(&mut self, name: &str) -> Option<Slot>;
    fn predicate(&mut self, name: &str) -> Option<Slot>;
    fn words(&mut self, list: &str) -> Option<Vec<Slot>>;
    fn longs(&mut self, list: &str) -> Option<Vec<Slot>>;
    fn address(&mut self, text: &str, space: Space) -> Option<Address>;
    /// Where a parameter starts.
    fn parameter(&self, name: &str) -> Option<usize>;
    /// The operation's place is filled in when all labels are known.
    fn branch(&mut self, label: &str) -> Op;
}

/// `{a, b}`, or one alone.
fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.trim_start_matches('{').trim_end_matches('}').split(',').map(str::trim)
}

impl Names for Reader<'_> {
    fn word(&mut self, name: &str) -> Option<Slot> {
        if let Some(special) = SPECIAL.iter().position(|special| *special == name) {
            return Some(special);
        }
        if name == "WARP_SZ" {
            return Some(self.constant(Class::Word, 32));
        }
        if let Some(start) = self.shared.get(name) {
            return Some(self.constant(Class::Word, *start as u64));
        }
        match self.register(name, Class::Word) {
            Some(slot) => Some(slot),
            None => number(name).map(|value| self.constant(Class::Word, u64::from(value as u32))),
        }
    }

    fn long(&mut self, name: &str) -> Option<Slot> {
        match self.register(name, Class::Long) {
            Some(slot) => Some(slot),
            None => number(name).map(|value| self.constant(Class::Long, value as u64)),
        }
    }

    fn predicate(&mut self, name: &str) -> Option<Slot> {
        self.register(name, Class::Predicate)
    }

    fn words(&mut self, list: &str) -> Option<Vec<Slot>> {
        listed(list).map(|name| self.word(name)).collect()
    }

    fn longs(&mut self, list: &str) -> Option<Vec<Slot>> {
        listed(list).map(|name| self.long(name)).collect()
    }

    fn address(&mut self, text: &str, space: Space) -> Option<Address> {
        let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
        let (name, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        let offset: i64 = offset.parse().ok()?;
        if let Some(start) = self.parameters.get(name) {
            return Some(Address {
                base: PARAMETERS,
                long: true,
                offset: *start as i64 + offset,
                space: Space::Parameter,
            });
        }
        if let Some(base) = self.register(name, Class::Long) {
            return Some(Address { base, long: true, offset, space });
        }
        (space == Space::Shared).then_some(())?;
        Some(Address { base: self.word(name)?, long: false, offset, space })
    }

    fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.get(name).copied()
    }

    fn branch(&mut self, label: &str) -> Op {
        self.branches.push((self.kernel.code.len(), label.to_owned()));
        Op::Branch(0)
    }
}

/// Shared memory declared inside a kernel.
fn declared_shared(body: &str) -> Vec<(String, usize)> {
    let end = body.find("\n}").unwrap_or(body.len());
    let lines = body[..end].lines().map(str::trim).filter(|line| line.starts_with(".shared"));
    lines.filter_map(|line| array(line.trim_end_matches(';'))).map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// `1`, `-1`, `0x1F`, `0x1FU`, and floats as bits: `0f3F800000`.
fn number(text: &str) -> Option<i64> {
    if let Some(bits) = text.strip_prefix("0f").or_else(|| text.strip_prefix("0F")) {
        return u32::from_str_radix(bits, 16).ok().map(i64::from);
    }
    if let Some(bits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(bits.trim_end_matches('U'), 16).ok().map(|bits| bits as i64);
    }
    text.trim_end_matches('U').parse().ok()
}

/// Operands between commas that are in no braces.
fn split(operands: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in operands.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(operands[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !operands[start..].trim().is_empty() {
        parts.push(operands[start..].trim());
    }
    parts
}
