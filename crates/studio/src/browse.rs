//! Which pictures are shown, in which order, and which are selected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lorikeet_dataset::{CaptionEdit, Dataset, has_trigger, tag_counts};

use crate::texts;

/// Which pictures are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Show {
    #[default]
    All,
    NoCaption,
    NoTrigger,
    /// Those of a folder, with its name.
    Folder(PathBuf, String),
    /// Those of a finding of the doctor, or of a tag, with its words.
    These(String, Arc<Vec<PathBuf>>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Name,
    Smallest,
    Largest,
    Widest,
    ShortestCaption,
}

impl Order {
    pub(crate) const ALL: [Order; 5] =
        [Order::Name, Order::Smallest, Order::Largest, Order::Widest, Order::ShortestCaption];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Order::Name => texts::dataset::BY_NAME,
            Order::Smallest => texts::dataset::SMALLEST_FIRST,
            Order::Largest => texts::dataset::LARGEST_FIRST,
            Order::Widest => texts::dataset::WIDEST_FIRST,
            Order::ShortestCaption => texts::dataset::SHORTEST_CAPTION_FIRST,
        }
    }
}

/// What the order of the shown pictures was made from: made anew when any of it changes, not in every frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    /// Of the dataset.
    generation: u64,
    search: String,
    show: Show,
    order: Order,
    trigger: String,
}

/// The caption being typed for a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Typing {
    pub(crate) picture: PathBuf,
    /// As it was when typing began.
    pub(crate) seen: String,
    pub(crate) text: String,
}

/// What is known of the selected pictures, made anew when they change.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    key: Option<(u64, u64, String, String, String)>,
    /// Of the selected pictures.
    pub(crate) indices: Vec<usize>,
    pub(crate) tags: Vec<(String, usize)>,
    /// Captions without the trigger word, and those that a replacement changes.
    pub(crate) lacking: usize,
    pub(crate) changed: usize,
}

/// Fields of the card for many pictures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bulk {
    pub(crate) tag: String,
    pub(crate) at_end: bool,
    pub(crate) find: String,
    pub(crate) with: String,
}

#[derive(Default)]
pub(crate) struct Browse {
    pub(crate) search: String,
    pub(crate) show: Show,
    pub(crate) order: Order,
    /// Captions as tags rather than text.
    pub(crate) chips: bool,
    pub(crate) typing: Typing,
    pub(crate) new_tag: String,
    pub(crate) bulk: Bulk,
    pub(crate) summary: Summary,
    /// The caption field is to get the keyboard.
    pub(crate) focus_caption: bool,
    /// The grid is to show the current picture.
    pub(crate) scroll: bool,
    selected: BTreeSet<PathBuf>,
    /// Counts the changes of `selected`.
    version: u64,
    current: Option<PathBuf>,
    /// Where a range begins.
    anchor: Option<PathBuf>,
    key: Option<Key>,
    visible: Vec<usize>,
    /// How often the order was made, for tests.
    pub(crate) made: u64,
}

impl Browse {
    /// Indices of the pictures to show, in order.
    pub(crate) fn visible(&mut self, data: &Dataset, generation: u64, trigger: &str) -> &[usize] {
        let same = self.key.as_ref().is_some_and(|key| {
            key.generation == generation
                && key.search == self.search
                && key.show == self.show
                && key.order == self.order
                && key.trigger == trigger
        });
        if !same {
            self.key = Some(Key {
                generation,
                search: self.search.clone(),
                show: self.show.clone(),
                order: self.order,
                trigger: trigger.to_owned(),
            });
            self.visible = ordered(data, &self.search, &self.show, self.order, trigger);
            self.made += 1;
        }
        &self.visible
    }

    /// As [`Browse::visible`] made it last.
    pub(crate) fn shown(&self) -> &[usize] {
        &self.visible
    }

    /// Another folder: nothing is selected in it.
    pub(crate) fn clear(&mut self) {
        let (order, chips) = (self.order, self.chips);
        *self = Self { order, chips, made: self.made, version: self.version + 1, ..Self::default() };
    }

    pub(crate) fn count(&self) -> usize {
        self.selected.len()
    }

    pub(crate) fn is_selected(&self, path: &Path) -> bool {
        self.selected.contains(path)
    }

