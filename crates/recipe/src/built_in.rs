//! The bases that come with the program.

use crate::setting::BaseClass;

/// A base that comes with the program, in a folder of its assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// What stands for it in `base.path`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    pub class: BaseClass,
    pub folder: &'static str,
    /// The folder whose parts it uses where its own has none.
    pub shares: Option<&'static str>,
}

pub const BUILT_IN: [BuiltIn; 2] = [
    BuiltIn { name: "demo", title: "Lorikeet demo base", class: BaseClass::Demo, folder: "demo-base", shares: None },
    BuiltIn {
        name: "demo-flux",
        title: "Lorikeet demo base, FLUX layout",
        class: BaseClass::DemoFlux,
        folder: "demo-flux",
        shares: Some("demo-base"),
    },
];

/// The built-in base that `base.path` names, if it names one.
pub fn built_in(path: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|base| base.name == path.trim())
}
