//! Models from the Hugging Face hub: what was asked for, and how far it is. The network is used on threads only.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lorikeet_hub::{
    Access, Cancel, HubError, Pace, Progress, RepoName, Repository, Selection, Token, already_there, choose, fetch,
    look_up,
};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::Tone;
use crate::texts;
use crate::work::{Answer, Work};

/// Between two frames that show progress.
const SHOW_EVERY: Duration = Duration::from_millis(150);

/// What can be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub repository: Repository,
    pub selection: Selection,
    /// Bytes that are on the disk already.
    pub there: u64,
}

/// A download as its thread tells of it.
#[derive(Default)]
pub(crate) struct Watch {
    told: Mutex<(Progress, Pace)>,
    cancel: Cancel,
}

impl Watch {
    pub(crate) fn told(&self) -> MutexGuard<'_, (Progress, Pace)> {
        // Numbers only: whatever panicked left them as they were.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(crate) enum Stage {
    #[default]
    Idle,
    Looking,
    /// Several models: one of these files.
    Several(Vec<(String, u64)>),
    Offered(Arc<Offer>),
    Fetching(Arc<Offer>, Arc<Watch>),
    /// Why, where the model's page is if that helps, and what can be gone on with.
    Failed {
        told: String,
        page: Option<String>,
        offer: Option<Arc<Offer>>,
    },
    /// During a run, which keeps its base.
    Ready(PathBuf),
}

/// What the window knows of the hub.
pub(crate) struct HubView {
    pub access: Access,
    /// The name, as typed.
    pub typed: String,
    /// The setting that the file is for; none: it is the base.
    pub part: Option<&'static str>,
    pub stage: Stage,
    /// A token that is typed in Settings.
    pub token: String,
    /// Answers to earlier questions are not heard.
    ticket: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HubAction {
    Name(String),
    /// Looks the typed name up; of several models this file.
    Look(Option<String>),
    /// A file for a part of the base: setting, repository, file.
    LookPart(&'static str, &'static str, &'static str),
    Fetch,
    Cancel,
    Dismiss,
    /// The model that was fetched during a run.
    Use(PathBuf),
    Offline(bool),
    TypeToken(String),
    /// Keeps the typed token; an empty one is forgotten.
    KeepToken,
}

pub(crate) enum HubAnswer {
    Looked { ticket: u64, result: Result<Look, HubError> },
    Fetched { ticket: u64, result: Result<PathBuf, HubError> },
    Kept(Result<(), HubError>),
}

pub(crate) enum Look {
    Offer(Arc<Offer>),
    Several(Vec<(String, u64)>),
}

impl HubView {
    pub(crate) fn new(access: Access) -> Self {
        let stage = Stage::default();
        Self { access, typed: String::new(), part: None, stage, token: String::new(), ticket: 0 }
    }

    /// Whether a name can be typed now.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Looking | Stage::Fetching(..))
    }

    fn fail(&mut self, error: &HubError, offer: Option<Arc<Offer>>) {
        let page = if let HubError::Gated { page, .. } = error { Some(page.clone()) } else { None };
        let told = crate::pages::sentence(&error.to_string());
        self.stage = Stage::Failed { told, page, offer };
    }
}

impl StudioApp {
    pub(crate) fn hub_action(&mut self, action: HubAction) {
        match action {
            HubAction::Name(typed) => {
                self.hub.typed = typed;
                self.hub.part = None;
            }
            HubAction::Look(file) => {
                self.hub.part = None;
                self.look_up(file);
            }
            HubAction::LookPart(setting, repository, file) => {
                self.hub.typed = repository.to_owned();
                self.hub.part = Some(setting);
                self.look_up(Some(file.to_owned()));
            }
            HubAction::Fetch => {
                let (Stage::Offered(offer) | Stage::Failed { offer: Some(offer), .. }) = &self.hub.stage else {
                    return;
                };
                let (offer, watch) = (Arc::clone(offer), Arc::new(Watch::default()));
                self.hub.ticket += 1;
                self.work.fetch(self.hub.ticket, self.hub.access.clone(), Arc::clone(&offer), Arc::clone(&watch));
                self.hub.stage = Stage::Fetching(offer, watch);
            }
            HubAction::Cancel => {
                if let Stage::Fetching(_, watch) = &self.hub.stage {
                    self.work.cancel(Arc::clone(watch));
                }
            }
            HubAction::Dismiss => self.hub.stage = Stage::Idle,
            HubAction::Use(path) => {
                self.hub.stage = Stage::Idle;
                self.use_fetched(path);
            }
            HubAction::Offline(offline) => {
                self.hub.access.settings.offline = offline;
                self.work.keep(self.hub.access.clone());
            }
            HubAction::TypeToken(token) => self.hub.token = token,
            HubAction::KeepToken => {
                let token = Token::new(&std::mem::take(&mut self.hub.token));
                if token.is_sound() {
                    self.hub.access.settings.token = token;
                    self.work.keep(self.hub.access.clone());
                } else {
                    self.toasts.add(Tone::Error, texts::hub::TOKEN_UNSOUND);
                }
            }
        }
    }

