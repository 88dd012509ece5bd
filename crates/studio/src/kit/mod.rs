//! The look of the studio, and the widgets every page is made of.

pub(crate) mod buttons;
pub(crate) mod card;
pub(crate) mod columns;
pub(crate) mod icon;
pub(crate) mod loss_plot;
pub(crate) mod modal;
pub(crate) mod progress;
pub(crate) mod theme;
pub(crate) mod toast;
pub mod tokens;

pub(crate) use buttons::{icon_button, primary_button, quiet_button, text_button};
pub(crate) use card::{Tone, card, notice, row};
pub(crate) use icon::Icon;
pub(crate) use modal::modal;
pub(crate) use tokens::Tokens;
