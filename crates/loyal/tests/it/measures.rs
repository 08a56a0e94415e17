//! `loyal model evaluate`.

use crate::command::Place;
use crate::model::{self, Shape};

const TEXT: &str = "the cat saw the dog near the river. ";

fn place() -> Place {
    let place = Place::new();
    model::write(&place.path("tiny"), Shape::default());
    model::write(&place.path("other"), Shape { seed: 2, ..Shape::default() });
    place.write("text.txt", TEXT.repeat(20));
    place
}

#[test]
fn figures_agree_with_each_other() {
    let place = place();
    let value = place.run(&["model", "evaluate", "tiny", "text.txt", "--json"]).json();
    let number = |name: &str| value[name].as_f64().unwrap();
    assert_eq!(number("bytes"), 20.0 * TEXT.len() as f64);
    assert!((number("perplexity").ln() - number("nats_per_token")).abs() < 1e-9);
    let bits = number("nats_per_token") * number("tokens") / std::f64::consts::LN_2 / number("bytes");
    assert!((bits - number("bits_per_byte")).abs() < 1e-9);
    assert!((0.0..=1.0).contains(&number("top1_accuracy")));
    let text = place.run(&["model", "evaluate", "tiny", "text.txt"]).good().to_owned();
    assert!(text.contains(&format!("{:.4}", number("bits_per_byte"))), "{text}");
}

#[test]
fn a_model_is_no_distance_from_itself() {
    let place = place();
    let against = |name: &str| {
        place.run(&["model", "evaluate", "tiny", "text.txt", "--against", name, "--json"]).json()["against"]
            .clone()
    };
    assert!(against("tiny")["kl_nats_per_token"].as_f64().unwrap() < 1e-9);
    assert_eq!(against("tiny")["top1_agreement"], 1.0);
    assert!(against("other")["kl_nats_per_token"].as_f64().unwrap() > 1e-4);
}

#[test]
fn standard_input_is_a_text_too() {
    let place = place();
    let file = place.run(&["model", "evaluate", "tiny", "text.txt", "--json"]).json();
    let pipe = place
        .run_with_input(&["model", "evaluate", "tiny", "-", "--json"], TEXT.repeat(20).as_bytes())
        .json();
    assert_eq!(file["perplexity"], pipe["perplexity"]);
}