    fn look_up(&mut self, file: Option<String>) {
        if self.hub.is_busy() {
            return;
        }
        match RepoName::parse(&self.hub.typed) {
            Err(error) => self.hub.fail(&error, None),
            Ok(name) => {
                self.hub.ticket += 1;
                self.work.look_up(self.hub.ticket, self.hub.access.clone(), name, file);
                self.hub.stage = Stage::Looking;
            }
        }
    }

    pub(crate) fn hub_answer(&mut self, answer: HubAnswer) {
        match answer {
            HubAnswer::Looked { ticket, result } if ticket == self.hub.ticket => match result {
                Ok(Look::Offer(offer)) => self.hub.stage = Stage::Offered(offer),
                Ok(Look::Several(files)) => self.hub.stage = Stage::Several(files),
                Err(error) => self.hub.fail(&error, None),
            },
            HubAnswer::Fetched { ticket, result } if ticket == self.hub.ticket => match result {
                Ok(path) if self.state.active() => self.hub.stage = Stage::Ready(path),
                Ok(path) => {
                    self.hub.stage = Stage::Idle;
                    self.toasts.add(Tone::Ok, texts::hub::here_and_chosen(self.hub.typed.trim()));
                    self.use_fetched(path);
                }
                Err(error) => {
                    let offer = match &self.hub.stage {
                        Stage::Fetching(offer, _) => Some(Arc::clone(offer)),
                        _ => None,
                    };
                    self.hub.fail(&error, offer);
                }
            },
            HubAnswer::Looked { .. } | HubAnswer::Fetched { .. } | HubAnswer::Kept(Ok(())) => {}
            HubAnswer::Kept(Err(error)) => self.toasts.add(Tone::Error, crate::pages::sentence(&error.to_string())),
        }
    }

    fn use_fetched(&mut self, path: PathBuf) {
        let path = path.to_string_lossy().into_owned();
        match self.hub.part.take() {
            Some(setting) => self.perform(Action::UsePart(setting, path)),
            None => self.use_base(path),
        }
        // It is on this computer now.
        self.perform(Action::FindModels);
    }
}

impl Work {
    fn look_up(&mut self, ticket: u64, access: Access, name: RepoName, file: Option<String>) {
        self.spawn(move || {
            let looked = || {
                let repository = look_up(&access, &name, &Cancel::default())?;
                match choose(&repository, file.as_slice()) {
                    Ok(selection) => {
                        let there = already_there(&access, &repository, &selection);
                        Ok(Look::Offer(Arc::new(Offer { repository, selection, there })))
                    }
                    Err(HubError::Several { files, .. }) => Ok(Look::Several(files)),
                    Err(error) => Err(error),
                }
            };
            Answer::Hub(HubAnswer::Looked { ticket, result: looked() })
        });
    }

    fn fetch(&mut self, ticket: u64, access: Access, offer: Arc<Offer>, watch: Arc<Watch>) {
        let ctx = self.context();
        self.spawn(move || {
            let mut shown: Option<Instant> = None;
            let mut tell = |progress: &Progress| {
                let now = Instant::now();
                if shown.is_some_and(|before| now.duration_since(before) < SHOW_EVERY) && progress.done < progress.total
                {
                    return;
                }
                shown = Some(now);
                let mut told = watch.told();
                told.0 = progress.clone();
                told.1.note(now, progress.done);
                drop(told);
                ctx.request_repaint();
            };
            let result = fetch(&access, &offer.repository, &offer.selection, &watch.cancel, &mut tell);
            Answer::Hub(HubAnswer::Fetched { ticket, result })
        });
    }

    /// Shutting a connection may take a moment, too.
    fn cancel(&mut self, watch: Arc<Watch>) {
        self.spawn(move || {
            watch.cancel.cancel();
            Answer::Done
        });
    }

    fn keep(&mut self, access: Access) {
        self.spawn(move || Answer::Hub(HubAnswer::Kept(access.save())));
    }
}
