//! Pictures of the real window, taken by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use eframe::egui::{self, ColorImage, Context, ThemePreference, Ui, ViewportCommand, vec2};
use lorikeet_protocol::{Event, Failure, Stage};
use lorikeet_studio::{Page, StartUp};

use crate::StudioApp;
use crate::fake::Fake;
use crate::{palette, pretend};

/// Frames drawn before a picture is taken: layouts settle in two, fades in some more.
const FRAMES: u32 = 8;

/// Those that docs/studio.md shows, by state and name.
const DOCS: &[(&str, &str)] = &[
    ("01-welcome", "dataset"),
    ("21-caption", "caption"),
    ("25-doctor", "check-up"),
    ("31-mask-painted", "mask"),
    ("02-model", "model"),
    ("03-training", "training"),
    ("04-advanced", "advanced"),
    ("32-compare", "compare"),
    ("30-curves", "monitor"),
    ("11-running-samples", "samples"),
    ("27-wipe", "wipe"),
    ("31-sweep", "draw"),
    ("17-export", "export"),
    ("32-queue", "runs"),
    ("34-settings", "settings"),
];
const THEMES: [(ThemePreference, &str); 2] = [(ThemePreference::Dark, "dark"), (ThemePreference::Light, "light")];
/// Fewer than [`FRAMES`], as only the theme changes.
const FRAMES_OF_THEME: u32 = 4;

/// Which states are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Everything,
    Docs,
}

type Prepare = fn(&mut StudioApp, &Fake, &Path);

