//! Looks through the sources for texts that stand elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Literals that only look like texts.
const ALLOWED: [(&str, &str); 5] = [
    ("auto", "a device in a recipe"),
    ("studio pictures", "name of a thread"),
    ("studio queue", "name of a thread"),
    ("studio watch", "name of a thread"),
    ("studio work", "name of a thread"),
];

/// What these are given is for who reads the source.
const FOR_PROGRAMMERS: [&str; 3] = ["expect", "allow", "cfg"];

/// What these are given is shown, or read out.
const SHOWS: &str = "label heading button on_hover_text on_disabled_hover_text hint_text labeled selected selected_text \
    selectable_label selectable_value hyperlink_to set_title hint notice card card_with row fact title page_title empty \
    checkbox radio primary_button text_button row_button quiet_button icon_button labelled counted figure";

/// A literal, the line it begins in, and the function it is handed to.
#[derive(Debug, PartialEq)]
struct Literal {
    line: usize,
    text: String,
    to: String,
}

/// Those of a source up to its tests. Enough of the language for our own sources.
fn literals(source: &str) -> Vec<Literal> {
    let end = source.find("#[cfg(test)]").unwrap_or(source.len());
    let chars: Vec<char> = source[..end].chars().collect();
    let (mut found, mut calls, mut word, mut line, mut at) = (Vec::new(), Vec::new(), String::new(), 1, 0);
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '/' if next == Some('/') => {
                while at + 1 < chars.len() && chars[at + 1] != '\n' {
                    at += 1;
                }
            }
            // A character, unlike a lifetime, ends in a quote.
            '\'' if next == Some('\\') => at += chars[at + 2..].iter().position(|c| *c == '\'').unwrap_or(0) + 2,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 2,
            '"' => {
                let (begin, mut text) = (line, String::new());
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    if chars[at] == '\\' {
                        at += 1;
                    }
                    line += usize::from(chars[at] == '\n');
                    text.push(chars[at]);
                    at += 1;
                }
                found.push(Literal { line: begin, text, to: calls.last().cloned().unwrap_or_default() });
            }
            // What stands in brackets without a name is handed to who has the brackets around it.
            '(' => calls.push(if word.is_empty() { calls.last().cloned().unwrap_or_default() } else { word.clone() }),
            '{' => calls.push(String::new()),
            ')' | '}' => _ = calls.pop(),
            '\n' => line += 1,
            _ => {}
        }
        match chars.get(at) {
            Some(c) if c.is_alphanumeric() || *c == '_' => word.push(*c),
            Some('!') => {}
            _ => word.clear(),
        }
        at += 1;
    }
    found
}

/// Whether a person reads it: it is of words with spaces between, begins as sentences do, or is handed to what shows it.
fn is_text(literal: &Literal) -> bool {
    if ALLOWED.iter().any(|(allowed, _)| *allowed == literal.text) || FOR_PROGRAMMERS.contains(&literal.to.as_str()) {
        return false;
    }
    // Without the places of values.
    let mut depth = 0;
    let bare = literal.text.chars().filter(|c| {
        depth += i32::from(*c == '{');
        depth -= i32::from(*c == '}');
        depth == 0 && *c != '}'
    });
    let bare: String = bare.collect();
    let mut start = bare.chars();
    let sentence = start.next().is_some_and(char::is_uppercase) && start.next().is_some_and(char::is_lowercase);
    let words = bare.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().count() > 1);
    let shown = SHOWS.split(' ').any(|shows| shows == literal.to) && bare.contains(char::is_alphabetic);
    sentence || shown || words && literal.text.contains(' ')
}

/// The sources of the studio, with their paths from `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push((path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.retain(|(path, _)| !path.file_name().unwrap().to_string_lossy().ends_with("tests.rs"));
    sources.sort();
    sources
}

#[test]
fn texts_are_told_from_names() {
    let source = r#"
        //! "In a comment" it is none.
        fn show(ui: &mut Ui, c: char) {
            ui.label("here");
            let text = format!("{} left", 3);
            let (_, name) = ('"', "Cancel");
            segmented(ui, &[(None, "wipe \"it\""), (Some(Icon::X), "x")], 0);
            card(ui, title, |ui| id.with("field"));
            row(ui, ("nested", 1));
            Panel::left("navigation").expect("there is one").with(format!("{name}-step{step}.png"));
        }
        #[cfg(test)]
        mod tests { const A: &str = "In a test too"; }
    "#;
    let found: Vec<_> = literals(source).into_iter().filter(is_text).map(|one| (one.line, one.text)).collect();
    let expected = [(4, "here"), (5, "{} left"), (6, "Cancel"), (7, "wipe \"it\""), (9, "nested")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn every_text_stands_in_the_folder_of_texts() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found");
    let mut elsewhere = Vec::new();
    for (path, source) in sources.iter().filter(|(path, _)| !path.starts_with("texts")) {
        let numbers = path == Path::new("format.rs");
        let found = literals(source).into_iter().filter(|one| is_text(one) || !numbers && one.text.contains(":."));
        elsewhere.extend(found.map(|one| format!("{}:{}: \"{}\"", path.display(), one.line, one.text)));
        let counted = source.lines().enumerate().filter(|(_, line)| line.contains("plural("));
        let counted = counted.filter(|_| !numbers);
        elsewhere.extend(counted.map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim())));
    }
    assert!(
        elsewhere.is_empty(),
        "texts belong into crates/studio/src/texts, formats of numbers into format.rs:\n{}",
        elsewhere.join("\n")
    );
}

#[test]
fn no_sentence_is_written_twice() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, source) in sources().into_iter().filter(|(path, _)| path.starts_with("texts")) {
        for one in literals(&source).into_iter().filter(|one| one.text.trim().contains(' ')) {
            places.entry(one.text).or_default().push(format!("{}:{}", path.display(), one.line));
        }
    }
    assert!(places.len() > 300, "the texts were not found");
    // Of values alone, such as a count and what is counted.
    let says = |text: &str| text.split_whitespace().filter(|word| !word.contains(['{', '#'])).count() > 1;
    let twice: Vec<_> = places.iter().filter(|(text, places)| places.len() > 1 && says(text)).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
