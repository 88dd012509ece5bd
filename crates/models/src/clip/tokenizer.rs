//! CLIP's byte-pair tokenizer, by the reference implementation in Rust.

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::ModelError;

/// Tokens in a prompt, start and end included.
pub const LENGTH: usize = 77;
/// `<|startoftext|>`.
pub const BOS: u32 = 49406;
/// `<|endoftext|>`, also the padding of SD1.
pub const EOS: u32 = 49407;

const VOCABULARY: &str = include_str!("../../../../assets/demo-base/tokenizer/vocab.json");
const MERGES: &str = include_str!("../../../../assets/demo-base/tokenizer/merges.txt");

/// Words, endings such as 's, single digits, and runs of anything else.
const PATTERN: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The vocabulary that all CLIP text encoders share (49,408 tokens).
pub struct ClipTokenizer(Tokenizer);

impl ClipTokenizer {
    /// The tokenizer inside this program; checkpoints in one file carry none.
    ///
    /// # Errors
    /// Only if the tables compiled in are damaged.
    pub fn embedded() -> Result<Self, ModelError> {
        let broken = |reason: String| ModelError::Tokenizer { reason };
        let vocabulary: Value = serde_json::from_str(VOCABULARY).map_err(|e| broken(e.to_string()))?;
        let merges: Vec<&str> = MERGES.lines().skip(1).filter(|line| !line.is_empty()).collect();
        let special = |id: u32, content: &str| json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
        let pieces = json!({
            "version": "1.0",
            "added_tokens": [special(BOS, "<|startoftext|>"), special(EOS, "<|endoftext|>")],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "NFC" },
                { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
                { "type": "Lowercase" },
            ] },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": PATTERN }, "behavior": "Removed", "invert": true },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            ] },
            "post_processor": null,
            "decoder": null,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
                "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary, "merges": merges,
            },
        });
        let text = pieces.to_string();
        Tokenizer::from_bytes(text.as_bytes()).map(Self).map_err(|e| broken(e.to_string()))
    }

    /// [`LENGTH`] ids: start, the text cut to 75 tokens, end, padding with the end token.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = vec![BOS];
        // The only failure is an unknown token, and there is an unknown-token token.
        if let Ok(encoding) = self.0.encode_fast(text, false) {
            ids.extend(encoding.get_ids().iter().take(LENGTH - 2));
        }
        ids.resize(LENGTH, EOS);
        ids
    }

    /// How many tokens the text takes, without start and end; above 75 the rest is cut off.
    pub fn count(&self, text: &str) -> usize {
        self.0.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }
}
