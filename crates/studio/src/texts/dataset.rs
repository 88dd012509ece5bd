//! The Dataset page.

use std::fmt::Display;

use crate::format::{count, count_of, percent, pixels, plain, plural, size};

// Folders and what is in them

pub(crate) const PICTURES: &str = "Pictures";
pub(crate) const LOOKING: &str = "Looking at the pictures";
pub(crate) const EMPTY: &str = "Drop a folder of pictures here";
pub(crate) const EMPTY_HELP: &str = "10 to 50 pictures are a good start. A .txt file beside a picture is its caption";
pub(crate) const ADD_FOLDER: &str = "Add folder…";
pub(crate) const ADD_FOLDER_HELP: &str = "Folders that are dropped are added too";
pub(crate) const LOOK_AT_FOLDERS_AGAIN: &str = "Look at the folders again";
pub(crate) const FOLDER: &str = "Folder";
pub(crate) const FOLDER_HINT: &str = "Drop a folder anywhere, or type its path";
pub(crate) const REPEATS_HELP: &str = "How often an epoch shows each picture of this folder";
pub(crate) const SUBFOLDERS_REPEAT: &str = "numbers in the names of subfolders count as repeats";
/// How often a picture is shown.
pub(crate) const ONCE: &str = "once";
pub(crate) const ALL_WITH_CAPTIONS: &str = "all with captions";
pub(crate) const NONE_WITH_CAPTION: &str = "none with a caption";

pub(crate) fn folder(number: usize) -> String {
    format!("Folder {number}")
}

pub(crate) fn times(number: u64) -> String {
    plural(number, ONCE, "# times")
}

pub(crate) fn repeats_of(folder: &str) -> String {
    format!("Repeats of {folder}")
}

pub(crate) fn show_only(folder: &str) -> String {
    format!("Show only {folder}")
}

pub(crate) fn remove_folder(folder: &str) -> String {
    format!("Remove {folder} from the list")
}

pub(crate) fn in_list_already(folder: impl Display) -> String {
    format!("{folder} is in the list already")
}

/// How many pictures an epoch shows of a folder.
pub(crate) fn looks_an_epoch(looks: u64) -> String {
    plural(looks, "# look an epoch", "# looks an epoch")
}

pub(crate) fn shown_for_its_name(times: u64) -> String {
    plural(times, "shown once for its name", "shown # times for its name")
}

pub(crate) fn looks_with_repeats(looks: u64) -> String {
    plural(looks, "# look an epoch with repeats", "# looks an epoch with repeats")
}

pub(crate) fn without_caption(pictures: u64) -> String {
    format!("{} without caption", count(pictures))
}

pub(crate) fn trigger_word(word: &str) -> String {
    format!("trigger word “{word}”")
}

// The grid

pub(crate) const FIND: &str = "Find in captions and names";
pub(crate) const ALL_PICTURES: &str = "All pictures";
pub(crate) const NO_CAPTION_FILTER: &str = "Without caption";
pub(crate) const NO_TRIGGER_FILTER: &str = "Without trigger word";
pub(crate) const WHICH_PICTURES: &str = "Which pictures";
pub(crate) const ORDER: &str = "Order";
pub(crate) const BY_NAME: &str = "By name";
pub(crate) const SMALLEST_FIRST: &str = "Smallest first";
pub(crate) const LARGEST_FIRST: &str = "Largest first";
pub(crate) const WIDEST_FIRST: &str = "Widest first";
pub(crate) const SHORTEST_CAPTION_FIRST: &str = "Shortest caption first";
pub(crate) const SHOW_ALL: &str = "Show all pictures";
pub(crate) const SELECT_ALL: &str = "Select all";
pub(crate) const CLEAR_SELECTION: &str = "Clear selection";
pub(crate) const NOTHING_FITS: &str = "No picture fits. Clear the search and the filter to see all";
pub(crate) const NO_CAPTION: &str = "No caption";
/// On a picture that has one.
pub(crate) const HAS_MASK: &str = "mask";

pub(crate) fn in_folder(folder: &str) -> String {
    format!("In {folder}")
}

pub(crate) fn shown(shown: u64, all: u64) -> String {
    format!("{} shown", count_of(shown, all))
}

/// A picture for screen readers.
pub(crate) fn picture_with(file: &str, caption: &str) -> String {
    format!("{file}: {caption}")
}

// One picture

