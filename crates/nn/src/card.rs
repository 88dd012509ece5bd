//! What all graphics cards have in common: settings of CubeCL and Burn that hold for the whole process.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

#[cfg(feature = "cuda")]
use burn::backend::cubecl::dtype_to_storage_type;
#[cfg(feature = "cuda")]
use burn::tensor::DType;
use burn::tensor::Device;
#[cfg(feature = "cuda")]
use burn_cubecl::CubeDevice;
#[cfg(feature = "cuda")]
use burn_cubecl::cubecl::device::CudaDevice;
use burn_cubecl::fusion;
use cubecl::config::CubeClRuntimeConfig;
use cubecl::config::cache::CacheConfig;
use cubecl_environment::config::RuntimeConfig as _;

/// Before the first device is opened: compiled kernels are kept on disk, as what tuning found is, so that only the first run on a
/// card pays for them.
pub(crate) fn prepare() {
    DECISIONS.get_or_init(|| {
        let decisions = std::env::temp_dir().join(format!("lorikeet-tuned-{}", std::process::id()));
        // Of an earlier process of this number.
        fs::remove_file(&decisions).ok();
        let mut config = CubeClRuntimeConfig::default().override_from_env();
        config.compilation.cache = true;
        // The user's cache: by default CubeCL takes a `target` folder near the working directory.
        config.environment.path = CacheConfig::Global;
        config.autotune.decisions.file = Some(decisions.clone());
        // Settings that are there already were made on purpose.
        CubeClRuntimeConfig::try_set(config).then_some(decisions)
    });
}

/// Where CubeCL writes a line for each kernel it has tuned.
static DECISIONS: OnceLock<Option<PathBuf>> = OnceLock::new();

/// See [`crate::device::kernels_tuned`].
pub(crate) fn kernels_tuned() -> u64 {
    let Some(Some(decisions)) = DECISIONS.get() else { return 0 };
    let lines = fs::read(decisions).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
    lines as u64
}

/// See [`crate::device::without_fusion`].
pub(crate) fn without_fusion() -> bool {
    fusion::BUILTIN_NAMES.iter().all(|name| fusion::remove(name).is_ok())
}

/// Whether a CUDA card's tensor cores multiply numbers of this type. Opens the device.
#[cfg(feature = "cuda")]
pub(crate) fn tensor_cores_take(index: usize, dtype: DType) -> bool {
    let client = CubeDevice::Cuda(CudaDevice::new(index)).client();
    let number = dtype_to_storage_type(dtype);
    client.properties().features.matmul.cmma.iter().any(|product| product.a_type == number)
}

/// The card's own name. Opens the device.
pub(crate) fn name(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name).filter(|name| !name.is_empty())
}
