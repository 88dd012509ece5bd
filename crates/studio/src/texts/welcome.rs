//! The welcome, above the Dataset page.

pub(crate) const TITLE: &str = "Welcome to Lorikeet";
pub(crate) const CLOSE: &str = "Close welcome";
pub(crate) const TEXT: &str = "\
    Teach an image model something new from a folder of pictures. Everything is ready for an example: choose one and \
    press Train, or drop a folder of your own anywhere";
