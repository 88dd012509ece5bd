//! T5's unigram tokenizer (Kudo 2018), by the reference implementation in Rust.

use std::io::Read as _;

use flate2::read::GzDecoder;
use tokenizers::Tokenizer;

use crate::ModelError;

/// `<pad>`.
pub const PAD: u32 = 0;
/// `</s>`, at the end of every text.
pub const END: u32 = 1;

/// As published, gzipped to a quarter.
const TABLES: &[u8] = include_bytes!("../../../../assets/tokenizers/t5/tokenizer.json.gz");

/// The vocabulary that all T5 v1.1 models share (32,100 tokens).
pub struct T5Tokenizer(Tokenizer);

impl T5Tokenizer {
    /// The tokenizer inside this program; checkpoints in one file carry none.
    ///
    /// # Errors
    /// Only if the tables compiled in are damaged.
    pub fn embedded() -> Result<Self, ModelError> {
        let mut json = Vec::new();
        let unzipped = GzDecoder::new(TABLES).read_to_end(&mut json);
        unzipped.map_err(|e| ModelError::Tokenizer { reason: e.to_string() })?;
        Tokenizer::from_bytes(json).map(Self).map_err(|e| ModelError::Tokenizer { reason: e.to_string() })
    }

    /// `length` ids: the text cut to one less, the end, padding. FLUX.1 dev takes 512, schnell 256.
    pub fn encode(&self, text: &str, length: usize) -> Vec<u32> {
        let mut ids = Vec::with_capacity(length);
        // The only failure is an unknown token, and there is an unknown-token token.
        if let Ok(encoding) = self.0.encode_fast(text, false) {
            ids.extend(encoding.get_ids().iter().take(length.saturating_sub(1)));
        }
        ids.push(END);
        ids.resize(length, PAD);
        ids
    }

    /// How many tokens the text takes, without the end.
    pub fn count(&self, text: &str) -> usize {
        self.0.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }
}
