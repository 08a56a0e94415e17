//! A snapshot as text for a model: what is in view first, long lists folded, within a bound.

use std::fmt::Write as _;

use super::{Node, Snapshot};

/// The deepest indentation.
const DEPTH_MAX: usize = 8;
/// The most characters of a name in a line.
const NAME_CHARS_MAX: usize = 200;
/// So many lines of a kind are shown out of view; the rest is counted.
const RUN_MAX: usize = 12;
/// What the line that counts left-out lines may take.
const NOTE_BYTES: usize = 80;

struct Line {
    text: String,
    on_screen: bool,
    kind: String,
}

pub(super) fn text(snapshot: &Snapshot, bytes_max: usize) -> String {
    let mut text = head(snapshot);
    let lines = lines(snapshot);
    let mut kept = vec![false; lines.len()];
    let mut left = bytes_max.saturating_sub(text.len() + NOTE_BYTES);
    let mut keep = |wanted: &dyn Fn(usize) -> bool| {
        for index in (0..lines.len()).filter(|index| wanted(*index)) {
            let bytes = lines[index].text.len() + 1;
            if bytes <= left {
                left -= bytes;
                kept[index] = true;
            } else {
                return;
            }
        }
    };
    let folded = folded(&lines);
    keep(&|index| lines[index].on_screen);
    keep(&|index| !lines[index].on_screen && !folded[index]);
    let mut gap = 0;
    for (line, kept) in lines.iter().zip(&kept) {
        if !kept {
            gap += 1;
            continue;
        }
        if gap > 0 && text.len() + line.text.len() + NOTE_BYTES <= bytes_max {
            let _ = writeln!(text, "  … {gap} more, out of view");
        }
        gap = 0;
        text.push_str(&line.text);
        text.push('\n');
    }
    if gap > 0 {
        let _ = writeln!(text, "  … {gap} more, out of view: scroll or extract");
    }
    clip_bytes(&mut text, bytes_max);
    text
}

fn clip_bytes(text: &mut String, bytes_max: usize) {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// Lines in the middle of long runs of one kind out of view.
fn folded(lines: &[Line]) -> Vec<bool> {
    let mut folded = vec![false; lines.len()];
    let mut run = 0;
    for index in 1..lines.len() {
        let same = lines[index].kind == lines[index - 1].kind && !lines[index].on_screen;
        run = if same { run + 1 } else { 0 };
        folded[index] = run > RUN_MAX;
    }
    folded
}

fn head(snapshot: &Snapshot) -> String {
    let (width, height) = snapshot.window;
    let (down, below) = snapshot.scroll;
    let mut head = format!(
        "page {} {}  {width}x{height} scroll {down:.0}/{below:.0}\n",
        quoted(&snapshot.title),
        clip(&snapshot.url, 500)
    );
    let (tabs, active) = &snapshot.tabs;
    if tabs.len() > 1 {
        for (index, (title, url)) in tabs.iter().enumerate() {
            let here = if index == *active { " (this)" } else { "" };
            let _ = writeln!(head, "tab {index}{here} {} {}", quoted(title), clip(url, 200));
        }
    }
    if let Some((kind, message)) = &snapshot.dialog {
        let _ = writeln!(head, "dialog {kind} {} waits for an answer", quoted(message));
    }
    for note in &snapshot.notes {
        let _ = writeln!(head, "note: {note}");
    }
    head
}

fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let nodes = &snapshot.nodes;
    // For every node: how many lines are around it, and the name that has already said its text.
    let mut around: Vec<(usize, Option<usize>)> = Vec::with_capacity(nodes.len());
    let mut lines: Vec<Line> = Vec::new();
    let mut last_text: Option<(f64, usize)> = None;
    let is_field = |node: &&Node| ["input", "select", "textarea"].contains(&node.tag.as_str());
    let fields: Vec<&str> = nodes.iter().filter(is_field).map(|node| node.name.as_str()).collect();
    for (index, node) in nodes.iter().enumerate() {
        let (depth, named) =
            node.parent.map_or((0, None), |parent| around.get(parent).copied().unwrap_or_default());
        if node.tag == "#text" {
            around.push((depth, named));
            let said = node.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let repeats = named.is_some_and(|outer| nodes[outer].name.contains(&said))
                || in_label(node, nodes) && fields.iter().any(|name| name.contains(&said));
            if said.is_empty() || repeats || !node.on_screen && node.rect.width <= 0.0 {
                continue;
            }
            let same_row = last_text
                .filter(|(y, d)| (y - node.rect.y).abs() < 3.0 && *d == depth && node.rect.height > 0.0);
            match (same_row, lines.last_mut()) {
                (Some(_), Some(line)) if line.kind == "text" && line.on_screen == node.on_screen => {
                    let _ = write!(line.text, " {}", clip(&said, NAME_CHARS_MAX));
                }
                _ => {
                    let text = format!("{}- text {}", indent(depth), clip(&said, NAME_CHARS_MAX * 4));
                    lines.push(Line { text, on_screen: node.on_screen, kind: "text".to_owned() });
                }
            }
            last_text = Some((node.rect.y, depth));
            continue;
        }
        if !is_listed(node, nodes) {
            around.push((depth, named));
            continue;
        }
        last_text = None;
        let text = line(snapshot, node, depth);
        lines.push(Line { text, on_screen: node.on_screen, kind: format!("{}{}", node.role, node.tag) });
        around.push((depth + 1, if node.name.is_empty() { named } else { Some(index) }));
    }
    lines
}

