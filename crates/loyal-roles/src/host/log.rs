//! The access log: a line of JSON for each request, without anything that was asked or answered, and without secrets.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256};
use serde::Serialize;

/// Lines that wait for a slow disk; more are lost, and counted.
const LINES_MAX: usize = 8_192;
/// Bytes that are written in one go.
const BYTES_MAX: usize = 1 << 16;

/// What is written of a request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// When it came, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Whence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Which of the host's paths it asked for; no other path is written down.
    pub path: &'static str,
    /// The status it was answered with.
    pub status: u16,
    /// The stable code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whose credential was admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Address>,
    /// The invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<B256>,
    /// Whether it was told piece by piece.
    pub is_stream: bool,
    /// Whether the caller went away before the end.
    pub has_left: bool,
    /// Bytes of the body.
    pub bytes_in: usize,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
    /// What was charged, in base units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Microseconds until it was admitted or refused.
    pub admission_us: u64,
    /// Microseconds until its end.
    pub us: u64,
}

/// Where lines go. Clones write to the same place; when the last is dropped, what waits is written.
#[derive(Debug, Clone)]
pub struct Log(Arc<Writing>);

#[derive(Debug)]
struct Writing {
    lines: Mutex<Option<SyncSender<Line>>>,
    lost: AtomicU64,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Log {
    /// A log that a thread of its own writes.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(to: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (sender, lines) = sync_channel(LINES_MAX);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&lines, to))?;
        let (lines, thread) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Writing { lines, lost: AtomicU64::new(0), thread })))
    }

    /// Hands a line over; never waits.
    pub(super) fn write(&self, line: Line) {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were lost: the disk was too slow, or full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// Two handles are equal when they write to the same place.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Log {}

impl Drop for Writing {
    fn drop(&mut self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Writes what comes, and flushes when nothing more waits.
fn write(lines: &Receiver<Line>, mut to: Box<dyn Write + Send>) {
    let mut bytes = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            serde_json::to_writer(&mut bytes, &line).expect("a line has only string keys");
            bytes.push(b'\n');
            next = if bytes.len() < BYTES_MAX { lines.try_recv().ok() } else { None };
        }
        // A disk that is full loses lines, not the host.
        let _ = to.write_all(&bytes).and_then(|()| to.flush());
        bytes.clear();
    }
}
