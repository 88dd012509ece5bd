//! A CUDA driver without a card: kernels are computed by this processor, from the PTX that NVRTC writes. With it the program does on a
//! machine without a card what it does with one, and its numbers can be compared; see `tests/gpu/simulate`.
//!
//! Only what CubeCL calls is here. Not simulated: speed (times are this processor's), streams (all is done at once, in the order it is asked for), and
//! what threads see of each other between barriers. Memory holds no number until it is written, and no thread reads or writes beyond what
//! was taken.
//!
//! Environment: `SIMULATED_ARCH`, the compute capability, 89 without it; `SIMULATED_LOG`, a file that takes a line for each kernel loaded and
//! each fault; `SIMULATED_PTX`, a folder that takes the code of each kernel; `SIMULATED_DRY`, compute nothing; `SIMULATED_EXACT`, f32 is not rounded to TF32; `SIMULATED_BACKWARDS`, the warps of a block
//! run from the last to the first.

mod arithmetic;
mod block;
mod kernel;
mod matrix;
mod memory;
mod operations;
mod ptx;
#[cfg(test)]
mod tests;
mod warp;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use crate::kernel::Kernel;

type Status = c_int;
type Handle = *mut c_void;

const SUCCESS: Status = 0;
const INVALID_VALUE: Status = 1;
const OUT_OF_MEMORY: Status = 2;
const INVALID_PTX: Status = 218;
const NOT_FOUND: Status = 500;
const ILLEGAL_ADDRESS: Status = 700;

const SHARED_MEMORY: u32 = 101_376;
const THREADS: u32 = 1024;
const GRID: u32 = 65_535;

fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

fn told(what: &str, name: &str) {
    let Some(path) = std::env::var_os("SIMULATED_LOG") else { return };
    let Ok(mut log) = std::fs::OpenOptions::new().create(true).append(true).open(path) else { return };
    // One write, so that lines of several processes do not mix. A log that cannot be written is found empty by who reads it.
    let _ = log.write_all(format!("{what} {name}\n").as_bytes());
}

/// For `ptxas` and for eyes.
fn keep(text: &str, kernels: &[Kernel]) {
    let (Some(folder), Some(kernel)) = (std::env::var_os("SIMULATED_PTX"), kernels.first()) else { return };
    // As with the log: who looks for it sees that it is not there.
    let _ = std::fs::write(std::path::Path::new(&folder).join(format!("{}.ptx", kernel.name)), text);
}

/// Writes what a call returns through a pointer.
unsafe fn put<T>(to: *mut T, value: T) -> Status {
    // SAFETY: the caller of the driver gave a place for it.
    unsafe { to.write(value) };
    SUCCESS
}

/// Every handle that stands for nothing is the same.
const NOTHING: Handle = 4096 as Handle;

