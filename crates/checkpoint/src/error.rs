use std::io;
use std::path::PathBuf;

use crate::{Family, Part};

/// Everything that can go wrong with a model or adapter file. Each message says what happened, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Nothing is at that place.
    #[error("there is no file or folder at '{}'. Check the spelling, or whether the drive it is on is connected.", path.display())]
    NotFound { path: PathBuf },
    /// Nothing is at that place, and it could be meant as a name on the hub.
    #[error(
        "there is no file or folder '{}'. If it is a model of the Hugging Face hub, fetch it first: `lorikeet download {}`, \
         or \"Download from the hub\" on the Model page.",
        path.display(), path.display()
    )]
    NotFetched { path: PathBuf },
    /// The operating system refused.
    #[error("cannot read '{}': {source}.", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A folder where a file was expected.
    #[error("'{}' is a folder, not a file. {advice}", path.display())]
    Folder { path: PathBuf, advice: String },
    /// The file is something else than safetensors.
    #[error("'{}' is {what}. {advice}", path.display())]
    NotSafetensors { path: PathBuf, what: String, advice: String },
    /// The file ends before its own header says it does.
    #[error(
        "'{}' is cut short: its header describes {expected} bytes and the file has {found}. \
         The download or copy did not finish; fetch the file again.",
        path.display()
    )]
    Truncated { path: PathBuf, expected: u64, found: u64 },
    /// Another program wrote to the file while it was in use.
    #[error("'{}' was changed while it was in use, so that its weights may be others now. Put the file back as it was.", path.display())]
    Changed { path: PathBuf },
    /// The header breaks the safetensors rules.
    #[error("the header of '{}' is damaged: {problem}. Fetch the file again, or save it again with the program that made it.", path.display())]
    Header { path: PathBuf, problem: String },
    /// A tensor breaks the safetensors rules or cannot be used.
    #[error("tensor '{tensor}' in '{}': {problem}", path.display())]
    Tensor { path: PathBuf, tensor: String, problem: String },
    /// A tensor that the model needs is absent.
    #[error(
        "tensor '{tensor}' is missing from '{}'. The file is incomplete or belongs to another kind of model.",
        path.display()
    )]
    MissingTensor { path: PathBuf, tensor: String },
    /// A part of the model is absent.
    #[error("the {part} is missing from '{}': expected {expected}. {advice}", path.display())]
    MissingPart { path: PathBuf, part: Part, expected: String, advice: String },
    /// A part that is fine by itself and belongs to another model.
    #[error(
        "the {part} in '{}' does not fit this {family} model: it has {found} {what}, and the {} takes {expected}. \
         Choose the {part} that belongs to the model.",
        path.display(),
        if family.is_flux1() { Part::Transformer } else { Part::Unet }
    )]
    PartMismatch { path: PathBuf, part: Part, family: Family, what: &'static str, found: usize, expected: usize },
    /// A file that was given as a part and is something else.
    #[error("'{}' is {what}, and was given as the {part} of {family}. Choose {expected} there.", path.display())]
    WrongPart { path: PathBuf, what: String, part: Part, family: Family, expected: String },
    /// A good model file of a kind that cannot be trained.
    #[error("'{}' is {what}. {advice}", path.display())]
    Unsupported { path: PathBuf, what: String, advice: String },
    /// A JSON file of a diffusers folder is absent or wrong.
    #[error("'{}': {problem}", path.display())]
    Config { path: PathBuf, problem: String },
    /// A LoRA file holds a key that we cannot place.
    #[error("key '{key}' of the LoRA file '{}': {problem}", path.display())]
    LoraKey { path: PathBuf, key: String, problem: String },
    /// A value that must not be saved.
    #[error("'{}' was not saved: tensor '{tensor}' holds {problem}", path.display())]
    BadValue { path: PathBuf, tensor: String, problem: String },
    /// Something that is given to be saved does not make a valid file.
    #[error("'{}' was not saved: {problem}", path.display())]
    NotSavable { path: PathBuf, problem: String },
    /// Saving failed; the file that was there before is untouched.
    #[error("cannot save '{}': {reason}{}", path.display(), if *kept { ". The earlier file is unchanged." } else { "." })]
    Write { path: PathBuf, reason: String, kept: bool, source: io::Error },
}

impl CheckpointError {
    pub(crate) fn read(path: &std::path::Path, source: io::Error) -> Self {
        let missing = source.kind() == io::ErrorKind::NotFound;
        if missing && crate::looks_like_hub_name(path) {
            Self::NotFetched { path: path.to_owned() }
        } else if missing {
            Self::NotFound { path: path.to_owned() }
        } else {
            Self::Read { path: path.to_owned(), source }
        }
    }

    pub(crate) fn tensor(path: &std::path::Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), problem: problem.into() }
    }
}