    pub(crate) fn current(&self) -> Option<&Path> {
        self.current.as_deref()
    }

    /// In order of path.
    pub(crate) fn selected(&self) -> impl Iterator<Item = &PathBuf> {
        self.selected.iter()
    }

    pub(crate) fn select_only(&mut self, path: &Path) {
        self.version += 1;
        self.selected = BTreeSet::from([path.to_owned()]);
        self.current = Some(path.to_owned());
        self.anchor = self.current.clone();
    }

    pub(crate) fn toggle(&mut self, path: &Path) {
        self.version += 1;
        if !self.selected.remove(path) {
            self.selected.insert(path.to_owned());
        }
        self.current = Some(path.to_owned());
        self.anchor = self.current.clone();
    }

    /// All from where the range began to this one.
    pub(crate) fn extend(&mut self, path: &Path, data: &Dataset) {
        self.version += 1;
        let place = |path: &Path| self.visible.iter().position(|index| data.images[*index].path == path);
        let from = self.anchor.as_deref().and_then(place);
        if let (Some(from), Some(to)) = (from, place(path)) {
            let range = &self.visible[from.min(to)..=from.max(to)];
            self.selected = range.iter().map(|index| data.images[*index].path.clone()).collect();
            self.current = Some(path.to_owned());
        } else {
            self.select_only(path);
        }
    }

    pub(crate) fn select(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.version += 1;
        self.selected = paths.into_iter().collect();
        self.current = self.selected.first().cloned();
        self.anchor = self.current.clone();
    }

    /// Brings [`Browse::summary`] up to date.
    pub(crate) fn summarise(&mut self, data: &Dataset, generation: u64, trigger: &str) {
        let Bulk { find, with, .. } = &self.bulk;
        let key = (generation, self.version, trigger.to_owned(), find.clone(), with.clone());
        if self.summary.key.as_ref() == Some(&key) {
            return;
        }
        let indices: Vec<usize> =
            (0..data.images.len()).filter(|index| self.selected.contains(&data.images[*index].path)).collect();
        let replace = CaptionEdit::Replace { find: find.clone(), with: with.clone() };
        let captions = || indices.iter().map(|index| data.images[*index].caption.as_str());
        self.summary = Summary {
            tags: tag_counts(indices.iter().map(|index| &data.images[*index])),
            lacking: captions().filter(|caption| !has_trigger(caption, trigger)).count(),
            changed: captions().filter(|caption| replace.apply(caption) != *caption).count(),
            indices,
            key: Some(key),
        };
    }

    /// Pictures that are gone are selected no more.
    pub(crate) fn retain(&mut self, data: &Dataset) {
        self.version += 1;
        let there: std::collections::HashSet<&Path> =
            data.images.iter().map(|picture| picture.path.as_path()).collect();
        self.selected.retain(|path| there.contains(path.as_path()));
        for path in [&mut self.current, &mut self.anchor] {
            path.take_if(|path| !there.contains(path.as_path()));
        }
    }

    /// The picture so many places on from the current one, among those shown.
    pub(crate) fn neighbour(&self, data: &Dataset, by: isize) -> Option<PathBuf> {
        let at = self.place(data);
        let to = match at {
            Some(at) => at.checked_add_signed(by).filter(|to| *to < self.visible.len())?,
            None => 0,
        };
        Some(data.images.get(*self.visible.get(to)?)?.path.clone())
    }

    /// Of the current picture among those shown.
    pub(crate) fn place(&self, data: &Dataset) -> Option<usize> {
        let current = self.current.as_deref()?;
        self.visible.iter().position(|index| data.images.get(*index).is_some_and(|picture| picture.path == current))
    }
}

