//! `worker`: the work of a studio or another program in this process, told in lines of JSON.

use std::io::{self, Write};

use lorikeet_session::{Trainer, serve};

use crate::trouble::Trouble;

pub(crate) fn work() -> Result<(), Trouble> {
    let output = own_output()
        .map_err(|error| Trouble::failed("The worker cannot be heard", error, "Start it with its output connected"))?;
    serve(io::stdin(), output, Box::new(Trainer::default())).map_err(|error| Trouble::from(error.failure()))
}

/// Standard output for events alone: what libraries print there goes to standard error from now on.
#[cfg(unix)]
fn own_output() -> io::Result<impl Write> {
    use std::os::fd::AsFd as _;
    let own = io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    Ok(std::fs::File::from(own))
}

/// What libraries print stands among the events, each of which has a line of its own; readers pass over it.
#[cfg(not(unix))]
fn own_output() -> io::Result<impl Write> {
    Ok(io::stdout())
}
