//! Where weights are kept.

use super::any;
use crate::setting::{BaseClass, Choice, Fixed, Kind, Level, Setting, When};

pub(super) const MEMORY: [Setting; 1] = [Setting {
    id: "memory.weights",
    label: "Weights",
    help: "Whether the frozen weights stay on the device or are brought in block by block.",
    unit: "",
    kind: Kind::Choice(&[
        Choice { id: "auto", label: "Auto" },
        Choice { id: "resident", label: "On the device" },
        Choice { id: "stream", label: "Block by block" },
    ]),
    level: Level::Advanced,
    when: When::On(BaseClass::LARGE),
    zero_means: "",
    defaults: &[any(Fixed::Text("auto"), "The plan keeps them on the device where they fit, which is faster.")],
}];