/// Name, and what makes the studio look so, after the one before.
const STATES: &[(&str, Prepare)] = &[
    ("01-welcome", |app, _, _| app.go(Page::Dataset)),
    ("01-reasons-click", |_, _, _| {}),
    ("21-caption", |app, _, _| {
        app.close_welcome();
        app.select_pictures(&[2]);
    }),
    ("22-tags", |app, _, _| app.show_tags(true)),
    ("23-many", |app, _, _| app.select_pictures(&[1, 2, 3, 5, 8])),
    ("24-palette", |app, _, _| {
        app.select_pictures(&[]);
        app.show_tags(false);
        app.open_palette(true);
    }),
    ("25-doctor", |app, _, folder| {
        app.open_palette(false);
        let sick = folder.join("sick");
        pretend::sick_pictures(&sick);
        app.choose_folder(sick);
    }),
    ("26-import", |app, _, folder| {
        let file = folder.join("kohya.json");
        pretend::other_settings(&file);
        app.open_recipe(file);
    }),
    ("30-folders", |app, _, folder| {
        app.cancel_import();
        app.choose_folder(pretend::copied(&pretend::example("ink-style"), folder.join("inks")));
        for example in ["mascot", "concept"] {
            app.drop_folder(pretend::example(example));
        }
    }),
    ("31-mask", |app, _, _| {
        app.select_pictures(&[1]);
        app.paint_selected();
    }),
    ("31-mask-painted", |app, _, _| {
        app.stroke_mask(&[vec2(0.3, 0.6), vec2(0.5, 0.45), vec2(0.7, 0.6)]);
    }),
    ("32-compare", |app, _, folder| {
        app.discard_mask();
        app.go(Page::Training);
        app.compare_with(Some(pretend::other_recipe(&folder.join("bolder.toml"))));
    }),
    ("32-compare-end", |_, _, _| {}),
    ("02-model", |app, _, _| {
        app.compare_with(None);
        app.use_example_at(0);
        app.go(Page::Model);
    }),
    ("03-training", |app, _, _| app.go(Page::Training)),
    ("03-training-end", |_, _, _| {}),
    ("04-advanced", |app, _, _| app.show_advanced(true)),
    ("04-advanced-end", |_, _, _| {}),
    ("05-monitor-empty", |app, _, _| {
        app.show_advanced(false);
        app.go(Page::Monitor);
    }),
    ("06-samples-empty", |app, _, _| app.go(Page::Samples)),
    ("07-runs", |app, _, _| app.go(Page::Runs)),
    ("08-settings", |app, _, _| app.go(Page::Settings)),
    ("09-encoding", |app, engine, folder| {
        app.train();
        engine.push(Event::Started { run_dir: folder.to_owned(), resumed_at: 0 });
        engine.push(Event::Stage { stage: Stage::CacheLatents, done: 9, total: 24 });
    }),
    ("10-running", |_, engine, folder| pretend::up_to(230, folder).into_iter().for_each(|event| engine.push(event))),
    ("11-running-samples", |app, _, _| app.go(Page::Samples)),
    ("12-enlarged", |app, _, _| app.enlarge(Some((1, 200)))),
    ("27-wipe", |app, _, _| app.wipe(true)),
    ("13-running-training", |app, _, _| {
        app.enlarge(None);
        app.go(Page::Training);
    }),
    ("14-running-dataset", |app, _, _| app.go(Page::Dataset)),
    ("15-stop", |app, _, _| {
        app.go(Page::Monitor);
        app.ask_stop(true);
    }),
    ("16-finished", |app, engine, folder| {
        app.ask_stop(false);
        pretend::up_to(pretend::STEPS, folder).into_iter().skip(1).for_each(|event| engine.push(event));
        engine.push(Event::Finished {
            run_dir: folder.to_owned(),
            step: pretend::STEPS,
            lora: Some(folder.join("ink-style.safetensors")),
            seconds: 168.0,
        });
    }),
    ("16-finished-end", |_, _, _| {}),
    ("17-export", |app, _, _| app.ask_export()),
    ("28-exported", |app, engine, folder| {
        app.send_export();
        let file = folder.join("ink-style.safetensors");
        pretend::lora_file(&file);
        engine.push(Event::Exported { path: file, modules: 1 });
    }),
    ("30-drawing", |app, engine, folder| {
        app.cancel_export();
        pretend::saves(folder);
        app.open_drawing();
        pretend::drawn(folder, 1, false).into_iter().for_each(|event| engine.push(event));
    }),
    ("31-sweep", |app, engine, folder| {
        app.sweep(&[100, 400]);
        pretend::drawn(folder, 2, true).into_iter().for_each(|event| engine.push(event));
    }),
    ("31-sweep-end", |_, _, _| {}),
    ("32-drawing-busy", |app, engine, _| {
        app.draw_pictures();
        engine.push(Event::Stage { stage: Stage::Sample, done: 31, total: 250 });
    }),
    ("18-failed", |app, engine, folder| {
        app.train();
        engine.push(Event::Started { run_dir: folder.to_owned(), resumed_at: 0 });
        pretend::up_to(120, folder).into_iter().skip(1).for_each(|event| engine.push(event));
        engine.push(Event::Warning {
            message: "picture broken.png was left out: its contents are not a picture".to_owned(),
        });
        engine.push(Event::Failed(Failure {
            what: "The loss is not a number at step 121".to_owned(),
            why: "The numbers in the LoRA grew until they overflowed, mostly because the learning rate of 1.0e-2 is too high for rank 16".to_owned(),
            todo: "Lower the learning rate to 2.0e-4 and start again, or continue from the last good save".to_owned(),
            last_save: Some(folder.join("checkpoints/step-000100")),
        }));
    }),
    ("19-drop-hover", |_, _, _| {}),
    ("29-over-fitting", |app, engine, folder| {
        app.train();
        engine.push(Event::Started { run_dir: folder.to_owned(), resumed_at: 0 });
        pretend::up_to(200, folder).into_iter().skip(1).for_each(|event| engine.push(event));
        for (step, loss) in [(250, 0.14), (300, 0.15), (350, 0.16)] {
            engine.push(Event::Validation { step, loss, base_loss: 0.16 });
        }
    }),
    ("30-curves", |app, engine, folder| {
        app.train();
        engine.push(Event::Started { run_dir: folder.to_owned(), resumed_at: 0 });
        pretend::up_to(200, folder).into_iter().skip(1).for_each(|event| engine.push(event));
        engine.push(Event::Note { message: "The base is read from its file, layer by layer".to_owned() });
        engine.push(Event::Warning { message: "picture broken.png was left out".to_owned() });
        for name in ["ink-style-0", "mascot-0"] {
            app.toggle_curve(folder.with_file_name(name));
        }
        app.go(Page::Monitor);
    }),
    ("30-curves-end", |_, engine, _| {
        engine.push(Event::Memory { measured_bytes: 112 << 20, planned_bytes: 118 << 20 });
    }),
    ("31-close", |app, _, _| app.ask_close()),
    ("32-queue", |app, _, _| {
        app.cancel_close();
        app.add_to_queue_now();
        app.use_example_at(1);
        app.settle();
        app.add_to_queue_now();
        app.use_example_at(2);
        app.settle();
        app.add_to_queue_now();
        app.go(Page::Runs);
    }),
    ("33-longer", |app, _, folder| app.ask_longer(folder.with_file_name("ink-style-0"))),
    ("34-settings", |app, _, _| {
        app.cancel_longer();
        app.go(Page::Settings);
    }),
    ("20-no-pictures", |app, _, folder| {
        std::fs::create_dir_all(folder.join("empty")).ok();
        app.choose_folder(folder.join("empty"));
        app.go(Page::Dataset);
    }),
];

struct Shots {
    app: StudioApp,
    engine: Fake,
    folder: PathBuf,
    wanted: Wanted,
    out: PathBuf,
    size: String,
    state: usize,
    theme: usize,
    frames: u32,
    waiting: bool,
    shot: Arc<Mutex<Option<Arc<ColorImage>>>>,
}

