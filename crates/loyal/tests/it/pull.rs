//! `loyal model pull`, from a hub on this computer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::command::Place;
use crate::hub::{HubServer, ID};
use crate::model::{self, Shape};

/// A hub with the tiny model, and a place whose hub it is.
fn hub() -> (HubServer, Place) {
    let made = Place::new();
    model::write(&made.path("tiny"), Shape::default());
    let mut files: BTreeMap<String, Vec<u8>> = fs::read_dir(made.path("tiny"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.insert("README.md".to_owned(), b"A tiny model.".to_vec());
    // Neither is wanted, and the second is hostile.
    files.insert("pytorch_model.bin".to_owned(), b"pickle".to_vec());
    files.insert("../../model-evil.safetensors".to_owned(), b"evil".to_vec());
    let server = HubServer::start(files);
    let place = Place::new().with("HF_ENDPOINT", &server.endpoint);
    (server, place)
}

#[track_caller]
fn check_complete(server: &HubServer, folder: &Path) {
    let names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        assert_eq!(fs::read(folder.join(&name)).unwrap(), server.behaviour().files[&name], "{name}");
    }
}

#[test]
fn a_model_comes_whole_and_answers() {
    let (server, place) = hub();
    let run = place.run(&["model", "pull", ID]);
    assert_eq!(run.good(), "tiny\n");
    check_complete(&server, &place.path("tiny"));
    place.run(&["model", "generate", "tiny", "the cat", "--max-tokens", "3"]).good();
    // Again: all of it is there.
    server.behaviour().log.clear();
    place.run(&["model", "pull", ID]).good();
    assert!(server.behaviour().log.iter().all(|asked| !asked.store), "{:?}", server.behaviour().log);
}

#[test]
fn events_tell_what_was_checked() {
    let (_server, place) = hub();
    let run = place.run(&["model", "pull", ID, "--json", "--out", "models/here"]);
    let events: Vec<serde_json::Value> =
        run.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "start");
    assert_eq!(events[0]["files"], 5);
    assert!(events.iter().any(|event| event["name"] == "model.safetensors" && event["digest"] == "SHA-256"));
    assert!(events.iter().any(|event| event["name"] == "config.json" && event["digest"] == "git SHA-1"));
    assert_eq!(events.last().unwrap()["folder"], "models/here");
}

#[test]
fn a_transfer_that_breaks_off_goes_on() {
    let (server, place) = hub();
    server.behaviour().cuts = 2;
    place.run(&["model", "pull", ID]).good();
    check_complete(&server, &place.path("tiny"));
    let all = server.behaviour().files["model.safetensors"].len();
    let ranges: Vec<Option<String>> =
        server.behaviour().log.iter().filter(|asked| asked.store).map(|asked| asked.range.clone()).collect();
    let (half, rest) = (all / 2, (all - all / 2) / 2);
    assert_eq!(ranges, [None, Some(format!("bytes={half}-")), Some(format!("bytes={}-", half + rest))]);
}

#[test]
fn the_next_run_goes_on_too() {
    let (server, place) = hub();
    server.behaviour().cuts = usize::MAX;
    let run = place.run(&["model", "pull", ID]);
    run.bad(1, &["model.safetensors", "breaks off", "run the command again"]);
    // Nothing that could be taken for a model.
    assert!(!place.path("tiny/config.json").exists() && !place.path("tiny/model.safetensors").exists());
    server.behaviour().cuts = 0;
    server.behaviour().log.clear();
    place.run(&["model", "pull", ID]).good();
    check_complete(&server, &place.path("tiny"));
    let log = server.behaviour().log.clone();
    assert!(log.iter().any(|asked| asked.store && asked.range.is_some()), "{log:?}");
}

#[test]
fn a_server_without_ranges_begins_again() {
    let (server, place) = hub();
    server.behaviour().cuts = 1;
    server.behaviour().whole_only = true;
    place.run(&["model", "pull", ID]).good();
    check_complete(&server, &place.path("tiny"));
}

