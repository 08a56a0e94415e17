//! A trace: lines and pictures in a folder, and one page that shows them without it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use loyal_browser::trace::{Seen, Trace};
use loyal_types::Clock;
use serde_json::json;

use crate::kit::showing;

struct Still;

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_trace_is_one_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("trace");
    let (mut browser, _site) = showing("<h1>Seen & kept</h1>").await?;
    let mut trace = Trace::begin(&folder, Arc::new(Still))?;
    assert!(Trace::begin(&folder, Arc::new(Still)).is_err(), "a trace is never written over");
    let text = browser.snapshot().await?.text(4000);
    let picture = browser.screenshot().await?;
    let asked = json!({"action": "goto"});
    trace.step("act", &Seen { asked, page: Some(&text), picture: Some(&picture), ..Seen::default() })?;
    trace.step("act", &Seen { came: json!({"error": "<b>covered</b>"}), ..Seen::default() })?;
    let path = trace.end()?;
    let html = std::fs::read_to_string(path)?;
    assert!(html.contains("data:image/png;base64,iVBOR") && html.contains("Seen &amp; kept"));
    assert!(html.contains("class=\"failed\"") && !html.contains("<b>covered"));
    Ok(())
}
