//! Devices by name, chosen at run time among those this build holds.

use std::{fmt, str::FromStr};

use burn::tensor::{DType, Device, FloatDType};

use crate::NnError;

/// Where tensors live. `cpu`, `cuda`, `cuda:1`, `vulkan`, `vulkan:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    Cpu,
    Cuda(usize),
    Vulkan(usize),
}

impl FromStr for DeviceKind {
    type Err = NnError;

    fn from_str(text: &str) -> Result<Self, NnError> {
        let unknown = || NnError::UnknownDevice { text: text.to_owned() };
        let lower = text.trim().to_ascii_lowercase();
        let (kind, index) = match lower.split_once(':') {
            Some((kind, index)) => (kind, index.parse().map_err(|_| unknown())?),
            None => (lower.as_str(), 0),
        };
        match kind {
            "cpu" if !lower.contains(':') => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(index)),
            "vulkan" => Ok(Self::Vulkan(index)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Vulkan(0) => f.write_str("vulkan"),
            Self::Vulkan(index) => write!(f, "vulkan:{index}"),
        }
    }
}

/// A kind of device and whether it can be used here.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    pub kind: DeviceKind,
    /// The hardware's own name where the driver tells it without being asked to compute.
    pub name: String,
    /// Why it cannot be used, and what to do; empty for a usable device.
    pub unusable: Option<(String, String)>,
}

/// Every device this build could use, usable or not, the fastest kind first: cards, the CPU, then what only looks like a card.
pub fn list() -> Vec<DeviceInfo> {
    let usable = |kind, name| DeviceInfo { kind, name, unusable: None };
    let mut devices = Vec::new();
    match cuda_count() {
        Ok(n) => devices.extend((0..n).map(|i| usable(DeviceKind::Cuda(i), format!("NVIDIA GPU {i} (CUDA)")))),
        Err(reason) => {
            let name = "NVIDIA GPU (CUDA)".to_owned();
            devices.push(DeviceInfo { kind: DeviceKind::Cuda(0), name, unusable: Some(reason) });
        }
    }
    let mut drawn_by_the_cpu = Vec::new();
    match vulkan_names() {
        Ok(names) => {
            for (i, (name, software)) in names.into_iter().enumerate() {
                let (list, what) = match software {
                    true => (&mut drawn_by_the_cpu, "Vulkan by the CPU, slow"),
                    false => (&mut devices, "Vulkan"),
                };
                list.push(usable(DeviceKind::Vulkan(i), format!("{name} ({what})")));
            }
        }
        Err(reason) => {
            let name = "GPU (Vulkan)".to_owned();
            devices.push(DeviceInfo { kind: DeviceKind::Vulkan(0), name, unusable: Some(reason) });
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    devices.push(usable(DeviceKind::Cpu, format!("CPU, {cores} threads")));
    devices.extend(drawn_by_the_cpu);
    devices
}

/// The hardware's own name. Opens a card, which takes some of its memory.
pub fn name(kind: DeviceKind) -> Option<String> {
    match kind {
        DeviceKind::Cpu => None,
        #[cfg(feature = "card")]
        DeviceKind::Cuda(_) | DeviceKind::Vulkan(_) => crate::card::name(&open(kind).ok()?),
        #[cfg(not(feature = "card"))]
        DeviceKind::Cuda(_) | DeviceKind::Vulkan(_) => None,
    }
}

/// Kernels that this process has tuned on cards; those that an earlier one tuned are read from disk.
pub fn kernels_tuned() -> u64 {
    #[cfg(feature = "card")]
    return crate::card::kernels_tuned();
    #[cfg(not(feature = "card"))]
    0
}

/// Turns off, on cards, that several operations become one kernel (Burn's fusion). It holds for the whole process.
///
/// `false` when something was computed on a card before: then it stays on.
pub fn without_fusion() -> bool {
    #[cfg(feature = "card")]
    return crate::card::without_fusion();
    #[cfg(not(feature = "card"))]
    true
}

/// # Errors
/// When this build lacks the feature, the driver is missing, or there is no device of that number.
pub fn open(kind: DeviceKind) -> Result<Device, NnError> {
    let unavailable =
        |(why, todo): (String, String)| NnError::DeviceUnavailable { device: kind.to_string(), why, todo };
    let check = |count: Result<usize, (String, String)>, index: usize| match count.map_err(unavailable)? {
        n if index < n => Ok(()),
        n => Err(unavailable((format!("there are only {n} of that kind"), "Choose a lower number".to_owned()))),
    };
    match kind {
        DeviceKind::Cpu => Ok(Device::flex()),
        DeviceKind::Cuda(index) => {
            check(cuda_count(), index)?;
            Ok(cuda_device(index))
        }
        DeviceKind::Vulkan(index) => {
            let mut devices = vulkan_devices().map_err(unavailable)?;
            check(Ok(devices.len()), index)?;
            Ok(devices.swap_remove(index))
        }
    }
}

/// Number format of activations and frozen weights: f32 on the CPU; on CUDA what the card's tensor cores multiply, bf16 from 8.0 (RTX 30)
/// on and f16 before; f16 on Vulkan, as far as the device knows it.
pub fn compute_dtype(kind: DeviceKind, device: &Device) -> DType {
    match kind {
        DeviceKind::Cpu => DType::F32,
        DeviceKind::Cuda(index) => cuda_dtype(index),
        DeviceKind::Vulkan(_) if device.supports_dtype(FloatDType::F16) => DType::F16,
        DeviceKind::Vulkan(_) => DType::F32,
    }
}

/// Bytes in use on the device, where it tells.
pub fn memory_in_use(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_in_use)
}

/// Bytes that the device's memory pools hold, in use or kept for what comes next, where it tells: they seldom shrink, so
/// after a step it is about the most that the step had.
pub fn memory_reserved(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

/// Gives memory that is kept but not in use back to the system, where that can be done.
pub fn release_memory(device: &Device) {
    device.memory_cleanup();
    crate::ops::clear_pool();
    trim();
}

/// The C library keeps most of what was freed; a run that has just made itself smaller would still look too large.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[allow(unsafe_code, reason = "a function of the C library, which can be called at any time")]
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> i32;
    }
    malloc_trim(0);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(feature = "cuda")]
