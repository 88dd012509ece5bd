//! What this computer has, what is missing, and how to get it.

mod libraries;

use std::env;
use std::path::{Path, PathBuf};

use lorikeet_nn::{DeviceKind, device};

use libraries::Search;

pub(crate) fn print_devices() {
    for found in device::list() {
        match found.unusable {
            None => {
                // Of a CUDA device the list has no name of its own: asking for it opens the card.
                let own = device::name(found.kind).filter(|name| !found.name.contains(name));
                let own = own.map(|name| format!(": {name}")).unwrap_or_default();
                println!("{:<10} {}{own}", found.kind.to_string(), found.name);
            }
            Some((why, todo)) => {
                println!("{:<10} {}: cannot be used", found.kind.to_string(), found.name);
                println!("{:<10} {why}. {todo}", "");
            }
        }
    }
}

pub(crate) fn print() {
    println!("Lorikeet {} on {} {}", env!("CARGO_PKG_VERSION"), env::consts::OS, env::consts::ARCH);
    println!("\nComputer");
    computer();
    println!("\nDevices this build can use");
    print_devices();
    let search = Search::of_this_computer();
    println!("\nNVIDIA (a build with --features cuda)");
    cuda(&search).iter().for_each(Finding::print);
    println!("\nOther graphics cards (a build with --features vulkan)");
    vulkan(&search).print();
    println!("\nFolders");
    for base in &lorikeet_recipe::BUILT_IN {
        match lorikeet_trainer::asset_folder(base.folder) {
            Ok(folder) => Finding::found(base.folder, folder.display().to_string()).print(),
            Err(error) => Finding::missing(base.folder, error.failure().todo).print(),
        }
    }
    println!("  {:<16} {}", "caches", lorikeet_trainer::cache_folder().display());
}

/// One thing looked for.
#[derive(Debug, PartialEq)]
struct Finding {
    name: &'static str,
    /// Where it is, or how to get it.
    result: Result<String, String>,
}

impl Finding {
    fn found(name: &'static str, what: String) -> Finding {
        Finding { name, result: Ok(what) }
    }

    fn missing(name: &'static str, todo: impl Into<String>) -> Finding {
        Finding { name, result: Err(todo.into()) }
    }

    fn print(&self) {
        match &self.result {
            Ok(what) => println!("  {:<16} {what}", self.name),
            Err(todo) => println!("  {:<16} not found. {todo}", self.name),
        }
    }
}

fn computer() {
    let here = env::current_dir().unwrap_or_default();
    let facts = lorikeet_trainer::machine_facts(DeviceKind::Cpu, &here);
    let gb = |bytes: u64| bytes as f64 / 1e9;
    println!("  {:<16} {} threads", "processor", facts.cores);
    println!("  {:<16} {:.1} GB", "memory", gb(facts.memory_bytes));
    if facts.disk_free_bytes < u64::MAX {
        println!("  {:<16} {:.0} GB free here ({})", "disk", gb(facts.disk_free_bytes), here.display());
    }
}

/// What CUDA needs at run time: the driver, the runtime compiler NVRTC, and its headers.
fn cuda(search: &Search) -> Vec<Finding> {
    let driver = match search.library(&["libcuda.so.1", "libcuda.so", "nvcuda.dll"]) {
        Some(path) => Finding::found("driver", driver_words(&path)),
        None => Finding::missing("driver", "Install the NVIDIA driver of your system, if there is an NVIDIA card"),
    };
    let names = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];
    let nvrtc = match (search.library(&names), search.in_wheels(&names)) {
        (Some(path), _) => Finding::found("NVRTC", path.display().to_string()),
        (None, Some(path)) => {
            let folder = path.parent().unwrap_or(&path).display().to_string();
            Finding::missing("NVRTC", format!("A Python wheel has it; start with LD_LIBRARY_PATH={folder}"))
        }
        (None, None) => Finding::missing("NVRTC", get_cuda("nvidia-cuda-nvrtc")),
    };
    // The second is one that the first kind of wheel leaves out.
    let whole =
        |folder: &Path| ["cuda_fp16.h", "crt/mma.h"].iter().all(|file| folder.join("include").join(file).is_file());
    let root = |header: &Path| header.ancestors().nth(2).unwrap_or(header).to_owned();
    let in_wheel = search.in_wheels(&["cuda_fp16.h"]).map(|header| root(&header));
    let headers = match (cuda_path(), in_wheel) {
        (Some(folder), _) if whole(&folder) => {
            Finding::found("CUDA headers", folder.join("include").display().to_string())
        }
        (_, Some(folder)) if whole(&folder) => {
            let folder = folder.display();
            Finding::missing("CUDA headers", format!("A Python wheel has them; start with CUDA_PATH={folder}"))
        }
        (_, Some(folder)) => {
            let include = folder.join("include").display().to_string();
            let todo = format!(
                "A Python wheel has them without crt/mma.h: `pip install nvidia-cuda-crt`, or for CUDA 12 \
                 `pip install nvidia-cuda-nvcc-cu12` and copy its include/crt into {include}"
            );
            Finding::missing("CUDA headers", todo)
        }
        (_, None) => Finding::missing("CUDA headers", get_cuda("nvidia-cuda-runtime nvidia-cuda-crt")),
    };
    vec![driver, nvrtc, headers]
}

