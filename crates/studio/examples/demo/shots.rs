//! Pictures of the real window, taken by itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use eframe::egui::{self, ColorImage, Context, ThemePreference, Ui, ViewportCommand, vec2};
use lorikeet_studio::StartUp;

use crate::StudioApp;
use crate::fake::Fake;
use crate::states::{DOCS, STATES};
use crate::{palette, pretend};

/// Frames drawn before a picture is taken: layouts settle in two, fades in some more.
const FRAMES: u32 = 8;

const THEMES: [(ThemePreference, &str); 2] = [(ThemePreference::Dark, "dark"), (ThemePreference::Light, "light")];
/// Fewer than [`FRAMES`], as only the theme changes.
const FRAMES_OF_THEME: u32 = 4;

/// Which states are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Everything,
    Docs,
}

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
        // What was told before would lie over the pages.
        if self.wanted == Wanted::Docs {
            self.app.dismiss_toasts();
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
        // After the last picture it would ask whether to close while a run is on.
        if self.state < STATES.len() {
            self.app.ui(ui);
        }
    }
}
