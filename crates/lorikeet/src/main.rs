//! `lorikeet`: the studio, and everything it does from a terminal.

mod args;
mod commands;
mod doctor;
mod drawing;
mod face;
mod follow;
#[cfg(unix)]
mod gone;
mod shipped;
mod trouble;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Task};
use trouble::Trouble;

fn main() -> ExitCode {
    #[cfg(unix)]
    gone::tell();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::from(trouble.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Trouble> {
    match cli.task {
        None => commands::studio::open(cli.offline),
        Some(Task::Train(args)) => commands::train::train(&args),
        Some(Task::Plan(args)) => commands::train::plan(&args),
        Some(Task::Resume(args)) => commands::train::resume(&args),
        Some(Task::Pause { run, off }) => commands::wish::pause(&run, off),
        Some(Task::Stop { run }) => commands::wish::stop(&run),
        Some(Task::Queue(args)) => commands::queue::queue(&args),
        Some(Task::Demo(args)) => commands::demo::demo(&args),
        Some(Task::Sample(args)) => commands::sample::sample(&args),
        Some(Task::Export(args)) => commands::files::export(&args),
        Some(Task::Inspect { path }) => commands::files::inspect(&path),
        Some(Task::Models { folders }) => commands::files::models(folders),
        Some(Task::Download(args)) => commands::download::download(&args, cli.offline),
        Some(Task::New(args)) => commands::files::new_recipe(&args),
        Some(Task::Settings { filter }) => commands::settings::print(filter.as_deref()),
        Some(Task::Devices) => {
            doctor::print_devices();
            Ok(())
        }
        Some(Task::Doctor) => {
            doctor::print();
            Ok(())
        }
        Some(Task::Worker) => commands::worker::work(),
    }
}
