//! The model that commands use when none is named.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::{Place, Run, finish};
use crate::model::{self, Shape};

#[test]
fn a_variable_names_it() {
    let place = Place::new().with("LOYAL_MODEL", "tiny");
    model::write(&place.path("tiny"), Shape::default());
    assert_eq!(place.run(&["model", "info", "--json"]).json()["folder"], "tiny");
    let run = place.run(&["model", "generate", "the cat", "--max-tokens", "3", "--json"]);
    assert_eq!(run.json()["folder"], "tiny");
    place.write("text.txt", "the cat and the dog");
    assert_eq!(place.run(&["model", "evaluate", "text.txt", "--json"]).json()["folder"], "tiny");
}

#[test]
fn a_variable_that_names_nothing_is_told() {
    let place = Place::new().with("LOYAL_MODEL", "none");
    place.run(&["model", "info"]).bad(1, &["none: no such folder"]);
}

#[test]
fn a_folder_above_has_it() {
    let place = Place::new();
    model::write(&place.path("models/loyal-5m"), Shape::default());
    fs::create_dir_all(place.path("deep/down")).unwrap();
    let child = lonely(&place).args(["model", "info", "--json"]).current_dir(place.path("deep/down")).spawn();
    let value = finish(child.unwrap()).json();
    assert!(value["folder"].as_str().unwrap().ends_with("models/loyal-5m"), "{value}");
    assert_eq!(value["context_tokens"], model::CONTEXT);
}

/// The binary, where no checkout is above it.
fn lonely(place: &Place) -> Command {
    let (here, there) = (env!("CARGO_BIN_EXE_loyal"), place.path("loyal"));
    if !there.exists() {
        fs::hard_link(here, &there).or_else(|_| fs::copy(here, &there).map(drop)).unwrap();
    }
    let mut command = Command::new(there);
    command.env_clear().env("LOYAL_CACHE", place.path("cache")).current_dir(place.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn info(place: &Place) -> Run {
    finish(lonely(place).args(["model", "info", "--json"]).spawn().unwrap())
}

#[test]
fn the_program_carries_it() {
    let place = Place::new();
    // Several at once: each finds it whole.
    let start = || lonely(&place).args(["model", "info", "--json"]).spawn().unwrap();
    let digests: Vec<_> = [start(), start(), start()]
        .into_iter()
        .map(|child| finish(child).json()["weights_sha256"].clone())
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    let names = fs::read_dir(place.path("cache/models")).unwrap().map(|entry| entry.unwrap().file_name());
    let folders: Vec<_> = names.filter(|name| name != ".lock").collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    // With the text that `loyal demo` measures on.
    assert!(PathBuf::from(info(&place).json()["folder"].as_str().unwrap()).join("benign.txt").is_file());
    // The very files of the repository.
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m");
    let folder = PathBuf::from(info(&place).json()["folder"].as_str().unwrap());
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            fs::read(folder.join(&name)).unwrap() == fs::read(repository.join(&name)).unwrap(),
            "{name:?}"
        );
    }
    fs::write(folder.join("model.safetensors"), "damaged").unwrap();
    assert_eq!(info(&place).json()["weights_sha256"], digests[0]);
    let child = lonely(&place).args(["model", "generate", "Once upon a time", "--max-tokens", "5"]).spawn();
    assert!(!finish(child.unwrap()).good().trim().is_empty());
}

#[test]
fn without_a_place_to_unpack_that_is_told() {
    let place = Place::new();
    let child = lonely(&place).env_remove("LOYAL_CACHE").args(["model", "info"]).spawn();
    finish(child.unwrap()).bad(1, &["LOYAL_CACHE"]);
    place.write("file", "");
    let child = lonely(&place).env("LOYAL_CACHE", place.path("file/cache")).args(["model", "info"]).spawn();
    finish(child.unwrap()).bad(1, &["file/cache", "LOYAL_CACHE"]);
}