fn cuda_count() -> Result<usize, (String, String)> {
    crate::card::prepare();
    match Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len() {
        0 => Err((
            "no NVIDIA driver or no NVIDIA GPU was found".to_owned(),
            "Install the NVIDIA driver, then see `lorikeet doctor`".to_owned(),
        )),
        n => Ok(n),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_count() -> Result<usize, (String, String)> {
    Err(without_feature("cuda"))
}

#[cfg(feature = "cuda")]
fn cuda_device(index: usize) -> Device {
    Device::cuda(index)
}

#[cfg(not(feature = "cuda"))]
fn cuda_device(_: usize) -> Device {
    Device::flex()
}

/// Burn takes bf16 on every card, also where the compiler must spell it out in f32.
#[cfg(feature = "cuda")]
fn cuda_dtype(index: usize) -> DType {
    let known = |dtype: &DType| crate::card::tensor_cores_take(index, *dtype);
    [DType::BF16, DType::F16].into_iter().find(known).unwrap_or(DType::F32)
}

#[cfg(not(feature = "cuda"))]
fn cuda_dtype(_: usize) -> DType {
    DType::F32
}

#[cfg(feature = "vulkan")]
fn vulkan_devices() -> Result<Vec<Device>, (String, String)> {
    crate::card::prepare();
    let devices = Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec();
    if devices.is_empty() {
        return Err((
            "no Vulkan driver was found".to_owned(),
            "Install your GPU's driver (on Debian without a GPU: mesa-vulkan-drivers)".to_owned(),
        ));
    }
    Ok(devices)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan_devices() -> Result<Vec<Device>, (String, String)> {
    Err(without_feature("vulkan"))
}

/// Of each device the name, and whether it is a driver that computes on the CPU.
#[cfg(feature = "vulkan")]
fn vulkan_names() -> Result<Vec<(String, bool)>, (String, String)> {
    let software = Device::vulkan(burn::tensor::DeviceKind::Cpu);
    let name = |(i, device): (usize, &Device)| {
        let name = crate::card::name(device).unwrap_or_else(|| format!("GPU {i}"));
        (name, *device == software)
    };
    Ok(vulkan_devices()?.iter().enumerate().map(name).collect())
}

#[cfg(not(feature = "vulkan"))]
fn vulkan_names() -> Result<Vec<(String, bool)>, (String, String)> {
    Err(without_feature("vulkan"))
}

#[cfg(not(all(feature = "cuda", feature = "vulkan")))]
fn without_feature(feature: &str) -> (String, String) {
    (
        format!("this program was built without the {feature} feature"),
        format!("Build it with `cargo build --release --features {feature}`, or use --device cpu"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["cpu", "cuda", "cuda:1", "vulkan", "vulkan:2"] {
            assert_eq!(name.parse::<DeviceKind>().unwrap().to_string(), name);
        }
        assert_eq!("CUDA:0".parse::<DeviceKind>().unwrap(), DeviceKind::Cuda(0));
        for name in ["", "gpu", "cuda:x", "cuda:-1", "cpu:1"] {
            assert!(name.parse::<DeviceKind>().is_err(), "{name}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_feature_is_named_with_what_to_do() {
        let message = open(DeviceKind::Cuda(0)).unwrap_err().to_string();
        assert!(message.contains("without the cuda feature") && message.contains("--features cuda"), "{message}");
    }
}
