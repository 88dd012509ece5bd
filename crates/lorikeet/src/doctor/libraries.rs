//! Looking for shared libraries where the system's loader would, without loading them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Where to look.
pub(super) struct Search {
    pub libraries: Vec<PathBuf>,
    /// Of Python environments: NVIDIA publishes its libraries as wheels.
    pub site_packages: Vec<PathBuf>,
}

impl Search {
    pub(super) fn of_this_computer() -> Search {
        let from =
            |name| env::var_os(name).map(|paths| env::split_paths(&paths).collect::<Vec<_>>()).unwrap_or_default();
        let mut libraries = from(if cfg!(windows) { "PATH" } else { "LD_LIBRARY_PATH" });
        libraries.extend(loader_folders());
        let usual =
            ["/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib/wsl/lib"];
        libraries.extend(usual.map(PathBuf::from));
        libraries.extend(["/usr/local/cuda/lib64", "/opt/cuda/lib64"].map(PathBuf::from));
        Search { libraries, site_packages: site_packages() }
    }

    /// The first of the names in the first folder that has one.
    pub(super) fn library(&self, names: &[&str]) -> Option<PathBuf> {
        self.libraries.iter().find_map(|folder| first_in(folder, names))
    }

    /// The same in `nvidia/*/lib` and `nvidia/*/include` of Python environments, the newest CUDA first.
    pub(super) fn in_wheels(&self, names: &[&str]) -> Option<PathBuf> {
        let mut packages: Vec<PathBuf> = self
            .site_packages
            .iter()
            .flat_map(|site| fs::read_dir(site.join("nvidia")).into_iter().flatten().flatten())
            .map(|package| package.path())
            .collect();
        // `cu13` holds all of CUDA 13; `cuda_nvrtc` and `cuda_runtime` are of CUDA 12.
        packages.sort();
        packages
            .iter()
            .find_map(|package| ["lib", "include"].iter().find_map(|folder| first_in(&package.join(folder), names)))
    }
}

fn first_in(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.exists())
}

/// What `ld.so` was told in its configuration.
fn loader_folders() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    files.extend(fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let lines = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

fn site_packages() -> Vec<PathBuf> {
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let roots = environments.chain(home).chain(["/usr/local", "/usr"].map(PathBuf::from));
    roots
        .flat_map(|root| fs::read_dir(root.join("lib")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .flat_map(|python| ["site-packages", "dist-packages"].map(|folder| python.join(folder)))
        .filter(|path| path.is_dir())
        .collect()
}
