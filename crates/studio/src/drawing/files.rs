//! What lies in a run folder for drawing: saves, drawings, the mark.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Kept, Material};
use crate::texts;

/// In a run folder.
pub(super) const FOLDER: &str = "drawings";
const FAVOURITE: &str = "favourite.json";

/// Reads what a run folder has to draw with. For a thread.
pub(crate) fn material(run_dir: Option<PathBuf>, fallback: &Path) -> Material {
    let Some(run_dir) = run_dir else {
        return Material { drawn: kept_in(&fallback.join(FOLDER)), ..Material::default() };
    };
    let plan = fs::read(run_dir.join("plan.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let entries = fs::read_dir(run_dir.join("checkpoints")).into_iter().flatten().flatten().map(|entry| entry.path());
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut saves: Vec<(u64, PathBuf)> = entries
        .filter(|path| path.join("adapter.safetensors").is_file())
        .filter_map(|path| Some((step(&path)?, path)))
        .collect();
    saves.sort();
    let favourite = fs::read_to_string(run_dir.join(FAVOURITE)).ok();
    let favourite = favourite.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()?["step"].as_u64());
    Material { plan, saves, drawn: kept_in(&run_dir.join(FOLDER)), favourite, run_dir: Some(run_dir) }
}

/// Pictures of earlier sittings, oldest first.
fn kept_in(folder: &Path) -> Vec<Kept> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kept: Vec<(SystemTime, Kept)> = paths
        .filter_map(|path| {
            let settings = lorikeet_picture::read_settings(&path)?;
            let time = fs::metadata(&path).and_then(|facts| facts.modified()).ok()?;
            Some((time, Kept { settings, path }))
        })
        .collect();
    kept.sort_by(|a, b| (a.1.settings.set, a.0, &a.1.path).cmp(&(b.1.settings.set, b.0, &b.1.path)));
    kept.into_iter().map(|(_, kept)| kept).collect()
}

/// Keeps the mark with the run. For a thread.
pub(crate) fn write_favourite(run_dir: &Path, step: Option<u64>) -> Result<(), String> {
    let path = run_dir.join(FAVOURITE);
    let written =
        lorikeet_checkpoint::write_atomically(&path, |out| write!(out, "{}", serde_json::json!({"step": step})));
    written.map_err(|error| error.to_string())
}

/// Saves what a picture was drawn with as a workflow of ComfyUI. For a thread.
pub(crate) fn write_workflow(picture: &Path, to: PathBuf) -> Result<PathBuf, String> {
    let settings =
        lorikeet_picture::read_settings(picture).ok_or_else(|| texts::draw::workflow_unknown(picture.display()))?;
    let text = format!("{:#}", lorikeet_picture::workflow(&settings));
    let written = lorikeet_checkpoint::write_atomically(&to, |out| out.write_all(text.as_bytes()));
    written.map(|()| to).map_err(|error| error.to_string())
}
