//! Puts the sources of a snapshot together: documents inside of frames, roles and names on elements, and what covers what.

use std::collections::{HashMap, HashSet};

use super::capture::{Document, Layout, Part, Spoken, Voice};
use super::{Node, Place, Rect, Ref, Refs};

/// Roles that take input.
const OPERABLE: [&str; 25] = [
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "radio",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "listbox",
    "treeitem",
    "Video",
    "Audio",
    "Date",
    "DateTime",
    "InputTime",
    "ColorWell",
    "MenuListOption",
    "DisclosureTriangle",
];

/// Roles that say nothing.
const SILENT: [&str; 9] = [
    "LabelText",
    "generic",
    "none",
    "StaticText",
    "InlineTextBox",
    "LineBreak",
    "RootWebArea",
    "GenericContainer",
    "Iframe",
];

/// The most characters of a name or a text.
const TEXT_CHARS_MAX: usize = 2000;
/// The most nodes of a snapshot.
const NODE_COUNT_MAX: usize = 50_000;

/// What a screen reader would say of an element.
#[derive(Debug, Default)]
struct Voiced {
    role: String,
    name: String,
    value: String,
    states: Vec<String>,
    /// The element around it, in the same tree.
    around: Option<i64>,
    order: usize,
}

/// What is needed of a node until the list is whole.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    clip: Rect,
    paint: f64,
    /// Whether it catches what is clicked on it.
    catches: bool,
}

pub(crate) struct Builder<'a> {
    parts: HashMap<String, Part>,
    owners: HashMap<(String, i64), String>,
    loaders: &'a HashMap<(String, String), String>,
    refs: &'a mut Refs,
    nodes: Vec<Node>,
    drawn: Vec<Drawn>,
    pub(super) scroll: (f64, f64),
}

