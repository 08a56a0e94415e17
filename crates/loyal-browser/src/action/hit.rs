//! Where an element can be clicked: brought into view, and a point at which nothing else would take the click.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use crate::page::{self, Element};
use crate::snapshot::{Known, Place, Point};
use crate::{Browser, Error, Ref, Result};

/// Points across and down that are tried.
const GRID: [u32; 5] = [2, 1, 3, 0, 4];

/// An element, and the point to click.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    pub(super) place: Place,
    pub(super) element: Element,
    /// In the coordinates of the tab.
    pub(super) point: Point,
}

#[derive(Deserialize)]
struct Quads {
    quads: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hit {
    backend_node_id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    css_layout_viewport: Scrolled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scrolled {
    page_x: f64,
    page_y: f64,
}

#[derive(Deserialize)]
struct BoxModel {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    content: Vec<f64>,
}

impl Browser {
    /// What a ref stands for, while its document lives.
    pub(super) async fn known(&mut self, target: Ref) -> Result<Known> {
        let known = self.refs.known(target).cloned().ok_or(Error::Unknown { target })?;
        let Place { session, frame, loader, .. } = &known.place;
        let now = self.cdp.world().frame_mut(session, frame).map(|frame| frame.loader.clone());
        if now.as_ref() == Some(loader) { Ok(known) } else { Err(self.stale(target).await) }
    }

    /// The element of a ref.
    pub(crate) async fn element(&mut self, target: Ref) -> Result<(Place, Element)> {
        let known = self.known(target).await?;
        match page::resolve(&self.cdp, &known.place).await {
            Ok(element) => Ok((known.place, element)),
            Err(error) if error.is_lost() => Err(self.stale(target).await),
            Err(error) => Err(error),
        }
    }

    /// Says that an element is gone, and which one looks like it.
    pub(super) async fn stale(&mut self, target: Ref) -> Error {
        let Some(known) = self.refs.known(target).cloned() else { return Error::Unknown { target } };
        let alike = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error @ Error::Gone) => return error,
            Err(_) => return Error::Stale { target, suggestion: None },
        };
        let mut alike = alike.nodes.iter().filter(|node| {
            node.key != target && !node.name.is_empty() && node.role == known.role && node.name == known.name
        });
        let suggestion = alike.next().map(|node| node.key).filter(|_| alike.next().is_none());
        Error::Stale { target, suggestion }
    }

