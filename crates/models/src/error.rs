use lorikeet_nn::NnError;

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the {part} configuration cannot be read: {reason}")]
    Config { part: &'static str, reason: String },
    #[error("the {part} has `{field}` = {value}, which this program does not know yet: use a base model without it")]
    Unsupported { part: &'static str, field: &'static str, value: String },
    #[error("the {part} cannot be loaded: {source}")]
    Weights { part: &'static str, source: NnError },
    #[error("the tokenizer tables cannot be read: {reason}")]
    Tokenizer { reason: String },
}
