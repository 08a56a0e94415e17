//! What Chromium answers about a page: pages write most of it.

use loyal_browser::Snapshot;

use super::{HELD_BYTES_BASE, Target};

pub(super) const SNAPSHOT: Target = Target {
    name: "snapshot",
    run: snapshot,
    dictionary: WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

const WORDS: &[&str] = &[
    "\"parentIndex\":[-1,0,1]",
    "\"nodeName\":[1,2,3]",
    "\"backendNodeId\":[1,2,3]",
    "\"contentDocumentIndex\":{\"index\":[1],\"value\":[0]}",
    "\"bounds\":[[0,0,1e300,-1]]",
    "\"paintOrders\":[9223372036854775807]",
    "\"scrollOffsetX\":-1e308",
    "\"strings\":[\"\"]",
    "{\"nodeId\":\"1\",\"parentId\":\"1\",\"backendDOMNodeId\":2}",
    "\"role\":{\"value\":\"listitem\"}",
    "\"window\":[0,0]",
    "\u{202e}",
    "\\u0000",
    "-9223372036854775808",
    "null",
];

/// Whatever a page makes Chromium say has a text within its bounds.
fn snapshot(bytes: &[u8]) -> Result<(), String> {
    const TEXT_BYTES_MAX: usize = 4 << 10;
    let snapshot = Snapshot::from_recording(bytes).map_err(|error| error.to_string())?;
    let text = snapshot.text(TEXT_BYTES_MAX);
    assert!(text.len() <= TEXT_BYTES_MAX + 1024, "{} bytes of text", text.len());
    let _ = snapshot.fingerprint();
    if let Some(node) = snapshot.nodes.first() {
        let _ = snapshot.text_of(node);
    }
    Ok(())
}
