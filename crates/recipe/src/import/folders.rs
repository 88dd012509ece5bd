//! Folders beside the first: kohya's subsets, OneTrainer's concepts.

use serde_json::{Map, Value as Json};

use super::{Reader, is_off, number, text};
use crate::folders::PictureFolder;

/// All subsets but the first. What else they set is told where the first does not set the same.
pub(super) fn kohya(map: &Map<String, Json>, reader: &mut Reader) -> Vec<PictureFolder> {
    let list = |value: Option<&Json>| value.and_then(Json::as_array).cloned().unwrap_or_default();
    let general = map.get("general").and_then(|general| general.get("num_repeats"));
    let (mut first, mut found): (Option<Json>, _) = (None, Vec::new());
    for dataset in list(map.get("datasets")) {
        for subset in list(dataset.get("subsets")) {
            let Some(first) = &first else {
                first = Some(subset);
                continue;
            };
            let path = subset.get("image_dir").map(text).unwrap_or_default();
            if subset.get("is_reg").is_some_and(|reg| !is_off(reg)) {
                reader.leave("subsets", &Json::from(path), "there are no regularisation pictures here");
                continue;
            }
            for (key, value) in subset.as_object().into_iter().flatten() {
                if !["image_dir", "num_repeats"].contains(&key.as_str()) && first.get(key) != Some(value) {
                    let why = "all folders share one setting here; that of the first is taken";
                    reader.leave(&format!("subsets: {path}: {key}"), value, why);
                }
            }
            let repeats = subset.get("num_repeats").or_else(|| dataset.get("num_repeats")).or(general);
            found.extend(further(reader, "num_repeats", subset.get("image_dir"), repeats));
        }
    }
    found
}

/// All concepts but the first, as far as they are switched on.
pub(super) fn onetrainer(map: &Map<String, Json>, reader: &mut Reader) -> Vec<PictureFolder> {
    let concepts = map.get("concepts").and_then(Json::as_array).into_iter().flatten();
    let on = |concept: &&Json| concept.get("enabled").is_none_or(|enabled| !is_off(enabled));
    concepts
        .skip(1)
        .filter(on)
        .filter_map(|concept| further(reader, "concepts.balancing", concept.get("path"), concept.get("balancing")))
        .collect()
}

/// A folder beside the first, with its repeats as the other program writes them; nothing where it names none.
fn further(reader: &mut Reader, key: &str, path: Option<&Json>, repeats: Option<&Json>) -> Option<PictureFolder> {
    let path = path.map(text).filter(|path| !path.trim().is_empty())?;
    let times = repeats.and_then(number).unwrap_or(1.0);
    let whole = (1.0..=1000.0).contains(&times) && times.fract() == 0.0;
    if !whole {
        reader.leave(
            &format!("{key}: {path}"),
            &Json::from(times),
            "a folder is shown a whole number of times, 1 to 1000",
        );
    }
    Some(PictureFolder { path, repeats: if whole { times as u32 } else { 1 } })
}
