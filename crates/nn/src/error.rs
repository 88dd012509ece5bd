/// What can go wrong below the models.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    #[error("the model's weights have no tensor `{name}`: the file is another kind of model or is incomplete")]
    MissingTensor { name: String },
    #[error(
        "tensor `{name}` has shape {found:?} where this model needs {expected:?}: the configuration belongs to another model"
    )]
    WrongShape { name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` cannot be read: {reason}")]
    Unreadable { name: String, reason: String },
    #[error(
        "tensor `{name}` cannot be used: the number in row {row}, column {column} is {value}. The file is damaged or was saved from a failed run; use another copy"
    )]
    NotFinite { name: String, row: usize, column: usize, value: f32 },
    #[error(
        "blocks of {block} weights cannot share a scale: with 4 bits a block must be a power of two from 16 to 256, with 8 bits it must not be empty"
    )]
    Block { block: usize },
    #[error("`{text}` is no device: write cpu, cuda, cuda:1, vulkan or vulkan:1")]
    UnknownDevice { text: String },
    #[error("device {device} cannot be used: {why}. {todo}")]
    DeviceUnavailable { device: String, why: String, todo: String },
    #[error(
        "the device ran out of memory or failed while computing: {reason}. Lower the resolution or batch, or set memory = \"low\""
    )]
    Execution { reason: String },
}
