//! A response on its way out: the body hyper polls, whose drop tells the run that nobody reads any more.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;

use crate::ResponseHandler;

/// What the drop of a body does; it is told which reader that was.
pub(super) type OnLeave = Arc<dyn Fn(u64) + Send + Sync>;

/// The events of one run.
pub(super) struct EventBody {
    out: ResponseHandler,
    ping: Duration,
    silence: Pin<Box<Sleep>>,
    visit: u64,
    ended: bool,
    on_leave: OnLeave,
}

impl EventBody {
    /// A body of what `out` emits. When it is dropped before the end, `on_leave` is called.
    pub(super) fn new(out: ResponseHandler, ping: Duration, on_leave: OnLeave) -> Self {
        let silence = Box::pin(tokio::time::sleep(ping));
        let visit = out.lock().buffer.visit();
        Self { out, ping, silence, visit, ended: false, on_leave }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.out.lock().poll(context, self.visit);
        let bytes = match polled {
            Poll::Ready(Some(bytes)) => {
                self.out.made_room();
                bytes
            }
            Poll::Ready(None) => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                Bytes::from_static(b": ping\n\n")
            }
        };
        let silence = tokio::time::sleep(self.ping);
        self.silence.set(silence);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        if !self.ended {
            (self.on_leave)(self.visit);
        }
    }
}
