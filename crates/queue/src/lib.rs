//! Runs that wait to be done one after another, in a file that the window and the command line share.
//!
//! Two locks lie beside the file. One is held for a moment by whoever changes it; the other, [`Working`], for as long as a
//! program does the runs, so that no run is ever done by two. Both go with their process, however that ends: a run that was
//! being done then is gone on with by whoever works the queue next.

mod error;
mod file;
mod list;

pub use error::QueueError;
pub use file::{QueueFile, Seen, Working};
pub use list::{Current, End, Ended, Queue, QueueChange, QueuedRun, Task};
