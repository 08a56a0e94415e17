//! What must hold for every event and every way the network may cut its bytes.

use loyal_agent::event::{
    Bounds, Chunk, Content, Decoder, Document, Event, Fault, Frames, Metadata, Value, encode,
};
use loyal_agent::{Error, Ulid};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        proptest::collection::vec(
            prop_oneof![
                Just('\n'),
                Just('\r'),
                Just('\u{85}'),
                Just('\u{2028}'),
                Just('\u{2029}'),
                Just('"'),
                Just('\\'),
                Just('\u{feff}'),
                any::<char>()
            ],
            0..12
        )
        .prop_map(|characters| characters.into_iter().collect())
    ]
}

fn document() -> impl Strategy<Value = Document> {
    proptest::collection::vec((text(), text(), any::<i64>()), 0..4).prop_map(|members| {
        let value: serde_json::Map<_, _> = members
            .into_iter()
            .map(|(name, text, number)| (name, serde_json::json!([text, number])))
            .collect();
        Document::new(&value).unwrap()
    })
}

fn metadata() -> impl Strategy<Value = Option<Metadata>> {
    let value = prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::collection::vec(text(), 0..3).prop_map(Value::from),
    ];
    proptest::option::of(proptest::collection::vec((text(), value), 0..5).prop_map(|pairs| {
        pairs
            .into_iter()
            .fold(Metadata::new(), |metadata, (name, value)| metadata.with(&name, value).unwrap())
    }))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        text().prop_map(Content::Text),
        document().prop_map(Content::Json),
        ("[a-z][a-z0-9]{9}", any::<bool>(), text()).prop_map(|(stream_id, is_complete, text)| {
            Content::Chunk(Chunk { stream_id, is_complete, text })
        }),
        (text(), any::<i64>(), proptest::option::of(document()))
            .prop_map(|(message, code, details)| Content::Error(Fault { message, code, details })),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let name = "[A-Za-z_][A-Za-z_ é]{0,30}[A-Za-z_]";
    (any::<u64>(), any::<u128>(), text(), name, metadata(), content()).prop_map(
        |(millis, random, source, name, metadata, content)| Event {
            id: Ulid::new(millis & ((1 << 48) - 1), random),
            source,
            name,
            metadata,
            content,
        },
    )
}

fn response() -> impl Strategy<Value = Vec<Event>> {
    (proptest::collection::vec(event(), 0..5), event(), proptest::option::of(document())).prop_map(
        |(mut events, mut done, ours)| {
            done.content = Content::Done(ours);
            events.push(done);
            events
        },
    )
}

fn bytes_of(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encode(event, &mut bytes).unwrap());
    bytes
}

fn decoded(pieces: &[&[u8]]) -> Result<Vec<Event>, Error> {
    let mut decoder = Decoder::new(Bounds::default());
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece)?;
        events.extend(std::iter::from_fn(|| decoder.event()));
    }
    decoder.finish()?;
    Ok(events)
}

proptest! {
    #[test]
    fn what_is_written_is_read(events in response()) {
        prop_assert_eq!(decoded(&[&bytes_of(&events)]).unwrap(), events);
    }

    #[test]
    fn every_split_gives_the_same_events(events in response()) {
        let bytes = bytes_of(&events);
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            prop_assert_eq!(&decoded(&[first, second]).unwrap(), &events);
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&decoded(&single).unwrap(), &events);
    }

    #[test]
    fn arbitrary_pieces_give_the_same_events(
        events in response(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = bytes_of(&events);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decoded(&pieces).unwrap(), events);
    }

    /// No line of ours holds what the Python client takes for its end, except where it ends.
    #[test]
    fn written_lines_are_lines_to_everybody(events in response()) {
        let bytes = bytes_of(&events);
        let text = str::from_utf8(&bytes).unwrap();
        let ends = |c: char| matches!(c, '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        prop_assert!(!text.contains(ends));
        prop_assert_eq!(text.matches('\n').count(), 3 * events.len());
    }

    /// Line ends of all three kinds, mixed, however the bytes are cut.
    #[test]
    fn line_ends_of_any_kind(events in response(), ends in proptest::collection::vec(0usize..3, 1..9), at in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&events);
        let mut ends = ends.iter().cycle();
        let mut mixed = Vec::new();
        for line in str::from_utf8(&bytes).unwrap().split_terminator('\n') {
            mixed.extend_from_slice(line.as_bytes());
            // A lone CR before an empty line that ends with LF would make one line end of two.
            let end = if line.is_empty() { "\r\n" } else { ["\n", "\r\n", "\r\n"][*ends.next().unwrap()] };
            mixed.extend_from_slice(end.as_bytes());
        }
        let only_cr: Vec<u8> = bytes.iter().map(|byte| if *byte == b'\n' { b'\r' } else { *byte }).collect();
        for bytes in [mixed, only_cr] {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(&decoded(&[first, second]).unwrap(), &events);
        }
    }

    /// Whatever comes, the outcome does not depend on how it is cut, and nothing panics.
    #[test]
    fn garbage_is_garbage_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(decoded(&[&bytes]), decoded(&[first, second]));
    }

    /// A line is refused before more than the bound is held, in whatever pieces it comes.
    #[test]
    fn long_lines_are_refused(length in 65usize..400, piece in 1usize..50) {
        let mut frames = Frames::new(64);
        let line = vec![b'x'; length];
        let result = line.chunks(piece).try_for_each(|piece| frames.push(piece, |_| Ok(())));
        prop_assert_eq!(result, Err(Error::TooLarge { what: "line", max: 64 }));
    }
}

#[test]
fn a_message_of_many_lines_is_bounded_as_a_whole() {
    let mut frames = Frames::new(64);
    let result = (0..100).try_for_each(|_| frames.push(b"data: 0123456789\n", |_| Ok(())));
    assert_eq!(result, Err(Error::TooLarge { what: "message", max: 64 }));
}

#[test]
fn lines_of_other_kinds_are_passed_over() {
    let mut frames = Frames::new(1024);
    let mut found = Vec::new();
    let bytes = "\u{feff}: comment\nid: 7\nretry: 5\nevent: a\ndata:one\ndata: two\n\n\n\nevent: lonely\n\nunknown\ndata\n\n";
    frames
        .push(bytes.as_bytes(), |frame| {
            found.push((frame.name, frame.data));
            Ok(())
        })
        .unwrap();
    let expected = [(Some("a".to_owned()), "one\ntwo".to_owned()), (None, String::new())];
    assert_eq!(found, expected);
    assert!(!frames.is_within());
}
