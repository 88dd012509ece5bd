//! The worker's side of a [`crate::ChildEngine`]: commands come in as lines of JSON, events go out as lines of JSON.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use lorikeet_protocol::{Command, Event};
use serde::{Deserialize, Serialize};

use crate::engine::{STACK_BYTES, WAITING_COMMANDS, not_taken};
use crate::error::SessionError;
use crate::jobs::Jobs;
use crate::queue::EventQueue;
use crate::worker::Worker;

/// A line to a worker that is no command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Farewell {
    /// Whoever sends the commands goes and wants the run that is on to go on.
    pub leave: bool,
}

/// Works for whoever is at the other end, until the input ends; then a run that is on saves and stops, unless it was told
/// to go on without anybody. The end of the output ends nothing: what a run tells is in its folder too.
///
/// # Errors
/// When the system gives no thread.
pub fn serve(input: impl Read + Send + 'static, output: impl Write, jobs: Box<dyn Jobs>) -> Result<(), SessionError> {
    let (commands, received) = sync_channel(WAITING_COMMANDS);
    let events = Arc::new(EventQueue::new());
    let left = Arc::new(AtomicBool::new(false));
    let (ring, bell) = sync_channel(1);
    let end = End { over: Arc::default(), ring: ring.clone() };
    let over = end.over.clone();
    events.set_wake(Box::new(move || {
        // Full: it rings already.
        ring.try_send(()).ok();
    }));
    let failed = |source| SessionError::Thread { source };

    let (answers, leaving) = (events.clone(), left.clone());
    // Never joined: the input may stay open for ever.
    thread::Builder::new()
        .name("lorikeet-commands".to_owned())
        .spawn(move || listen(input, &commands, &answers, &leaving))
        .map_err(failed)?;
    let told = events.clone();
    let worker = thread::Builder::new()
        .name("lorikeet-worker".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _end = end;
            Worker::new(received, told, jobs).with_left(left).work();
        })
        .map_err(failed)?;
    tell(output, &events, &bell, &over);
    // It has ended; it catches panics itself.
    worker.join().ok();
    Ok(())
}

/// Says when the worker has ended, however that was.
struct End {
    over: Arc<AtomicBool>,
    ring: SyncSender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.ring.try_send(()).ok();
    }
}

fn tell(mut output: impl Write, events: &EventQueue, bell: &std::sync::mpsc::Receiver<()>, over: &AtomicBool) {
    let mut heard = true;
    loop {
        bell.recv().ok();
        // Looked at first, so that nothing told before the end is missed.
        let last = over.load(Ordering::Acquire);
        for event in events.take() {
            let Ok(json) = serde_json::to_string(&event) else { continue };
            // On a line of its own even if a library printed half a line before.
            let line = format!("\n{json}\n");
            heard = heard && output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_ok();
        }
        if last {
            return;
        }
    }
}

fn listen(input: impl Read, commands: &SyncSender<Command>, events: &EventQueue, left: &AtomicBool) {
    for line in BufReader::new(input).lines() {
        let Ok(line) = line else { return };
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Command>(&line) {
            Ok(command) => {
                if let Err(error) = commands.try_send(command) {
                    events.push(not_taken(&error));
                }
            }
            Err(_) if serde_json::from_str::<Farewell>(&line).is_ok_and(|line| line.leave) => {
                left.store(true, Ordering::Release);
                return;
            }
            Err(error) => {
                let message = format!("The worker was sent something that is no command ({error})");
                events.push(Event::Warning { message });
            }
        }
    }
}
