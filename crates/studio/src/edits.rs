//! Changes to caption files and pictures: one after the other, each with its undo.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::Context;
use lorikeet_dataset::{CaptionEdit, Dataset, Fix, Mask, Picture, ScanOptions};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::history::{FileChange, Step};
use crate::kit::Tone;
use crate::texts;

/// What is to be done to files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FileJob {
    Captions {
        edit: CaptionEdit,
        pictures: Vec<Picture>,
    },
    SetAside(Vec<PathBuf>),
    /// Writes a mask for a picture of that size, or takes it away.
    Mask {
        picture: PathBuf,
        size: (u32, u32),
        /// The file as it was read.
        seen: Option<Vec<u8>>,
        mask: Option<Mask>,
    },
    /// Undo or redo.
    Changes(Vec<FileChange>),
}

/// What came of it.
pub(crate) struct FilesDone {
    pub(crate) changes: Vec<FileChange>,
    /// Pictures with their captions as they are now.
    pub(crate) pictures: Vec<Picture>,
    pub(crate) failures: Vec<String>,
    /// Undo and redo are no steps of their own.
    pub(crate) is_step: bool,
}

impl StudioApp {
    /// Changes the captions of these pictures, by path.
    pub(crate) fn edit_captions(&mut self, edit: CaptionEdit, paths: &[PathBuf]) {
        let Some(data) = self.draft.data.ready() else { return };
        let wanted: std::collections::HashSet<&PathBuf> = paths.iter().collect();
        let pictures: Vec<Picture> =
            data.images.iter().filter(|picture| wanted.contains(&picture.path)).cloned().collect();
        self.files.push_back(FileJob::Captions { edit, pictures });
        self.next_file_job();
    }

    pub(crate) fn mend(&mut self, fix: Fix, paths: &[PathBuf]) {
        match fix {
            Fix::Captions(edit) => self.edit_captions(edit, paths),
            Fix::SetAside(paths) => self.set_aside(paths),
        }
    }

    pub(crate) fn set_aside(&mut self, paths: Vec<PathBuf>) {
        if self.state.active() {
            self.toasts.add(Tone::Warn, texts::dataset::PICTURES_IN_USE);
            return;
        }
        // With what was painted.
        self.commit_mask();
        self.files.push_back(FileJob::SetAside(paths));
        self.next_file_job();
    }

    pub(crate) fn next_file_job(&mut self) {
        if self.file_job_out {
            return;
        }
        let Some(data) = self.draft.data.ready() else { return };
        let Some(job) = self.files.pop_front() else { return };
        self.file_job_out = true;
        let folders = data.folders().map(Path::to_owned).collect();
        self.work.files(job, roots(folders, &self.validation));
    }

    pub(crate) fn files_done(&mut self, done: FilesDone) {
        self.file_job_out = false;
        let moved = done.changes.iter().filter(|change| matches!(change, FileChange::Moved(_))).count();
        let masked = done.changes.iter().any(|change| matches!(change, FileChange::Mask(_)));
        if done.is_step && !done.changes.is_empty() {
            let captions = done.changes.len() - moved;
            let what = match (captions, moved) {
                _ if masked => texts::dataset::CHANGE_OF_MASK.to_owned(),
                (n, 0) => texts::dataset::change_of_captions(n as u64),
                (_, n) => texts::dataset::setting_aside(n as u64),
            };
            if moved > 0 {
                self.toasts.add(Tone::Ok, texts::dataset::set_aside(moved as u64));
            } else if captions > 1 {
                self.toasts.add(Tone::Ok, texts::dataset::changed(captions as u64));
            }
            self.history.files(what, done.changes);
        }
        if let Some(error) = done.failures.first() {
            let error = crate::pages::sentence(error);
            let more = done.failures.len() as u64 - 1;
            self.toasts.add(Tone::Error, if more > 0 { texts::common::and_more(&error, more) } else { error });
        }
        if moved > 0 || masked || !done.is_step || !done.failures.is_empty() {
            self.refresh();
        } else if let Load::Ready(data) = &mut self.draft.data {
            merge(Arc::make_mut(data), done.pictures);
            self.draft.generation += 1;
            self.draft.touch();
        }
        self.next_file_job();
        if self.train_when_saved && !self.file_job_out {
            self.train_when_saved = false;
            self.perform(Action::Train);
        }
    }

    /// Undo or redo.
    pub(crate) fn step_back(&mut self, redo: bool) {
        match self.history.take(redo) {
            None => {}
            Some(Step::Recipe { before, after }) => self.replace_recipe(if redo { *after } else { *before }),
            Some(Step::Files { changes, .. }) => {
                let changes = if redo { changes } else { changes.iter().rev().map(FileChange::reversed).collect() };
                self.files.push_back(FileJob::Changes(changes));
                self.next_file_job();
            }
        }
    }

