//! Giving up at once, also while a server keeps silent.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handed to what waits, kept by who may want it to stop.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    agent: Option<ureq::Agent>,
}

impl Cancel {
    /// Ends what is under way. Connections are shut, so that nobody waits for one.
    pub fn cancel(&self) {
        let agent = {
            let mut state = self.state();
            state.cancelled = true;
            state.agent.take()
        };
        self.0.changed.notify_all();
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// The connections that [`Cancel::cancel`] is to shut.
    pub(crate) fn watch(&self, agent: &ureq::Agent) {
        self.state().agent = Some(agent.clone());
    }

    /// Waits; whether it was cancelled meanwhile.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self.0.changed.wait_timeout_while(self.state(), time, |state| !state.cancelled);
        waited.unwrap_or_else(PoisonError::into_inner).0.cancelled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is done under the lock that could leave it half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}
