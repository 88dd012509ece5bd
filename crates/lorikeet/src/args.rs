//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lorikeet_protocol::{ExportDtype, ExportNames};
use lorikeet_recipe::Preset;

/// Teaches an image model something new from a folder of pictures. Without a subcommand it opens the studio.
#[derive(Debug, Parser)]
#[command(name = "lorikeet", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// Use no network: nothing is fetched from the Hugging Face hub
    #[arg(long, global = true)]
    pub offline: bool,
    #[command(subcommand)]
    pub task: Option<Task>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Train a LoRA as a recipe says
    Train(TrainArgs),
    /// Show what a recipe comes to, with reasons, and train nothing
    Plan(PlanArgs),
    /// Train an example on the built-in base: pictures, loss plot and LoRA in a few minutes
    Demo(DemoArgs),
    /// Go on with a run from its last save
    Resume(ResumeArgs),
    /// Have a run wait that another program trains, without giving up what it holds
    Pause {
        /// The folder of the run
        run: PathBuf,
        /// Let it go on
        #[arg(long)]
        off: bool,
    },
    /// Have a run save and end that another program trains
    Stop {
        /// The folder of the run
        run: PathBuf,
    },
    /// Runs one after another: what waits, and doing it without the window
    Queue(QueueArgs),
    /// Draw pictures from a base and LoRAs
    Sample(Box<SampleArgs>),
    /// Write a save of a run as a LoRA file for other programs
    Export(ExportArgs),
    /// Tell what a model file, LoRA file or model folder is
    Inspect { path: PathBuf },
    /// List the models on this computer: in the folders of ComfyUI, AUTOMATIC1111, Forge and the Hugging Face hub
    Models {
        /// Look into these folders instead
        folders: Vec<PathBuf>,
    },
    /// Fetch a model from the Hugging Face hub into the cache that the hub's programs share
    Download(DownloadArgs),
    /// Write a recipe with every setting explained
    New(NewArgs),
    /// List every setting
    Settings {
        /// Only settings whose id or help has this in it
        filter: Option<String>,
    },
    /// List what this program can compute on
    Devices,
    /// Look at this computer: memory, disk, graphics drivers, and what is missing
    Doctor,
    /// Work for another program: commands on standard input, events on standard output, as lines of JSON
    #[command(hide = true)]
    Worker,
}

/// What changes a recipe.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Change a setting (`lorikeet settings` lists them); may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What to compute on: auto, cpu, cuda, cuda:1, vulkan
    #[arg(long)]
    pub device: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// The recipe, a TOML file
    pub recipe: PathBuf,
    #[command(flatten)]
    pub changes: Changes,
    /// Tell each event as a line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct QueueArgs {
    /// The queue in this file; without it the one that the studio shows
    #[arg(long)]
    pub file: Option<PathBuf>,
    #[command(subcommand)]
    pub task: QueueTask,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueTask {
    /// Show what waits, what is on and how runs ended
    List,
    /// Plan a recipe and put it at the end
    Add(QueueAddArgs),
    /// Take a run out
    Remove {
        /// As `list` shows it
        number: usize,
    },
    /// Do one run after another until nothing waits
    Run(QueueRunArgs),
    /// Have whoever works the queue end after the run that is on
    Hold,
    /// Forget how runs ended, and a run that was interrupted
    Forget,
}

#[derive(Args, Debug)]
pub(crate) struct QueueAddArgs {
    /// The recipe, a TOML file
    pub recipe: PathBuf,
    #[command(flatten)]
    pub changes: Changes,
}