fn get_cuda(wheels: &str) -> String {
    format!(
        "Install the CUDA toolkit (Debian: nvidia-cuda-toolkit), or `pip install {wheels}` and run `lorikeet doctor` again in that \
         environment; of a version not above the CUDA version that nvidia-smi shows, as the driver must know what comes out of it"
    )
}

/// Where CubeCL looks for headers, in its order.
fn cuda_path() -> Option<PathBuf> {
    if let Some(told) = env::var_os("CUDA_PATH") {
        return Some(told.into());
    }
    let usual = ["/usr/local/cuda", "/opt/cuda"].into_iter().map(PathBuf::from).find(|path| path.exists());
    usual.or_else(|| Path::new("/usr/bin/nvcc").exists().then(|| PathBuf::from("/usr")))
}

/// The driver tells more when its own tool is there.
fn driver_words(library: &Path) -> String {
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let told = std::process::Command::new("nvidia-smi").args(query).output().ok().filter(|out| out.status.success());
    let cards = told.map(|out| String::from_utf8_lossy(&out.stdout).trim().replace('\n', "; ")).unwrap_or_default();
    if cards.is_empty() { library.display().to_string() } else { format!("{cards} ({})", library.display()) }
}

fn vulkan(search: &Search) -> Finding {
    match search.library(&["libvulkan.so.1", "libvulkan.so", "vulkan-1.dll", "libMoltenVK.dylib"]) {
        Some(path) => Finding::found("Vulkan loader", path.display().to_string()),
        None => Finding::missing("Vulkan loader", "Install it (Debian: libvulkan1 mesa-vulkan-drivers)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn wheels_are_found_and_told_how_to_use() {
        let site = tempfile::tempdir().unwrap();
        let put = |file: &str| {
            let path = site.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        put("nvidia/cu13/lib/libnvrtc.so.13");
        put("nvidia/cu13/include/cuda_fp16.h");
        let search = Search { libraries: Vec::new(), site_packages: vec![site.path().to_owned()] };
        let found = cuda(&search);
        assert!(found[0].result.as_ref().unwrap_err().contains("NVIDIA driver"));
        let lib = site.path().join("nvidia/cu13/lib").display().to_string();
        assert!(found[1].result.as_ref().unwrap_err().contains(&format!("LD_LIBRARY_PATH={lib}")), "{found:?}");
        if cuda_path().is_none() {
            assert!(found[2].result.as_ref().unwrap_err().contains("pip install nvidia-cuda-crt"), "{found:?}");
            put("nvidia/cu13/include/crt/mma.h");
            let found = cuda(&search);
            let root = site.path().join("nvidia/cu13").display().to_string();
            assert!(found[2].result.as_ref().unwrap_err().ends_with(&format!("CUDA_PATH={root}")), "{found:?}");
        }
    }

    #[test]
    fn a_library_is_found_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libvulkan.so.1"), "").unwrap();
        let search = Search { libraries: vec![folder.path().to_owned()], site_packages: Vec::new() };
        assert!(vulkan(&search).result.is_ok());
        let none = Search { libraries: Vec::new(), site_packages: Vec::new() };
        assert!(vulkan(&none).result.unwrap_err().contains("libvulkan1"));
    }
}