/// Where a document is drawn.
#[derive(Debug, Clone, Copy)]
struct Frame {
    origin: (f64, f64),
    clip: Rect,
    parent: Option<usize>,
    paint: f64,
    paint_scale: f64,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        parts: Vec<Part>,
        loaders: &'a HashMap<(String, String), String>,
        refs: &'a mut Refs,
    ) -> Self {
        let owners = parts.iter().filter_map(|part| Some((part.owner.clone()?, part.session.clone())));
        let owners = owners.collect();
        let parts = parts.into_iter().map(|part| (part.session.clone(), part)).collect();
        Self { parts, owners, loaders, refs, nodes: Vec::new(), drawn: Vec::new(), scroll: (0.0, 0.0) }
    }

    /// The list of a page whose outermost process has this session.
    pub(crate) fn build(mut self, session: &str, window: (f64, f64)) -> (Vec<Node>, (f64, f64)) {
        let clip = Rect { x: 0.0, y: 0.0, width: window.0, height: window.1 };
        let frame = Frame { origin: (0.0, 0.0), clip, parent: None, paint: 0.0, paint_scale: 1.0 };
        self.process(session, frame);
        self.quiet_labels();
        self.cover();
        (self.nodes, self.scroll)
    }

    fn process(&mut self, session: &str, frame: Frame) {
        let Some(part) = self.parts.remove(session) else { return };
        let mut voices = HashMap::new();
        for voice in part.voices {
            hear(voice, &mut voices);
        }
        let mut scene = Scene { session: session.to_owned(), layout: part.layout, voices };
        let outermost = self.nodes.is_empty();
        if let Some(document) = scene.layout.documents.first().filter(|_| outermost) {
            let below = (document.content_height - frame.clip.height).max(0.0);
            self.scroll = (document.scroll_offset_y, below);
        }
        self.document(&mut scene, 0, frame);
        self.unlaid(&scene);
    }

    fn document(&mut self, scene: &mut Scene, index: usize, frame: Frame) {
        let Some(document) = scene.take(index) else { return };
        let (x, y) = (frame.origin.0 - document.scroll_offset_x, frame.origin.1 - document.scroll_offset_y);
        let frame = Frame { origin: (x, y), ..frame };
        let sheet = Sheet::new(&document);
        let frame_id = scene.string(document.frame_id).to_owned();
        // For every node of the document: the entry of the list it stands in, the clip inside it, its cursor.
        let mut around: Vec<(Option<usize>, Rect, bool)> = Vec::with_capacity(document.nodes.node_name.len());
        for node in 0..document.nodes.node_name.len() {
            let parent =
                document.nodes.parent_index.get(node).and_then(|parent| usize::try_from(*parent).ok());
            let (entry, clip, pointer) = parent.and_then(|parent| around.get(parent)).copied().unwrap_or((
                frame.parent,
                frame.clip,
                false,
            ));
            let place = Frame { parent: entry, clip, ..frame };
            let Some(made) = self.node(scene, (&document, &sheet, &frame_id), node, (place, pointer)) else {
                around.push((entry, clip, pointer));
                continue;
            };
            around.push((Some(made.entry), made.clip, made.pointer));
            let (rect, paint) = (self.nodes[made.entry].rect, self.drawn[made.entry].paint);
            let (left, top) = made.edge;
            let inner = Frame {
                origin: (rect.x + left, rect.y + top),
                clip: clip.meet(&rect),
                parent: Some(made.entry),
                paint,
                paint_scale: frame.paint_scale,
            };
            if let Some(content) = sheet.contents.get(&node) {
                let inner = Frame { paint: frame.paint, ..inner };
                self.document(scene, usize::try_from(*content).unwrap_or(usize::MAX), inner);
            }
            let backend = document.nodes.backend_node_id.get(node).copied().unwrap_or_default();
            let owner = (scene.session.clone(), backend);
            if let Some(session) = self.owners.remove(&owner) {
                // Its own process counts its paint from the start: it fits between two steps of ours.
                self.process(&session, Frame { paint_scale: frame.paint_scale * 1e-6, ..inner });
            }
        }
    }

    fn node(
        &mut self,
        scene: &mut Scene,
        (document, sheet, frame_id): (&Document, &Sheet, &str),
        node: usize,
        (frame, pointer): (Frame, bool),
    ) -> Option<Made> {
        let name = scene.string(document.nodes.node_name[node]).to_ascii_lowercase();
        let drawn = sheet.boxes.get(&node).copied();
        let is_option = name == "option" || name == "optgroup";
        if (drawn.is_none() && !is_option) || name == "#document" || self.nodes.len() >= NODE_COUNT_MAX {
            return None;
        }
        let backend = document.nodes.backend_node_id.get(node).copied().unwrap_or_default();
        let voiced = scene.voices.remove(&backend).unwrap_or_default();
        let style = |index: usize| {
            let values = drawn.and_then(|drawn| document.layout.styles.get(drawn));
            values.and_then(|values| values.get(index)).map_or("", |value| scene.string(*value))
        };
        let rect = drawn.and_then(|drawn| document.layout.bounds.get(drawn));
        let rect = rect.filter(|bounds| bounds.len() == 4).map_or(Rect::default(), |bounds| Rect {
            x: bounds[0] + frame.origin.0,
            y: bounds[1] + frame.origin.1,
            width: bounds[2],
            height: bounds[3],
        });
        let seen = rect.meet(&frame.clip);
        let visible = style(1) != "hidden" && style(1) != "collapse";
        let paint = drawn.and_then(|drawn| document.layout.paint_orders.get(drawn)).copied().unwrap_or(0);
        let mut made = Node {
            parent: frame.parent,
            rect,
            on_screen: seen.width > 0.0 && seen.height > 0.0 && visible,
            colours: (style(3).to_owned(), style(4).to_owned()),
            tag: name,
            ..Node::default()
        };
        scene.describe(&mut made, (document, sheet, node), drawn);
        let cursor = style(0) == "pointer";
        let pixels = |index: usize| style(index).trim_end_matches("px").parse::<f64>().unwrap_or(0.0);
        let edge = (pixels(6) + pixels(8), pixels(7) + pixels(9));
        let clip = if style(5).is_empty() || style(5) == "visible" { frame.clip } else { seen };
        let catches = drawn.is_some() && visible && style(2) != "none" && made.tag != "#text";
        made.operable = visible
            && (OPERABLE.contains(&voiced.role.as_str())
                || sheet.clickable.contains(&node) && !["html", "body"].contains(&made.tag.as_str())
                || cursor && !pointer && made.tag != "#text"
                || made.attribute("contenteditable").is_some_and(|value| value != "false")
                || made.attribute("draggable") == Some("true"));
        made.role = if SILENT.contains(&voiced.role.as_str()) { String::new() } else { voiced.role };
        if made.tag != "#text" {
            made.name = clip_text(&voiced.name);
        }
        if made.value.is_none() && !voiced.value.is_empty() && made.attribute("type") != Some("password") {
            made.value = Some(clip_text(&voiced.value));
        }
        for state in voiced.states {
            if !made.is(&state) {
                made.states.push(state);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "paint steps are few")]
        let paint = frame.paint + paint as f64 * frame.paint_scale;
        let entry = self.push(made, Drawn { clip: seen, paint, catches }, (scene, frame_id, backend));
        Some(Made { entry, clip, pointer: cursor || pointer, edge })
    }

    fn push(&mut self, mut node: Node, drawn: Drawn, (scene, frame, backend): (&Scene, &str, i64)) -> usize {
        let key = (scene.session.clone(), frame.to_owned());
        let loader = self.loaders.get(&key).cloned().unwrap_or_default();
        let place = Place { session: key.0, frame: key.1, loader, node: backend };
        (node.key, node.is_new) = self.refs.give(place, &node.role, &node.name);
        self.nodes.push(node);
        self.drawn.push(drawn);
        self.nodes.len() - 1
    }

    /// Elements that only the screen reader's tree has: controls that Chromium draws itself.
    fn unlaid(&mut self, scene: &Scene) {
        let places: HashMap<i64, usize> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| {
                let place = &self.refs.known(node.key)?.place;
                (place.session == scene.session).then_some((place.node, index))
            })
            .collect();
        let mut left: Vec<(i64, &Voiced)> =
            scene.voices.iter().map(|(node, voiced)| (*node, voiced)).collect();
        left.sort_by_key(|(_, voiced)| voiced.order);
        for (backend, voiced) in left {
            if !OPERABLE.contains(&voiced.role.as_str()) || self.nodes.len() >= NODE_COUNT_MAX {
                continue;
            }
            let mut around = voiced.around;
            let entry = loop {
                match around {
                    None => break None,
                    Some(node) if places.contains_key(&node) => break places.get(&node).copied(),
                    Some(node) => around = scene.voices.get(&node).and_then(|voiced| voiced.around),
                }
            };
            let Some(entry) = entry else { continue };
            let Some(outer) = self.refs.known(self.nodes[entry].key).map(|known| known.place.clone()) else {
                continue;
            };
            let made = Node {
                parent: Some(entry),
                role: voiced.role.clone(),
                name: clip_text(&voiced.name),
                value: Some(voiced.value.clone()).filter(|value| !value.is_empty()),
                states: voiced.states.clone(),
                rect: self.nodes[entry].rect,
                on_screen: self.nodes[entry].on_screen,
                operable: true,
                ..Node::default()
            };
            let drawn = Drawn { catches: false, ..self.drawn[entry] };
            self.push(made, drawn, (scene, &outer.frame, backend));
        }
    }

    /// A label stands for its field, unless the field is not drawn.
    fn quiet_labels(&mut self) {
        let mut spoken_for = HashSet::new();
        let mut ids = HashSet::new();
        for node in self.nodes.iter().filter(|node| node.operable && node.tag != "label") {
            ids.extend(node.attribute("id").map(str::to_owned));
            let mut around = node.parent;
            while let Some(outer) = around {
                spoken_for.insert(outer);
                around = self.nodes[outer].parent;
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.tag == "label") {
            let elsewhere = node.attribute("for").is_some_and(|id| ids.contains(id));
            node.operable &= !spoken_for.contains(&index) && !elsewhere;
        }
    }

    /// Marks what something else lies over.
    fn cover(&mut self) {
        let catching: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.drawn[*index].catches && self.nodes[*index].on_screen)
            .collect();
        for index in 0..self.nodes.len() {
            let (node, drawn) = (&self.nodes[index], self.drawn[index]);
            if !node.operable || !node.on_screen || !drawn.catches {
                continue;
            }
            let point = drawn.clip.centre();
            let over = catching.iter().copied().filter(|other| {
                let other = &self.drawn[*other];
                other.paint > drawn.paint && other.clip.contains(point)
            });
            let top = over.max_by(|a, b| self.drawn[*a].paint.total_cmp(&self.drawn[*b].paint));
            if let Some(top) = top.filter(|top| !self.is_inside(*top, index) && !self.is_inside(index, *top))
            {
                self.nodes[index].covered_by = Some(self.named_around(top));
            }
        }
    }

    fn is_inside(&self, mut inner: usize, outer: usize) -> bool {
        while let Some(parent) = self.nodes[inner].parent {
            if parent == outer {
                return true;
            }
            inner = parent;
        }
        false
    }

    /// The nearest element around one that a text shows.
    fn named_around(&self, start: usize) -> Ref {
        let mut index = start;
        loop {
            let node = &self.nodes[index];
            if node.operable || !node.role.is_empty() && !node.name.is_empty() {
                return node.key;
            }
            match node.parent {
                Some(parent) => index = parent,
                None => return self.nodes[start].key,
            }
        }
    }
}