    /// The caption that is being typed, as an edit. Called when its field is left.
    pub(crate) fn commit_caption(&mut self) {
        let typing = std::mem::take(&mut self.browse.typing);
        if !typing.picture.as_os_str().is_empty() && typing.text.trim() != typing.seen {
            self.edit_captions(CaptionEdit::Set(typing.text), &[typing.picture]);
        }
    }

    /// Saves what is being typed before the window closes. Nobody is there to wait for a thread, or to read of a failure.
    pub(crate) fn last_words(&mut self) {
        self.commit_caption();
        self.commit_mask();
        let folders = self.draft.folders().into_iter().map(|folder| folder.path).collect();
        let roots = roots(folders, &self.validation);
        for job in std::mem::take(&mut self.files) {
            run(job, &roots);
        }
        if self.file_job_out {
            while let Some(answer) = self.work.wait() {
                if matches!(answer, crate::work::Answer::Files(_)) {
                    break;
                }
            }
        }
    }

    /// Looks at the folder again when the window gets the keyboard back: other programs may have been at it.
    pub(crate) fn watch_focus(&mut self, ctx: &Context) {
        let focused = ctx.input(|i| i.focused);
        if focused && !std::mem::replace(&mut self.was_focused, focused) && !self.state.active() {
            self.perform(Action::Refresh);
        }
        self.was_focused = focused;
    }
}

impl FileChange {
    pub(crate) fn reversed(&self) -> Self {
        match self {
            FileChange::Caption(change) => FileChange::Caption(change.reversed()),
            FileChange::Mask(change) => FileChange::Mask(change.reversed()),
            FileChange::Moved(files) => {
                FileChange::Moved(files.iter().rev().map(|(was, is)| (is.clone(), was.clone())).collect())
            }
        }
    }
}

/// The folders of pictures, those of validation too, without their pictures.
fn roots(folders: Vec<PathBuf>, validation: &str) -> Dataset {
    let validation = Some(PathBuf::from(validation)).filter(|folder| !folder.as_os_str().is_empty());
    let mut all = folders.into_iter().chain(validation);
    Dataset { folder: all.next().unwrap_or_default(), more_folders: all.collect(), ..Dataset::default() }
}

/// On the work thread.
pub(crate) fn run(job: FileJob, roots: &Dataset) -> FilesDone {
    let mut done = FilesDone { changes: Vec::new(), pictures: Vec::new(), failures: Vec::new(), is_step: true };
    match job {
        FileJob::Captions { edit, pictures } => {
            let mut part = Dataset { images: pictures, ..roots.clone() };
            let (changes, failures) = lorikeet_dataset::edit_captions(&mut part, &ScanOptions::default(), &edit);
            done.changes = changes.into_iter().map(FileChange::Caption).collect();
            done.failures = failures.iter().map(ToString::to_string).collect();
            done.pictures = part.images;
        }
        FileJob::SetAside(paths) => {
            for path in paths {
                match lorikeet_dataset::set_aside(roots.folder_of(&path), &path) {
                    Ok(moved) => done.changes.push(FileChange::Moved(moved)),
                    Err(error) => done.failures.push(error.to_string()),
                }
            }
        }
        FileJob::Mask { picture, size, seen, mask } => {
            let made = lorikeet_dataset::mask_change(&picture, size, seen, mask)
                .and_then(|change| change.make().map(|()| change));
            match made {
                Ok(change) => done.changes.push(FileChange::Mask(change)),
                Err(error) => done.failures.push(error.to_string()),
            }
        }
        FileJob::Changes(changes) => {
            done.is_step = false;
            for change in changes {
                let made = match &change {
                    FileChange::Caption(change) | FileChange::Mask(change) => change.make(),
                    // `move_back` takes where files were and are; here they are where they were.
                    FileChange::Moved(files) => {
                        let back: Vec<_> = files.iter().map(|(from, to)| (to.clone(), from.clone())).collect();
                        lorikeet_dataset::move_back(&back)
                    }
                };
                match made {
                    Ok(()) => done.changes.push(change),
                    Err(error) => done.failures.push(error.to_string()),
                }
            }
        }
    }
    done
}

fn merge(data: &mut Dataset, pictures: Vec<Picture>) {
    let mut new: std::collections::HashMap<PathBuf, Picture> =
        pictures.into_iter().map(|picture| (picture.path.clone(), picture)).collect();
    for picture in &mut data.images {
        if let Some(changed) = new.remove(&picture.path) {
            *picture = changed;
        }
    }
}
