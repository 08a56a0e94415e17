//! What a page shows: one list of its elements and texts, from the document and from the tree for screen readers, with refs to act on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) mod capture;
mod recording;
mod render;
pub(crate) mod tree;

/// An element of a snapshot; written `e12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ref(pub u32);

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl FromStr for Ref {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let digits = inner.strip_prefix('e').unwrap_or(inner);
        digits.parse().map(Self).map_err(|_| format!("{text:?} is no ref; write it as in the snapshot: e12"))
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A place on the page, in CSS pixels from the top left corner of what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// A rectangle on the page, in CSS pixels from the top left corner of what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rect {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

impl Rect {
    /// The point in its middle.
    #[must_use]
    pub fn centre(&self) -> Point {
        Point { x: self.x + self.width / 2.0, y: self.y + self.height / 2.0 }
    }

    pub(crate) fn contains(&self, point: Point) -> bool {
        let Point { x, y } = point;
        x >= self.x && y >= self.y && x < self.x + self.width && y < self.y + self.height
    }

    /// What two rectangles share.
    pub(crate) fn meet(&self, other: &Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        Self { x, y, width: (right - x).max(0.0), height: (bottom - y).max(0.0) }
    }
}

/// An element or a text of a page.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// What actions name it by.
    pub key: Ref,
    /// The place in the list of what is around it.
    pub parent: Option<usize>,
    /// Its role for screen readers; empty where it has none.
    pub role: String,
    /// Its name for screen readers.
    pub name: String,
    /// The name of its tag in lower case; `#text` for texts.
    pub tag: String,
    /// What a text says.
    pub text: String,
    /// What a field holds; never that of a password.
    pub value: Option<String>,
    /// Such as `checked`, `disabled`, `expanded`, `focused`, `selected`.
    pub states: Vec<String>,
    /// The attributes of its tag.
    pub attributes: Vec<(String, String)>,
    /// Where it is drawn; empty where it is not.
    pub rect: Rect,
    /// Whether a part of it is in view.
    pub on_screen: bool,
    /// Whether it looks as if something could be done with it.
    pub operable: bool,
    /// Whether the snapshot before did not have it.
    pub is_new: bool,
    /// What lies over its middle.
    pub covered_by: Option<Ref>,
    /// The colours of its text and of its ground, in CSS.
    pub colours: (String, String),
    /// How far a video or a sound has played.
    pub playing: Option<String>,
}

impl Node {
    /// An attribute of its tag.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is in a state such as `checked`.
    #[must_use]
    pub fn is(&self, state: &str) -> bool {
        self.states.iter().any(|known| known == state)
    }
}

/// What a page shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// The address.
    pub url: String,
    /// The title.
    pub title: String,
    /// Width and height of what is seen, in CSS pixels.
    pub window: (f64, f64),
    /// How far it is scrolled down, and how far it can be.
    pub scroll: (f64, f64),
    /// The open tabs, as title and address; which of them this is.
    pub tabs: (Vec<(String, String)>, usize),
    /// The dialog that keeps the page waiting: its kind and its words.
    pub dialog: Option<(String, String)>,
    /// What happened since the snapshot before that no action asked for.
    pub notes: Vec<String>,
    /// Elements and texts in the order of the document.
    pub nodes: Vec<Node>,
}

impl Snapshot {
    /// As text for a model: what is in view first, at most this many bytes.
    #[must_use]
    pub fn text(&self, bytes_max: usize) -> String {
        render::text(self, bytes_max)
    }

    /// The first node that fits.
    pub fn find(&self, fits: impl Fn(&Node) -> bool) -> Option<&Node> {
        self.nodes.iter().find(|node| fits(node))
    }

    /// The first node of a role and a name.
    #[must_use]
    pub fn named(&self, role: &str, name: &str) -> Option<&Node> {
        self.find(|node| node.role == role && node.name == name)
    }

    /// The node of a ref.
    #[must_use]
    pub fn node(&self, key: Ref) -> Option<&Node> {
        self.find(|node| node.key == key)
    }

    /// All text inside a node, its own included.
    #[must_use]
    pub fn text_of(&self, node: &Node) -> String {
        let Some(start) = self.nodes.iter().position(|other| other.key == node.key) else {
            return String::new();
        };
        let mut inside = HashSet::from([start]);
        let mut words = vec![self.nodes[start].text.trim()];
        for (index, node) in self.nodes.iter().enumerate().skip(start + 1) {
            if !node.parent.is_some_and(|parent| inside.contains(&parent)) {
                break;
            }
            inside.insert(index);
            words.push(node.text.trim());
        }
        words.retain(|text| !text.is_empty());
        words.join(" ")
    }

    /// A hash of what the page shows, for noticing that nothing changes.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        hash.add(&self.url);
        for node in &self.nodes {
            hash.add(&node.name);
            hash.add(&node.text);
            hash.add(node.value.as_deref().unwrap_or_default());
            node.states.iter().for_each(|state| hash.add(state));
        }
        hash.0
    }
}

/// FNV-1a: the same on every machine.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Where an element is: in which document of which process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) session: String,
    pub(crate) frame: String,
    pub(crate) loader: String,
    pub(crate) node: i64,
}

/// What a ref stands for.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) role: String,
    pub(crate) name: String,
}

/// Every ref given out, for as long as the browser runs.
#[derive(Debug, Default)]
pub(crate) struct Refs {
    of_places: HashMap<Place, Ref>,
    known: HashMap<Ref, Known>,
    last: u32,
    /// Those of the snapshot before, and its document.
    seen: HashSet<Ref>,
    document: String,
}

/// The most refs that are remembered; beyond, those of older documents are forgotten.
const REF_COUNT_MAX: usize = 200_000;

impl Refs {
    pub(crate) fn known(&self, key: Ref) -> Option<&Known> {
        self.known.get(&key)
    }

    pub(crate) fn at(&self, place: &Place) -> Option<Ref> {
        self.of_places.get(place).copied()
    }

    /// The ref of a place, and whether the snapshot before lacked it.
    fn give(&mut self, place: Place, role: &str, name: &str) -> (Ref, bool) {
        if let Some(key) = self.of_places.get(&place) {
            let is_new = !self.seen.contains(key);
            if let Some(known) = self.known.get_mut(key) {
                role.clone_into(&mut known.role);
                name.clone_into(&mut known.name);
            }
            return (*key, is_new);
        }
        self.last += 1;
        let key = Ref(self.last);
        self.of_places.insert(place.clone(), key);
        self.known.insert(key, Known { place, role: role.to_owned(), name: name.to_owned() });
        (key, true)
    }

    /// Ends a snapshot: the next one is compared with it.
    pub(crate) fn end(&mut self, document: &str, nodes: &mut [Node]) {
        let fresh = self.document != document;
        if fresh {
            // On a new page everything is, so nothing is worth a mark.
            nodes.iter_mut().for_each(|node| node.is_new = false);
            document.clone_into(&mut self.document);
        }
        self.seen = nodes.iter().map(|node| node.key).collect();
        if self.known.len() > REF_COUNT_MAX {
            let seen = &self.seen;
            self.known.retain(|key, _| seen.contains(key));
            self.of_places.retain(|_, key| seen.contains(key));
        }
    }
}
