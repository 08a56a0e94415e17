//! What a run saw and did: a folder of JSON lines and pictures, and one page that shows them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use loyal_types::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

const LINES: &str = "trace.jsonl";
const STYLE: &str = include_str!("trace.css");

/// A line of a trace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// From zero.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// `plan`, `act`, `look`, or another word of the caller's.
    pub kind: String,
    /// What was meant: a plan, an action.
    pub asked: Value,
    /// What came of it: an effect, or an error in words.
    pub came: Value,
    /// The page as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The name of a picture beside the lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// A trace that is being written.
pub struct Trace {
    folder: PathBuf,
    lines: File,
    clock: Arc<dyn Clock + Send>,
    count: u64,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace")
            .field("folder", &self.folder)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// What one step adds to a trace.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a> {
    /// What was meant.
    pub asked: Value,
    /// What came of it.
    pub came: Value,
    /// The page as text.
    pub page: Option<&'a str>,
    /// The page as a picture, as PNG.
    pub picture: Option<&'a [u8]>,
}

impl Trace {
    /// Begins a trace in a folder, which is made.
    ///
    /// # Errors
    /// When the folder has a trace already, or cannot be written.
    pub fn begin(folder: &Path, clock: Arc<dyn Clock + Send>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let path = folder.join(LINES);
        let lines = File::create_new(&path).map_err(|error| Error::file(&path, error))?;
        Ok(Self { folder: folder.to_owned(), lines, clock, count: 0 })
    }

    /// Writes a step.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn step(&mut self, kind: &str, seen: &Seen<'_>) -> Result<()> {
        let number = self.count;
        let picture = match seen.picture {
            Some(bytes) => {
                let name = format!("{number:05}.png");
                let path = self.folder.join(&name);
                fs::write(&path, bytes).map_err(|error| Error::file(&path, error))?;
                Some(name)
            }
            None => None,
        };
        let step = Step {
            number,
            at: self.clock.unix_millis(),
            kind: kind.to_owned(),
            asked: seen.asked.clone(),
            came: seen.came.clone(),
            page: seen.page.map(str::to_owned),
            picture,
        };
        let path = self.folder.join(LINES);
        let mut line = serde_json::to_string(&step).map_err(|error| Error::file(&path, error))?;
        line.push('\n');
        self.lines.write_all(line.as_bytes()).map_err(|error| Error::file(&path, error))?;
        self.count += 1;
        Ok(())
    }

    /// Ends the trace: writes `trace.html`, which shows it without the folder, and gives its path.
    ///
    /// # Errors
    /// When a file of the folder cannot be read or written.
    pub fn end(self) -> Result<PathBuf> {
        let page = page(&self.folder)?;
        let path = self.folder.join("trace.html");
        fs::write(&path, page).map_err(|error| Error::file(&path, error))?;
        Ok(path)
    }
}

/// A trace as one HTML page, pictures included.
///
/// # Errors
/// When a file is missing, or a line is none of a trace.
pub fn page(folder: &Path) -> Result<String> {
    let path = folder.join(LINES);
    let lines = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Trace</title>\n<style>{STYLE}</style>\
         </head><body>\n<h1>Trace of a browser</h1>\n"
    );
    let mut start = None;
    for (index, line) in lines.lines().enumerate() {
        let step: Step = serde_json::from_str(line)
            .map_err(|error| Error::file(&path, format!("line {}: {error}", index + 1)))?;
        let start = *start.get_or_insert(step.at);
        let failed = if step.came.get("error").is_some() { " class=\"failed\"" } else { "" };
        let after = step.at.saturating_sub(start);
        let _ = write!(
            html,
            "<section{failed}><h2>{} · {} <small>{}.{:03} s</small></h2>\n<pre>{}</pre>\n<pre>{}</pre>\n",
            step.number,
            escape(&step.kind),
            after / 1000,
            after % 1000,
            escape(&pretty(&step.asked)),
            escape(&pretty(&step.came))
        );
        if let Some(name) = step.picture.as_deref().filter(|name| !name.contains(['/', '\\'])) {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(|error| Error::file(&path, error))?;
            let _ = writeln!(html, "<img alt=\"\" src=\"data:image/png;base64,{}\">", STANDARD.encode(bytes));
        }
        if let Some(page) = &step.page {
            let _ = writeln!(html, "<details><summary>page</summary><pre>{}</pre></details>", escape(page));
        }
        html.push_str("</section>\n");
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

fn pretty(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
