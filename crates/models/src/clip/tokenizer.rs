//! CLIP's byte-pair tokenizer, by the reference implementation in Rust.

use burn::Tensor;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::ModelError;

/// Tokens in a prompt, start and end included.
pub const LENGTH: usize = 77;
/// Tokens of text among them.
pub const TEXT_LENGTH: usize = LENGTH - 2;
/// `<|startoftext|>`.
pub const BOS: u32 = 49406;
/// `<|endoftext|>`, also the padding of CLIP-L (SD 1.x, SDXL's first text encoder, FLUX).
pub const EOS: u32 = 49407;
/// The padding of OpenCLIP (SD 2.x, SDXL's second text encoder). It is the id of `!` inside a word, too.
pub const PAD_OPEN_CLIP: u32 = 0;

const VOCABULARY: &str = include_str!("../../../../assets/demo-base/tokenizer/vocab.json");
const MERGES: &str = include_str!("../../../../assets/demo-base/tokenizer/merges.txt");

/// Words, endings such as 's, single digits, and runs of anything else.
const PATTERN: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The vocabulary that all CLIP text encoders share (49,408 tokens), and the padding in which they differ.
pub struct ClipTokenizer {
    words: Tokenizer,
    padding: u32,
}

impl ClipTokenizer {
    /// The tokenizer inside this program; checkpoints in one file carry none. `padding`: [`EOS`] or [`PAD_OPEN_CLIP`].
    ///
    /// # Errors
    /// Only if the tables compiled in are damaged.
    pub fn embedded(padding: u32) -> Result<Self, ModelError> {
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
        let words = Tokenizer::from_bytes(text.as_bytes()).map_err(|e| broken(e.to_string()))?;
        Ok(Self { words, padding })
    }

    /// [`LENGTH`] ids: start, the text cut to [`TEXT_LENGTH`] tokens, end, padding.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let tokens = self.tokens(text);
        self.row(&tokens[..tokens.len().min(TEXT_LENGTH)])
    }

    /// A long text as `chunks` rows like those of [`Self::encode`], each with the next [`TEXT_LENGTH`] tokens; what is
    /// left after them is cut off, and rows after the end of the text hold none. [`join_chunks`] puts their states
    /// together. (kohya's `max_token_length` 75, 150, 225.)
    pub fn encode_chunks(&self, text: &str, chunks: usize) -> Vec<Vec<u32>> {
        let tokens = self.tokens(text);
        let mut parts = tokens.chunks(TEXT_LENGTH);
        (0..chunks).map(|_| self.row(parts.next().unwrap_or_default())).collect()
    }

    /// How many tokens the text takes, without start and end.
    pub fn count(&self, text: &str) -> usize {
        self.words.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }

    fn tokens(&self, text: &str) -> Vec<u32> {
        // The only failure is an unknown token, and there is an unknown-token token.
        self.words.encode_fast(text, false).map_or_else(|_| Vec::new(), |encoding| encoding.get_ids().to_vec())
    }

    /// At most [`TEXT_LENGTH`] tokens between start and end, padded.
    fn row(&self, tokens: &[u32]) -> Vec<u32> {
        let mut ids = [&[BOS], tokens, &[EOS]].concat();
        ids.resize(LENGTH, self.padding);
        ids
    }
}

/// The place of the first end token in a row of ids, where the pooled state is taken; the last place if there is none.
pub fn first_end(ids: &[u32]) -> usize {
    ids.iter().position(|id| *id == EOS).unwrap_or(ids.len().saturating_sub(1))
}

/// States of a long text from those of its chunks, as kohya's sd-scripts joins them: the start of the first chunk, the
/// text of all, the end of the last. `[b * chunks, 77, width]` with the chunks of a text in a row →
/// `[b, 75 * chunks + 2, width]`. The pooled state of a long text is that of its first chunk.
pub fn join_chunks(states: Tensor<3>, chunks: usize) -> Tensor<3> {
    let [rows, n, width] = states.dims();
    let b = rows / chunks.max(1);
    let chunked = states.reshape([b, chunks.max(1), n, width]);
    let edge = |chunk, place| chunked.clone().narrow(1, chunk, 1).narrow(2, place, 1).reshape([b, 1, width]);
    let (start, end) = (edge(0, 0), edge(chunks.max(1) - 1, n - 1));
    let text = chunked.narrow(2, 1, n - 2).reshape([b, chunks.max(1) * (n - 2), width]);
    Tensor::cat(vec![start, text, end], 1)
}
