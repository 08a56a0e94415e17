//! Everything Loyal reads from the environment.

use std::path::PathBuf;

/// A variable that holds a path; empty is absent.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable that the command line names, such as one that holds an API key.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `LOYAL_MODEL`: the folder of the model that commands use when none is named.
pub(crate) fn model() -> Option<PathBuf> {
    path("LOYAL_MODEL")
}

/// `HF_ENDPOINT`: where models are downloaded from; the Hugging Face hub unless set.
pub(crate) fn hub_endpoint() -> Option<String> {
    path("HF_ENDPOINT").map(|value| value.to_string_lossy().into_owned())
}

/// The file that holds the hub's access token: `HF_TOKEN_PATH`, or `token` in `HF_HOME`, or where the hub's
/// own programs keep it.
pub(crate) fn hub_token_file() -> Option<PathBuf> {
    let home = || path("HF_HOME").or_else(|| Some(home()?.join(".cache/huggingface")));
    path("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")))
}

/// The folder for files that can be made again: `LOYAL_CACHE`, or `loyal` in the user's cache folder.
pub(crate) fn cache() -> Option<PathBuf> {
    let system = || {
        if cfg!(windows) {
            path("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            Some(home()?.join("Library/Caches"))
        } else {
            path("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))
        }
    };
    path("LOYAL_CACHE").or_else(|| Some(system()?.join("loyal")))
}

/// Where files that belong to the program may be found, above: the program itself, the current folder.
pub(crate) fn places() -> Vec<PathBuf> {
    [std::env::current_exe(), std::env::current_dir()].into_iter().flatten().collect()
}

/// The path of this program.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Whether a shell that is told `loyal` finds this program, by PATH.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn is_found(program: &std::path::Path) -> bool {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places).map(|place| place.join("loyal")).find(|place| place.is_file());
    found.and_then(|found| std::fs::canonicalize(found).ok()).is_some_and(|found| found == program)
}

/// What any program needs of the environment, and nothing else of it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn basic() -> Vec<(&'static str, std::ffi::OsString)> {
    let names = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ"];
    names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect()
}

fn home() -> Option<PathBuf> {
    path(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
}

/// Embedding divides its work among threads by itself, and matrix products have threads of their own. The tensor engine's
/// would be a third kind, for which the first two wait at every sum. Whoever sets its variable knows better.
pub(crate) fn keep_tensors_to_one_thread() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    if path(NAME).is_none() {
        // SAFETY: this is called before there is another thread.
        #[allow(unsafe_code, reason = "the engine has no other setting")]
        unsafe {
            std::env::set_var(NAME, "1");
        }
    }
}