fn ordered(data: &Dataset, search: &str, show: &Show, order: Order, trigger: &str) -> Vec<usize> {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    let these: Option<std::collections::HashSet<&PathBuf>> =
        if let Show::These(_, paths) = show { Some(paths.iter().collect()) } else { None };
    let mut shown: Vec<usize> = (0..data.images.len())
        .filter(|index| {
            let picture = &data.images[*index];
            let wanted = match show {
                Show::All => true,
                Show::NoCaption => picture.caption.is_empty(),
                Show::NoTrigger => !has_trigger(&picture.caption, trigger),
                Show::Folder(folder, _) => data.folder_of(&picture.path) == folder,
                Show::These(..) => these.as_ref().is_some_and(|these| these.contains(&picture.path)),
            };
            wanted && (words.is_empty() || holds(data, &picture.path, &picture.caption, &words))
        })
        .collect();
    let area = |index: &usize| u64::from(data.images[*index].width) * u64::from(data.images[*index].height);
    let aspect = |index: &usize| {
        let picture = &data.images[*index];
        u64::from(picture.width) * 1_000_000 / u64::from(picture.height.max(1))
    };
    // Sorting is stable: equal ones stay in the order of their names.
    match order {
        Order::Name => {}
        Order::Smallest => shown.sort_by_key(area),
        Order::Largest => shown.sort_by_key(|index| std::cmp::Reverse(area(index))),
        Order::Widest => shown.sort_by_key(|index| std::cmp::Reverse(aspect(index))),
        Order::ShortestCaption => shown.sort_by_key(|index| data.images[*index].caption.chars().count()),
    }
    shown
}

/// Whether each word stands in the caption or the file's path within the folder.
fn holds(data: &Dataset, path: &Path, caption: &str, words: &[String]) -> bool {
    let name = data.within(path).to_string_lossy();
    let text = format!("{name} {caption}").to_lowercase();
    words.iter().all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lorikeet_dataset::Picture;

    fn data() -> Dataset {
        let picture = |name: &str, width, height, caption: &str| Picture {
            path: Path::new("/set").join(name),
            width,
            height,
            repeats: 1,
            caption: caption.to_owned(),
            caption_path: None,
            mask: None,
            folder: "set".to_owned(),
        };
        Dataset {
            folder: "/set".into(),
            images: vec![
                picture("a.png", 100, 100, "zib, red cat"),
                picture("b.png", 300, 100, ""),
                picture("c.png", 50, 50, "blue dog"),
            ],
            ..Dataset::default()
        }
    }

    fn names(browse: &mut Browse, data: &Dataset) -> String {
        let shown = browse.visible(data, 1, "zib").to_vec();
        shown.iter().map(|index| data.images[*index].path.file_stem().unwrap_or_default().to_string_lossy()).collect()
    }

    #[test]
    fn pictures_are_found_filtered_and_sorted_and_the_order_is_kept() {
        let (data, mut browse) = (data(), Browse::default());
        assert_eq!(names(&mut browse, &data), "abc");
        browse.search = "RED cat".to_owned();
        assert_eq!(names(&mut browse, &data), "a");
        browse.search = "b.png".to_owned();
        assert_eq!(names(&mut browse, &data), "b", "by name of file too");
        browse.search.clear();
        for (show, expected) in [(Show::NoCaption, "b"), (Show::NoTrigger, "bc"), (Show::All, "abc")] {
            browse.show = show;
            assert_eq!(names(&mut browse, &data), expected);
        }
        for (order, expected) in
            [(Order::Smallest, "cab"), (Order::Largest, "bac"), (Order::Widest, "bac"), (Order::ShortestCaption, "bca")]
        {
            browse.order = order;
            assert_eq!(names(&mut browse, &data), expected, "{order:?}");
        }
        let made = browse.made;
        names(&mut browse, &data);
        assert_eq!(browse.made, made, "nothing changed, nothing is sorted");
    }

    #[test]
    fn ranges_follow_the_order_on_screen() {
        let (data, mut browse) = (data(), Browse { order: Order::Smallest, ..Browse::default() });
        names(&mut browse, &data);
        browse.select_only(Path::new("/set/c.png"));
        browse.extend(Path::new("/set/a.png"), &data);
        assert_eq!(browse.count(), 2);
        assert_eq!(browse.neighbour(&data, 1), Some("/set/b.png".into()));
        browse.extend(Path::new("/set/b.png"), &data);
        assert_eq!(browse.count(), 3, "from where the range began");
        assert_eq!(browse.neighbour(&data, 1), None);
        browse.toggle(Path::new("/set/a.png"));
        assert!(!browse.is_selected(Path::new("/set/a.png")));
        let fewer = Dataset { images: data.images[..1].to_vec(), ..data };
        browse.retain(&fewer);
        assert_eq!((browse.count(), browse.current()), (0, Some(Path::new("/set/a.png"))));
    }
}
