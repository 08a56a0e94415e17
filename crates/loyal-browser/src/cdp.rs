//! The Chrome DevTools Protocol over the two pipes of a Chromium that we started: calls with a deadline, events into a world.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::world::World;
use crate::{Error, Result};

/// The most bytes a message may have.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
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

type Answer = Result<Box<RawValue>>;

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
struct Message<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Refusal>,
    #[serde(borrow, rename = "sessionId")]
    session: Option<&'a str>,
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
        let malformed = |error: serde_json::Error| Error::Protocol {
            method: method.to_owned(),
            message: format!("an answer of another shape: {error}"),
        };
        serde_json::from_str(raw.get()).map_err(malformed)
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
    let mut bytes = message.to_string().into_bytes();
    bytes.push(0);
    bytes
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
    let mut too_large = false;
    while let Ok(count @ 1..) = input.read(&mut chunk).await {
        let mut rest = &chunk[..count];
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            if !too_large {
                bytes.extend_from_slice(&rest[..end]);
                shared.receive(&bytes, &out);
            }
            bytes.clear();
            too_large = false;
            rest = &rest[end + 1..];
        }
        if !too_large {
            bytes.extend_from_slice(rest);
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            shared.give_up(&bytes);
            bytes = Vec::new();
            too_large = true;
        }
    }
    shared.close();
}

impl Shared {
    fn receive(&self, bytes: &[u8], out: &mpsc::UnboundedSender<Vec<u8>>) {
        // What Chromium sends is JSON; should it not be, the call's deadline speaks.
        let Ok(message) = serde_json::from_slice::<Message<'_>>(bytes) else { return };
        match (message.id, message.method) {
            (Some(id), _) => self.answer(id, &message),
            (None, Some(method)) => {
                let parameters = message.params.map_or("{}", RawValue::get);
                self.event(message.session, method, parameters, out);
            }
            (None, None) => {}
        }
    }

    fn answer(&self, id: u64, message: &Message<'_>) {
        let Some(call) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).calls.remove(&id) else {
            return;
        };
        let answer = match (&message.error, message.result) {
            (Some(refusal), _) => {
                Err(Error::Protocol { method: call.method, message: refusal.message.clone() })
            }
            (None, Some(result)) => Ok(result.to_owned()),
            (None, None) => Err(Error::Protocol { method: call.method, message: "no result".to_owned() }),
        };
        drop(call.answer.send(answer));
    }

    fn event(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: &str,
        out: &mpsc::UnboundedSender<Vec<u8>>,
    ) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = world.take(session, method, parameters);
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
        let digits = start.strip_prefix(b"{\"id\":").unwrap_or_default();
        let digits: String =
            digits.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        let Ok(id) = digits.parse() else { return };
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
