//! `download`: a model from the hub.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use lorikeet_hub::{Access, Cancel, HubError, Pace, Progress, RepoName, already_there, choose, fetch, look_up};

use crate::args::DownloadArgs;
use crate::face::duration;
use crate::trouble::Trouble;

pub(crate) fn download(args: &DownloadArgs, offline: bool) -> Result<(), Trouble> {
    let access = Access::of_this_computer(offline);
    if let Some(problem) = &access.problem {
        eprintln!("Warning: {problem}");
    }
    let mut name = RepoName::parse(&args.name).map_err(trouble)?;
    if let Some(revision) = &args.revision {
        name = RepoName::parse(&format!("{}@{revision}", name.id())).map_err(trouble)?;
    }
    let cancel = Cancel::default();
    let on_ctrl_c = cancel.clone();
    // Without it, Ctrl+C ends the program at once, and what was fetched is kept all the same.
    ctrlc::set_handler(move || on_ctrl_c.cancel()).ok();
    let repository = look_up(&access, &name, &cancel).map_err(trouble)?;
    let selection = choose(&repository, &args.files).map_err(trouble)?;
    let there = already_there(&access, &repository, &selection);
    println!("{name}: {} in {} files", gigabytes(selection.bytes()), selection.files.len());
    for file in &selection.files {
        println!("  {:>9}  {}", gigabytes(file.size), file.path);
    }
    println!("Licence, as its card says: {}", repository.licence.as_deref().unwrap_or("none is named"));
    if there > 0 {
        println!("{} of it are here already", gigabytes(there));
    }
    if args.list {
        return Ok(());
    }
    let mut bar = Bar::new(selection.bytes());
    let fetched = fetch(&access, &repository, &selection, &cancel, &mut |progress| bar.show(progress));
    bar.end();
    let path = fetched.map_err(trouble)?;
    println!("Model: {}", path.display());
    let named = selection.model.is_none() && args.files.is_empty();
    if named {
        println!("In a recipe: base.path = \"{name}\"");
    }
    Ok(())
}

fn trouble(error: HubError) -> Trouble {
    let text = error.to_string();
    // The last sentence of each says what to do.
    let (why, todo) = text.split_once(". ").unwrap_or((&text, "Try again later"));
    let todo = todo.trim_end_matches('.');
    match error {
        HubError::Name { .. } => Trouble::usage("That is no model of the hub", why, todo),
        _ => Trouble::failed("The model was not fetched", why, todo),
    }
}

/// A bar on a terminal, a line every tenth of the way elsewhere.
struct Bar {
    bar: ProgressBar,
    terminal: bool,
    pace: Pace,
    noted: Option<Instant>,
    tenths: u64,
}

impl Bar {
    fn new(total: u64) -> Bar {
        let bar = ProgressBar::new(total);
        // A constant; a wrong one shows the default bar.
        let style = ProgressStyle::with_template("{bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸ "));
        let terminal = std::io::stderr().is_terminal();
        Bar { bar, terminal, pace: Pace::default(), noted: None, tenths: 0 }
    }

    fn show(&mut self, progress: &Progress) {
        let now = Instant::now();
        let whole = progress.done == progress.total;
        if !whole && self.noted.is_some_and(|before| now.duration_since(before).as_millis() < 200) {
            return;
        }
        self.noted = Some(now);
        self.pace.note(now, progress.done);
        let mut told = format!("{} of {}", gigabytes(progress.done), gigabytes(progress.total));
        if let Some(speed) = self.pace.speed() {
            told.push_str(&format!(", {}/s", gigabytes(speed as u64)));
        }
        if let Some(seconds) = self.pace.seconds_left(progress.total).filter(|_| !whole) {
            told.push_str(&format!(", {} left", duration(seconds)));
        }
        let tenth = progress.done * 10 / progress.total.max(1);
        if !self.terminal && tenth > self.tenths {
            println!("{told}");
        }
        self.tenths = tenth;
        self.bar.set_position(progress.done);
        self.bar.set_message(format!("{told}  {}", progress.file));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_split_into_why_and_what_to_do() {
        let told =
            trouble(HubError::NoSuchModel { id: "ann/birds".to_owned(), host: "hub.example".to_owned() }).to_string();
        assert!(told.contains("why:         ann/birds is not on hub.example"), "{told}");
        assert!(told.contains("what to do:  Check the spelling"), "{told}");
        assert_eq!(trouble(RepoName::parse("birds").unwrap_err()).code, 2);
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(gigabytes(4_270_000_000), "4.27 GB");
        assert_eq!(gigabytes(2), "0.0 kB");
    }
}
