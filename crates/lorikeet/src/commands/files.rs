//! `inspect`, `models`, `export`, `new`.

use std::path::{Path, PathBuf};

use lorikeet_protocol::{About, ExportRequest};
use lorikeet_recipe::{Recipe, Value};

use crate::args::{ExportArgs, NewArgs};
use crate::trouble::Trouble;

pub(crate) fn inspect(path: &Path) -> Result<(), Trouble> {
    let found = lorikeet_checkpoint::inspect(path)
        .map_err(|error| Trouble::failed("The file cannot be read", error, "Choose another file or folder"))?;
    print!("{found}");
    Ok(())
}

pub(crate) fn models(folders: Vec<PathBuf>) -> Result<(), Trouble> {
    let roots = if folders.is_empty() { lorikeet_checkpoint::usual_roots() } else { folders };
    if let Some(missing) = roots.iter().find(|root| !root.is_dir()) {
        let why = format!("there is no folder {}", missing.display());
        return Err(Trouble::usage("No models can be listed", why, "Name folders that exist"));
    }
    let found = lorikeet_checkpoint::discover(&roots);
    for model in &found {
        println!("{}\n    {}", model.path.display(), model.what);
    }
    if found.is_empty() {
        let looked: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        let place = if looked.is_empty() { "the usual places".to_owned() } else { looked.join(", ") };
        println!("No models in {place}. Name the folder they are in: lorikeet models FOLDER");
    }
    Ok(())
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), Trouble> {
    let request = ExportRequest {
        run_dir: args.run.clone(),
        step: args.step,
        to: args.to.clone(),
        dtype: args.dtype.into(),
        names: args.names.into(),
        about: About {
            title: args.title.clone(),
            author: args.author.clone(),
            description: args.description.clone(),
            license: args.license.clone(),
            usage_hint: args.usage_hint.clone(),
            tags: args.tags.clone(),
        },
        thumbnail: args.thumbnail.clone(),
    };
    let exported = lorikeet_trainer::export(&request).map_err(|error| error.failure())?;
    println!("Exported {} layers: {}", exported.modules, exported.path.display());
    Ok(())
}

pub(crate) fn new_recipe(args: &NewArgs) -> Result<(), Trouble> {
    let mut recipe = Recipe::new(args.preset.into());
    // Read by the setting that holds several, which says what is wrong with one.
    recipe.set("dataset.more_folders", Value::List(args.folders.clone()))?;
    let folders = recipe.folders();
    recipe.set_folders(&folders)?;
    let first = folders.first().map(|folder| Path::new(&folder.path)).and_then(Path::file_name);
    let name = || first.map_or_else(|| "recipe".into(), |name| name.to_string_lossy().into_owned());
    let path = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", name())));
    if path.exists() {
        let why = format!("there is a file already: {}", path.display());
        return Err(Trouble::failed("No recipe was written", why, "Choose another name with --to"));
    }
    recipe.save(&path).map_err(|error| {
        Trouble::failed("No recipe was written", error, "Choose a place that can be written to with --to")
    })?;
    println!("Recipe: {}", path.display());
    println!("Next: lorikeet train {}", shell_word(&path));
    for folder in folders.iter().filter(|folder| !Path::new(&folder.path).is_dir()) {
        println!("Warning: there is no such folder yet: {}", folder.path);
    }
    Ok(())
}

fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
