//! What followed from an action: waits, by events, until the page is at rest, and says what changed.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Acted;
use crate::{Browser, Error, Result, page};

/// How long a page may keep changing on its own, without loading anything.
const CHANGE_MILLIS: u64 = 400;
/// How long no request may start.
const QUIET: Duration = Duration::from_millis(150);
/// How long nothing of the document may change, after it loaded something.
const STILL_MILLIS: u64 = 100;

/// The state before an action.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) session: String,
    frame: String,
    navigations: u64,
    moves: u64,
    tabs: HashSet<String>,
    /// Changes of the document, as our script counted them.
    pub(super) changes: u64,
}

#[derive(Deserialize)]
struct Calm {
    seen: Vec<String>,
    changed: bool,
}

/// What was seen after an action.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) acted: Acted,
    /// The trusted events that reached the armed element.
    pub(super) seen: Vec<String>,
}

impl Browser {
    /// The state before an action on the page, or on a frame of it.
    pub(super) async fn mark(&self, session: &str, inside: Option<(&str, &str)>) -> Result<Mark> {
        let main = self.main_frame(session);
        let (at, frame) = inside.unwrap_or((session, &main));
        let changes = page::ask(&self.cdp, (at, frame), "() => loyal.changes", &[]).await?;
        Ok(self.mark_with(session, (at, frame), changes))
    }

    pub(super) fn mark_with(&self, session: &str, (at, frame): (&str, &str), changes: u64) -> Mark {
        let world = self.cdp.world();
        let state = world.sessions.get(session);
        let (navigations, moves) = state.map_or((0, 0), |state| (state.navigations, state.moves));
        Mark {
            session: at.to_owned(),
            frame: frame.to_owned(),
            navigations,
            moves,
            tabs: world.tabs.iter().map(|tab| tab.target.clone()).collect(),
            changes,
        }
    }

    /// Waits until the page is at rest. `done` is how the action's own commands ended.
    pub(super) async fn settle(&mut self, session: &str, mark: &Mark, done: Result<()>) -> Result<Rest> {
        let mut rest = Rest::default();
        match done {
            Ok(()) => {}
            Err(Error::DialogOpen { .. } | Error::Crashed) => {}
            Err(error) => return Err(error),
        }
        let arguments = [json!(mark.changes), json!(CHANGE_MILLIS)];
        let place = (mark.session.as_str(), mark.frame.as_str());
        let calm = page::ask::<Calm>(&self.cdp, place, "(b, m) => loyal.calm(b, m)", &arguments).await;
        let mut replaced = false;
        match calm {
            Ok(calm) => (rest.seen, rest.acted.changed) = (calm.seen, calm.changed),
            Err(Error::DialogOpen { kind, message }) => {
                rest.acted.dialog = Some((kind, message));
                return Ok(rest);
            }
            // The document was replaced, or its tab closed: that is an effect.
            Err(Error::Crashed) => replaced = true,
            Err(error) if is_replaced(&error) => replaced = true,
            Err(error) => return Err(error),
        }
        if replaced {
            rest.seen.push("replaced".to_owned());
        }
        if replaced || !self.is_at_rest(session, mark) {
            let waited = tokio::time::timeout(self.limits.settle, self.come_to_rest(session)).await;
            match waited {
                Ok(Err(Error::DialogOpen { kind, message })) => rest.acted.dialog = Some((kind, message)),
                Ok(Err(Error::Gone)) => return Err(Error::Gone),
                Ok(_) => {}
                Err(_) => rest.acted.restless = true,
            }
        }
        self.tell_effects(session, mark, &mut rest.acted).await?;
        Ok(rest)
    }

    fn is_at_rest(&self, session: &str, mark: &Mark) -> bool {
        let world = self.cdp.world();
        let same = world.sessions.get(session).is_some_and(|state| state.navigations == mark.navigations);
        same && world.is_idle(session)
    }

    async fn come_to_rest(&self, session: &str) -> Result<()> {
        loop {
            let activity = self
                .cdp
                .until(|world| {
                    let gone = !world.sessions.contains_key(session);
                    (gone || world.is_idle(session)).then_some(world.activity)
                })
                .await?;
            let again = self.cdp.until(|world| (world.activity != activity).then_some(()));
            if tokio::time::timeout(QUIET, again).await.is_err() {
                break;
            }
        }
        let main = self.main_frame(session);
        let arguments = [json!(STILL_MILLIS), json!(2_000)];
        let quiet = page::ask::<u64>(&self.cdp, (session, &main), "(q, m) => loyal.quiet(q, m)", &arguments);
        match quiet.await {
            Err(error @ Error::DialogOpen { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn tell_effects(&mut self, session: &str, mark: &Mark, acted: &mut Acted) -> Result<()> {
        let (navigated, opened) = {
            let world = self.cdp.world();
            let state = world.sessions.get(session);
            let moved =
                state.is_some_and(|state| (state.navigations, state.moves) != (mark.navigations, mark.moves));
            let address = state.and_then(|state| state.frames.first()).map(|frame| frame.url.clone());
            let opened: Vec<_> =
                world.tabs.iter().filter(|tab| !mark.tabs.contains(&tab.target)).cloned().collect();
            (address.filter(|_| moved), opened)
        };
        if let Some(url) = &navigated {
            self.visited(url);
            acted.changed = true;
        }
        acted.navigated = navigated;
        if let Some(tab) = opened.last() {
            let tab = tab.clone();
            self.front(&tab).await?;
            acted.opened = opened.into_iter().map(|tab| tab.url).collect();
            acted.changed = true;
            drop(tokio::time::timeout(self.limits.settle, self.come_to_rest(&tab.session)).await);
        }
        Ok(())
    }

    /// Whether the page in front still answers.
    pub(super) async fn answers(&self) -> bool {
        let session = self.cdp.world().tab(self.active()).map(|tab| tab.session.clone());
        let Some(session) = session else { return true };
        let ask = json!({"expression": "1"});
        let time = Duration::from_secs(2);
        let answer =
            self.cdp.call_within::<serde_json::Value>(Some(&session), "Runtime.evaluate", ask, time).await;
        !matches!(answer, Err(Error::Timeout { .. }))
    }
}

pub(super) fn is_replaced(error: &Error) -> bool {
    let Error::Protocol { message, .. } = error else { return false };
    error.is_lost()
        || ["navigated or closed", "Session with given id", "loyal is not defined", "Promise was collected"]
            .iter()
            .any(|words| message.contains(words))
}