/// A window of that size goes through all states, each in both themes.
pub(crate) fn take(
    engine: Fake,
    mut start: StartUp,
    wanted: Wanted,
    out: PathBuf,
    size: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(&out)?;
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let inner = vec2(width.parse()?, height.parse()?);
    // What an earlier call left would be on the pictures.
    std::fs::remove_dir_all(&start.runs_folder).ok();
    for example in &mut start.examples {
        let name = example.folder.file_name().unwrap_or_default().to_owned();
        example.folder = pretend::copied(&example.folder, start.runs_folder.with_file_name(name));
    }
    let folder = start.runs_folder.join("ink-style-1");
    std::fs::create_dir_all(folder.join("checkpoints/step-000250"))?;
    pretend::past_run(&folder)?;
    for name in ["ink-style-0", "mascot-0"] {
        pretend::finished_run(&folder.with_file_name(name))?;
    }
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_inner_size(inner)
            .with_decorations(false)
            .with_position([0.0, 0.0]),
        renderer: eframe::Renderer::Glow,
        persist_window: false,
        ..Default::default()
    };
    let size = size.to_owned();
    eframe::run_native(
        "studio shots",
        options,
        Box::new(move |cc| {
            let mut app = StudioApp::new(&cc.egui_ctx, Box::new(engine.clone()), start);
            app.set_theme(THEMES[0].0);
            Ok(Box::new(Shots {
                app,
                engine,
                folder,
                wanted,
                out,
                size,
                state: 0,
                theme: 0,
                frames: 0,
                waiting: false,
                shot: Arc::default(),
            }))
        }),
    )?;
    Ok(())
}

impl Shots {
    /// Where the picture of this state goes, if one is wanted.
    fn path(&self, state: &str) -> Option<PathBuf> {
        let theme = THEMES[self.theme].1;
        let name = match self.wanted {
            Wanted::Everything => format!("{state}-{theme}-{}.png", self.size),
            Wanted::Docs => {
                let (_, name) = DOCS.iter().find(|(of, _)| *of == state)?;
                format!("studio-{name}-{theme}.png")
            }
        };
        Some(self.out.join(name))
    }

    fn drive(&mut self, ctx: &Context) {
        ctx.request_repaint();
        let Some((name, prepare)) = STATES.get(self.state) else {
            ctx.send_viewport_cmd(ViewportCommand::Close);
            return;
        };
        let path = self.path(name);
        let picture = self.shot.lock().ok().and_then(|mut shot| shot.take());
        if let (Some(picture), Some(path)) = (picture, &path) {
            if let Err(error) = palette::write(&picture, path) {
                eprintln!("{}: {error}", path.display());
            }
            self.next(true);
            return;
        }
        if self.frames == 0 {
            prepare(&mut self.app, &self.engine, &self.folder);
        }
        self.frames += 1;
        if self.frames < FRAMES {
            self.app.settle();
        } else if path.is_none() {
            self.next(false);
        } else if !self.waiting {
            self.waiting = true;
            let shot = Arc::clone(&self.shot);
            ctx.request_screenshot(move |picture| {
                if let Ok(mut shot) = shot.lock() {
                    *shot = Some(picture);
                }
            });
        }
    }

    /// The other theme, else the next state.
    fn next(&mut self, taken: bool) {
        self.waiting = false;
        if taken && self.theme + 1 < THEMES.len() {
            self.theme += 1;
            self.frames = FRAMES - FRAMES_OF_THEME;
        } else {
            self.theme = 0;
            self.state += 1;
            self.frames = 0;
        }
        self.app.set_theme(THEMES[self.theme].0);
    }
}

impl eframe::App for Shots {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.drive(ctx);
    }

    /// Scrolls down, clicks or drags a file where the name of the state asks for it.
    fn raw_input_hook(&mut self, _ctx: &Context, input: &mut egui::RawInput) {
        // The pointer of the real screen is not part of the picture.
        input.events.retain(|event| !matches!(event, egui::Event::PointerMoved(_)));
        let name = STATES.get(self.state).map_or("", |(name, _)| name);
        if name.ends_with("-hover") {
            input.hovered_files.push(egui::HoveredFile::default());
        }
        if name.ends_with("-click") && (2..4).contains(&self.frames) && self.size.starts_with("1280x") {
            // Where the plan's reasons are folded away in the rail; a wider window has them unfolded.
            let pos = egui::pos2(990.0, 315.0);
            input.events.push(egui::Event::PointerMoved(pos));
            input.events.push(egui::Event::PointerButton {
                pos,
                button: egui::PointerButton::Primary,
                pressed: self.frames == 2,
                modifiers: egui::Modifiers::NONE,
            });
        } else {
            input.events.push(egui::Event::PointerGone);
        }
        if STATES.get(self.state).is_some_and(|(name, _)| name.ends_with("-end")) && self.frames == 3 {
            input.events.push(egui::Event::PointerMoved(egui::pos2(400.0, 400.0)));
            input.events.push(egui::Event::MouseWheel {
                source: egui::MouseWheelSource::Wheel,
                unit: egui::MouseWheelUnit::Point,
                delta: vec2(0.0, -20_000.0),
                phase: egui::TouchPhase::Move,
                modifiers: egui::Modifiers::NONE,
            });
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.app.ui(ui);
    }
}
