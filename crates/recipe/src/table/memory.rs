//! Where weights are kept.

use super::any;
use crate::setting::{BaseClass, Choice, Fixed, Kind, Level, Setting, When};

pub(super) const MEMORY: [Setting; 2] = [
    Setting {
        id: "memory.weights",
        label: "Weights",
        help: "Whether the frozen weights stay on the device, or are brought in block by block: from the computer's memory, or from their file.",
        unit: "",
        kind: Kind::Choice(&[
            Choice { id: "auto", label: "Auto" },
            Choice { id: "resident", label: "On the device" },
            Choice { id: "host", label: "From memory" },
            Choice { id: "stream", label: "From their file" },
        ]),
        level: Level::Advanced,
        when: When::On(BaseClass::PACKABLE),
        zero_means: "",
        defaults: &[any(Fixed::Text("auto"), "The plan keeps them on the device where they fit, which is faster.")],
    },
    Setting {
        id: "memory.limit",
        label: "Memory limit",
        help: "How much memory of the device a run may use; one that comes to need more takes less and slower ways.",
        unit: "GB",
        kind: Kind::Float { min: 0.0, max: 10_000.0 },
        level: Level::Advanced,
        when: When::Always,
        zero_means: "what there is",
        defaults: &[any(
            Fixed::Float(0.0),
            "The plan leaves room for other programs, and the run steps back before memory is out.",
        )],
    },
];
