//! What is asked of run folders and of the queue's file, on threads of its own, and what comes of the answers.

use std::path::PathBuf;

use lorikeet_recipe::{Plan, Recipe};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::Tone;
use crate::overlay::{self, Overlay};
use crate::pages::sentence;
use crate::queue::{self, QueuedRun};
use crate::run_files;
use crate::state::Phase;
use crate::work::{Answer, Read, Work};

pub(crate) enum RunAnswer {
    /// The run that a program works on now.
    Working(Option<PathBuf>),
    StopAsked(Result<(), String>),
    Plan {
        run_dir: PathBuf,
        plan: Option<Box<Plan>>,
    },
    Curve(Result<Overlay, String>),
    /// The run that has more steps to do now.
    Lengthened(Result<PathBuf, String>),
    QueueRead {
        runs: Vec<QueuedRun>,
        problem: Option<String>,
    },
    QueueWritten(Result<(), String>),
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

    pub(crate) fn ask_to_stop(&mut self, run_dir: PathBuf) {
        self.ask(move || RunAnswer::StopAsked(run_files::ask_to_stop(&run_dir)));
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

    pub(crate) fn read_queue(&mut self, file: PathBuf) {
        self.ask(move || {
            let (runs, problem) = match queue::read(&file) {
                Ok(runs) => (runs, None),
                Err((runs, problem)) => (runs, Some(problem)),
            };
            RunAnswer::QueueRead { runs, problem }
        });
    }

    /// One at a time: the caller waits for the answer.
    pub(crate) fn write_queue(&mut self, runs: Vec<QueuedRun>, file: PathBuf) {
        self.ask(move || RunAnswer::QueueWritten(queue::write(&runs, &file)));
    }
}

impl StudioApp {
    pub(crate) fn run_answer(&mut self, answer: RunAnswer) {
        match answer {
            RunAnswer::Working(Some(run_dir)) => self.watch(run_dir),
            RunAnswer::Working(None) | RunAnswer::StopAsked(Ok(())) => {}
            RunAnswer::StopAsked(Err(error)) => {
                self.state.phase = Phase::Running;
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
            RunAnswer::QueueRead { runs, problem } => self.queue_read(runs, problem),
            RunAnswer::QueueWritten(result) => self.queue_written(result),
        }
    }
}
