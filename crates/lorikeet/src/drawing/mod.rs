//! Pictures this program draws itself: loss plots, sheets of previews. The studio draws its own.

pub(crate) mod canvas;
pub(crate) mod chroma;
pub(crate) mod loss_plot;
pub(crate) mod sheet;
