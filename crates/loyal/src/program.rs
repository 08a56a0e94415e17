//! Programs of ours that lie on this machine.

use std::path::{Path, PathBuf};

use loyal_agent::python::Program;

/// The interpreter of Python: beside this program, or in a folder of `PATH`.
pub(crate) fn python() -> Option<Program> {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let folders = beside.into_iter().chain(path());
    let in_folder = |folder: PathBuf| {
        let alone = folder.join("loyal-python");
        let whole = folder.join("loyal");
        match (alone.is_file(), whole.is_file()) {
            (true, _) => Some(Program::new(alone, &[])),
            (_, true) => Some(Program::new(whole, &["python-worker"])),
            _ => None,
        }
    };
    folders.filter(|folder| folder.is_absolute()).find_map(in_folder)
}

#[allow(clippy::disallowed_methods, reason = "row 6 reads the environment")]
fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