pub(crate) const CLOSE_PICTURE: &str = "Close picture";
pub(crate) const CAPTION: &str = "Caption";
pub(crate) const CAPTION_HINT: &str = "What is to be seen, besides what you teach";
pub(crate) const AS_TEXT: &str = "Text";
pub(crate) const AS_TAGS: &str = "Tags";
pub(crate) const ADD_TAG_FIELD: &str = "Add a tag";
pub(crate) const SET_ASIDE: &str = "Set aside";
pub(crate) const SET_ASIDE_HELP: &str =
    "Moves picture and caption to .set-aside in the folder, where training does not look";
pub(crate) const CHANGE_MASK: &str = "Change mask";
pub(crate) const PAINT_MASK: &str = "Paint mask";
pub(crate) const PAINT_MASK_HELP: &str = "Says which part of the picture is learned";
pub(crate) const SHOW_IN_FOLDER: &str = "Show in folder";
pub(crate) const PICTURE_AND_CROP: &str = "The picture and what training sees of it";
pub(crate) const NEXT_PICTURE: &str = "Next picture (Enter)";
pub(crate) const PREVIOUS_PICTURE: &str = "Previous picture (Shift+Enter)";
pub(crate) const WRITE_TRIGGER: &str = "Write it in";

/// The size of a picture, the size it is trained at, and the part of it that this leaves out.
pub(crate) fn trained_at(own: (u32, u32), trained: (u32, u32), cut: f64) -> String {
    let (own, trained) = (pixels(own.0, own.1), size(trained.0, trained.1));
    if cut >= 0.005 {
        format!("{own} · trained at {trained}, {} cut off", percent(cut))
    } else {
        format!("{own} · trained at {trained}")
    }
}

pub(crate) fn picture_of(number: u64, all: u64) -> String {
    format!("Picture {}", count_of(number, all))
}

pub(crate) fn caption_length(words: u64, parts: u64) -> String {
    let words = plural(words, "# word", "# words");
    let parts = plural(parts, "# part between commas", "# parts between commas");
    format!("{words} · {parts} · Enter: next picture")
}

pub(crate) fn move_forward(tag: &str) -> String {
    format!("Move {tag} forward")
}

pub(crate) fn remove_tag(tag: &str) -> String {
    format!("Remove {tag}")
}

pub(crate) fn tags(tags: u64) -> String {
    plural(tags, "# tag", "# tags")
}

pub(crate) fn trigger_missing(word: &str) -> String {
    format!("“{word}” is not in it; training puts it in front")
}

// Many pictures

pub(crate) const ADD_TAG_TO_ALL: &str = "Add a tag to all";
pub(crate) const ADD_TAG: &str = "Add tag";
pub(crate) const AT_END: &str = "At the end of the caption";
pub(crate) const FIND_AND_REPLACE: &str = "Find and replace";
pub(crate) const FIND_FIELD: &str = "Find";
pub(crate) const REPLACE_FIELD: &str = "Replace with";
pub(crate) const REPLACE: &str = "Replace";
pub(crate) const AS_THEY_ARE: &str = "Letters as they are";
pub(crate) const SET_ALL_ASIDE: &str = "Set all aside";
pub(crate) const SET_ALL_ASIDE_HELP: &str =
    "Moves them with their captions to .set-aside in the folder; undo brings them back";
pub(crate) const TAGS_OF_SELECTION: &str = "Tags of the selection";
pub(crate) const NO_CAPTIONS: &str = "No captions yet";

pub(crate) fn selected(pictures: u64) -> String {
    plural(pictures, "# picture selected", "# pictures selected")
}

pub(crate) fn write_trigger(word: &str, captions: u64) -> String {
    plural(captions, "Write “{word}” into # caption", "Write “{word}” into # captions").replace("{word}", word)
}

pub(crate) fn changes(captions: u64) -> String {
    plural(captions, "Changes # caption", "Changes # captions")
}

pub(crate) fn show_tag(tag: &str) -> String {
    format!("Show pictures with {tag}")
}

/// What the grid shows after that.
pub(crate) fn with_tag(tag: &str) -> String {
    format!("With “{tag}”")
}

pub(crate) fn move_to_front(tag: &str) -> String {
    format!("Move {tag} to the front in all selected")
}

pub(crate) fn move_to_end(tag: &str) -> String {
    format!("Move {tag} to the end in all selected")
}

pub(crate) fn remove_from_all(tag: &str) -> String {
    format!("Remove {tag} from all selected")
}

pub(crate) fn more_tags(tags: u64) -> String {
    format!("and {} more", count(tags))
}

// The check-up

pub(crate) const CHECK_UP: &str = "Check-up";
pub(crate) const LOOKING_FOR_BLUR: &str = "Looking for blur and copies";
pub(crate) const GOES_ON_AFTER_RUN: &str = "Goes on when the run is over";
pub(crate) const NOT_LOOKED_FOR_BLUR: &str =
    "Blur and near copies are not looked for yet; that decodes every picture once";
