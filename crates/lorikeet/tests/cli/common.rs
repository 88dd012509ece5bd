//! Running the program on small things.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use lorikeet_protocol::Event;
use tempfile::TempDir;

/// Encoded pictures and captions, shared by all tests.
pub(crate) fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// A folder of a test's own, with a recipe in it. Its name has spaces and letters of several scripts.
pub(crate) struct Bench {
    _temporary: TempDir,
    pub(crate) folder: PathBuf,
}

/// The quickest run there is: the demo base, tiny LoRA, one preview of one step.
const QUICK: &str = "\
preset = \"style\"
[network]
rank = 2
[train]
steps = 3
batch = 2
[sample]
prompts = [\"a red circle\"]
steps = 1
cfg = 1.0
every = 3
[validation]
every = 3
[save]
every = 2
name = \"kreise\"
[run]
device = \"cpu\"
";

impl Bench {
    /// With three pictures and a recipe for them.
    pub(crate) fn new() -> Bench {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("mes images à moi 图片");
        let bench = Bench { _temporary: temporary, folder };
        std::fs::create_dir_all(bench.pictures()).unwrap();
        for (index, colour) in [[200, 30, 30], [30, 160, 60], [40, 60, 200]].into_iter().enumerate() {
            bench.picture(&format!("{index}.png"), colour);
            std::fs::write(bench.pictures().join(format!("{index}.txt")), format!("circle {index}")).unwrap();
        }
        bench.recipe(QUICK);
        bench
    }

    pub(crate) fn pictures(&self) -> PathBuf {
        self.folder.join("pictures")
    }

    /// A disc on white.
    pub(crate) fn picture(&self, name: &str, colour: [u8; 3]) {
        let picture = RgbImage::from_fn(64, 64, |x, y| {
            let inside = (x as i32 - 32).pow(2) + (y as i32 - 32).pow(2) < 500;
            Rgb(if inside { colour } else { [255; 3] })
        });
        picture.save(self.pictures().join(name)).unwrap();
    }

    fn recipe(&self, text: &str) {
        std::fs::write(self.recipe_path(), text).unwrap();
    }

    pub(crate) fn recipe_path(&self) -> PathBuf {
        self.folder.join("rezept.toml")
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.folder.join("läufe")
    }

    pub(crate) fn run(&self, number: u32) -> PathBuf {
        self.runs().join(format!("kreise-{number:03}"))
    }

    /// `train` on this bench, with further `--set`.
    pub(crate) fn train_arguments(&self, set: &[&str]) -> Vec<String> {
        let mut arguments = vec!["train".to_owned(), text(&self.recipe_path()), "--json".to_owned()];
        let own = [
            format!("dataset.folder={}", text(&self.pictures())),
            format!("dataset.validation_folder={}", text(&self.pictures())),
            format!("save.folder={}", text(&self.runs())),
        ];
        for change in own.into_iter().chain(set.iter().map(|change| (*change).to_owned())) {
            arguments.extend(["--set".to_owned(), change]);
        }
        arguments
    }

    pub(crate) fn train(&self, set: &[&str]) -> Output {
        program().args(self.train_arguments(set)).output().unwrap()
    }
}

/// Step and loss of each step in `metrics.jsonl`.
pub(crate) fn losses(run: &Path) -> Vec<(u64, f64)> {
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?))).collect()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lorikeet"));
    command.env("LORIKEET_CACHE", cache()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").stdin(Stdio::null());
    command
}

pub(crate) fn lorikeet(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ended well, or the test fails with what was said.
#[track_caller]
pub(crate) fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}\n{}\n{}", output.status, stdout(&output), stderr(&output));
    output
}

/// Ended with this code, an error in three parts, and all of `words` in it.
#[track_caller]
pub(crate) fn failed(output: &Output, code: i32, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{}\n{message}", stdout(output));
    for part in ["error: ", "why:", "what to do:"].iter().chain(words) {
        assert!(message.contains(part), "no `{part}` in:\n{message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

pub(crate) fn events(json_lines: &str) -> Vec<Event> {
    json_lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A program that runs while the test looks on. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(arguments: &[String]) -> Running {
        let mut child = program().args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// Waits for an event.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        for line in &mut self.lines {
            let event = serde_json::from_str(&line.unwrap()).unwrap();
            if wanted(&event) {
                return event;
            }
        }
        panic!("the program ended before that: {:?}", self.child.wait());
    }

    /// SIGKILL: no time to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What Ctrl-C sends.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        // Reading on, or a full pipe would hold it.
        (&mut self.lines).for_each(drop);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
