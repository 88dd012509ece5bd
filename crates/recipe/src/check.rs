//! Whether a value is allowed for a setting, and values from text.

use crate::error::{RecipeError, nearest};
use crate::folders::PictureFolder;
use crate::setting::{Choice, Kind, Setting, TextRule, Value};

impl Setting {
    /// The value in this setting's type, or why it is refused. A whole number is taken for a number, and one text for
    /// a list of one.
    pub fn check(&self, value: Value) -> Result<Value, RecipeError> {
        match (self.kind, value) {
            (Kind::Int { min, max, step }, Value::Int(number)) => {
                let inside = (min..=max).contains(&number) && number % step == 0;
                if inside { Ok(Value::Int(number)) } else { Err(self.out_of_range(&Value::Int(number))) }
            }
            (Kind::Float { min, max }, Value::Float(number)) => {
                // The minus sign of -0.0 would show in files.
                let inside = (min..=max).contains(&number);
                if inside { Ok(Value::Float(number + 0.0)) } else { Err(self.out_of_range(&Value::Float(number))) }
            }
            (Kind::Float { .. }, Value::Int(number)) => self.check(Value::Float(number as f64)),
            (Kind::Bool, Value::Bool(on)) => Ok(Value::Bool(on)),
            (Kind::Choice(choices), Value::Text(text)) => self.choose(choices, &text),
            (Kind::Text(rule), Value::Text(text)) => self.check_text(rule, &text).map(Value::Text),
            (Kind::List, Value::Text(text)) => self.check(Value::List(vec![text])),
            (Kind::List, Value::List(items)) => items
                .iter()
                .map(|item| self.check_text(TextRule::Line, item))
                .filter(|item| item.as_ref().map_or(true, |text| !text.is_empty()))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::List),
            (Kind::Folders, Value::Text(text)) => self.check(Value::List(vec![text])),
            (Kind::Folders, Value::List(items)) => items
                .iter()
                .filter(|item| !item.trim().is_empty())
                .map(|item| match PictureFolder::parse(item) {
                    Ok(folder) => Ok(folder.to_string()),
                    Err(why) => Err(self.bad_text(item, why)),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Value::List),
            (_, value) => Err(self.wrong_type(value.describe(), value.to_string())),
        }
    }

