//! What is asked of run folders and of the queue's file, on threads of its own, and what comes of the answers.

use std::path::PathBuf;
use std::sync::Arc;

use lorikeet_queue::{QueueChange, QueueError, QueueFile, Seen, Working};
use lorikeet_recipe::{Plan, Recipe};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::Tone;
use crate::overlay::{self, Overlay};
use crate::pages::sentence;
use crate::queue::Taken;
use crate::run_files::{self, Wish};
use crate::state::Phase;
use crate::work::{Answer, Read, Work};

pub(crate) enum RunAnswer {
    /// The run that a program works on now.
    Working(Option<PathBuf>),
    Asked(Result<(), String>),
    Plan {
        run_dir: PathBuf,
        plan: Option<Box<Plan>>,
    },
    Curve(Result<Overlay, String>),
    /// The run that has more steps to do now.
    Lengthened(Result<PathBuf, String>),
    QueueSeen(Result<Seen, String>),
    QueueChanged(Result<Seen, String>),
    QueueTaken(Result<Taken, String>),
}

impl Work {
    /// Everything a run told, to look at it again.
    pub(crate) fn read_run(&mut self, path: PathBuf) {
        self.spawn(move || Answer::RunRead { result: run_files::told(&path), path });
    }

    pub(crate) fn delete_run(&mut self, path: PathBuf) {
        self.spawn(move || Answer::Deleted(run_files::delete(&path).map(|()| path)));
    }

    pub(crate) fn write_csv(&mut self, run_dir: PathBuf, to: PathBuf) {
        self.spawn(move || Answer::Written(run_files::write_csv(&run_dir, to)));
    }

    fn ask(&mut self, job: impl FnOnce() -> RunAnswer + Send + 'static) {
        self.spawn(move || Answer::Run(job()));
    }

    /// Looks for a run that another program works on.
    pub(crate) fn find_working(&mut self, folder: PathBuf) {
        self.ask(move || RunAnswer::Working(run_files::working(&folder)));
    }

    /// Of a run that another program works on.
    pub(crate) fn ask_run(&mut self, run_dir: PathBuf, wish: Wish) {
        self.ask(move || RunAnswer::Asked(run_files::ask(&run_dir, wish)));
    }

    pub(crate) fn read_plan(&mut self, run_dir: PathBuf) {
        self.ask(move || RunAnswer::Plan { plan: run_files::plan(&run_dir).map(Box::new), run_dir });
    }

    pub(crate) fn read_curve(&mut self, run_dir: PathBuf) {
        self.ask(move || RunAnswer::Curve(overlay::read(&run_dir)));
    }

    pub(crate) fn lengthen(&mut self, run_dir: PathBuf, steps: u64, restart: bool) {
        self.ask(move || {
            let done = lorikeet_recipe::lengthen_run(&run_dir, steps, restart);
            RunAnswer::Lengthened(done.map(|()| run_dir).map_err(|error| error.to_string()))
        });
    }

    /// As opening a recipe, with another length.
    pub(crate) fn recipe_with_steps(&mut self, path: PathBuf, steps: u64) {
        self.spawn(move || {
            let recipe = Recipe::load(&path).and_then(|mut recipe| {
                recipe.set_text("train.steps", &steps.to_string())?;
                Ok(Read::Recipe(Box::new(recipe)))
            });
            Answer::RecipeRead(recipe.map_err(|error| error.to_string()))
        });
    }

    /// This and the next two one at a time: the caller waits for the answer.
    pub(crate) fn read_queue(&mut self, file: QueueFile) {
        self.ask(move || RunAnswer::QueueSeen(file.read().map_err(|error| error.to_string())));
    }

    pub(crate) fn change_queue(&mut self, file: QueueFile, changes: Vec<QueueChange>) {
        self.ask(move || RunAnswer::QueueChanged(file.change(changes).map_err(|error| error.to_string())));
    }

    /// `working`: what this window works it by already.
    pub(crate) fn take_from_queue(&mut self, file: QueueFile, working: Option<Arc<Working>>) {
        let take = move || {
            let working = working.map_or_else(|| file.work().map(Arc::new), Ok)?;
            let (seen, task) = working.next_task()?;
            Ok(Taken { working, seen, task })
        };
        self.ask(move || RunAnswer::QueueTaken(take().map_err(|error: QueueError| error.to_string())));
    }
}

impl StudioApp {
    pub(crate) fn run_answer(&mut self, answer: RunAnswer) {
        match answer {
            RunAnswer::Working(Some(run_dir)) => self.watch(run_dir),
            RunAnswer::Working(None) | RunAnswer::Asked(Ok(())) => {}
            RunAnswer::Asked(Err(error)) => {
                if self.state.phase == Phase::Stopping {
                    self.state.phase = Phase::Running;
                }
                self.toasts.add(Tone::Error, error);
            }
            RunAnswer::Plan { run_dir, plan } => {
                if let Some(form) = self.longer.as_mut().filter(|form| form.path == run_dir) {
                    form.planned(plan.map(|plan| *plan));
                }
            }
            RunAnswer::Curve(result) => self.curve_read(result),
            RunAnswer::Lengthened(Ok(run_dir)) => self.perform(Action::ResumeRun(run_dir)),
            RunAnswer::Lengthened(Err(error)) => self.toasts.add(Tone::Error, sentence(&error)),
            RunAnswer::QueueSeen(result) => self.queue_seen(result),
            RunAnswer::QueueChanged(result) => self.queue_changed(result),
            RunAnswer::QueueTaken(result) => self.queue_taken(result),
        }
    }
}
