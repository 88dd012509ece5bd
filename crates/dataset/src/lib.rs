//! From a folder to training pictures: scan, captions, aspect buckets, pixels, the order of an epoch.
//!
//! Knows nothing of tensors and windows. Everything random is addressed by (seed, epoch, item), so that a resumed run
//! sees what an uninterrupted one would have seen.

pub mod buckets;
pub mod captions;
mod doctor;
mod edit;
pub mod epoch;
mod error;
mod facts;
mod folders;
mod header;
mod look;
mod masks;
mod pixels;
mod scan;
mod thumbnails;

pub use buckets::{BucketRules, Bucketing, Placement};
pub use captions::{CaptionRules, caption_for};
pub use doctor::{Finding, Fix, Kind, Watch, examine};
pub use edit::{
    CaptionChange, CaptionEdit, SET_ASIDE, caption_change, edit_captions, has_trigger, move_back, set_aside, tag_counts,
};
pub use epoch::{Item, batches_per_epoch, epoch_batches};
pub use error::{DatasetError, MAX_ASPECT, MAX_PIXELS, MAX_SIDE, PictureProblem};
pub use facts::{Facts, bucket_info, content_key, dataset_dirs, facts, tag_frequency};
pub use folders::{Folder, scan_folders};
pub use look::{Look, look, look_at_all};
pub use masks::{Mask, mask_change, mask_path};
pub use pixels::{Pixels, decode, load_pixels};
pub use scan::{Dataset, Picture, ScanOptions, Skipped, repeats_in_name, scan, split_validation};
pub use thumbnails::{Thumbnails, thumbnail};
