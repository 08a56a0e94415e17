//! Lines of an event stream, put together from whatever pieces the network delivers (WHATWG HTML, §9.2).

use crate::{Error, Result};

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The `event:` line.
    pub name: Option<String>,
    /// The `data:` lines, joined with line feeds.
    pub data: String,
    /// The number of the line that ended it, from one.
    pub line: u64,
}

/// Finds messages in bytes. Lines end with LF, CR or CRLF and with nothing else, whatever a text holds.
#[derive(Debug)]
pub struct Frames {
    bytes_max: usize,
    /// The line under way.
    line: Vec<u8>,
    /// The message under way.
    name: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    line_count: u64,
    after_return: bool,
}

impl Frames {
    /// `bytes_max` bounds each line, and each message.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        let line = Vec::new();
        Self { bytes_max, line, name: None, data: None, line_count: 0, after_return: false }
    }

    /// Takes bytes and hands over the messages that they complete.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before more than the bound is held; [`Error::BadEvent`] for a message that is no UTF-8.
    /// The stream is of no use afterwards.
    pub fn push(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame) -> Result<()>) -> Result<()> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + piece.len() > self.bytes_max {
                return Err(Error::TooLarge { what: "line", max: self.bytes_max as u64 });
            }
            self.line.extend_from_slice(piece);
            let Some(mark) = rest.first() else { break };
            self.after_return = *mark == b'\r';
            bytes = &rest[1..];
            if let Some(frame) = self.end_line()? {
                found(frame)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Frame>> {
        self.line_count += 1;
        let mut line = self.line.as_slice();
        if self.line_count == 1 {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            self.line.clear();
            return self.end_frame();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = Some(value.to_vec()),
            b"data" => {
                let held = self.data.as_ref().map_or(0, |data| data.len() + 1);
                if held + value.len() > self.bytes_max {
                    return Err(Error::TooLarge { what: "message", max: self.bytes_max as u64 });
                }
                match &mut self.data {
                    Some(data) => {
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                    None => self.data = Some(value.to_vec()),
                }
            }
            // Comments (an empty field), `id`, `retry` and what nobody knows.
            _ => {}
        }
        self.line.clear();
        Ok(None)
    }

    fn end_frame(&mut self) -> Result<Option<Frame>> {
        let (name, data) = (self.name.take(), self.data.take());
        // A message without data is none, as the standard says.
        let Some(data) = data else { return Ok(None) };
        let line = self.line_count;
        let text = |bytes| {
            String::from_utf8(bytes)
                .map_err(|error| Error::BadEvent { line, why: error.utf8_error().to_string() })
        };
        let name = name.filter(|name| !name.is_empty()).map(text).transpose()?;
        Ok(Some(Frame { name, data: text(data)?, line }))
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub const fn is_within(&self) -> bool {
        self.data.is_some() || self.name.is_some() || !self.line.is_empty()
    }
}