#[test]
fn damage_is_refused_and_deleted() {
    let (server, place) = hub();
    server.behaviour().corrupt = true;
    let run = place.run(&["model", "pull", ID]);
    run.bad(1, &["model.safetensors", "damaged", "SHA-256", "deleted", "run the command again"]);
    assert!(!place.path("tiny/model.safetensors").exists());
    let left: Vec<_> = place
        .files()
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains("safetensors"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    server.behaviour().corrupt = false;
    place.run(&["model", "pull", ID]).good();
    check_complete(&server, &place.path("tiny"));
}

#[test]
fn what_is_there_is_never_overwritten() {
    let (_server, place) = hub();
    fs::create_dir(place.path("tiny")).unwrap();
    place.write("tiny/config.json", "mine");
    let before = place.files();
    place.run(&["model", "pull", ID]).bad(1, &["tiny/config.json", "differs", "--out"]);
    assert_eq!(place.files(), before);
}

#[test]
fn the_access_token_goes_to_the_hub_alone() {
    let (server, place) = hub();
    server.behaviour().token = Some("hf_secret".to_owned());
    let run = place.run(&["model", "pull", ID]);
    run.bad(1, &["401", "accept its terms", "--token-file", "HF_TOKEN_PATH", ID]);
    place.write("wrong", "hf_wrong\n");
    let run = place.run(&["model", "pull", ID, "--token-file", "wrong"]);
    run.bad(1, &["401", "access token in wrong"]);
    assert!(!run.stderr.contains("hf_wrong"));
    place.write("right", "hf_secret\n");
    server.behaviour().log.clear();
    place.run(&["model", "pull", ID, "--token-file", "right"]).good();
    check_complete(&server, &place.path("tiny"));
    let log = server.behaviour().log.clone();
    assert!(log.iter().all(|asked| asked.authorization.is_none() == asked.store), "{log:?}");
}

#[test]
fn what_the_hub_lacks_is_told() {
    let (server, place) = hub();
    let before = place.files();
    place.run(&["model", "pull", "someone/else"]).bad(1, &["someone/else", "404", "check the spelling"]);
    place.run(&["model", "pull", ID, "--revision", "v9"]).bad(1, &["revision v9", "404"]);
    place.run(&["model", "pull", "a b"]).bad(1, &["organisation/name"]);
    place.run(&["model", "pull", ID, "--token-file", "none"]).bad(1, &["none: no such file"]);
    server.behaviour().files.remove("tokenizer.json");
    place.run(&["model", "pull", ID]).bad(1, &["tokenizer.json", "choose another model"]);
    server.behaviour().files.remove("model.safetensors");
    place.run(&["model", "pull", ID]).bad(1, &["model.safetensors", "safetensors only"]);
    assert_eq!(place.files(), before);
}

#[test]
fn no_network_is_told_with_what_to_do() {
    // A port that nobody listens at.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new().with("HF_ENDPOINT", &format!("http://{free}"));
    let run = place.run(&["model", "pull", ID]);
    run.bad(1, &["no connection to", &free.to_string(), "HF_ENDPOINT", "copy the model's folder"]);
    let place = Place::new().with("HF_ENDPOINT", "https://hub.invalid");
    place.run(&["model", "pull", ID]).bad(1, &["no connection to https://hub.invalid"]);
    let place = Place::new().with("HF_ENDPOINT", "hub.invalid");
    place.run(&["model", "pull", ID]).bad(1, &["HF_ENDPOINT", "https://"]);
    assert!(place.files().is_empty());
}

#[test]
fn an_answer_of_another_kind_is_told() {
    let (server, place) = hub();
    server.behaviour().files.clear();
    place.run(&["model", "pull", ID]).bad(1, &[ID, "model.safetensors"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let (_server, place) = hub();
    place.write("file", "");
    place.run(&["model", "pull", ID, "--out", "file/tiny"]).bad(1, &["file/tiny", "choose another --out"]);
}
