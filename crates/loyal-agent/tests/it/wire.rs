//! Bytes: those captured from the Python framework, and the rules of identifiers and names.

use std::path::Path;

use loyal_agent::event::{Bounds, Content, Decoder, Document, Event, Fault, Metadata, encode};
use loyal_agent::ulid::Ulids;
use loyal_agent::{Error, Ulid};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use crate::kit::{Still, golden, question, ulid, up};

fn captured(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/golden").join(format!("{name}.sse"))).unwrap()
}

fn decode(bytes: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new(Bounds::default());
    decoder.push(bytes).unwrap();
    decoder.finish().unwrap();
    std::iter::from_fn(|| decoder.event()).collect()
}

fn escaped(bytes: &[u8]) -> String {
    let text = str::from_utf8(bytes).unwrap();
    text.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[test]
fn captured_bytes_are_read_and_written_again() {
    for name in ["stream", "respond", "json", "error", "unicode", "unclosed"] {
        let bytes = captured(name);
        let mut written = Vec::new();
        for event in decode(&bytes) {
            encode(&event, &mut written).unwrap();
        }
        assert_eq!(str::from_utf8(&written).unwrap(), escaped(&bytes), "{name}");
    }
}

/// Our server against the Python server's bytes, identifiers aside.
#[tokio::test]
async fn the_server_says_what_the_python_server_says() {
    let up = up(golden()).await;
    for name in ["stream", "respond", "error", "unicode", "unclosed"] {
        let answer = up.post("/assist", &serde_json::to_string(&question(name)).unwrap()).await;
        let ours = plain(&unchunked(&answer));
        assert_eq!(ours, plain(&escaped(&captured(name))), "{name}");
    }
}

/// The body of an answer, its chunks put together.
fn unchunked(answer: &str) -> String {
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
    body
}

/// With identifiers of events and streams replaced by the order they appear in.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (member, length) in [("\"id\":\"", 26), ("\"stream_id\":\"", 10)] {
        let mut names: Vec<String> = Vec::new();
        for (at, _) in text.match_indices(member) {
            let name = text[at + member.len()..][..length].to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for (index, name) in names.iter().enumerate() {
            text = text.replace(name, &format!("{index}"));
        }
    }
    text
}

/// The Python server writes the name raw, and a reader sees a second `event:` line. The JSON counts.
#[test]
fn a_captured_bad_name_is_read_and_not_written() {
    let events = decode(&captured("name"));
    assert_eq!(events[0].name, "BAD\nevent: done");
    assert!(matches!(encode(&events[0], &mut Vec::new()), Err(Error::BadEventName { .. })));
}