fn in_label(node: &Node, nodes: &[Node]) -> bool {
    let mut around = node.parent;
    while let Some(outer) = around {
        if nodes[outer].tag == "label" {
            return !nodes[outer].operable;
        }
        around = nodes[outer].parent;
    }
    false
}

fn is_listed(node: &Node, nodes: &[Node]) -> bool {
    const NAMED: [&str; 12] = [
        "heading",
        "image",
        "img",
        "dialog",
        "alertdialog",
        "alert",
        "status",
        "form",
        "navigation",
        "region",
        "progressbar",
        "meter",
    ];
    // A list of choices is in the line of its field.
    let in_select = node.tag == "option" || node.tag == "optgroup";
    let in_select = in_select && node.parent.is_some_and(|parent| nodes[parent].rect.height < 40.0);
    (node.operable && !in_select)
        || NAMED.contains(&node.role.as_str()) && !node.name.is_empty()
        || node.role == "dialog"
}

fn line(snapshot: &Snapshot, node: &Node, depth: usize) -> String {
    let mark = if node.is_new { '*' } else { '-' };
    let role = if node.role.is_empty() { format!("<{}>", node.tag) } else { node.role.to_lowercase() };
    let mut text = format!("{}{mark} {role}", indent(depth));
    if !node.name.is_empty() {
        let _ = write!(text, " {}", quoted(&node.name));
    } else if let Some(hint) = ["placeholder", "title", "id", "class"].iter().find_map(|key| {
        node.attribute(key).filter(|value| !value.is_empty()).map(|value| format!("{key}={value}"))
    }) {
        let _ = write!(text, " ({})", clip(&hint, 60));
    }
    if node.operable {
        let _ = write!(text, " [{}]", node.key);
    }
    if let Some(value) = node.value.as_ref().filter(|value| **value != node.name) {
        let _ = write!(text, " ={}", quoted(value));
    }
    for state in node.states.iter().filter(|state| *state != "focusable") {
        let _ = write!(text, " {state}");
    }
    if node.tag == "select" {
        let options = snapshot.nodes.iter().filter(|option| option.tag == "option");
        let inside: Vec<String> = options
            .filter(|option| option.parent.is_some_and(|parent| snapshot.nodes[parent].key == node.key))
            .take(30)
            .map(|option| clip(&option.text, 60))
            .collect();
        let _ = write!(text, " options: {}", inside.join(" | "));
    }
    if let Some(playing) = &node.playing {
        let _ = write!(text, " {playing}");
    }
    if let Some(by) = node.covered_by {
        let _ = write!(text, " covered by [{by}]");
    }
    text
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.min(DEPTH_MAX))
}

fn quoted(text: &str) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("\"{}\"", clip(&flat, NAME_CHARS_MAX).replace('"', "'"))
}

fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
