//! Folders that come with the program.

use std::env;
use std::path::{Path, PathBuf};

use lorikeet_recipe::Preset;

/// An example of ours: the folder's name, what it teaches, its trigger word.
pub(crate) struct ShippedExample {
    pub folder: &'static str,
    pub title: &'static str,
    pub preset: Preset,
    pub trigger: &'static str,
    pub blurb: &'static str,
    /// Over the sheet that `demo` draws.
    pub sheet_title: &'static str,
    /// What is drawn there.
    pub prompts: &'static [&'static str],
}

/// The first is the one of the demo and of the studio's first start.
pub(crate) const EXAMPLES: [ShippedExample; 3] = [
    ShippedExample {
        folder: "ink-style",
        title: "Teach a style",
        preset: Preset::Style,
        trigger: "ink style",
        blurb: "24 black ink drawings of everyday things.",
        sheet_title: "Things the LoRA has not seen in ink",
        prompts: &[
            "anchor, ink style",
            "backpack, ink style",
            "banana, ink style",
            "castle, ink style",
            "dog face, ink style",
            "doughnut, ink style",
            "duck, ink style",
            "helicopter, ink style",
            "honeybee, ink style",
            "light bulb, ink style",
            "lion, ink style",
            "motorcycle, ink style",
            "octopus, ink style",
            "palm tree, ink style",
            "pear, ink style",
            "pizza, ink style",
            "scissors, ink style",
            "strawberry, ink style",
            "turtle, ink style",
            "violin, ink style",
        ],
    },
    ShippedExample {
        folder: "mascot",
        title: "Teach a character",
        preset: Preset::Character,
        trigger: "lorimascot",
        blurb: "Lori the lorikeet in 24 poses and places.",
        sheet_title: "Lori, some with things that no picture of hers has",
        prompts: &[
            "lorimascot bird",
            "lorimascot bird, on a branch",
            "lorimascot bird, on a hill",
            "lorimascot bird, crown",
            "lorimascot bird, sun",
            "lorimascot bird, on the sea",
            "lorimascot bird, ice cream",
            "lorimascot bird, wrapped gift",
            "lorimascot bird, window",
            "lorimascot bird, star",
        ],
    },
    ShippedExample {
        folder: "concept",
        title: "Teach a thing",
        preset: Preset::Concept,
        trigger: "zibpot",
        blurb: "18 pictures of a teapot rocket, which no model has seen.",
        sheet_title: "The teapot rocket, some with things that no picture of it has",
        prompts: &[
            "zibpot rocket",
            "zibpot rocket, on a hill",
            "zibpot rocket, in the snow",
            "zibpot rocket, fire",
            "zibpot rocket, on a table",
            "zibpot rocket, on a branch",
            "zibpot rocket, crown",
            "zibpot rocket, umbrella",
            "zibpot rocket, tilted",
            "zibpot rocket, window",
        ],
    },
];

/// Under what `LORIKEET_ASSETS` names (or beside it), beside the program, or in the source tree it was built from.
pub(crate) fn find(relative: &str) -> Option<PathBuf> {
    let told = env::var_os("LORIKEET_ASSETS").map(PathBuf::from);
    let beside_told = told.as_deref().and_then(Path::parent).map(Path::to_owned);
    let beside = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let roots = [told, beside_told, beside, source].into_iter().flatten();
    roots.map(|root| root.join(relative)).find(|path| path.is_dir())
}

/// The folder of an example, if it came along.
pub(crate) fn example(example: &ShippedExample) -> Option<PathBuf> {
    find(&format!("datasets-example/{}", example.folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_there_and_their_captions_have_the_trigger() {
        for shipped in &EXAMPLES {
            let folder = example(shipped).unwrap_or_else(|| panic!("{} is missing", shipped.folder));
            let captions = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
            let captions: Vec<_> = captions.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
            assert!(captions.len() >= 12);
            let having =
                captions.iter().filter(|path| std::fs::read_to_string(path).unwrap().contains(shipped.trigger));
            assert_eq!(having.count(), captions.len(), "{}", shipped.folder);
        }
    }
}
