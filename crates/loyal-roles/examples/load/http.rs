//! The least client of HTTP/1.1: it sends bytes that are ready, and reads a reply to its end.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Until its first byte.
    pub(crate) first: Duration,
    /// Until its last one.
    pub(crate) whole: Duration,
    /// Whether it carried a receipt.
    pub(crate) has_receipt: bool,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(8_192) })
    }

    /// Sends a request and reads its reply.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Reply> {
        let start = Instant::now();
        let first = self.begin(request, start).await?;
        self.finish(start, first).await
    }

    /// Sends a request, and waits for the first byte of its reply.
    pub(crate) async fn begin(&mut self, request: &[u8], start: Instant) -> io::Result<Duration> {
        let mut sent = 0;
        while sent < request.len() {
            match self.stream.try_write(&request[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        self.read.clear();
        self.more().await?;
        Ok(start.elapsed())
    }

    /// Reads on to the end.
    pub(crate) async fn finish(&mut self, start: Instant, first: Duration) -> io::Result<Reply> {
        let head = loop {
            match find(&self.read, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await?,
            }
        };
        let text = String::from_utf8_lossy(&self.read[..head]).to_ascii_lowercase();
        let status = text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        match length.and_then(|length| length.trim().parse::<usize>().ok()) {
            Some(length) => {
                while self.read.len() < head + length {
                    self.more().await?;
                }
            }
            None => {
                while !self.read.ends_with(b"0\r\n\r\n") {
                    self.more().await?;
                }
            }
        }
        let has_receipt =
            text.contains("loyal-receipt:") || find(&self.read[head..], b"\"receipt\":").is_some();
        Ok(Reply { status, first, whole: start.elapsed(), has_receipt })
    }

    async fn more(&mut self) -> io::Result<()> {
        loop {
            match self.stream.try_read_buf(&mut self.read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