pub(crate) const NOTHING_TO_MEND: &str = "Nothing to mend";
pub(crate) const FINE_SO_FAR: &str = "Captions, sizes and shapes are fine";
pub(crate) const WRITE_CAPTIONS: &str = "Write captions";
pub(crate) const CHANGE_CAPTIONS: &str = "Change the captions";

pub(crate) fn show_found(pictures: u64) -> String {
    plural(pictures, "Show it", "Show them")
}

pub(crate) fn set_found_aside(pictures: u64) -> String {
    plural(pictures, "Set it aside", "Set them aside")
}

pub(crate) fn set_copies_aside(copies: u64) -> String {
    plural(copies, "Set # copy aside, keep the largest", "Set # copies aside, keep the largest")
}

pub(crate) fn write_into_captions(word: &str) -> String {
    format!("Write “{word}” into the captions")
}

pub(crate) fn remove_from_captions(tag: &str) -> String {
    format!("Remove “{tag}” from the captions")
}

// Masks

pub(crate) const SAVE_MASK_CLOSE: &str = "Save mask and close";
pub(crate) const REPAIR_MASK: &str = "Repair the file, or move it away, and paint again";
pub(crate) const LOOKING_AT_MASK: &str = "Looking at the mask";
pub(crate) const BRUSH: &str = "Brush";
pub(crate) const ERASER: &str = "Eraser";
pub(crate) const BRUSH_SIZE: &str = "Brush size";
pub(crate) const OVERLAY: &str = "Overlay";
pub(crate) const UNDO_STROKE: &str = "Undo stroke";
pub(crate) const REDO_STROKE: &str = "Redo stroke";
pub(crate) const FILL: &str = "Fill";
pub(crate) const CLEAR: &str = "Clear";
pub(crate) const INVERT: &str = "Invert";
pub(crate) const MASKS_ARE_OFF: &str = "Masks are switched off in the settings: Training, Advanced, Masks";
pub(crate) const SAVE_MASK: &str = "Save mask";
pub(crate) const DISCARD_MASK: &str = "Discard changes";
pub(crate) const REMOVE_MASK: &str = "Remove mask";

pub(crate) fn mask_of(file: &str) -> String {
    format!("Mask of {file}")
}

pub(crate) fn learned_of(file: &str) -> String {
    format!("What is learned of {file}")
}

/// `outside`: how much the rest counts.
pub(crate) fn learned(part: f64, outside: f64) -> String {
    let part = percent(part);
    if outside == 0.0 {
        format!("{part} is learned, what is red is not learned. [ and ] change the brush, the other button erases")
    } else {
        let outside = plain(outside);
        format!(
            "{part} is learned, what is red counts {outside} times. [ and ] change the brush, the other button erases"
        )
    }
}

pub(crate) fn mask_unreadable(error: impl Display, path: impl Display) -> String {
    format!("the mask cannot be read ({error}): {path}. Check its permissions")
}

// Sizes that pictures are trained at

pub(crate) const SHAPES: &str = "Shapes";
pub(crate) const SHAPES_HELP: &str = "Pictures are sorted by shape into sizes that the model can take";

pub(crate) fn show_size(size: &str, pictures: u64) -> String {
    plural(pictures, "Show {size}, # picture", "Show {size}, # pictures").replace("{size}", size)
}

// What was done

/// In the button that takes it back, as those that follow.
pub(crate) const CHANGE_OF_MASK: &str = "change of a mask";
pub(crate) const PICTURES_IN_USE: &str = "A run is going on with these pictures. Wait for it, or stop it first";
pub(crate) const RUN_GOES_ON: &str = "A run is going on. Stop it, or wait for it, before changing pictures or base";

pub(crate) fn change_of_captions(captions: u64) -> String {
    plural(captions, "change of a caption", "change of # captions")
}

pub(crate) fn setting_aside(pictures: u64) -> String {
    plural(pictures, "setting aside of # picture", "setting aside of # pictures")
}

pub(crate) fn set_aside(pictures: u64) -> String {
    plural(pictures, "Set aside # picture. Undo brings them back", "Set aside # pictures. Undo brings them back")
}

pub(crate) fn changed(captions: u64) -> String {
    plural(captions, "Changed # caption", "Changed # captions")
}

pub(crate) fn dropped_unknown(path: impl Display) -> String {
    format!("{path} is no folder of pictures, no model and no recipe")
}
