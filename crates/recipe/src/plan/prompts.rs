//! Prompts for previews when the user gave none.

use crate::setting::Preset;

/// How many previews are drawn at a time: enough to see it work on different things, few enough to be quick.
const PROMPTS: usize = 4;

/// Things to draw in a new style that a folder of pictures rarely has all of. The demo base knows them.
const SUBJECTS: [&str; 6] = ["red apple", "cat", "sailboat", "house", "tree", "teapot"];

/// Scenes to put a figure or thing into that its pictures rarely show.
const SCENES: [&str; 4] = ["in the snow", "on a beach", "in a forest", "on a white background"];

/// Prompts, and where they come from.
pub(super) fn choose(preset: Preset, trigger: &str, captions: &[String]) -> (Vec<String>, String) {
    let own = spread(&distinct(captions, trigger), if trigger.is_empty() { PROMPTS } else { PROMPTS / 2 });
    let mut prompts = own.clone();
    if trigger.is_empty() {
        if prompts.is_empty() {
            prompts.extend(SUBJECTS.iter().take(PROMPTS).map(|subject| (*subject).to_owned()));
            let reason = "there is no caption and no trigger word to go by, so everyday things are drawn".to_owned();
            return (prompts, reason);
        }
        return (prompts, "from your captions; other prompts can be given in sample.prompts".to_owned());
    }
    // Captions that end with the trigger word teach it there.
    let at_end = captions.iter().filter(|caption| caption.trim().to_lowercase().ends_with(&trigger.to_lowercase()));
    let at_end = at_end.count() * 2 > captions.len();
    let ideas: &[&str] = if preset == Preset::Style { &SUBJECTS } else { &SCENES };
    let new = ideas.iter().filter(|idea| !captions.iter().any(|caption| caption.to_lowercase().contains(*idea)));
    for idea in new.take(PROMPTS - prompts.len()) {
        prompts.push(if preset == Preset::Style && at_end {
            format!("{idea}, {trigger}")
        } else {
            format!("{trigger}, {idea}")
        });
    }
    let made = prompts.len() - own.len();
    let what = if preset == Preset::Style { "things" } else { "scenes" };
    let reason = match own.len() {
        0 => format!("the trigger word with {made} {what}"),
        own => format!("{own} from your captions, {made} with the trigger word and {what} not in them"),
    };
    (prompts, reason)
}

/// The captions with the trigger word, each once, in order.
fn distinct(captions: &[String], trigger: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for caption in captions.iter().map(|caption| with_trigger(caption, trigger)).filter(|caption| !caption.is_empty()) {
        if !all.contains(&caption) {
            all.push(caption);
        }
    }
    all
}

/// As training sees it: the trigger word put in front of a caption that lacks it.
fn with_trigger(caption: &str, trigger: &str) -> String {
    let caption = caption.trim();
    if trigger.is_empty() || caption.to_lowercase().contains(&trigger.to_lowercase()) {
        caption.to_owned()
    } else if caption.is_empty() {
        String::new()
    } else {
        format!("{trigger}, {caption}")
    }
}

/// `wanted` of them, evenly from the first on.
fn spread(all: &[String], wanted: usize) -> Vec<String> {
    let wanted = wanted.min(all.len());
    (0..wanted).map(|index| all[index * all.len() / wanted].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_style_is_tried_on_its_own_things_and_on_others() {
        let (prompts, _) = choose(
            Preset::Style,
            "ink style",
            &captions(&["bicycle, ink style", "cat, ink style", "crown, ink style", "drum, ink style"]),
        );
        assert_eq!(prompts, ["bicycle, ink style", "crown, ink style", "red apple, ink style", "sailboat, ink style"]);
    }

    #[test]
    fn a_character_is_put_into_scenes() {
        let (prompts, _) =
            choose(Preset::Character, "lori", &captions(&["a parrot on a beach", "a parrot on a beach"]));
        assert_eq!(
            prompts,
            ["lori, a parrot on a beach", "lori, in the snow", "lori, in a forest", "lori, on a white background"]
        );
    }

    #[test]
    fn without_trigger_captions_are_spread_over_the_set() {
        let (prompts, _) = choose(Preset::Concept, "", &captions(&["a", "b", "c", "d", "e", "f", "g", "h"]));
        assert_eq!(prompts, ["a", "c", "e", "g"]);
    }

    #[test]
    fn with_nothing_to_go_by_something_is_drawn() {
        let (prompts, reason) = choose(Preset::Style, "", &captions(&["", " "]));
        assert_eq!(prompts.len(), 4);
        assert!(reason.contains("no caption"), "{reason}");
    }
}
