//! What the window is made to show, one state after another.

use std::path::Path;

use eframe::egui::vec2;
use lorikeet_protocol::{Event, Failure, Stage};
use lorikeet_studio::Page;

use crate::StudioApp;
use crate::fake::Fake;
use crate::pretend;

/// Those that docs/studio.md shows, by state and name.
pub(crate) const DOCS: &[(&str, &str)] = &[
    ("01-welcome", "dataset"),
    ("21-caption", "caption"),
    ("25-doctor", "check-up"),
    ("31-mask-painted", "mask"),
    ("02-model", "model"),
    ("03-training", "training"),
    ("04-advanced-end", "advanced"),
    ("32-compare-end", "compare"),
    ("30-curves", "monitor"),
    ("11-running-samples", "samples"),
    ("27-wipe", "wipe"),
    ("31-sweep-end", "draw"),
    ("17-export", "export"),
    ("32-queue", "runs"),
    ("34-settings", "settings"),
];
pub(crate) type Prepare = fn(&mut StudioApp, &Fake, &Path);

/// Name, and what makes the studio look so, after the one before.
pub(crate) const STATES: &[(&str, Prepare)] = &[
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
            app.drop_folder(pretend::copied(&pretend::example(example), folder.join(example)));
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
