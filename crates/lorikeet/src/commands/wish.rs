//! `pause` and `stop`: what another program is asked to do with the run that it trains.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use lorikeet_protocol::{PAUSE_FILE, STOP_FILE, in_use};

use crate::trouble::Trouble;

pub(crate) fn pause(run: &Path, off: bool) -> Result<(), Trouble> {
    let file = run.join(PAUSE_FILE);
    if !off {
        ask(run, &file)?;
        println!("It waits after its step, until `lorikeet pause --off {}`", run.display());
        return Ok(());
    }
    match fs::remove_file(&file) {
        Ok(()) => println!("It goes on"),
        Err(error) if error.kind() == ErrorKind::NotFound => println!("It was not paused"),
        Err(error) => return Err(refused(&file, &error)),
    }
    Ok(())
}

pub(crate) fn stop(run: &Path) -> Result<(), Trouble> {
    ask(run, &run.join(STOP_FILE))?;
    println!("It saves and ends after its step; `lorikeet resume {}` goes on", run.display());
    Ok(())
}

fn ask(run: &Path, file: &Path) -> Result<(), Trouble> {
    if !in_use(run) {
        let why = format!("no program trains in {}", run.display());
        return Err(Trouble::usage("There is nobody to ask", why, "Name the folder of a run that is on"));
    }
    File::create(file).map(drop).map_err(|error| refused(file, &error))
}

fn refused(file: &Path, error: &std::io::Error) -> Trouble {
    let why = format!("{}: {error}", file.display());
    Trouble::failed("The run cannot be asked", why, "See that its folder can be written to")
}