#[test]
fn names_are_one_short_line() {
    for good in ["a", "FINAL_RESPONSE", "two words", &"é".repeat(64)] {
        assert_eq!(Event::check_name(good), Ok(()), "{good}");
    }
    for bad in ["", " a", "a ", "a\nb", "a\rb", "a\u{85}b", "a\u{2028}", "a\u{7f}", "\0", &"é".repeat(65)] {
        assert!(Event::check_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_relay_keeps_what_it_does_not_understand() {
    let content = r#"{"n":123456789012345678901234567890,"b":1.10,"a":[ "x y" , "\" \\" ]}"#;
    let json = format!(
        r#"{{"content_type":"atomic.json","event_name":"X","id":"{}","source":"s","extra":1,"content":{content}}}"#,
        ulid(1)
    );
    let event = Event::from_json(&json).unwrap();
    let Content::Json(document) = &event.content else { panic!("a document") };
    assert_eq!(document.as_json(), r#"{"n":123456789012345678901234567890,"b":1.10,"a":["x y","\" \\"]}"#);
}

#[test]
fn a_document_with_line_breaks_stays_one_line() {
    let document = Document::from_json("{\"a\"\n:\r\n[1,\t2]}").unwrap();
    let event = Event {
        id: ulid(1),
        source: "s".to_owned(),
        name: "X".to_owned(),
        metadata: None,
        content: Content::Json(document),
    };
    let mut bytes = Vec::new();
    encode(&event, &mut bytes).unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 3);
    assert_eq!(decode_one(&bytes), event);
}

fn decode_one(bytes: &[u8]) -> Event {
    let mut decoder = Decoder::new(Bounds::default());
    decoder.push(bytes).unwrap();
    decoder.event().unwrap()
}

#[test]
fn content_must_be_what_its_type_says() {
    let of = |kind: &str, rest: &str| {
        let json = format!(r#"{{"content_type":"{kind}","event_name":"X","source":"s"{rest}}}"#);
        Event::from_json(&json)
    };
    for (kind, rest, expected) in [
        ("atomic.json", r#","content":[1]"#, "must be an object"),
        ("atomic.json", r#","content":1"#, "must be an object"),
        ("atomic.json", "", "missing field `content`"),
        ("atomic.textblock", r#","content":{}"#, "content: invalid type"),
        ("chunked.text", r#","content":"x","is_complete":true"#, "missing field `stream_id`"),
        ("chunked.text", r#","content":"x","stream_id":"a""#, "missing field `is_complete`"),
        ("atomic.video", r#","content":"x""#, "no content_type"),
        ("atomic.textblock", r#","content":"x","id":"zzz""#, "Unrecognized format"),
        ("atomic.textblock", r#","content":"x","metadata":{"a":{"b":1}}"#, "metadata holds"),
        ("atomic.textblock", r#","content":"x","metadata":{"a":null}"#, "metadata holds"),
    ] {
        let error = of(kind, rest).unwrap_err();
        assert!(error.contains(expected), "{kind} {rest}: {error}");
    }
    assert!(of("atomic.done", "").unwrap().is_done());
    let Content::Error(fault) = of("atomic.error", r#","content":{"error_message":"m"}"#).unwrap().content
    else {
        panic!("an error")
    };
    assert_eq!(fault, Fault { message: "m".to_owned(), code: 500, details: None });
}

#[test]
fn metadata_is_flat_ordered_and_short() {
    let metadata = Metadata::new().with("b", "x").unwrap().with("a", 1).unwrap().with("c", true).unwrap();
    let metadata = metadata.with("d", vec!["y".to_owned()]).unwrap().with("b", "z").unwrap();
    assert_eq!(serde_json::to_string(&metadata).unwrap(), r#"{"b":"z","a":1,"c":true,"d":["y"]}"#);
    let full = (0..16).try_fold(Metadata::new(), |metadata, index| metadata.with(&index.to_string(), index));
    assert!(matches!(full.unwrap().with("17", 1), Err(Error::TooLarge { .. })));
}

#[test]
fn ulids_are_read_in_either_case_and_never_go_back() {
    let text = "01M81BY2RSJS94CWFCAFFQAPWV";
    assert_eq!(text.parse::<Ulid>().unwrap().to_string(), text);
    assert_eq!(text.to_lowercase().parse::<Ulid>(), text.parse());
    for bad in
        ["", "zzz", "81M81BY2RSJS94CWFCAFFQAPWV", "01M81BY2RSJS94CWFCAFFQAPWU", "01M81BY2RSJS94CWFCAFFQAPWé"]
    {
        assert!(bad.parse::<Ulid>().is_err(), "{bad}");
    }
    let mut ids = Ulids::new(std::sync::Arc::new(Still), ChaCha12Rng::from_seed([1; 32]));
    let drawn: Vec<_> = (0..10_000).map(|_| ids.draw()).collect();
    assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
    let stream = ids.stream_id();
    assert!(stream.len() == 10 && stream.starts_with(|c: char| c.is_ascii_lowercase()), "{stream}");
}

#[test]
fn one_seed_gives_one_stream_of_identifiers() {
    let ids = || Ulids::new(std::sync::Arc::new(Still), ChaCha12Rng::from_seed([1; 32]));
    let (mut one, mut other) = (ids(), ids());
    assert!((0..100).all(|_| one.draw() == other.draw() && one.stream_id() == other.stream_id()));
}
