//! Captions: reading the text beside a picture, and what the trainer is told about it at each turn.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use lorikeet_seeded::{Purpose, Stream};
use serde::{Deserialize, Serialize};

use crate::scan::Picture;

/// What is done to captions while training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptionRules {
    /// The word that calls up what is learned. It replaces `[trigger]`, or else goes first unless the caption has it.
    pub trigger: String,
    /// Shuffle the comma-separated tags.
    pub shuffle: bool,
    /// So many of the caption's first tags stay in front when shuffling.
    pub keep_tokens: usize,
    /// Chance, 0 to 1, that the caption is left empty, trigger and all: what classifier-free guidance compares with.
    pub dropout: f64,
}

/// The caption of one use of a picture. `key` is [`crate::epoch::Item::key`], so that copies of a picture differ.
pub fn caption_for(picture: &Picture, rules: &CaptionRules, seed: u64, epoch: u64, key: u64) -> String {
    if Stream::new(seed, Purpose::CaptionDropout, &[epoch, key]).unit() < rules.dropout {
        return String::new();
    }
    if !rules.shuffle {
        return with_trigger(&picture.caption, &rules.trigger);
    }
    let trigger = rules.trigger.trim();
    let caption = picture.caption.replace(PLACEHOLDER, trigger);
    let mut tags: Vec<&str> = tags(&caption).collect();
    let kept = rules.keep_tokens.min(tags.len());
    Stream::new(seed, Purpose::TagShuffle, &[epoch, key]).shuffle(&mut tags[kept..]);
    // A trigger among the tags goes in front, wherever it was shuffled to.
    let count = tags.len();
    tags.retain(|tag| !same_word(tag, trigger));
    let text = tags.join(", ");
    let has_trigger = tags.len() == count && contains_word(&text, trigger);
    if trigger.is_empty() || has_trigger { text } else { joined(trigger, &text) }
}

/// What stands for the trigger word within a caption.
pub const PLACEHOLDER: &str = "[trigger]";

/// The caption with the trigger word in it, as it is without shuffling and dropout.
pub fn with_trigger(caption: &str, trigger: &str) -> String {
    let trigger = trigger.trim();
    if caption.contains(PLACEHOLDER) {
        return one_line(&caption.replace(PLACEHOLDER, trigger)).trim_start_matches([',', ' ']).to_owned();
    }
    if trigger.is_empty() || contains_word(caption, trigger) {
        return caption.to_owned();
    }
    joined(trigger, caption)
}

fn joined(trigger: &str, caption: &str) -> String {
    if caption.is_empty() { trigger.to_owned() } else { format!("{trigger}, {caption}") }
}

/// The comma-separated parts, trimmed, without empty ones.
pub fn tags(caption: &str) -> impl Iterator<Item = &str> {
    caption.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

pub(crate) fn same_word(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// Whether `word` stands in `text` with no letter or digit right before or after it; case does not count.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    text.match_indices(&word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// A caption file that was found and has text.
pub(crate) struct Sidecar {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The first of `NAME.txt` and `NAME.caption` beside the picture that has text. Oddities go to `warnings`.
pub(crate) fn sidecar(picture: &Path, warnings: &mut Vec<String>) -> Option<Sidecar> {
    for extension in ["txt", "TXT", "caption", "CAPTION"] {
        let path = picture.with_extension(extension);
        let bytes = match read_start(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                warnings.push(format!("caption file not used, it cannot be read ({error}): {}", path.display()));
                continue;
            }
        };
        let (decoded, exact) = decode(&bytes);
        if !exact {
            warnings.push(format!(
                "caption file is not UTF-8, some letters are lost; save it as UTF-8: {}",
                path.display()
            ));
        }
        let mut lines = decoded.lines().map(one_line).filter(|line| !line.is_empty());
        let Some(text) = lines.next() else {
            warnings.push(format!("caption file is empty: {}", path.display()));
            continue;
        };
        let more = lines.count();
        if more > 0 {
            warnings.push(format!(
                "caption file has {} lines, only the first is used; put all of it on one: {}",
                more + 1,
                path.display()
            ));
        }
        return Some(Sidecar { path, text });
    }
    None
}

/// Captions are a sentence or a list of tags; more than this is some other text.
const LONGEST: u64 = 64 * 1024;

fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text, and whether it was decoded without loss. UTF-16 is what old Windows editors write as "Unicode".
fn decode(bytes: &[u8]) -> (String, bool) {
    let utf16 = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_or_else(|_| (String::from_utf16_lossy(&units), false), |text| (text, true))
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> (String, bool) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), true),
        // Cut within a letter by the length limit: nothing that matters is lost.
        Err(error) if error.error_len().is_none() && bytes.len() as u64 == LONGEST => {
            (String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned(), true)
        }
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), false),
    }
}

/// Trimmed, runs of blanks as one, control characters as blanks.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