macro_rules! driver {
    ($($name:ident($($argument:ident: $kind:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, unused_unsafe)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> Status { unsafe { $body } }
    )*};
}

driver! {
    cuInit(_flags: c_uint) { SUCCESS }
    cuDriverGetVersion(version: *mut c_int) { put(version, 13000) }
    cuDeviceGetCount(count: *mut c_int) { put(count, 1) }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) { put(device, ordinal) }
    cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { put(bytes, 24 << 30) }
    cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) { text(name, length, "a simulated card") }
    cuDeviceGetPCIBusId(name: *mut c_char, length: c_int, _device: c_int) { text(name, length, "0000:01:00.0") }
    cuDeviceGetLuid(luid: *mut [u8; 8], mask: *mut c_uint, _device: c_int) { put(luid, [0; 8]); put(mask, 1) }
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) { put(value, self::attribute(attribute)) }

    cuDevicePrimaryCtxRetain(context: *mut Handle, _device: c_int) { put(context, NOTHING) }
    cuCtxSetCurrent(_context: Handle) { SUCCESS }
    cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) { put(least, 0); put(greatest, -5) }

    cuMemAlloc_v2(out: *mut u64, bytes: usize) { take(out, bytes, true) }
    cuMemAllocAsync(out: *mut u64, bytes: usize, _stream: Handle) { take(out, bytes, true) }
    cuMemHostAlloc(out: *mut u64, bytes: usize, _flags: c_uint) { take(out, bytes, false) }
    cuMemAllocHost_v2(out: *mut u64, bytes: usize) { take(out, bytes, false) }
    cuMemFree_v2(address: u64) { free(address) }
    cuMemFreeAsync(address: u64, _stream: Handle) { free(address) }
    cuMemFreeHost(address: u64) { free(address) }
    cuMemcpyHtoDAsync_v2(to: *mut u8, from: *const u8, bytes: usize, _stream: Handle) { copy(to, from, bytes) }
    cuMemcpyDtoHAsync_v2(to: *mut u8, from: *const u8, bytes: usize, _stream: Handle) { copy(to, from, bytes) }
    cuMemcpyDtoDAsync_v2(to: *mut u8, from: *const u8, bytes: usize, _stream: Handle) { copy(to, from, bytes) }
    cuMemcpy2DAsync_v2(copy: *const Copy2D, _stream: Handle) { (*copy).run() }

    cuStreamCreate(stream: *mut Handle, _flags: c_uint) { put(stream, NOTHING) }
    cuStreamCreateWithPriority(stream: *mut Handle, _flags: c_uint, _priority: c_int) { put(stream, NOTHING) }
    cuStreamSynchronize(_stream: Handle) { SUCCESS }
    cuStreamDestroy_v2(_stream: Handle) { SUCCESS }
    cuStreamWaitEvent(_stream: Handle, _event: Handle, _flags: c_uint) { SUCCESS }
    cuStreamIsCapturing(_stream: Handle, capturing: *mut c_int) { put(capturing, 0) }
    cuEventCreate(event: *mut Handle, _flags: c_uint) { put(event, Box::into_raw(Box::new(Instant::now())).cast()) }
    cuEventRecord(event: Handle, _stream: Handle) { put(event.cast(), Instant::now()) }
    cuEventSynchronize(_event: Handle) { SUCCESS }
    cuEventQuery(_event: Handle) { SUCCESS }
    cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        let [start, end] = [start, end].map(|event| *event.cast::<Instant>());
        put(milliseconds, end.duration_since(start).as_secs_f32() * 1e3)
    }
    cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) { cuEventElapsedTime(milliseconds, start, end) }
    cuEventDestroy_v2(event: Handle) {
        drop(Box::from_raw(event.cast::<Instant>()));
        SUCCESS
    }

    cuModuleLoadData(module: *mut Handle, image: *const c_char) {
        let text = CStr::from_ptr(image).to_string_lossy();
        match ptx::kernels(&text) {
            Ok(kernels) => {
                keep(&text, &kernels);
                let kernels: Vec<_> = kernels.into_iter().map(Arc::new).collect();
                put(module, Box::into_raw(Box::new(kernels)).cast())
            }
            Err(statement) => {
                told("not known to the simulator:", &statement);
                INVALID_PTX
            }
        }
    }
    cuModuleUnload(module: Handle) {
        drop(Box::from_raw(module.cast::<Vec<Arc<Kernel>>>()));
        SUCCESS
    }
    // A function is kept, as it may be launched after its module went.
    cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) {
        let name = CStr::from_ptr(name).to_string_lossy();
        let kernels = &*module.cast::<Vec<Arc<Kernel>>>();
        let Some(kernel) = kernels.iter().find(|kernel| kernel.name == name) else {
            told("missing", &name);
            return NOT_FOUND;
        };
        told("kernel", &name);
        put(function, Arc::into_raw(Arc::clone(kernel)).cast_mut().cast())
    }
    cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) {
        if attribute != 8 || value <= SHARED_MEMORY as c_int {
            return SUCCESS;
        }
        told("too much shared memory:", &(*function.cast::<Kernel>()).name);
        INVALID_VALUE
    }
    cuLaunchKernel(function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint,
                   shared: c_uint, _stream: Handle, arguments: *const *const u8, _extra: Handle) {
        let kernel = &*function.cast::<Kernel>();
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let threads: u32 = block.iter().product();
        let fits = !grid.contains(&0) && grid_y <= GRID && grid_z <= GRID && threads > 0 && threads <= THREADS;
        if !fits || shared > SHARED_MEMORY {
            told("cannot be launched:", &kernel.name);
            return INVALID_VALUE;
        }
        if asked("SIMULATED_DRY") {
            return SUCCESS;
        }
        let bytes = kernel.parameters.last().map_or(0, |(start, bytes)| start + bytes);
        let mut parameters = vec![0_u64; bytes.div_ceil(8)];
        for (index, (start, bytes)) in kernel.parameters.iter().enumerate() {
            copy(parameters.as_mut_ptr().cast::<u8>().add(*start), *arguments.add(index), *bytes);
        }
        let launch = block::Launch { grid, block, shared: shared as usize, parameters, backwards: asked("SIMULATED_BACKWARDS") };
        match block::run(kernel, &launch) {
            Ok(()) => SUCCESS,
            Err(fault) => {
                told("fault:", &fault);
                ILLEGAL_ADDRESS
            }
        }
    }

    cuGetErrorName(error: c_int, name: *mut *const c_char) {
        put(name, match error {
            INVALID_PTX => c"the simulator does not know an operation: see SIMULATED_LOG".as_ptr(),
            ILLEGAL_ADDRESS => c"a fault in a kernel: see SIMULATED_LOG".as_ptr(),
            _ => c"an error of the simulated driver".as_ptr(),
        })
    }
    cuGetErrorString(error: c_int, words: *mut *const c_char) { cuGetErrorName(error, words) }
    cuTensorMapEncodeTiled() { SUCCESS }
    cuTensorMapEncodeIm2col() { SUCCESS }
    cuTensorMapEncodeIm2colWide() { SUCCESS }
}