    /// Brings an element into view and finds the point.
    pub(super) async fn aim(&mut self, target: Ref) -> Result<Aim> {
        let (place, element) = self.element(target).await?;
        let session = Some(place.session.as_str());
        let node = json!({"backendNodeId": place.node});
        let shown = self.cdp.tell(session, "DOM.scrollIntoViewIfNeeded", node.clone()).await;
        match shown {
            // An element without a box has perhaps a label.
            Ok(()) | Err(Error::Protocol { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut quads = self.quads(&place.session, node).await?;
        let label = "el => loyal.label(loyal.up(el))";
        if quads.is_empty()
            && let Some(label) = element.other(&self.cdp, label).await?
        {
            let label = json!({"objectId": label.object});
            drop(self.cdp.tell(session, "DOM.scrollIntoViewIfNeeded", label.clone()).await);
            quads = self.quads(&place.session, label).await?;
        }
        if quads.is_empty() {
            let connected: bool = element.ask(&self.cdp, "el => el.isConnected", &[]).await?;
            let gone = !connected;
            return Err(if gone { self.stale(target).await } else { Error::Hidden { target } });
        }
        let (offset, scroll) = tokio::try_join!(self.offset(&place.session), self.scrolled(&place.session))?;
        let mut known = HashMap::from([(place.node, true)]);
        let mut first = None;
        for point in points(&quads) {
            let Some(hit) = self.hit(&place.session, (point, scroll)).await? else { continue };
            let counts = match known.get(&hit) {
                Some(counts) => *counts,
                None => {
                    let counts = self.counts(&place, &element, hit).await?;
                    known.insert(hit, counts);
                    counts
                }
            };
            let at = Point { x: point.x + offset.x, y: point.y + offset.y };
            if counts && self.reaches(&place.session, at).await? {
                return Ok(Aim { place, element, point: at });
            }
            first = first.or((!counts).then_some(hit));
        }
        let by = match first {
            Some(hit) => self.name_of(&Place { node: hit, ..place }).await,
            None => "the edge of what is in view".to_owned(),
        };
        Err(Error::Covered { target, by })
    }

    async fn name_of(&self, place: &Place) -> String {
        let named = async {
            let element = page::resolve(&self.cdp, place).await?;
            element.ask::<String>(&self.cdp, "el => loyal.name(el)", &[]).await
        };
        let name = named.await.unwrap_or_else(|_| "something".to_owned());
        match self.refs.at(place) {
            Some(key) => format!("{key} {name}"),
            None => name,
        }
    }

    async fn quads(&self, session: &str, node: serde_json::Value) -> Result<Vec<Vec<f64>>> {
        match self.cdp.call::<Quads>(Some(session), "DOM.getContentQuads", node).await {
            Ok(quads) => Ok(quads.quads.into_iter().filter(|quad| area(quad) > 0.0).collect()),
            Err(Error::Protocol { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn scrolled(&self, session: &str) -> Result<Point> {
        let metrics = self.cdp.call::<Metrics>(Some(session), "Page.getLayoutMetrics", json!({})).await?;
        let Scrolled { page_x, page_y } = metrics.css_layout_viewport;
        Ok(Point { x: page_x, y: page_y })
    }

    /// What a click at a point would hit; Chromium counts it from the start of the document.
    async fn hit(&self, session: &str, (point, scroll): (Point, Point)) -> Result<Option<i64>> {
        #[expect(clippy::cast_possible_truncation, reason = "whole pixels of a page")]
        let (x, y) = ((point.x + scroll.x) as i64, (point.y + scroll.y) as i64);
        let ask = json!({
            "x": x, "y": y, "includeUserAgentShadowDOM": true, "ignorePointerEventsNone": false,
        });
        match self.cdp.call::<Hit>(Some(session), "DOM.getNodeForLocation", ask).await {
            Ok(hit) => Ok(Some(hit.backend_node_id)),
            Err(Error::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a click on a node is one on the element.
    async fn counts(&self, place: &Place, element: &Element, hit: i64) -> Result<bool> {
        let hit = page::resolve(&self.cdp, &Place { node: hit, ..place.clone() }).await;
        match hit {
            Ok(hit) => element.with(&self.cdp, "(el, hit) => loyal.counts(hit, el)", &hit).await,
            Err(Error::Protocol { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the pages around a frame let a click through to it.
    async fn reaches(&self, session: &str, at: Point) -> Result<bool> {
        let mut session = session.to_owned();
        while let Some((outer, owner)) = self.owner(&session).await? {
            let shift = self.offset(&outer).await?;
            let point = Point { x: at.x - shift.x, y: at.y - shift.y };
            let scroll = self.scrolled(&outer).await?;
            if self.hit(&outer, (point, scroll)).await? != Some(owner) {
                return Ok(false);
            }
            session = outer;
        }
        Ok(true)
    }

    /// The session around one, and the frame element it fills there.
    async fn owner(&self, session: &str) -> Result<Option<(String, i64)>> {
        let (outer, target) = {
            let world = self.cdp.world();
            let Some(state) = world.sessions.get(session) else { return Err(Error::Crashed) };
            let Some(outer) = &state.parent else { return Ok(None) };
            (outer.clone(), state.target.clone())
        };
        let hit = self.cdp.call::<Hit>(Some(&outer), "DOM.getFrameOwner", json!({"frameId": target})).await?;
        Ok(Some((outer, hit.backend_node_id)))
    }

    /// How far the corner of a session's page is from that of the tab.
    async fn offset(&self, session: &str) -> Result<Point> {
        let (mut offset, mut session) = (Point::default(), session.to_owned());
        while let Some((outer, owner)) = self.owner(&session).await? {
            let ask = json!({"backendNodeId": owner});
            let found = self.cdp.call::<BoxModel>(Some(&outer), "DOM.getBoxModel", ask).await?;
            if let [x, y, ..] = found.model.content[..] {
                offset = Point { x: offset.x + x.round(), y: offset.y + y.round() };
            }
            session = outer;
        }
        Ok(offset)
    }
}

fn area(quad: &[f64]) -> f64 {
    let corners: Vec<(f64, f64)> = quad.chunks_exact(2).map(|corner| (corner[0], corner[1])).collect();
    let pairs = corners.iter().zip(corners.iter().cycle().skip(1));
    pairs.map(|((ax, ay), (bx, by))| ax * by - bx * ay).sum::<f64>().abs() / 2.0
}

/// Whole pixels inside of quads: the middle of each first, then a grid.
fn points(quads: &[Vec<f64>]) -> Vec<Point> {
    let at = |quad: &[f64], across: f64, down: f64| {
        let between = |a: f64, b: f64, part: f64| a + (b - a) * part;
        let axis = |axis: usize| {
            let top = between(quad[axis], quad[2 + axis], across);
            let bottom = between(quad[6 + axis], quad[4 + axis], across);
            between(top, bottom, down)
        };
        Point { x: axis(0).floor(), y: axis(1).floor() }
    };
    let part = |step: u32| (f64::from(step) + 0.5) / 5.0;
    let mut points = Vec::new();
    let whole = quads.iter().filter(|quad| quad.len() == 8);
    let steps = GRID.iter().flat_map(|down| GRID.iter().map(move |across| (*across, *down)));
    let steps: Vec<_> = steps.collect();
    for quad in whole {
        points.extend(steps.iter().map(|(across, down)| at(quad, part(*across), part(*down))));
    }
    // Every middle before any edge.
    points.sort_by_key(|point| !quads.iter().any(|quad| quad.len() == 8 && *point == at(quad, 0.5, 0.5)));
    points
}
