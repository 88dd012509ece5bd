//! `settings`.

use lorikeet_recipe::{BaseClass, Fixed, Kind, Preset, SECTIONS, Setting, Value};

use crate::trouble::Trouble;

pub(crate) fn print(filter: Option<&str>) -> Result<(), Trouble> {
    let wanted = filter.unwrap_or_default().to_lowercase();
    let mut any = false;
    for section in SECTIONS {
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let settings: Vec<&Setting> = section.settings.iter().filter(|s| has(s.id) || has(s.help)).collect();
        if settings.is_empty() {
            continue;
        }
        any = true;
        println!("{} [{}]", section.label, section.id);
        for setting in settings {
            println!("  {}", setting.id);
            println!("      {}", setting.help);
            println!("      allowed: {}; default: {}", allowed(setting), defaults(setting));
        }
        println!();
    }
    if !any {
        let why = format!("no setting has `{wanted}` in its id or help");
        return Err(Trouble::usage("Nothing to list", why, "Leave the filter out to list all"));
    }
    println!(
        "Defaults as: style, character, concept; one value where all agree; the bases in brackets where they do not."
    );
    Ok(())
}

fn allowed(setting: &Setting) -> String {
    let zero = match setting.kind {
        Kind::Int { .. } | Kind::Float { .. } => "0",
        _ => "empty",
    };
    match (setting.zero_means, setting.kind) {
        ("", _) | (_, Kind::Bool) => setting.allowed(),
        (meaning, _) => format!("{}; {zero}: {meaning}", setting.allowed()),
    }
}

fn defaults(setting: &Setting) -> String {
    let word = |preset, base| short(&setting.default_value(preset, base));
    let of_base = |base| {
        let words = Preset::ALL.map(|preset| word(preset, base));
        if words.iter().all(|w| *w == words[0]) { words[0].clone() } else { words.join(", ") }
    };
    // Bases that agree stand together, in the order of their first.
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for base in BaseClass::ALL {
        let words = of_base(base);
        match told.iter_mut().find(|(known, _)| *known == words) {
            Some((_, bases)) => bases.push(base.label()),
            None => told.push((words, vec![base.label()])),
        }
    }
    match told.as_slice() {
        [(words, _)] => words.clone(),
        _ => told.iter().map(|(words, bases)| format!("{words} ({})", bases.join(", "))).collect::<Vec<_>>().join("; "),
    }
}

fn short(value: &Value) -> String {
    if *value == Value::from(Fixed::Text("")) || *value == Value::from(Fixed::EmptyList) {
        return "empty".to_owned();
    }
    if let Value::Text(text) = value { text.clone() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_told_once_where_they_agree() {
        let of = |id| defaults(lorikeet_recipe::setting(id).unwrap());
        assert_eq!(of("run.device"), "auto");
        let cfg = "3.0, 1.6, 1.6 (demo base); 1.0 (demo base of the FLUX layout, FLUX.1 dev, FLUX.1 schnell); \
                   7.0 (SD 1.x, SD 2.x, SDXL)";
        assert_eq!(of("sample.cfg"), cfg);
        assert_eq!(of("sample.prompts"), "empty");
    }

    #[test]
    fn a_filter_that_finds_nothing_says_so() {
        assert_eq!(print(Some("no such thing")).unwrap_err().code, 2);
        print(Some("RANK")).unwrap();
    }
}
