//! What agents and their callers send each other: streams of events, and requests.

use loyal_agent::Event;
use loyal_agent::event::{Bounds, Decoder, encode};
use loyal_agent::session::{Request, parse};

use super::{HELD_BYTES_BASE, Target};

pub(super) const EVENT_STREAM: Target = Target {
    name: "event_stream",
    run: event_stream,
    dictionary: STREAM_WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const ASSIST_REQUEST: Target = Target {
    name: "assist_request",
    run: assist_request,
    dictionary: REQUEST_WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

const STREAM_WORDS: &[&str] = &[
    "event: done\n",
    "data: ",
    "\n\n",
    "\r\n",
    "\r",
    ": ping\n\n",
    "id: 1\n",
    "retry: 1\n",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\"content_type\":\"atomic.json\"",
    "\"content_type\":\"atomic.done\"",
    "\"content_type\":\"chunked.text\"",
    "\"content_type\":\"atomic.error\"",
    "\"stream_id\":\"abcdefghij\"",
    "\"is_complete\":true",
    "\"content\":{\"a\":1e400}",
    "\"metadata\":{\"a\":[\"b\"]}",
    "\"loyal\":{}",
    "\\u2028",
    "null",
];

const REQUEST_WORDS: &[&str] = &[
    "\"query\"",
    "\"session\"",
    "\"prompt\"",
    "\"id\":\"01M81BY2RSJS94CWFCAFFQAPWV\"",
    "\"chatId\"",
    "\"chat_id\"",
    "\"interactions\":[",
    "\"request\":{\"event\":{",
    "\"responses\":[",
    "\"request_payload\":{\"parts\":[",
    "\"fileIds\":[]",
    "\"parent_request_id\"",
    "\"root_request_id\"",
    "\"content_type\":\"atomic.textblock\"",
    "[[[[",
    "null",
];

/// A stream, whole and byte by byte: both must tell the same events, and those must survive being written and read.
fn event_stream(bytes: &[u8]) -> Result<(), String> {
    let whole = decode(&[bytes]);
    let pieces: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(whole, decode(&pieces), "the outcome must not depend on how the bytes are cut");
    let events = whole?;
    let mut written = Vec::new();
    for event in &events {
        // The names of others may be such as we would not write.
        encode(event, &mut written).map_err(|error| error.to_string())?;
    }
    assert_eq!(decode(&[&written]), Ok(events), "events must survive being written and read");
    Ok(())
}

fn decode(pieces: &[&[u8]]) -> Result<Vec<Event>, String> {
    let mut decoder = Decoder::new(Bounds::default());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece).map_err(|error| error.to_string())?;
        events.extend(std::iter::from_fn(|| decoder.event()));
    }
    decoder.finish().map_err(|error| error.to_string())?;
    Ok(events)
}

/// A request; what is read must be read again as it was once it is written.
fn assist_request(bytes: &[u8]) -> Result<(), String> {
    let request = parse(bytes).map_err(|refusal| refusal.to_json())?;
    let written = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    let again: Request =
        parse(&written).map_err(|refusal| format!("written but not read: {}", refusal.to_json()))?;
    assert_eq!(request, again, "a request must survive being written and read");
    Ok(())
}
