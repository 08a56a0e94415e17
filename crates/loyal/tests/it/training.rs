//! Training that is killed and goes on to the same bits; adapters and pairs from the command line.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::command::{Place, Run};
use crate::model::{self, Shape};

const TEXT: &str = "the cat saw the dog and the dog saw the cat near the river under the tree\n";

fn place() -> Place {
    let place = Place::new();
    model::write(&place.path("model"), Shape::default());
    place.write("text.txt", TEXT.repeat(60));
    place
}

fn arguments(out: &str) -> [&str; 14] {
    let steps = ["--steps", "60", "--window", "32", "--checkpoint", "1", "--json"];
    let [a, b, c, d, e, f, g] = steps;
    ["model", "train", "model", "--text", "text.txt", "--out", out, a, b, c, d, e, f, g]
}

fn events(run: &Run) -> Vec<Value> {
    run.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let place = place();
    let whole = events(&place.run(&arguments("whole")));
    assert_eq!(whole.len(), 61);
    for lines in [1, 9, 20] {
        let mut child = place.command(&arguments("killed")).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(stdout.lines().take(lines).filter(Result::is_ok).count(), lines);
        // SIGKILL, perhaps in the middle of writing a checkpoint.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!place.path("killed/model.safetensors").exists());
    }
    let resumed = events(&place.run(&arguments("killed")));
    let first = resumed[0]["step"].as_u64().unwrap();
    assert!(first > 20, "it began again at step {first}");
    assert_eq!(resumed.last().unwrap()["weights_sha256"], whole.last().unwrap()["weights_sha256"]);
    let left = place.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".tmp"));
    // What a killed process was writing may stay behind, under a name that nobody reads.
    assert!(left.count() <= 3);
}

#[test]
fn adapters_are_written_alone_or_merged() {
    let place = place();
    place.write("pairs.jsonl", "{\"prompt\": \"the cat\", \"response\": \"saw the dog\"}\n".repeat(4));
    let common = ["model", "train", "model", "--pairs", "pairs.jsonl", "--lora", "2", "--steps", "3"];
    place.run(&[&common[..], &["--out", "alone"]].concat()).good();
    assert!(place.path("alone/adapter_model.safetensors").exists());
    assert!(!place.path("alone/model.safetensors").exists());
    place.run(&[&common[..], &["--out", "merged", "--merge"]].concat()).good();
    place.run(&["model", "info", "merged"]).good();
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let place = place();
    place.write("empty.txt", "");
    place.write("bad.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n{\"prompt\": 1}\n");
    let common = ["model", "train", "model", "--out", "out", "--window", "32"];
    let train = |more: &[&str]| place.run(&[&common[..], more].concat());
    train(&["--text", "empty.txt"]).bad(1, &["empty"]);
    train(&["--text", "absent.txt"]).bad(1, &["absent.txt", "check the path"]);
    train(&["--pairs", "bad.jsonl"]).bad(1, &["bad.jsonl", "line 2", "prompt"]);
    let long = ["model", "train", "model", "--out", "out", "--text", "text.txt", "--window", "4096"];
    place.run(&long).bad(1, &["--window", "context"]);
    train(&["--text", "text.txt", "--learning-rate", "-1"]).bad(2, &[]);
    place.run(&["model", "train", "model", "--out", "model", "--text", "text.txt"]).bad(1, &["--out"]);
    assert!(!place.path("out/model.safetensors").exists());
}
