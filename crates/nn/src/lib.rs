//! The tensor layer over Burn: devices, frozen layers, operations with their own backward, and segmented backward.
//!
//! Frozen weights are plain tensors that autodiff never sees. A layer carries its name and asks the forward
//! [`Context`] for a delta under that name; that is the only way adapters reach a model.

#[cfg(feature = "card")]
mod card;
mod context;
pub mod device;
mod error;
mod layers;
pub mod ops;
mod prefetch;
mod quant;
pub mod segmented;
mod storage;
mod weights;

pub use context::{Context, ConvGeometry, Deltas, LowRank};
pub use device::DeviceKind;
pub use error::NnError;
pub use layers::{Conv2d, GroupNorm, LayerInfo, LayerKind, LayerNorm, Linear};
pub use prefetch::Prefetch;
pub use storage::{Bits, RawFormat, RawPiece, RawTensor, Storage};
pub use weights::{Loader, WeightSource};
