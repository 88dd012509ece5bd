//! The engine with its worker in a child process: what takes that process down leaves the face alive.

mod crash;
mod pending;
mod supervisor;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use lorikeet_protocol::{Command, Engine, Event};

use crate::engine::{WAITING_COMMANDS, not_taken};
use crate::error::SessionError;
use crate::queue::EventQueue;
use supervisor::{Order, Supervisor};

/// How a worker's process is started. It must [`crate::serve`] on its standard input and output.
#[derive(Clone, Debug, Default)]
pub struct WorkerProgram {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to the environment of this process.
    pub environment: Vec<(OsString, OsString)>,
}

impl WorkerProgram {
    /// This program with the subcommand `worker`.
    ///
    /// # Errors
    /// When the system does not tell where this program lies.
    pub fn this() -> Result<WorkerProgram, SessionError> {
        let program =
            std::env::current_exe().map_err(|source| SessionError::Process { program: "lorikeet".into(), source })?;
        Ok(WorkerProgram { program, arguments: vec!["worker".into()], environment: Vec::new() })
    }
}

/// What a terminal sends to this process at Ctrl-C is not for that one: it may be left to go on.
pub fn apart(command: &mut process::Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW);
    }
}

/// Starts the process with the first command, and again after it has ended for whatever reason. When this is dropped, a
/// run that is on saves and stops first, unless it was left.
pub struct ChildEngine {
    orders: Option<SyncSender<Order>>,
    events: Arc<EventQueue>,
    supervisor: Option<JoinHandle<()>>,
    left: bool,
}

impl ChildEngine {
    /// # Errors
    /// When the system gives no thread.
    pub fn new(program: WorkerProgram) -> Result<ChildEngine, SessionError> {
        let (orders, received) = sync_channel(WAITING_COMMANDS);
        let events = Arc::new(EventQueue::new());
        let supervisor = Supervisor::new(program, events.clone());
        let supervisor = thread::Builder::new()
            .name("lorikeet-child".to_owned())
            .spawn(move || supervisor.work(&received))
            .map_err(|source| SessionError::Thread { source })?;
        Ok(ChildEngine { orders: Some(orders), events, supervisor: Some(supervisor), left: false })
    }

    fn order(&mut self, order: Order) {
        let Some(orders) = &self.orders else { return };
        if let Err(error) = orders.try_send(order) {
            self.events.push(not_taken(&error));
        }
    }
}

impl Engine for ChildEngine {
    fn send(&mut self, command: Command) {
        self.order(Order::Command(Box::new(command)));
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event)) {
        self.events.take().into_iter().for_each(sink);
    }

    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        self.events.set_wake(wake);
    }

    fn can_leave(&self) -> bool {
        true
    }

    fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.order(Order::Leave);
        }
    }
}

impl Drop for ChildEngine {
    fn drop(&mut self) {
        // The supervisor takes the closed channel for the wish to stop and save, and waits for that.
        self.orders = None;
        if let Some(supervisor) = self.supervisor.take() {
            // A panic there has nothing left to wait for.
            supervisor.join().ok();
        }
    }
}
