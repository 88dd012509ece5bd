//! The Settings page.

pub(crate) const LOOK: &str = "Look";
pub(crate) const FOLLOW_SYSTEM: &str = "Follow system";
pub(crate) const LIGHT: &str = "Light";
pub(crate) const DARK: &str = "Dark";
pub(crate) const DEVICE: &str = "Device";
pub(crate) const DEVICE_AUTO: &str = "Automatic: the fastest one found";
pub(crate) const DEVICE_HELD: &str = "Can be changed when no run is going on";
pub(crate) const PROCESS: &str = "Process";
pub(crate) const PROCESS_AUTO: &str = "Automatic: a process of its own for runs";
pub(crate) const PROCESS_OWN: &str = "A process of its own for drawing and planning too";
pub(crate) const PROCESS_WINDOW: &str = "The process of this window";
pub(crate) const PROCESS_SET: &str = "Set by LORIKEET_WORKER in the environment";
pub(crate) const PROCESS_HELP: &str = "\
    A run in a process of its own can crash, or run out of memory, without taking the window along, and can go on \
    when the window is closed. Holds from the next run on";
pub(crate) const KEPT_IN: &str = "Kept in";
pub(crate) const ABOUT: &str = "About";
pub(crate) const OFFER_EXAMPLES: &str = "Offer examples on the Dataset page";