struct Made {
    entry: usize,
    clip: Rect,
    pointer: bool,
    /// From its outer edge to its content.
    edge: (f64, f64),
}

/// One process of a page, while its documents are read.
struct Scene {
    session: String,
    layout: Layout,
    voices: HashMap<i64, Voiced>,
}

impl Scene {
    fn string(&self, index: i64) -> &str {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.layout.strings.get(index))
            .map_or("", String::as_str)
    }

    fn take(&mut self, index: usize) -> Option<Document> {
        let document = self.layout.documents.get_mut(index)?;
        let empty = Document {
            frame_id: -1,
            title: -1,
            scroll_offset_x: 0.0,
            scroll_offset_y: 0.0,
            content_height: 0.0,
            nodes: serde_json::from_str(r#"{"parentIndex":[],"nodeName":[],"backendNodeId":[]}"#).ok()?,
            layout: serde_json::from_str(r#"{"nodeIndex":[],"styles":[],"bounds":[],"text":[]}"#).ok()?,
        };
        Some(std::mem::replace(document, empty))
    }

    /// Fills in what the document says of a node.
    fn describe(
        &self,
        made: &mut Node,
        (document, sheet, node): (&Document, &Sheet, usize),
        drawn: Option<usize>,
    ) {
        if made.tag == "#text" {
            let text = drawn.and_then(|drawn| document.layout.text.get(drawn)).copied().unwrap_or(-1);
            made.text = clip_text(self.string(text));
            return;
        }
        let attributes = document.nodes.attributes.get(node).map_or(&[][..], Vec::as_slice);
        made.attributes = attributes
            .chunks_exact(2)
            .map(|pair| (self.string(pair[0]).to_owned(), clip_text(self.string(pair[1]))))
            .collect();
        let held =
            sheet.values.get(&node).or_else(|| sheet.texts.get(&node)).map(|value| self.string(*value));
        made.value = held.filter(|_| made.attribute("type") != Some("hidden")).map(|value| {
            let secret = made.attribute("type") == Some("password");
            if secret { "•".repeat(value.chars().count()) } else { clip_text(value) }
        });
        if ["checkbox", "radio", "button", "submit", "reset", "image"]
            .contains(&made.attribute("type").unwrap_or_default())
        {
            made.value = None;
        }
        if made.tag == "option" {
            if sheet.selected.contains(&node) {
                made.states.push("selected".to_owned());
            }
            let words = document.nodes.parent_index.iter().enumerate().skip(node + 1);
            let inside = words.take_while(|(_, parent)| usize::try_from(**parent).is_ok_and(|up| up >= node));
            let texts = inside.map(|(index, _)| document.nodes.node_value.get(index).copied().unwrap_or(-1));
            let text: Vec<&str> = texts.map(|text| self.string(text).trim()).collect();
            made.text = clip_text(&text.join(" "));
        }
    }
}

/// What a document says of some of its nodes only.
struct Sheet {
    boxes: HashMap<usize, usize>,
    contents: HashMap<usize, i64>,
    values: HashMap<usize, i64>,
    texts: HashMap<usize, i64>,
    clickable: HashSet<usize>,
    selected: HashSet<usize>,
}

impl Sheet {
    fn new(document: &Document) -> Self {
        let mut boxes = HashMap::new();
        for (index, node) in document.layout.node_index.iter().enumerate() {
            boxes.entry(*node).or_insert(index);
        }
        Self {
            boxes,
            contents: document.nodes.content_document_index.map(),
            values: document.nodes.input_value.map(),
            texts: document.nodes.text_value.map(),
            clickable: document.nodes.is_clickable.index.iter().copied().collect(),
            selected: document.nodes.option_selected.index.iter().copied().collect(),
        }
    }
}

fn clip_text(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn hear(voice: Voice, voices: &mut HashMap<i64, Voiced>) {
    let links: HashMap<String, (Option<i64>, Option<String>)> = voice
        .nodes
        .iter()
        .map(|spoken| (spoken.node_id.clone(), (spoken.backend_node_id, spoken.parent_id.clone())))
        .collect();
    for (order, spoken) in voice.nodes.into_iter().enumerate() {
        let Some(node) = spoken.backend_node_id else { continue };
        let around = nearest(&links, &spoken);
        let mut voiced = Voiced { around, order, ..Voiced::default() };
        if !spoken.ignored {
            for property in spoken.properties {
                voiced.states.extend(state(&property.name, &property.value.value));
            }
            voiced.role = spoken.role.text();
            voiced.name = spoken.name.text();
            voiced.value = spoken.value.text();
        }
        // Texts have boxes under the same node: the first is the text itself.
        voices.entry(node).or_insert(voiced);
    }
}

fn nearest(links: &HashMap<String, (Option<i64>, Option<String>)>, spoken: &Spoken) -> Option<i64> {
    let mut parent = spoken.parent_id.as_ref();
    for _ in 0..1000 {
        let (node, next) = links.get(parent?)?;
        if node.is_some() && *node != spoken.backend_node_id {
            return *node;
        }
        parent = next.as_ref();
    }
    None
}

fn state(name: &str, value: &serde_json::Value) -> Option<String> {
    let said = match value {
        serde_json::Value::Bool(is) => is.to_string(),
        serde_json::Value::String(text) => text.clone(),
        _ => return None,
    };
    let state = match (name, said.as_str()) {
        ("expanded", "false") => "collapsed",
        ("checked" | "pressed", "mixed") => "mixed",
        (
            "checked" | "disabled" | "expanded" | "focused" | "pressed" | "required" | "selected"
            | "readonly",
            "true",
        ) => name,
        ("invalid", "true") => "invalid",
        _ => return None,
    };
    Some(state.to_owned())
}
