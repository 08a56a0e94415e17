//! `loyal model chat` through a pipe.

use crate::command::Place;
use crate::model::{self, Shape};

fn place() -> Place {
    let place = Place::new();
    model::write(&place.path("tiny"), Shape { context: 200, ..Shape::default() });
    place
}

#[test]
fn every_line_gets_a_line() {
    let place = place();
    let run = place.run_with_input(&["model", "chat", "tiny", "--seed", "3"], b"hi\n\nhow are you\n");
    assert_eq!(run.good().lines().count(), 2, "{run:?}");
    let again = place.run_with_input(&["model", "chat", "tiny", "--seed", "3"], b"hi\nhow are you");
    assert_eq!(again.good(), run.good());
    assert_eq!(place.run(&["model", "chat", "tiny"]).good(), "");
}

#[test]
fn json_has_an_object_a_line() {
    let run = place().run_with_input(&["model", "chat", "tiny", "--json", "--max-tokens", "5"], b"hi\nho\n");
    let values: Vec<serde_json::Value> =
        run.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 2);
    assert!(values.iter().all(|value| value["answer"].is_string() && value["tokens"].as_u64().unwrap() <= 5));
    assert!(values[1]["prompt_tokens"].as_u64() > values[0]["prompt_tokens"].as_u64());
}

#[test]
fn the_oldest_turns_are_dropped_aloud() {
    let input = "tell me of the cat and the dog near the river\n".repeat(8);
    let run = place().run_with_input(&["model", "chat", "tiny", "--json"], input.as_bytes());
    let dropped: u64 = run
        .good()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["dropped_turns"].as_u64().unwrap()
        })
        .sum();
    assert!(dropped > 0 && run.stderr.contains("turns were dropped"), "{run:?}");
}

#[test]
fn a_template_is_followed() {
    let place = place();
    let template = "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}";
    place.write("tiny/chat_template.jinja", template);
    let count = |arguments: &[&str]| {
        let all = [&["model", "chat", "tiny", "--json", "--max-tokens", "1"], arguments].concat();
        place.run_with_input(&all, b"hi\n").json()["prompt_tokens"].as_u64().unwrap()
    };
    // "user=hi;" is 8 letters; a transcript is longer.
    assert!(count(&[]) <= 8);
    assert!(count(&["--system", "x"]) > count(&[]));
    place.write("tiny/chat_template.jinja", "{{ raise_exception('no talking') }}");
    place.run_with_input(&["model", "chat", "tiny"], b"hi\n").bad(1, &["no talking"]);
}