#[derive(Args, Debug)]
pub(crate) struct QueueRunArgs {
    /// Tell each event as a line of JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Once the run in this folder is over, whoever does it
    #[arg(long, hide = true, value_name = "RUN")]
    pub after: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    /// The recipe, a TOML file
    pub recipe: PathBuf,
    #[command(flatten)]
    pub changes: Changes,
    /// The plan as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
    /// The folder of the run
    pub run: PathBuf,
    /// Steps in all, more than the run has
    #[arg(long)]
    pub steps: Option<u64>,
    /// With --steps: even if the learning rate has fallen and would start again
    #[arg(long, requires = "steps")]
    pub restart_schedule: bool,
    /// Tell each event as a line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// ink-style, mascot or concept
    #[arg(default_value = "ink-style")]
    pub example: String,
    /// Training steps; without it as many as the preset takes
    #[arg(long)]
    pub steps: Option<u64>,
    #[command(flatten)]
    pub changes: Changes,
    /// Where the run folder is made
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct SampleArgs {
    /// demo, a model folder or a .safetensors file
    #[arg(long, default_value = "demo")]
    pub base: String,
    /// The base's autoencoder, if it lies elsewhere: a .safetensors file or a folder
    #[arg(long)]
    pub vae: Option<PathBuf>,
    /// The base's text encoder, if it lies elsewhere
    #[arg(long)]
    pub text_encoder: Option<PathBuf>,
    /// The second text encoder of SDXL, or T5 of FLUX, if it lies elsewhere
    #[arg(long)]
    pub text_encoder_2: Option<PathBuf>,
    /// A LoRA file or the folder of a save, with its strength after a colon if it is not 1; may be repeated, and all add up
    #[arg(long = "lora", value_name = "PATH[:STRENGTH]")]
    pub loras: Vec<String>,
    /// What to draw; may be repeated
    #[arg(long = "prompt", required = true)]
    pub prompts: Vec<String>,
    /// What not to draw
    #[arg(long, default_value = "")]
    pub negative: String,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// px; without it what the base was trained at
    #[arg(long, default_value_t = 0)]
    pub width: u32,
    /// px; without it what the base was trained at
    #[arg(long, default_value_t = 0)]
    pub height: u32,
    /// Sampler steps; without it what suits the base
    #[arg(long)]
    pub steps: Option<u32>,
    /// How strongly to follow the prompt; without it what suits the base
    #[arg(long)]
    pub cfg: Option<f64>,
    /// What FLUX.1 dev is told about following the prompt; without it 3.5
    #[arg(long)]
    pub guidance: Option<f64>,
    /// euler, euler_a, dpmpp_2m or ddim; without it what suits the base
    #[arg(long)]
    pub sampler: Option<String>,
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// `f32` where 16 bits, which cards take by themselves, give black pictures
    #[arg(long, default_value = "auto", value_parser = ["auto", "f32"])]
    pub precision: String,
    /// The folder the pictures go to
    #[arg(long, default_value = "samples")]
    pub out: PathBuf,
    /// Also write the noise drawn from, for comparing with other programs
    #[arg(long, value_name = "FILE")]
    pub noise_out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The folder of the run
    pub run: PathBuf,
    /// The file to write
    #[arg(long)]
    pub to: PathBuf,
    #[arg(long, value_enum, default_value = "f16")]
    pub dtype: DtypeArg,
    /// The save of this step; without it the last one
    #[arg(long)]
    pub step: Option<u64>,
    /// What layers are called: kohya's names, which every program reads, or those of diffusers and PEFT
    #[arg(long, value_enum, default_value = "kohya")]
    pub names: NamesArg,
    /// Told to people in the file's metadata; without it the recipe's name
    #[arg(long, default_value = "")]
    pub title: String,
    #[arg(long, default_value = "")]
    pub author: String,
    #[arg(long, default_value = "")]
    pub description: String,
    #[arg(long, default_value = "")]
    pub license: String,
    /// How to use it
    #[arg(long, default_value = "")]
    pub usage_hint: String,
    /// A picture to show with it, put into the file and beside it as NAME.preview.png
    #[arg(long, value_name = "PICTURE")]
    pub thumbnail: Option<PathBuf>,
    /// Separated by commas
    #[arg(long, value_delimiter = ',')]
    pub tags: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DownloadArgs {
    /// owner/name, or the address of a model's page
    pub name: String,
    /// Only these files of it; without them what training needs
    pub files: Vec<String>,
    /// A branch, a tag or a commit; without it main
    #[arg(long)]
    pub revision: Option<String>,
    /// Show what would be fetched, and fetch nothing
    #[arg(long)]
    pub list: bool,
}

#[derive(Args, Debug)]
pub(crate) struct NewArgs {
    #[arg(value_enum)]
    pub preset: PresetArg,
    /// The folder of pictures, or several, each with its repeats if they are not 1: "3 x pictures/cats"
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<String>,
    /// The file to write; without it the first folder's name with .toml, here
    #[arg(long)]
    pub to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DtypeArg {
    F16,
    Bf16,
    F32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum NamesArg {
    Kohya,
    Diffusers,
}

impl From<NamesArg> for ExportNames {
    fn from(names: NamesArg) -> ExportNames {
        match names {
            NamesArg::Kohya => ExportNames::Kohya,
            NamesArg::Diffusers => ExportNames::Diffusers,
        }
    }
}

impl From<DtypeArg> for ExportDtype {
    fn from(dtype: DtypeArg) -> ExportDtype {
        match dtype {
            DtypeArg::F16 => ExportDtype::F16,
            DtypeArg::Bf16 => ExportDtype::Bf16,
            DtypeArg::F32 => ExportDtype::F32,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PresetArg {
    /// How pictures look
    Style,
    /// One person, animal or figure
    Character,
    /// One thing, place or idea
    Concept,
}

impl From<PresetArg> for Preset {
    fn from(preset: PresetArg) -> Preset {
        match preset {
            PresetArg::Style => Preset::Style,
            PresetArg::Character => Preset::Character,
            PresetArg::Concept => Preset::Concept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
