//! The Chrome DevTools Protocol over the two pipes of a Chromium that we started: calls with a deadline, events into a world.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::world::World;
use crate::{Error, Result};

mod wire;

/// The most bytes a message may have.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Bytes at the start of a message that name the call it answers.
const START_BYTES: usize = 256;
/// How long a command may take, unless said otherwise.
pub(crate) const CALL_TIME: Duration = Duration::from_secs(10);

/// A connection to one Chromium.
#[derive(Debug)]
pub(crate) struct Cdp {
    shared: Arc<Shared>,
    out: mpsc::UnboundedSender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    world: Mutex<World>,
    /// Grows with every event.
    version: watch::Sender<u64>,
}

/// A result as it came.
type Answer = Result<Vec<u8>>;

#[derive(Debug, Default)]
struct Pending {
    last_id: u64,
    calls: HashMap<u64, Call>,
    closed: bool,
}

#[derive(Debug)]
struct Call {
    method: String,
    session: Option<String>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Cdp {
    /// Speaks over these pipes from now on.
    pub(crate) fn new(input: pipe::Receiver, output: pipe::Sender) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            world: Mutex::default(),
            version: watch::Sender::new(0),
        });
        let (out, queue) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(input, shared.clone(), out.clone()));
        let writer = tokio::spawn(write(output, queue));
        Self { shared, out, tasks: [reader, writer] }
    }

    /// Sends a command and waits for its answer; a dialog of the page ends the wait.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<T> {
        self.call_within(session, method, parameters, CALL_TIME).await
    }

    /// The same, for a command whose answer says nothing.
    pub(crate) async fn tell(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<()> {
        self.call::<IgnoredAny>(session, method, parameters).await.map(|_| ())
    }

    pub(crate) async fn call_within<T: DeserializeOwned>(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
        time: Duration,
    ) -> Result<T> {
        let (id, answer) = self.send(session, method, parameters)?;
        let blocking = session.is_some() && method != "Page.handleJavaScriptDialog";
        let waited = tokio::time::timeout(time, async {
            tokio::select! {
                biased;
                answer = answer => answer.unwrap_or(Err(Error::Gone)),
                dialog = self.dialog_opens(), if blocking => Err(dialog),
            }
        });
        let raw = waited.await.unwrap_or_else(|_| {
            self.pending().calls.remove(&id);
            Err(Error::Timeout { what: method.to_owned(), after: time })
        })?;
        let malformed = |error: wire::Fault| Error::Protocol {
            method: method.to_owned(),
            message: format!("an answer of another shape: {error}"),
        };
        wire::from_slice(&raw).map_err(malformed)
    }

    /// Sends several commands at once, the first first, and waits for all of their answers; the first failure counts.
    pub(crate) async fn in_order(&self, commands: Vec<impl Future<Output = Result<()>>>) -> Result<()> {
        // A command is sent when its future is first polled, which happens in this order.
        let mut waiting: Vec<_> = commands.into_iter().map(Box::pin).collect();
        std::future::poll_fn(|context| {
            let mut failed = Ok(());
            waiting.retain_mut(|command| match command.as_mut().poll(context) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => {
                    if failed.is_ok() {
                        failed = Err(error);
                    }
                    false
                }
                Poll::Pending => true,
            });
            match failed {
                Ok(()) if !waiting.is_empty() => Poll::Pending,
                done => Poll::Ready(done),
            }
        })
        .await
    }

    async fn dialog_opens(&self) -> Error {
        let seen = self.until(|world| world.dialog.clone()).await;
        match seen {
            Ok(dialog) => Error::DialogOpen { kind: dialog.kind, message: dialog.message },
            Err(error) => error,
        }
    }

    fn send(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<(u64, oneshot::Receiver<Answer>)> {
        let (sender, answer) = oneshot::channel();
        let mut pending = self.pending();
        if pending.closed {
            return Err(Error::Gone);
        }
        pending.last_id += 1;
        let id = pending.last_id;
        let call = Call { method: method.to_owned(), session: session.map(str::to_owned), answer: sender };
        pending.calls.insert(id, call);
        drop(pending);
        self.out.send(command(id, session, method, parameters)).map_err(|_| Error::Gone)?;
        Ok((id, answer))
    }

    /// Waits until the world gives something; without a deadline of its own.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&World) -> Option<T>) -> Result<T> {
        let mut version = self.shared.version.subscribe();
        loop {
            version.borrow_and_update();
            if let Some(seen) = look(&self.world()) {
                return Ok(seen);
            }
            if self.pending().closed || version.changed().await.is_err() {
                return Err(Error::Gone);
            }
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pending().closed
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cdp {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn command(id: u64, session: Option<&str>, method: &str, parameters: Value) -> Vec<u8> {
    let mut message = json!({"id": id, "method": method});
    if let Some(members) = message.as_object_mut() {
        members.insert("params".to_owned(), parameters);
        members.extend(session.map(|session| ("sessionId".to_owned(), json!(session))));
    }
    wire::to_vec(&message)
}

async fn write(mut output: pipe::Sender, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The loop of the connection: a message, until Chromium hangs up.
async fn read(mut input: pipe::Receiver, shared: Arc<Shared>, out: mpsc::UnboundedSender<Vec<u8>>) {
    let mut bytes = Vec::with_capacity(1 << 16);
    let mut chunk = vec![0; 1 << 16];
    // Bytes of a message that is too large, still to come.
    let mut unwanted = 0;
    'connection: while let Ok(count @ 1..) = input.read(&mut chunk).await {
        let dropped = count.min(unwanted);
        unwanted -= dropped;
        bytes.extend_from_slice(&chunk[dropped..count]);
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let Ok(length) = wire::length(&rest[..rest.len().min(wire::HEAD_BYTES_MAX)]) else {
                // Where the next message begins is not known any more.
                break 'connection;
            };
            match length {
                Some(length) if length > MESSAGE_BYTES_MAX && rest.len() >= length.min(START_BYTES) => {
                    shared.give_up(&rest[..rest.len().min(START_BYTES)]);
                    unwanted = length - rest.len().min(length);
                    start += rest.len().min(length);
                }
                Some(length) if rest.len() >= length => {
                    shared.receive(&rest[..length], &out);
                    start += length;
                }
                Some(length) => {
                    bytes.reserve(length.min(MESSAGE_BYTES_MAX).saturating_sub(bytes.len()));
                    break;
                }
                None => break,
            }
        }
        bytes.drain(..start);
    }
    shared.close();
}

impl Shared {
    fn receive(&self, bytes: &[u8], out: &mpsc::UnboundedSender<Vec<u8>>) {
        // What is damaged further on still has an id, or is an event of none of ours.
        let (message, read) = wire::message(bytes);
        match (message.id, &message.method) {
            (Some(id), _) => self.answer(id, &message, read),
            (None, Some(method)) => {
                let parameters = message.parameters.unwrap_or(&wire::NOTHING);
                self.event(message.session.as_deref(), method, parameters, out);
            }
            (None, None) => {}
        }
    }

    fn answer(&self, id: u64, message: &wire::Message<'_>, read: Result<(), wire::Fault>) {
        let Some(call) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).calls.remove(&id) else {
            return;
        };
        let refused = |message: String| Err(Error::Protocol { method: call.method, message });
        let answer = match (read, message.error, message.result) {
            (Err(fault), ..) => refused(fault.to_string()),
            (_, Some(error), _) => {
                let refusal = wire::from_slice::<Refusal>(error);
                refused(refusal.map_or_else(|fault| fault.to_string(), |refusal| refusal.message))
            }
            (_, None, Some(result)) => Ok(result.to_owned()),
            (_, None, None) => refused("no result".to_owned()),
        };
        drop(call.answer.send(answer));
    }

    fn event(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: &[u8],
        out: &mpsc::UnboundedSender<Vec<u8>>,
    ) {
        // Events of other shapes than these are none of ours.
        let Ok(event) = wire::from_slice(parameters) else { return };
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = world.take(session, method, event);
        drop(world);
        for (session, method, parameters) in taken.replies {
            // Answers to these are nobody's: their ids are below every call's.
            drop(out.send(command(0, session.as_deref(), method, parameters)));
        }
        if let Some(lost) = taken.lost {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            let of_lost = |call: &Call| call.session.as_deref() == Some(lost.as_str());
            let ids: Vec<_> =
                pending.calls.iter().filter(|(_, call)| of_lost(call)).map(|(id, _)| *id).collect();
            for call in ids.iter().filter_map(|id| pending.calls.remove(id)) {
                drop(call.answer.send(Err(Error::Crashed)));
            }
        }
        if taken.changed {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// A message is too large: tells the call it answers, whose id stands at the start.
    fn give_up(&self, start: &[u8]) {
        let Some(id) = wire::message(start).0.id else { return };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = pending.calls.remove(&id) {
            drop(call.answer.send(Err(Error::TooLarge { what: call.method, bytes_max: MESSAGE_BYTES_MAX })));
        }
    }

    fn close(&self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.closed = true;
        for (_, call) in pending.calls.drain() {
            drop(call.answer.send(Err(Error::Gone)));
        }
        drop(pending);
        self.version.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_large_fails_its_own_call_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (large, small) = runtime.block_on(async {
            let (mut chromium, input) = pipe::pipe().unwrap();
            let (output, _commands) = pipe::pipe().unwrap();
            let cdp = Cdp::new(input, output);
            let answers = async {
                let text = "x".repeat(MESSAGE_BYTES_MAX);
                let mut bytes = wire::to_vec(&json!({ "id": 1, "result": { "text": text } }));
                bytes.extend(wire::to_vec(&json!({ "id": 2, "result": { "count": 3 } })));
                chromium.write_all(&bytes).await.unwrap();
            };
            let large = cdp.call::<Value>(None, "Page.large", json!({}));
            let small = cdp.call::<Value>(None, "Page.small", json!({}));
            let (large, small, ()) = tokio::join!(large, small, answers);
            (large, small)
        });
        assert!(matches!(large, Err(Error::TooLarge { what, .. }) if what == "Page.large"));
        assert_eq!(small.unwrap(), json!({ "count": 3 }));
    }
}
