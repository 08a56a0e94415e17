//! The default model: found beside the program or the current folder, or unpacked out of the program itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::env;

/// Its folder, relative to the repository or to where the program is installed.
const FOLDER: &str = "models/loyal-5m";

/// Its files, inside the program.
const FILES: &[(&str, &[u8])] = &[
    ("benign.json", include_bytes!("../../../models/loyal-5m/benign.json")),
    ("benign.txt", include_bytes!("../../../models/loyal-5m/benign.txt")),
    ("config.json", include_bytes!("../../../models/loyal-5m/config.json")),
    ("generation_config.json", include_bytes!("../../../models/loyal-5m/generation_config.json")),
    ("model.safetensors", include_bytes!("../../../models/loyal-5m/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../../models/loyal-5m/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../../models/loyal-5m/tokenizer_config.json")),
];

/// The folder of the model a command works on: `given`, or the default model, which is looked for in
/// `LOYAL_MODEL`, beside the program, in the current folder and those above, and at last in the program itself.
///
/// # Errors
/// The default model cannot be unpacked.
pub(crate) fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if let Some(folder) = env::model() {
        return Ok(folder);
    }
    let places = env::places();
    let above = places.iter().flat_map(|place| place.ancestors());
    match above.map(|place| place.join(FOLDER)).find(|folder| folder.join("config.json").is_file()) {
        Some(folder) => Ok(folder),
        None => unpacked(),
    }
}

/// The ordinary text that comes with the default model.
pub(crate) fn benign_text() -> &'static str {
    let file = FILES.iter().find(|(name, _)| *name == "benign.txt");
    file.and_then(|(_, bytes)| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn unpacked() -> anyhow::Result<PathBuf> {
    let cache = env::cache().context(
        "there is no folder to unpack the default model into; set LOYAL_CACHE to a folder, or name a model",
    )?;
    unpack(&cache.join("models"), FILES)
}

/// Writes `files` into a folder below `place` that is named after their digest, whole or not at all, unless
/// they are there already, byte for byte.
fn unpack(place: &Path, files: &[(&str, &[u8])]) -> anyhow::Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, bytes) in files {
        digest.update(name.as_bytes());
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let target = place.join(format!("loyal-5m-{}", hex::encode(&digest.finalize()[..8])));
    if holds(&target, files) {
        return Ok(target);
    }
    let failed = || {
        format!(
            "{}: unpacking the default model failed; set LOYAL_CACHE to a folder with room, or name a model",
            target.display()
        )
    };
    fs::create_dir_all(place).with_context(failed)?;
    // One process at a time writes here; the others then find it done.
    let lock = fs::File::create(place.join(".lock")).with_context(failed)?;
    lock.lock().with_context(failed)?;
    if holds(&target, files) {
        return Ok(target);
    }
    let fresh = tempfile::Builder::new().prefix(".loyal-5m-").tempdir_in(place).with_context(failed)?;
    for (name, bytes) in files {
        let write = |path: PathBuf| {
            let mut file = fs::File::create(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write(fresh.path().join(name)).with_context(failed)?;
    }
    if target.exists() {
        // Damaged: the name says what must be in it.
        fs::remove_dir_all(&target).with_context(failed)?;
    }
    fs::rename(fresh.path(), &target).with_context(failed)?;
    Ok(target)
}

fn holds(folder: &Path, files: &[(&str, &[u8])]) -> bool {
    files.iter().all(|(name, bytes)| fs::read(folder.join(name)).is_ok_and(|found| found == *bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[(&str, &[u8])] = &[("config.json", b"{}"), ("model.safetensors", b"\x08weights")];

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".lock").collect()
    }

    #[test]
    fn unpacks_once_and_leaves_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = unpack(place.path(), TWO).unwrap();
        assert!(holds(&folder, TWO));
        let before = fs::metadata(folder.join("config.json")).unwrap().modified().unwrap();
        assert_eq!(unpack(place.path(), TWO).unwrap(), folder);
        assert_eq!(fs::metadata(folder.join("config.json")).unwrap().modified().unwrap(), before);
        assert_eq!(names(place.path()).len(), 1);
    }

    #[test]
    fn many_at_once_find_it_whole() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| assert!(holds(&unpack(place.path(), TWO).unwrap(), TWO)));
            }
        });
        assert_eq!(names(place.path()).len(), 1);
    }

    #[test]
    fn damage_is_mended() {
        let place = tempfile::tempdir().unwrap();
        let folder = unpack(place.path(), TWO).unwrap();
        fs::write(folder.join("model.safetensors"), b"\x08weighty").unwrap();
        assert_eq!(unpack(place.path(), TWO).unwrap(), folder);
        assert!(holds(&folder, TWO));
        fs::remove_file(folder.join("config.json")).unwrap();
        assert_eq!(unpack(place.path(), TWO).unwrap(), folder);
        assert!(holds(&folder, TWO));
        assert_eq!(names(place.path()).len(), 1);
    }

    #[test]
    fn another_model_has_another_folder() {
        let place = tempfile::tempdir().unwrap();
        let first = unpack(place.path(), TWO).unwrap();
        let other: &[(&str, &[u8])] = &[("config.json", b"{ }"), ("model.safetensors", b"\x08weights")];
        assert_ne!(unpack(place.path(), other).unwrap(), first);
        assert!(holds(&first, TWO));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = format!("{:#}", unpack(&file, TWO).unwrap_err());
        assert!(error.contains("LOYAL_CACHE") && error.contains("file"), "{error}");
    }
}
