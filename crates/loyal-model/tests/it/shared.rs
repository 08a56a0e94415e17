//! Where the models under test are.

use std::path::{Path, PathBuf};

/// A folder of the fixtures that `tests/golden/make.py` wrote.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The real model stories260K, where it is at hand; its absence is printed, and goldens of the same
/// architectures are always tested.
pub(crate) fn stories() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models/stories260K");
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("not tested, because it is not here: {}", folder.display());
    None
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// A list of tokens in JSON.
pub(crate) fn tokens(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A list of numbers in JSON.
pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}