    /// The value from what was typed: `0.5`, `yes`, `a | b`, `["a", "b"]`.
    pub fn parse(&self, text: &str) -> Result<Value, RecipeError> {
        let typed = text.trim();
        let value = match self.kind {
            Kind::Int { .. } => match typed.replace('_', "").parse::<i64>() {
                Ok(number) => Value::Int(number),
                Err(_) if typed.parse::<f64>().is_ok_and(f64::is_finite) => {
                    return Err(self.wrong_type("a number with a fraction or too large", typed.to_owned()));
                }
                Err(_) => return Err(self.wrong_type("text", format!("\"{typed}\""))),
            },
            Kind::Float { .. } => match typed.replace('_', "").parse::<f64>() {
                Ok(number) => Value::Float(number),
                Err(_) => return Err(self.wrong_type("text", format!("\"{typed}\""))),
            },
            Kind::Bool => match typed.to_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Value::Bool(true),
                "false" | "no" | "off" | "0" => Value::Bool(false),
                _ => return Err(self.wrong_type("text", format!("\"{typed}\""))),
            },
            Kind::Choice(_) | Kind::Text(_) => Value::Text(typed.to_owned()),
            Kind::List | Kind::Folders => Value::List(self.parse_list(typed)?),
        };
        self.check(value)
    }

    fn parse_list(&self, typed: &str) -> Result<Vec<String>, RecipeError> {
        // "[" also begins a prompt such as `[portrait] of a cat`; only what TOML takes is an array.
        let array = typed.parse::<toml_edit::Value>().ok();
        match array.as_ref().and_then(toml_edit::Value::as_array) {
            Some(array) => array
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| self.wrong_type("a list with other things than texts", typed.to_owned())),
            None => Ok(typed.split('|').map(|item| item.trim().to_owned()).collect()),
        }
    }

    fn choose(&self, choices: &[Choice], text: &str) -> Result<Value, RecipeError> {
        let typed = text.trim();
        match choices.iter().find(|choice| choice.id.eq_ignore_ascii_case(typed)) {
            Some(choice) => Ok(Value::Text(choice.id.to_owned())),
            None => Err(RecipeError::NotAChoice {
                id: self.id,
                value: typed.to_owned(),
                allowed: self.allowed(),
                nearest: nearest(typed, choices.iter().map(|choice| choice.id)),
            }),
        }
    }

    fn check_text(&self, rule: TextRule, text: &str) -> Result<String, RecipeError> {
        let text = text.trim();
        let why = match rule {
            _ if text.contains(['\n', '\r', '\0']) => Some("it has more than one line or a zero byte".to_owned()),
            // An empty name or path is a setting not made, where the table gives that a meaning.
            _ if text.is_empty() => (self.zero_means.is_empty() && self.kind != Kind::List && rule != TextRule::Line)
                .then(|| "it is empty".to_owned()),
            TextRule::Line | TextRule::Folder | TextRule::BasePath | TextRule::Weights => None,
            TextRule::FileName => file_name_fault(text),
            TextRule::Device => (!is_device(text)).then(|| "no such kind of device".to_owned()),
        };
        match why {
            None if rule == TextRule::Device => Ok(text.to_lowercase()),
            None => Ok(text.to_owned()),
            Some(why) => Err(self.bad_text(text, why)),
        }
    }

    fn bad_text(&self, text: &str, why: String) -> RecipeError {
        let value = text.escape_debug().to_string();
        RecipeError::BadText { id: self.id, value, why, allowed: self.allowed() }
    }

    fn out_of_range(&self, value: &Value) -> RecipeError {
        RecipeError::OutOfRange { id: self.id, value: value.to_string(), allowed: self.allowed() }
    }

    pub(crate) fn wrong_type(&self, given: &'static str, value: String) -> RecipeError {
        let expected = match self.kind {
            Kind::Int { .. } => "a whole number",
            Kind::Float { .. } => "a number",
            Kind::Bool => "true or false",
            Kind::Choice(_) | Kind::Text(_) => "text",
            Kind::List | Kind::Folders => "a list of texts",
        };
        RecipeError::WrongType { id: self.id, expected, given, value, allowed: self.allowed() }
    }
}

/// `auto`, or a kind of device with an optional number.
fn is_device(text: &str) -> bool {
    let text = text.to_lowercase();
    if matches!(text.as_str(), "auto" | "cpu" | "cuda" | "vulkan") {
        return true;
    }
    let number = text.strip_prefix("cuda:").or_else(|| text.strip_prefix("vulkan:"));
    number.is_some_and(|number| number.len() <= 2 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Why some system would not take this as a file name.
fn file_name_fault(name: &str) -> Option<String> {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    if let Some(bad) = name.chars().find(|c| c.is_control() || r#"/\:*?"<>|"#.contains(*c)) {
        return Some(format!("a file name cannot have {bad:?} in it"));
    }
    let stem = name.split('.').next().unwrap_or_default().to_lowercase();
    let port = ["com", "lpt"].iter().any(|port| {
        stem.strip_prefix(port).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    if name.starts_with('.') || name.ends_with('.') {
        Some("a file name cannot start or end with a dot".to_owned())
    } else if port || RESERVED.contains(&stem.as_str()) {
        Some("Windows keeps this name for a device".to_owned())
    } else if name.len() > 120 {
        Some(format!("it is {} bytes long, the limit is 120", name.len()))
    } else {
        None
    }
}

/// The text with everything a file name cannot have replaced by `_`.
pub(crate) fn as_file_name(text: &str) -> String {
    let replaced: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() || c.is_whitespace() || r#"/\:*?"<>|"#.contains(c) { '_' } else { c })
        .collect();
    let mut name = replaced.trim_matches('.').to_owned();
    while name.len() > 120 {
        name.pop();
    }
    if name.is_empty() || file_name_fault(&name).is_some() { "lora".to_owned() } else { name }
}
