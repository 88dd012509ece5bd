//! The page `docs/settings.md`.

use std::fmt::Write as _;

use crate::setting::{BaseClass, DefaultRow, Kind, Level, Preset, Setting, Value};
use crate::table::SECTIONS;

/// Every setting with its range, defaults and their reasons.
pub fn settings_markdown() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Made from the settings table in `crates/recipe/src/table/`; do not edit by hand.\n\
         (`UPDATE_DOCS=1 cargo test -p lorikeet-recipe` writes it anew.)\n\n\
         In a recipe file a setting stands under its section; on the command line it is `--set section.key=value`.\n\
         Settings marked * are shown in the basic form. `preset` chooses the defaults:\n\n",
    );
    for preset in Preset::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "- `{}`: {}", preset.id(), preset.help());
    }
    for section in SECTIONS {
        let _ = writeln!(page, "\n## {} `[{}]`\n", section.label, section.id);
        let _ = writeln!(page, "| setting | what it does | allowed | default, and why |\n|---|---|---|---|");
        for setting in section.settings {
            let _ = writeln!(page, "{}", row(setting));
        }
    }
    page
}

fn row(setting: &Setting) -> String {
    let star = if setting.level == Level::Basic { " *" } else { "" };
    let mut help = format!("**{}.** {}", setting.label, setting.help);
    if let Some(when) = setting.when.describe("`") {
        help += &format!(" In effect {when}.");
    }
    let mut allowed = setting.allowed();
    if !setting.zero_means.is_empty() && setting.kind != Kind::Bool {
        let zero = if matches!(setting.kind, Kind::Int { .. } | Kind::Float { .. }) { "0" } else { "empty" };
        allowed += &format!("; {zero}: {}", setting.zero_means);
    }
    let defaults: Vec<String> = setting.defaults.iter().map(default).collect();
    let cells = [format!("`{}`{star}", setting.key()), help, allowed, defaults.join("<br>")];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn default(row: &DefaultRow) -> String {
    let value = match Value::from(row.value) {
        Value::Text(text) if text.is_empty() => "empty".to_owned(),
        Value::List(items) if items.is_empty() => "empty".to_owned(),
        Value::Text(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    };
    let bases = row.bases.iter().copied().map(BaseClass::label);
    let scope: Vec<&str> = row.preset.map(Preset::label).into_iter().chain(bases).collect();
    let scope = if scope.is_empty() { String::new() } else { format!("{}: ", scope.join(", ")) };
    format!("{scope}{value}. {}", row.reason)
}
