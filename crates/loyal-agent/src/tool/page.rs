//! A page of HTML as text for a model: headings, paragraphs, lists and links; no scripts, styles or hidden parts.

/// What a page's elements do to its text.
const SKIPPED: &[&str] = &["script", "style", "noscript", "template", "svg", "iframe", "object", "head"];
const BREAKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "aside",
    "ul",
    "ol",
    "table",
    "tr",
    "br",
    "hr",
    "form",
    "blockquote",
    "pre",
    "figure",
    "dl",
    "dt",
    "dd",
];

/// Characters of a tag that are looked at for its end.
const TAG_LENGTH_MAX: usize = 4096;
/// Elements inside of a hidden one that are kept in mind.
const DEPTH_MAX: usize = 256;

/// An address relative to a page's.
pub(super) fn resolve(page: &str, address: &str) -> Option<String> {
    let address = address.trim();
    let lower = address.get(..8).unwrap_or(address).to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return Some(address.to_owned());
    }
    let (scheme, rest) = page.split_once("://")?;
    if let Some(rest) = address.strip_prefix("//") {
        return Some(format!("{scheme}://{rest}"));
    }
    let has_scheme = address.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    if has_scheme || address.is_empty() {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let path = rest[authority.len()..].split(['?', '#']).next().unwrap_or_default();
    if address.starts_with('/') {
        return Some(format!("{scheme}://{authority}{address}"));
    }
    if address.starts_with(['?', '#']) {
        return Some(format!("{scheme}://{authority}{path}{address}"));
    }
    let (relative, tail) = address.split_at(address.find(['?', '#']).unwrap_or(address.len()));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let mut is_folder = false;
    for part in relative.split('/') {
        is_folder = matches!(part, "" | "." | "..");
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if is_folder && !parts.is_empty() { "/" } else { "" };
    Some(format!("{scheme}://{authority}/{}{slash}{tail}", parts.join("/")))
}

/// The text of a page.
pub(super) fn text(html: &str, url: &str) -> String {
    let mut page = Page { text: String::new(), hidden: Vec::new(), link: None };
    if let Some(title) = title(html) {
        page.text.push_str(&format!("title: {}\n\n", words(title)));
    }
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        page.say(&rest[..open]);
        let after = &rest[open..];
        if let Some(comment) = after.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some(tag) = Tag::read(after) else {
            if !after.contains('>') {
                rest = after;
                break;
            }
            page.say("<");
            rest = &after[1..];
            continue;
        };
        rest = &after[tag.length..];
        page.element(&tag, url);
        if matches!(tag.name.as_str(), "script" | "style") && !tag.closing {
            // Their text is no markup.
            let end = format!("</{}", tag.name);
            rest = find_ignoring_case(rest, &end).map_or("", |at| &rest[at..]);
        }
    }
    page.say(rest);
    tidy(&page.text)
}

