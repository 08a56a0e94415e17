//! Messages as Chromium writes them under `--remote-debugging-pipe=cbor`: CBOR (RFC 8949) of a narrow kind. Its browser process
//! passes them on as they come from the pages; JSON would be made there, of megabytes, while the page and we wait.
//!
//! Every map and array stands in an envelope: tag 24 and a byte string of four-byte length, or that byte string's header right
//! after the tag's first byte. A byte string is UTF-16, low byte first; tag 22 before one makes it data, which reads here as base64,
//! as in JSON. Numbers without a fraction read as integers, as in JSON.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

/// The head of an envelope, and the form without the tag's number.
const TAGGED: [u8; 3] = [0xd8, 0x18, 0x5a];
const BARE: [u8; 2] = [0xd8, 0x5a];
/// Bytes of the longest head.
pub(super) const HEAD_BYTES_MAX: usize = 7;
/// Maps and arrays inside of each other.
const DEPTH_MAX: u32 = 200;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const INDEFINITE: u8 = 31;

/// Tags: of bytes that are no text, and of envelopes.
const DATA: u64 = 22;
const ENVELOPE: u64 = 24;

const NULL: u8 = 0xf6;
const STOP: u8 = 0xff;
/// Below this every integer is a number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// An empty map.
pub(super) const NOTHING: [u8; 2] = [0xbf, STOP];

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(String);

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

fn fault<T>(why: &str) -> Result<T, Fault> {
    Err(Fault(why.to_owned()))
}

/// The bytes of the message that begins here, its head counted; nothing while too little of it is there.
pub(super) fn length(start: &[u8]) -> Result<Option<usize>, Fault> {
    let head = if start.starts_with(&BARE[..start.len().min(BARE.len())]) { &BARE[..] } else { &TAGGED[..] };
    if !start.starts_with(&head[..start.len().min(head.len())]) {
        return fault("what Chromium writes is no CBOR");
    }
    let length = start.get(head.len()..head.len() + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    Ok(length.map(|bytes| (u32::from_be_bytes(bytes) as usize).saturating_add(head.len() + 4)))
}

/// A message of Chromium.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) id: Option<u64>,
    pub(super) method: Option<Cow<'a, str>>,
    pub(super) session: Option<Cow<'a, str>>,
    pub(super) parameters: Option<&'a [u8]>,
    pub(super) result: Option<&'a [u8]>,
    pub(super) error: Option<&'a [u8]>,
}

/// Reads the members of a message; parameters, results and errors are left as they are. What comes before a damaged member counts.
pub(super) fn message(bytes: &[u8]) -> (Message<'_>, Result<(), Fault>) {
    let mut message = Message::default();
    let read = members(bytes, &mut message);
    (message, read)
}

fn members<'a>(bytes: &'a [u8], message: &mut Message<'a>) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    let Item::Map(mut left) = reader.item()? else { return fault("a message is a map") };
    while reader.is_open(&mut left)? {
        let key = reader.text()?;
        match &*key {
            "id" => message.id = Some(Deserialize::deserialize(&mut reader)?),
            "method" => message.method = Some(reader.text()?),
            "sessionId" => message.session = Some(reader.text()?),
            "params" => message.parameters = Some(reader.raw()?),
            "result" => message.result = Some(reader.raw()?),
            "error" => message.error = Some(reader.raw()?),
            _ => drop(reader.raw()?),
        }
    }
    Ok(())
}

/// A value out of its bytes.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Fault> {
    T::deserialize(&mut Reader::new(bytes))
}

/// The bytes of a value.
pub(super) fn to_vec(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => match number.as_i64().and_then(|number| i32::try_from(number).ok()) {
            Some(number @ 0..) => write_head(UNSIGNED, number.unsigned_abs(), out),
            Some(number) => write_head(NEGATIVE, number.unsigned_abs() - 1, out),
            None => {
                out.push(0xfb);
                out.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes());
            }
        },
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_envelope(out, |out| {
            out.push(0x9f);
            items.iter().for_each(|item| write(item, out));
        }),
        Value::Object(members) => write_envelope(out, |out| {
            out.push(0xbf);
            for (key, value) in members {
                write_text(key, out);
                write(value, out);
            }
        }),
    }
}

