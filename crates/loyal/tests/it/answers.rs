//! `loyal model info` and `loyal model generate`.

use crate::command::Place;
use crate::model::{self, Shape};

fn place() -> Place {
    let place = Place::new();
    model::write(&place.path("tiny"), Shape::default());
    place
}

#[test]
fn info_says_what_it_is() {
    let place = place();
    let text = place.run(&["model", "info", "tiny"]).good().to_owned();
    for word in ["Llama", "2 layers", "64 tokens", "float32", "no: a base model", "sha256", "4 files"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "colour only in a terminal");
    let value = place.run(&["model", "info", "tiny", "--json"]).json();
    assert_eq!(value["architecture"], "Llama");
    assert_eq!(value["context_tokens"], 64);
    assert_eq!(value["chat_template"], false);
    assert_eq!(value["files"].as_array().unwrap().len(), 4);
    assert!(text.contains(value["weights_sha256"].as_str().unwrap()));
}

#[test]
fn the_digest_is_of_the_numbers() {
    let place = place();
    model::write(&place.path("same"), Shape::default());
    model::write(&place.path("other"), Shape { seed: 2, ..Shape::default() });
    let digest = |name: &str| place.run(&["model", "info", name, "--json"]).json()["weights_sha256"].clone();
    assert_eq!(digest("tiny"), digest("same"));
    assert_ne!(digest("tiny"), digest("other"));
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let place = place();
    let base = ["model", "generate", "tiny", "the cat", "--max-tokens", "20", "--seed"];
    let run = |seed: &str| place.run(&[&base[..], &[seed]].concat());
    assert_eq!(run("7").good(), run("7").good());
    assert_ne!(run("7").good(), run("8").good());
    assert!(run("7").stderr.contains("seed 7; "), "{:?}", run("7").stderr);
    let printed = run("7").good().to_owned();
    let value = place.run(&[&base[..], &["7", "--json"]].concat()).json();
    assert_eq!(printed, format!("{}\n", value["answers"][0]["text"].as_str().unwrap()));
}

#[test]
fn a_seed_that_was_not_chosen_is_told() {
    let place = place();
    let value = place.run(&["model", "generate", "tiny", "the", "--max-tokens", "8", "--json"]).json();
    let (seed, text) = (value["answers"][0]["seed"].to_string(), &value["answers"][0]["text"]);
    let again = ["model", "generate", "tiny", "the", "--max-tokens", "8", "--json", "--seed", &seed];
    assert_eq!(&place.run(&again).json()["answers"][0]["text"], text);
}

#[test]
fn the_prompt_comes_from_anywhere() {
    let place = place();
    place.write("prompt.txt", "the dog\n");
    let options = ["--temperature", "0", "--max-tokens", "12"];
    let run = |words: &[&'static str]| [&["model", "generate", "tiny"], words, &options].concat();
    let spoken = place.run(&run(&["the dog"])).good().to_owned();
    assert_eq!(place.run(&run(&["--prompt-file", "prompt.txt"])).good(), spoken);
    assert_eq!(place.run_with_input(&run(&[]), b"the dog\r\n").good(), spoken);
    assert_eq!(place.run_with_input(&run(&["--prompt-file", "-"]), b"the dog").good(), spoken);
}

#[test]
fn several_answers_are_those_of_their_seeds() {
    let place = place();
    let base = ["model", "generate", "tiny", "the cat", "--max-tokens", "15", "--json"];
    let all = place.run(&[&base[..], &["--seed", "5", "--count", "3"]].concat()).json();
    for (index, seed) in ["5", "6", "7"].iter().enumerate() {
        let one = place.run(&[&base[..], &["--seed", seed]].concat()).json();
        assert_eq!(all["answers"][index], one["answers"][0]);
    }
    let text =
        place.run(&["model", "generate", "tiny", "the", "--seed", "5", "--count", "2"]).good().to_owned();
    assert!(text.starts_with("=== 1 of 2, seed 5\n") && text.contains("=== 2 of 2, seed 6\n"), "{text}");
}

#[test]
fn stop_texts_and_lengths_end_it() {
    let place = place();
    let base = ["model", "generate", "tiny", "the cat", "--temperature", "0", "--json", "--ignore-end"];
    let whole = place.run(&[&base[..], &["--max-tokens", "20"]].concat()).json()["answers"][0].clone();
    assert_eq!(whole["finish"], "length");
    assert_eq!(whole["tokens"].as_array().unwrap().len(), 20);
    let text = whole["text"].as_str().unwrap();
    let (middle, letter) = text.char_indices().nth(text.chars().count() / 2).unwrap();
    let stop = letter.to_string();
    let cut = place.run(&[&base[..], &["--max-tokens", "20", "--stop", &stop]].concat()).json();
    assert_eq!(cut["answers"][0]["finish"], "stop");
    let first = text.find(&stop).unwrap();
    assert!(first <= middle);
    assert_eq!(cut["answers"][0]["text"], text[..first]);
}

#[test]
fn without_a_length_it_stays_in_the_context() {
    let place = place();
    let value = place.run(&["model", "generate", "tiny", "the cat", "--json", "--ignore-end"]).json();
    let tokens = value["answers"][0]["tokens"].as_array().unwrap().len();
    assert_eq!(tokens + value["prompt_tokens"].as_u64().unwrap() as usize, model::CONTEXT);
}

#[test]
fn logprobs_are_named() {
    let place = place();
    let base =
        ["model", "generate", "tiny", "the", "--temperature", "0", "--max-tokens", "5", "--logprobs", "3"];
    let value = place.run(&[&base[..], &["--json"]].concat()).json()["answers"][0].clone();
    let places = value["logprobs"].as_array().unwrap();
    assert_eq!(places.len(), value["tokens"].as_array().unwrap().len());
    for place in places {
        let top = place["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the chosen one is the most probable one.
        assert_eq!(top[0]["token"], place["token"]);
        assert!(top[0]["logprob"].as_f64() >= top[1]["logprob"].as_f64());
        assert!(top[0]["logprob"].as_f64().unwrap() <= 0.0);
    }
    let text = place.run(&base).good().to_owned();
    assert_eq!(text.lines().filter(|line| line.contains("\t| ")).count(), places.len(), "{text}");
}

#[test]
fn every_precision_answers() {
    let place = place();
    for precision in ["f32", "bf16", "int8", "int4"] {
        let run =
            place.run(&["model", "generate", "tiny", "the", "--precision", precision, "--max-tokens", "4"]);
        assert!(run.good().ends_with('\n'), "{precision}");
    }
}