fn title(html: &str) -> Option<&str> {
    let after = &html[find_ignoring_case(html, "<title")?..];
    let after = &after[after.find('>')? + 1..];
    Some(&after[..after.find('<')?])
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    text.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

struct Tag {
    name: String,
    closing: bool,
    empty: bool,
    attributes: Vec<(String, String)>,
    length: usize,
}

impl Tag {
    /// A tag at the start of a text.
    fn read(text: &str) -> Option<Self> {
        let inner = &text[1..];
        let closing = inner.starts_with('/');
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
            return None;
        }
        // The end is the first `>` outside of quotes; a tag longer than any is ends at the first one there is, so that
        // quotes which do not close cost no more than one look.
        let mut quote = None;
        let quoted = text.char_indices().skip(1).take(TAG_LENGTH_MAX).find_map(|(at, c)| match (quote, c) {
            (None, '>') => Some(at),
            (None, '"' | '\'') => {
                quote = Some(c);
                None
            }
            (Some(open), c) if open == c => {
                quote = None;
                None
            }
            _ => None,
        });
        let end = quoted.or_else(|| text.find('>'))?;
        let whole = text[1..end].trim_start_matches('/');
        let name_end = whole.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(whole.len());
        let (name, rest) = whole.split_at(name_end);
        Some(Self {
            name: name.to_ascii_lowercase(),
            closing,
            empty: whole.ends_with('/'),
            attributes: attributes(rest),
            length: end + 1,
        })
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a person would not see it.
    fn is_hidden(&self) -> bool {
        let style = self.attribute("style").unwrap_or_default().to_ascii_lowercase().replace(' ', "");
        let unseen = ["display:none", "visibility:hidden", "opacity:0;", "font-size:0"];
        SKIPPED.contains(&self.name.as_str())
            || self.attribute("hidden").is_some()
            || self.attribute("aria-hidden") == Some("true")
            || unseen.iter().any(|rule| style.contains(rule))
            || style.ends_with("opacity:0")
    }
}

fn attributes(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    while !rest.is_empty() && found.len() < 64 {
        let name_end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        let name = rest[..name_end].to_ascii_lowercase();
        rest = rest[name_end..].trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (inner, end) = match quote {
                Some(quote) => (&after[1..], after[1..].find(quote)),
                None => (after, after.find(char::is_whitespace)),
            };
            let end = end.unwrap_or(inner.len());
            value = entities(&inner[..end]);
            rest = inner[end..].trim_start_matches(|c: char| quote == Some(c) || c.is_whitespace());
        }
        found.push((name, value));
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    }
    found
}

struct Page {
    text: String,
    /// Open elements inside of a hidden one, the hidden one first.
    hidden: Vec<String>,
    link: Option<String>,
}

/// Elements that have no end.
const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

impl Page {
    fn say(&mut self, text: &str) {
        if self.hidden.is_empty() {
            self.text.push_str(&entities(text));
        }
    }

    fn element(&mut self, tag: &Tag, url: &str) {
        let name = tag.name.as_str();
        let has_end = !tag.empty && !VOID.contains(&name) && !name.starts_with(['!', '?']);
        if !self.hidden.is_empty() {
            if tag.closing {
                if let Some(at) = self.hidden.iter().rposition(|open| open == name) {
                    self.hidden.truncate(at);
                }
            } else if has_end && self.hidden.len() < DEPTH_MAX {
                self.hidden.push(name.to_owned());
            }
            return;
        }
        if !tag.closing && has_end && tag.is_hidden() {
            self.hidden.push(name.to_owned());
            return;
        }
        let heading = name.strip_prefix('h').and_then(|level| level.parse::<usize>().ok());
        match (name, tag.closing) {
            ("li", false) => self.text.push_str("\n- "),
            ("td" | "th", false) => self.text.push_str(" | "),
            ("a", false) => self.link = tag.attribute("href").and_then(|href| resolve(url, href)),
            ("a", true) => {
                if let Some(link) = self.link.take() {
                    self.text.push_str(&format!(" ({link})"));
                }
            }
            ("img", _) => {
                let what = tag.attribute("alt").filter(|alt| !alt.is_empty());
                self.text.push_str(&what.map(|alt| format!(" [picture: {alt}] ")).unwrap_or_default());
            }
            (_, false) if heading.is_some() => {
                let level = heading.unwrap_or(1).clamp(1, 6);
                self.text.push_str(&format!("\n\n{} ", "#".repeat(level)));
            }
            (_, true) if heading.is_some() => self.text.push_str("\n\n"),
            _ if BREAKS.contains(&name) => self.text.push('\n'),
            _ => {}
        }
    }
}

/// Character references as characters: the common ones, and numbers.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let found = end.and_then(|end| entity(&rest[1..end]).map(|c| (c, end)));
        if let Some((c, end)) = found {
            out.push(c);
            rest = &rest[end + 1..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "copy" => '©',
        "euro" => '€',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        _ => return None,
    })
}

fn words(text: &str) -> String {
    entities(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One space between words, at most one empty line between paragraphs.
fn tidy(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let after_gap = lines.last().is_none_or(String::is_empty);
        if !(line.is_empty() && after_gap) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}
