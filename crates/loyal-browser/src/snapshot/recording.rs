//! A page from recorded answers and events of Chromium, without Chromium: for tests, for fuzzing, to look at a page again.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::capture::{Layout, Part, Voice};
use super::tree::Builder;
use super::{Refs, Snapshot};
use crate::world::World;

/// What Chromium said, as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    /// The answer to `DOMSnapshot.captureSnapshot`.
    layout: Layout,
    /// The answers to `Accessibility.getFullAXTree`.
    #[serde(default)]
    voices: Vec<Voice>,
    /// Width and height of what is in view.
    window: (f64, f64),
    /// Events before them.
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(default)]
    session: Option<String>,
    method: String,
    params: Box<RawValue>,
}

/// The one session of a recording.
const SESSION: &str = "recorded";

impl Snapshot {
    /// The snapshot of a recording.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub fn from_recording(json: &[u8]) -> Result<Self, serde_json::Error> {
        let Recording { layout, voices, window, events } = serde_json::from_slice(json)?;
        let mut world = World::default();
        for Event { session, method, params } in events {
            // Events of other shapes than these are none of ours.
            if let Ok(event) = serde_json::from_str(params.get()) {
                drop(world.take(session.as_deref(), &method, event));
            }
        }
        let part = Part { session: SESSION.to_owned(), layout, voices, owner: None };
        let tab = world.tabs.first();
        let (title, url) = tab.map(|tab| (tab.title.clone(), tab.url.clone())).unwrap_or_default();
        let title = if title.is_empty() { part.title() } else { title };
        let (mut refs, loaders) = (Refs::default(), HashMap::new());
        let (mut nodes, scroll) = Builder::new(vec![part], &loaders, &mut refs).build(SESSION, window);
        refs.end("recorded", &mut nodes);
        Ok(Self { url, title, window, scroll, nodes, ..Self::default() })
    }
}
