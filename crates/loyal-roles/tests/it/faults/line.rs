//! What lies between a host and others, and breaks: the line to its chain, and the cable to its callers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use loyal_protocol::rpc::Rpc;
use loyal_protocol::{Failure, Outcome};
use serde_json::Value;

/// Where a line breaks: at a request that does not arrive, or behind one whose answer does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    Before,
    Behind,
}

/// A line to a chain that can be cut, at once or after so many requests.
#[derive(Debug)]
pub(crate) struct Line {
    chain: Arc<dyn Rpc>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    /// Requests that still pass, and how it breaks at the next.
    left: Option<(usize, Break)>,
}

impl Line {
    pub(crate) fn to(chain: Arc<dyn Rpc>) -> Arc<Self> {
        Arc::new(Self { chain, state: Mutex::default() })
    }

    pub(crate) fn cut(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    pub(crate) fn cut_after(&self, requests: usize, how: Break) {
        self.state.lock().unwrap().left = Some((requests, how));
    }

    /// Whole again; answers whether it was down.
    pub(crate) fn mend(&self) -> bool {
        std::mem::take(&mut *self.state.lock().unwrap()).is_down
    }

    fn silent(&self) -> Failure {
        Failure::Silent { endpoint: self.name(), why: "the line is cut".to_owned() }
    }
}

impl Rpc for Line {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        let mut state = self.state.lock().unwrap();
        let mut is_answer_lost = false;
        match &mut state.left {
            Some((0, how)) => {
                is_answer_lost = *how == Break::Behind && !state.is_down;
                state.is_down = true;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if state.is_down && !is_answer_lost {
            return Err(self.silent());
        }
        drop(state);
        let answer = self.chain.request(method, params);
        if is_answer_lost { Err(self.silent()) } else { answer }
    }

    fn name(&self) -> String {
        "the line".to_owned()
    }
}

/// A cable of TCP from callers to a host, wherever that listens now; it can be cut in the middle of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Cable {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Mutex<Option<SocketAddr>>,
    /// Bytes that still come to callers before one connection is cut, once.
    bytes: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Cable {
    pub(crate) fn lay() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let inner =
            Inner { host: Mutex::new(None), bytes: AtomicUsize::new(usize::MAX), open: Mutex::default() };
        let cable = Self { url, inner: Arc::new(inner) };
        let inner = cable.inner.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let inner = inner.clone();
                std::thread::spawn(move || inner.join(&caller));
            }
        });
        cable
    }

    pub(crate) fn plug(&self, host: Option<SocketAddr>) {
        *self.inner.host.lock().unwrap() = host;
    }

    /// So many more bytes come through to callers, then what is open is cut, once.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.inner.bytes.store(bytes, Ordering::SeqCst);
    }

    /// Cuts what is open now.
    pub(crate) fn sever(&self) {
        for stream in self.inner.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.inner.bytes.store(usize::MAX, Ordering::SeqCst);
    }
}

impl Inner {
    fn join(&self, caller: &TcpStream) {
        let host = *self.host.lock().unwrap();
        let Some(host) = host.and_then(|host| TcpStream::connect(host).ok()) else { return };
        self.open.lock().unwrap().extend([host.try_clone().unwrap(), caller.try_clone().unwrap()]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                carry(caller, &host, |bytes| bytes);
                let _ = host.shutdown(Shutdown::Both);
            });
            carry(&host, caller, |bytes| self.take(bytes));
            let _ = (host.shutdown(Shutdown::Both), caller.shutdown(Shutdown::Both));
        });
    }

    /// How many of these bytes come through.
    fn take(&self, bytes: usize) -> usize {
        let left = self.bytes.load(Ordering::SeqCst);
        if left == usize::MAX {
            return bytes;
        }
        if left < bytes {
            // It breaks once; the next connection is whole.
            self.bytes.store(usize::MAX, Ordering::SeqCst);
            return left;
        }
        self.bytes.store(left - bytes, Ordering::SeqCst);
        bytes
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, through: impl Fn(usize) -> usize) {
    let mut bytes = [0; 4_096];
    while let Ok(read) = from.read(&mut bytes) {
        let kept = through(read);
        if read == 0 || to.write_all(&bytes[..kept]).is_err() || kept < read {
            return;
        }
    }
}