/// By the numbers of `CUdevice_attribute`.
fn attribute(attribute: c_int) -> c_int {
    let arch = std::env::var("SIMULATED_ARCH").ok().and_then(|arch| arch.parse().ok()).unwrap_or(89);
    match attribute {
        1..=3 => THREADS as c_int,
        4 => 64,
        5 => c_int::MAX,
        6 | 7 => GRID as c_int,
        8 => 49_152,
        10 => 32,
        16 => 128,
        39 => 1536,
        75 => arch / 10,
        76 => arch % 10,
        97 => SHARED_MEMORY as c_int,
        _ => 1,
    }
}

unsafe fn text(to: *mut c_char, length: c_int, text: &str) -> Status {
    let bytes = text.len().min(length as usize - 1);
    // SAFETY: the caller has room for `length` bytes.
    unsafe {
        copy(to.cast(), text.as_ptr(), bytes);
        to.add(bytes).write(0);
    }
    SUCCESS
}

unsafe fn copy(to: *mut u8, from: *const u8, bytes: usize) -> Status {
    // SAFETY: the caller of the driver says so; the places may overlap.
    unsafe { std::ptr::copy(from, to, bytes) };
    SUCCESS
}

unsafe fn take(out: *mut u64, bytes: usize, filled: bool) -> Status {
    match memory::take(bytes, filled) {
        // SAFETY: as for `put`.
        Some(address) => unsafe { put(out, address) },
        None => OUT_OF_MEMORY,
    }
}

fn free(address: u64) -> Status {
    if memory::free(address) {
        return SUCCESS;
    }
    told("freed what was not taken:", &format!("{address:#x}"));
    INVALID_VALUE
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
pub struct Copy2D {
    from: Place,
    to: Place,
    width: usize,
    height: usize,
}

#[repr(C)]
struct Place {
    x: usize,
    y: usize,
    /// 1: in the computer's memory.
    kind: c_int,
    host: *mut u8,
    device: *mut u8,
    array: Handle,
    pitch: usize,
}

impl Copy2D {
    unsafe fn run(&self) -> Status {
        let row = |place: &Place, row: usize| {
            let start = if place.kind == 1 { place.host } else { place.device };
            start.wrapping_add((place.y + row) * place.pitch + place.x)
        };
        for index in 0..self.height {
            // SAFETY: as for `copy`.
            unsafe { copy(row(&self.to, index), row(&self.from, index), self.width) };
        }
        SUCCESS
    }
}