fn write_head(major: u8, count: u32, out: &mut Vec<u8>) {
    match u8::try_from(count) {
        Ok(count @ ..24) => out.push(major << 5 | count),
        Ok(count) => out.extend_from_slice(&[major << 5 | 24, count]),
        Err(_) => {
            out.push(major << 5 | 26);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(TEXT, u32::try_from(text.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(text.as_bytes());
}

fn write_envelope(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&TAGGED);
    out.extend_from_slice(&[0; 4]);
    let start = out.len();
    content(out);
    out.push(STOP);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// What comes next: a value, or the beginning of one. Maps and arrays of indefinite length have no count.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Unsigned(u64),
    /// Of −1 − n the n.
    Negative(u64),
    /// So many bytes of UTF-16.
    Wide(u64),
    /// So many bytes of UTF-8.
    Text(u64),
    /// So many bytes that are no text.
    Data(u64),
    Array(Option<u64>),
    Map(Option<u64>),
    Bool(bool),
    Null,
    Float(f64),
}

struct Reader<'de> {
    rest: &'de [u8],
    depth: u32,
}

impl<'de> Reader<'de> {
    const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    fn take(&mut self, count: u64) -> Result<&'de [u8], Fault> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return fault("a message ends within a value");
        };
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The kind of what comes next, what its first byte tells beside that, and its number.
    fn head(&mut self) -> Result<(u8, u8, u64), Fault> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 31);
        let number = match info {
            0..24 => u64::from(info),
            24..28 => self.number(1 << (info - 24))?,
            31 if matches!(major, ARRAY | MAP) => 0,
            _ => return fault("a value of an unknown kind"),
        };
        Ok((major, info, number))
    }

    /// What comes next, without the envelopes around it.
    fn item(&mut self) -> Result<Item, Fault> {
        loop {
            let (major, info, number) = self.head()?;
            return Ok(match (major, info) {
                (UNSIGNED, _) => Item::Unsigned(number),
                (NEGATIVE, _) => Item::Negative(number),
                (BYTES, _) => Item::Wide(number),
                (TEXT, _) => Item::Text(number),
                (ARRAY, _) => Item::Array((info != INDEFINITE).then_some(number)),
                (MAP, _) => Item::Map((info != INDEFINITE).then_some(number)),
                (SIMPLE, 20 | 21) => Item::Bool(info == 21),
                (SIMPLE, 22) => Item::Null,
                (SIMPLE, 26) => Item::Float(f32::from_bits(number as u32).into()),
                (SIMPLE, 27) => Item::Float(f64::from_bits(number)),
                (TAG, _) if number == DATA => match self.head()? {
                    (BYTES, _, count) => Item::Data(count),
                    _ => return fault("data without a length"),
                },
                (TAG, _) if number == ENVELOPE => match self.head()? {
                    (BYTES, ..) => continue,
                    _ => return fault("an envelope without a length"),
                },
                // The form without the tag's number: what was read as one is the head of the byte string.
                (TAG, 24) if number == u64::from(BARE[1]) => {
                    self.take(4)?;
                    continue;
                }
                _ => return fault("a value of an unknown kind"),
            });
        }
    }

    /// Whether a map or an array has another entry. It is not asked again once it has none.
    fn is_open(&mut self, left: &mut Option<u64>) -> Result<bool, Fault> {
        match left {
            Some(0) => Ok(false),
            Some(count) => {
                *count -= 1;
                Ok(true)
            }
            None if self.rest.first() == Some(&STOP) => self.take(1).map(|_| false),
            None => Ok(true),
        }
    }

    fn text(&mut self) -> Result<Cow<'de, str>, Fault> {
        let item = self.item()?;
        self.text_of(item)
    }

    fn text_of(&mut self, item: Item) -> Result<Cow<'de, str>, Fault> {
        match item {
            Item::Text(count) => Ok(String::from_utf8_lossy(self.take(count)?)),
            Item::Data(count) => Ok(Cow::Owned(STANDARD.encode(self.take(count)?))),
            Item::Wide(count) => {
                let (pairs, rest) = self.take(count)?.as_chunks::<2>();
                if !rest.is_empty() {
                    return fault("half of a letter of UTF-16");
                }
                let letters = char::decode_utf16(pairs.iter().map(|pair| u16::from_le_bytes(*pair)));
                let letters = letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
                Ok(Cow::Owned(letters.collect()))
            }
            _ => fault("something else where a text belongs"),
        }
    }

    /// The bytes of the next value. An envelope says how many there are.
    fn raw(&mut self) -> Result<&'de [u8], Fault> {
        let start = self.rest;
        match length(start) {
            Ok(Some(length)) => drop(self.take(length as u64)?),
            _ => self.skip()?,
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn skip(&mut self) -> Result<(), Fault> {
        let item = self.item()?;
        let mut left = match item {
            Item::Unsigned(_) | Item::Negative(_) | Item::Bool(_) | Item::Null | Item::Float(_) => {
                return Ok(());
            }
            Item::Wide(count) | Item::Text(count) | Item::Data(count) => return self.take(count).map(drop),
            Item::Array(count) => count,
            Item::Map(count) => count.map(|count| count.saturating_mul(2)),
        };
        self.deeper()?;
        while self.is_open(&mut left)? {
            self.raw()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { fault("a message is nested too deeply") } else { Ok(()) }
    }

    /// The entries of a map or an array; those that nobody wanted are skipped.
    fn entries<T>(
        &mut self,
        left: Option<u64>,
        visit: impl FnOnce(&mut Entries<'_, 'de>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.deeper()?;
        let mut entries = Entries { reader: self, left, is_over: false };
        let value = visit(&mut entries)?;
        while entries.is_open()? {
            entries.reader.raw()?;
        }
        self.depth -= 1;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let item = self.item()?;
        match item {
            Item::Unsigned(number) => visitor.visit_u64(number),
            Item::Negative(number) => match i64::try_from(number) {
                Ok(number) => visitor.visit_i64(-1 - number),
                Err(_) => fault("a number too far below zero"),
            },
            Item::Float(number) if number.fract() == 0.0 && number.abs() < EXACT => {
                visitor.visit_i64(number as i64)
            }
            Item::Float(number) => visitor.visit_f64(number),
            Item::Bool(value) => visitor.visit_bool(value),
            Item::Null => visitor.visit_unit(),
            Item::Array(left) => self.entries(left, |entries| visitor.visit_seq(entries)),
            // A map has two values for each entry.
            Item::Map(left) => {
                self.entries(left.map(|left| left.saturating_mul(2)), |entries| visitor.visit_map(entries))
            }
            Item::Wide(_) | Item::Text(_) | Item::Data(_) => match self.text_of(item)? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.rest.first() == Some(&NULL) {
            self.take(1)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.text()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.raw()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

/// The entries of a map or an array that are left: keys and values one by one.
struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: Option<u64>,
    is_over: bool,
}

impl<'de> Entries<'_, 'de> {
    fn is_open(&mut self) -> Result<bool, Fault> {
        self.is_over = self.is_over || !self.reader.is_open(&mut self.left)?;
        Ok(!self.is_over)
    }

    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.is_open()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'de> SeqAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        self.next(seed)?.ok_or_else(|| Fault("a key without a value".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, Fault> {
        from_slice(bytes)
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({
            "id": 7, "method": "Page.navigate", "params": {
                "list": [0, 23, 24, 255, 256, 65_535, 2_147_483_647, -1, -24, -25, -2_147_483_648_i64],
                "large": 4_294_967_296_i64, "half": 0.5, "none": null, "yes": true, "no": false,
                "text": "A long text with an \u{e9}, a \u{1f600} and a \u{0}", "": {}, "empty": [],
            },
        });
        let bytes = to_vec(&value);
        assert_eq!(read(&bytes), Ok(value));
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        assert_eq!((length(&bytes[..6]), length(&[])), (Ok(None), Ok(None)));
        assert!(length(b"{\"id\":1}").is_err(), "JSON");
    }

    /// Bytes as RFC 8949 and Chromium's encoder have them.
    #[test]
    fn every_kind_of_value_is_read() {
        let cases: [(&[u8], Value); 14] = [
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], json!(1_000_000)),
            (&[0x39, 0x03, 0xe7], json!(-1000)),
            (&[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a], json!(1.1)),
            (&[0xfb, 0x40, 0x28, 0, 0, 0, 0, 0, 0], json!(12)),
            (&[0xfa, 0x3f, 0x00, 0, 0], json!(0.5)),
            (&[0x62, 0xc3, 0xbc], json!("\u{fc}")),
            (&[0x44, 0xfc, 0x00, 0x41, 0x00], json!("\u{fc}A")),
            (&[0x44, 0x3d, 0xd8, 0x00, 0xde], json!("\u{1f600}")),
            (&[0x42, 0x3d, 0xd8], json!("\u{fffd}")),
            (&[0xd6, 0x43, 0x01, 0x02, 0x03], json!("AQID")),
            (&[0x82, 0x01, 0xf6], json!([1, null])),
            (&[0xa1, 0x61, b'a', 0xf5], json!({"a": true})),
            (&[0xd8, 0x18, 0x5a, 0, 0, 0, 4, 0x9f, 0x01, 0x02, 0xff], json!([1, 2])),
            (&[0xd8, 0x5a, 0, 0, 0, 5, 0xbf, 0x61, b'a', 0xf4, 0xff], json!({"a": false})),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(bytes), Ok(value), "{bytes:02x?}");
            assert_eq!(Reader::new(bytes).raw(), Ok(bytes));
        }
    }

    #[test]
    fn a_message_is_taken_apart() {
        let bytes = to_vec(&json!({"id": 3, "result": {"a": [1]}, "sessionId": "S", "other": [{}]}));
        let (message, read) = message(&bytes);
        assert_eq!(read, Ok(()));
        assert_eq!((message.id, message.session.as_deref(), message.method), (Some(3), Some("S"), None));
        assert_eq!(from_slice(message.result.unwrap()), Ok(json!({"a": [1]})));
        // Of one that is cut off, what stands at its start.
        let (cut, read) = super::message(&bytes[..20]);
        assert_eq!((cut.id, read.is_err()), (Some(3), true));
    }

    #[test]
    fn whatever_is_not_wanted_is_skipped() {
        #[derive(Deserialize, Debug, PartialEq)]
        #[serde(rename_all = "camelCase")]
        struct Wanted {
            pair: (f64, i64),
            kind: Kind,
            #[serde(default)]
            none: Option<String>,
        }
        #[derive(Deserialize, Debug, PartialEq)]
        #[serde(rename_all = "camelCase")]
        enum Kind {
            ALink,
        }
        let value =
            json!({"x": {"y": [1, {"z": "w"}]}, "pair": [1, 2, 3, [4]], "kind": "aLink", "none": null});
        let wanted = Wanted { pair: (1.0, 2), kind: Kind::ALink, none: None };
        assert_eq!(from_slice(&to_vec(&value)), Ok(wanted));
    }

    #[test]
    fn damaged_and_endless_bytes_are_faults() {
        let nested = [0x9f].repeat(100_000);
        let enveloped = [0xd8, 0x18, 0x5a, 0, 0, 0, 9].repeat(100_000);
        let bad: [&[u8]; 10] = [
            &[],
            &[0x5a, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 0x00],
            &[0x1c],
            &[0xff],
            &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xd8, 0x18, 0x01],
            &nested,
            &enveloped,
        ];
        for bytes in bad {
            assert!(read(bytes).is_err(), "{:02x?}", &bytes[..bytes.len().min(9)]);
        }
        assert!(Reader::new(&nested).raw().is_err());
        // Any prefix of a message, and any byte of it changed, is a value or a fault.
        let bytes = to_vec(&json!({"a": ["b", 1, -1, 0.5, {"c": null}], "d": true}));
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err());
            for byte in 0..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] = byte;
                drop((read(&changed), message(&changed)));
            }
        }
    }
}
