//! Server-sent events, as far as OpenAI's API uses them: the data of each.

use crate::{Error, Result};

/// The most bytes of one event.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// Takes bytes as they come, gives whole events.
#[derive(Debug, Default)]
pub struct Events {
    rest: Vec<u8>,
    /// Bytes of `rest` without the end of a line.
    seen: usize,
    data: Option<String>,
}

impl Events {
    /// Takes bytes.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] where an event grows without end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        let waiting = self.rest.len() + self.data.as_ref().map_or(0, String::len);
        if waiting > EVENT_BYTES_MAX {
            return Err(Error::Misbehaved { why: format!("an event of more than {EVENT_BYTES_MAX} bytes") });
        }
        Ok(())
    }

    /// The data of the next event that is whole.
    pub fn pop(&mut self) -> Option<String> {
        loop {
            let Some(at) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') else {
                self.seen = self.rest.len();
                return None;
            };
            let line: Vec<u8> = self.rest.drain(..=self.seen + at).collect();
            self.seen = 0;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Some(data);
                }
            } else if let Some(more) = line.strip_prefix("data:") {
                let more = more.strip_prefix(' ').unwrap_or(more);
                match &mut self.data {
                    Some(data) => *data = format!("{data}\n{more}"),
                    None => self.data = Some(more.to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_wherever_the_bytes_are_cut() {
        let text = "data: {\"a\":1}\n\n: a comment\nevent: x\ndata: b\ndata: c\r\n\r\n\n\ndata:[DONE]\n\n";
        for width in 1..text.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for bytes in text.as_bytes().chunks(width) {
                events.push(bytes).unwrap();
                while let Some(data) = events.pop() {
                    found.push(data);
                }
            }
            assert_eq!(found, ["{\"a\":1}", "b\nc", "[DONE]"]);
        }
    }
}
