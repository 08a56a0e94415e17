//! Runs whose callers may come back: `GET /runs/{request_id}?after=<id of the last event seen>`.
//!
//! A caller asks for this with the header `loyal-resume` on `POST /assist`, a secret of its own making; the same
//! header opens the run again, for nobody else. Without the header a run ends with its connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use hyper::{HeaderMap, Response};

use super::body::{EventBody, OnLeave};
use super::route::{refuse, stream_answer};
use super::{Limits, Server};
use crate::{ResponseHandler, Ulid};

/// The header with the secret.
pub(crate) const HEADER: &str = "loyal-resume";

/// What opens a run again: 16 to 128 visible characters.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    /// The one a request brings, if it brings one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, &'static str> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        let text = value.to_str().ok().filter(|text| (16..=128).contains(&text.len()));
        let text = text.ok_or("loyal-resume: a secret of 16 to 128 visible characters is wanted")?;
        Ok(Some(Self(text.to_owned())))
    }

    /// Compares without telling by the time it takes how much was right.
    fn opens(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

/// The runs that are kept.
pub(super) struct Runs {
    count_max: usize,
    age_max: Duration,
    kept: Mutex<HashMap<Ulid, Kept>>,
}

struct Kept {
    secret: Secret,
    out: ResponseHandler,
    since: Duration,
}

impl Runs {
    pub(super) fn new(limits: &Limits) -> Self {
        let (count_max, age_max) = (limits.kept_run_count_max, limits.kept_run_age_max);
        Self { count_max, age_max, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ulid, Kept>> {
        // Nothing panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a run from now on. The oldest of those that have ended makes room.
    ///
    /// # Errors
    /// The status and the words of a refusal.
    pub(super) fn keep(
        &self,
        id: Ulid,
        secret: Secret,
        out: ResponseHandler,
        now: Duration,
    ) -> Result<(), (u16, &'static str)> {
        let mut kept = self.lock();
        kept.retain(|_, run| now.saturating_sub(run.since) < self.age_max || !run.out.is_complete());
        if kept.contains_key(&id) {
            return Err((409, "A run of this request_id is kept already."));
        }
        if kept.len() >= self.count_max {
            let ended = kept.iter().filter(|(_, run)| run.out.is_complete());
            let oldest = ended.min_by_key(|(_, run)| run.since).map(|(id, _)| *id);
            let oldest = oldest.ok_or((503, "Too many runs are kept for callers that may come back."))?;
            kept.remove(&oldest);
        }
        kept.insert(id, Kept { secret, out, since: now });
        Ok(())
    }

    fn open(&self, id: Ulid, secret: &Secret, now: Duration) -> Option<ResponseHandler> {
        let kept = self.lock();
        let run = kept.get(&id).filter(|run| run.secret.opens(secret))?;
        (now.saturating_sub(run.since) < self.age_max).then(|| run.out.clone())
    }
}

/// What happens when the reader of such a run leaves: the run goes on for a while and is then cancelled.
pub(super) fn wait_for_reader(server: &Arc<Server>, out: &ResponseHandler) -> OnLeave {
    let (away, out) = (server.limits.away, out.clone());
    Arc::new(move |visit| {
        let mut state = out.lock();
        let (kept, left) = (state.buffer.is_kept(), state.buffer.leave(visit));
        drop(state);
        if !left {
            return;
        }
        if !kept {
            return out.cancel();
        }
        out.made_room();
        let out = out.clone();
        tokio::spawn(async move {
            tokio::time::sleep(away).await;
            if out.lock().buffer.is_away_since(visit) {
                out.cancel();
            }
        });
    })
}

pub(super) async fn answer(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    let unknown = || refuse(&server, 404, "No such run is kept for you.");
    let after =
        query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("after=")));
    let (Ok(id), Ok(after)) = (id.parse(), after.map(str::parse).transpose()) else { return unknown() };
    let Ok(Some(secret)) = Secret::of(&headers) else { return unknown() };
    let Some(out) = server.runs.open(id, &secret, server.clock.elapsed()) else { return unknown() };
    // Whoever comes back takes the place of a connection that may not have noticed yet that it is dead.
    let rewound = out.lock().buffer.rewind(after);
    if !rewound {
        return refuse(&server, 410, "The response was too long to be kept.");
    }
    out.made_room();
    let on_leave = wait_for_reader(&server, &out);
    stream_answer(Body::new(EventBody::new(out, server.limits.ping, on_leave)))
}
