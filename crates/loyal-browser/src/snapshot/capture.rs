//! The two sources of a snapshot, as Chromium gives them: the laid-out document, and the tree for screen readers.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cdp::Cdp;
use crate::{Error, Result};

/// The computed styles that a snapshot asks for, in this order.
pub(super) const STYLES: [&str; 10] = [
    "cursor",
    "visibility",
    "pointer-events",
    "color",
    "background-color",
    "overflow-x",
    "border-left-width",
    "border-top-width",
    "padding-left",
    "padding-top",
];

/// `DOMSnapshot.captureSnapshot`.
#[derive(Debug, Deserialize)]
pub(super) struct Layout {
    pub(super) documents: Vec<Document>,
    pub(super) strings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) frame_id: i64,
    #[serde(default)]
    pub(super) title: i64,
    #[serde(default)]
    pub(super) scroll_offset_x: f64,
    #[serde(default)]
    pub(super) scroll_offset_y: f64,
    #[serde(default)]
    pub(super) content_height: f64,
    pub(super) nodes: Nodes,
    pub(super) layout: Boxes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nodes {
    pub(super) parent_index: Vec<i64>,
    pub(super) node_name: Vec<i64>,
    pub(super) backend_node_id: Vec<i64>,
    #[serde(default)]
    pub(super) attributes: Vec<Vec<i64>>,
    #[serde(default)]
    pub(super) input_value: Sparse,
    #[serde(default)]
    pub(super) text_value: Sparse,
    #[serde(default)]
    pub(super) node_value: Vec<i64>,
    #[serde(default)]
    pub(super) content_document_index: Sparse,
    #[serde(default)]
    pub(super) is_clickable: Marked,
    #[serde(default)]
    pub(super) option_selected: Marked,
}

#[derive(Debug, Deserialize, Default)]
pub(super) struct Sparse {
    pub(super) index: Vec<usize>,
    pub(super) value: Vec<i64>,
}

impl Sparse {
    pub(super) fn map(&self) -> HashMap<usize, i64> {
        self.index.iter().copied().zip(self.value.iter().copied()).collect()
    }
}

#[derive(Debug, Deserialize, Default)]
pub(super) struct Marked {
    pub(super) index: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Boxes {
    pub(super) node_index: Vec<usize>,
    pub(super) styles: Vec<Vec<i64>>,
    pub(super) bounds: Vec<Vec<f64>>,
    pub(super) text: Vec<i64>,
    #[serde(default)]
    pub(super) paint_orders: Vec<i64>,
}

/// `Accessibility.getFullAXTree`.
#[derive(Debug, Deserialize)]
pub(super) struct Voice {
    pub(super) nodes: Vec<Spoken>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spoken {
    pub(super) node_id: String,
    #[serde(default)]
    pub(super) ignored: bool,
    #[serde(default)]
    pub(super) role: Word,
    #[serde(default)]
    pub(super) name: Word,
    #[serde(default)]
    pub(super) value: Word,
    #[serde(default)]
    pub(super) properties: Vec<Property>,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    #[serde(default, rename = "backendDOMNodeId")]
    pub(super) backend_node_id: Option<i64>,
}

#[derive(Debug, Deserialize, Default)]
pub(super) struct Word {
    #[serde(default)]
    pub(super) value: Value,
}

impl Word {
    pub(super) fn text(self) -> String {
        match self.value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) value: Word,
}

/// What one process of a page shows.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) session: String,
    pub(super) layout: Layout,
    pub(super) voices: Vec<Voice>,
    /// The frame element it fills, in the session around it.
    pub(super) owner: Option<(String, i64)>,
}

impl Part {
    /// The title of its outermost document.
    pub(crate) fn title(&self) -> String {
        let index = self.layout.documents.first().and_then(|document| usize::try_from(document.title).ok());
        let title = index.and_then(|index| self.layout.strings.get(index));
        title.map(|title| title.trim().to_owned()).unwrap_or_default()
    }
}

/// Both sources, of one process of a page.
pub(crate) async fn part(cdp: &Cdp, session: &str) -> Result<Part> {
    let (frames, parent, target) = {
        let world = cdp.world();
        let state = world.sessions.get(session).ok_or(Error::Crashed)?;
        let frames: Vec<String> = state.frames.iter().map(|frame| frame.id.clone()).collect();
        (frames, state.parent.clone(), state.target.clone())
    };
    let ask = json!({"computedStyles": STYLES, "includePaintOrder": true});
    let layout = cdp.call::<Layout>(Some(session), "DOMSnapshot.captureSnapshot", ask);
    let voices = voices(cdp, session, &frames);
    let owner = owner(cdp, parent, &target);
    let (layout, voices, owner) = tokio::join!(layout, voices, owner);
    Ok(Part { session: session.to_owned(), layout: layout?, voices: voices?, owner })
}

async fn voices(cdp: &Cdp, session: &str, frames: &[String]) -> Result<Vec<Voice>> {
    let mut voices = Vec::new();
    for frame in frames {
        let tree = cdp.call(Some(session), "Accessibility.getFullAXTree", json!({"frameId": frame})).await;
        match tree {
            Ok(voice) => voices.push(voice),
            // A frame that went away meanwhile, or moved to another process, has nothing to say here.
            Err(Error::Protocol { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(voices)
}

async fn owner(cdp: &Cdp, parent: Option<String>, target: &str) -> Option<(String, i64)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owner {
        backend_node_id: i64,
    }
    let parent = parent?;
    let owner = cdp.call::<Owner>(Some(&parent), "DOM.getFrameOwner", json!({"frameId": target})).await;
    owner.ok().map(|owner| (parent, owner.backend_node_id))
}
