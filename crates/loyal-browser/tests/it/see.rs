//! What snapshots say: roles, names, values, marks, frames, shadow roots, covered elements and bounds.

use anyhow::{Context as _, Result};

use crate::kit::{act, at, by_id, click, key, showing};

#[tokio::test]
async fn a_page_as_text() -> Result<()> {
    let body = "<h1>Demo page</h1><label>Your name <input id=n value=Ada></label>
        <input type=password value=geheim aria-label=Secret>
        <select aria-label=Size><option>small<option selected>large</select>
        <label><input type=checkbox checked> Agree</label>
        <button disabled>Later</button> <p>Some <b>words</b> here.</p><a href='/x'>More</a>
        <div id=plain style='cursor:pointer'>Plain</div><div id=heard>Heard</div>
        <script>heard.addEventListener('click', () => 1)</script>";
    let (mut browser, site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let text = snapshot.text(16 << 10);
    let head = format!("page \"Test\" {}  1280x720 scroll 0/0\n", site.url("/"));
    assert!(text.starts_with(&head), "{text}");
    let lines: Vec<String> = text.lines().map(without_refs).collect();
    for expected in [
        "- heading \"Demo page\"",
        "- textbox \"Your name\" [e] =\"Ada\"",
        "- textbox \"Secret\" [e] =\"••••••\"",
        "- combobox \"Size\" [e] =\"large\" collapsed options: small | large",
        "- checkbox \"Agree\" [e] checked",
        "- button \"Later\" [e] disabled",
        "- text Some words here.",
        "- link \"More\" [e]",
        "- <div> (id=plain) [e]",
        "- <div> (id=heard) [e]",
    ] {
        assert!(lines.iter().any(|line| line.trim_start() == expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains("geheim"));
    Ok(())
}

fn without_refs(line: &str) -> String {
    let mut parts = line.split("[e");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("[e");
        text.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    text
}

#[tokio::test]
async fn changes_are_marked_and_refs_stay() -> Result<()> {
    let body = "<button onclick=\"list.innerHTML += '<a href=#>New</a>'\">Add</button><div id=list></div>";
    let (mut browser, _site) = showing(body).await?;
    let first = browser.snapshot().await?;
    assert!(!first.nodes.iter().any(|node| node.is_new), "on a new page nothing is marked");
    let add = key(&first, "button", "Add")?;
    let acted = browser.act(&click(add)).await?;
    assert!(acted.changed && acted.navigated.is_none());
    let second = browser.snapshot().await?;
    assert_eq!(key(&second, "button", "Add")?, add);
    let link = second.named("link", "New").context("the new link")?;
    assert!(link.is_new && second.text(4000).contains("* link \"New\""), "{}", second.text(4000));
    let third = browser.snapshot().await?;
    assert!(!third.named("link", "New").context("the link")?.is_new);
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert_eq!(second.fingerprint(), third.fingerprint());
    Ok(())
}

#[tokio::test]
async fn frames_and_shadow_roots_are_looked_into_and_clicked() -> Result<()> {
    let page = "<!doctype html><body style='margin:40px'><button onclick='said += \"outer \"'>Outer</button>
        <script>var said = ''; onmessage = event => said += event.data + ' ';</script>
        <iframe id=same style='margin:30px;border:7px solid;padding:3px' src='/inner'></iframe>
        <iframe id=other style='border:5px solid' src='http://localhost:PORT/foreign'></iframe>
        <div id=host></div><script>
          const root = host.attachShadow({mode: 'closed'});
          root.innerHTML = '<button>Shadow</button>';
          root.querySelector('button').onclick = () => said += 'shadow ';
        </script>";
    let inner = "<body style='height:900px'><p style='height:300px'>far</p>
        <button onclick=\"parent.postMessage('inner', '*')\">Inner</button>";
    let foreign = "<body><button onclick=\"top.postMessage('foreign', '*')\">Foreign</button>";
    let (mut browser, _site) = at(&[("/", page), ("/inner", inner), ("/foreign", foreign)]).await?;
    for name in ["Outer", "Inner", "Foreign", "Shadow"] {
        let snapshot = browser.snapshot().await?;
        let target = key(&snapshot, "button", name)?;
        browser.act(&click(target)).await.with_context(|| name.to_owned())?;
    }
    let said = crate::kit::said(&mut browser, "said").await?;
    assert_eq!(said, "outer inner foreign shadow ");
    Ok(())
}

#[tokio::test]
async fn what_covers_is_named_and_clicked_around() -> Result<()> {
    let body = "<style>button,#over{position:absolute}</style>
        <button style='left:10px;top:10px;width:100px;height:40px' onclick='document.title=\"pay\"'>Pay</button>
        <button id=over style='left:30px;top:0;width:60px;height:60px' onclick='document.title=\"trap\"'>Trap</button>
        <button style='left:300px;top:10px' >Under</button>
        <div id=veil role=dialog aria-label=Cookies
          style='position:absolute;left:250px;top:0;width:300px;height:100px;background:#ccc'></div>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let pay = snapshot.named("button", "Pay").context("the button")?;
    assert_eq!(pay.covered_by, Some(by_id(&snapshot, "over")?), "{}", snapshot.text(4000));
    browser.act(&click(pay.key)).await?;
    assert_eq!(crate::kit::said(&mut browser, "document.title").await?, "pay");
    let under = key(&snapshot, "button", "Under")?;
    let refused = browser.act(&click(under)).await.unwrap_err().to_string();
    assert!(refused.contains("is covered by") && refused.contains("id=veil"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn long_pages_are_bounded_with_what_is_in_view_first() -> Result<()> {
    let body = "<script>for (let i = 0; i < 3000; i++)
        document.write(`<p><a href='#${i}'>A link with the number ${i}</a></p>`)</script>";
    let (mut browser, _site) = showing(body).await?;
    act(&mut browser, serde_json::json!({"action": "scroll", "y": 20000})).await?;
    let snapshot = browser.snapshot().await?;
    assert!(snapshot.scroll.0 > 10_000.0, "{:?}", snapshot.scroll);
    let text = snapshot.text(4 << 10);
    assert!(text.len() <= 4 << 10);
    let shown = snapshot.find(|node| node.on_screen && node.role == "link").context("a link in view")?;
    assert!(text.contains(&format!("\"{}\"", shown.name)), "{text}");
    assert!(text.contains("more, out of view"), "{text}");
    Ok(())
}

/// A page whose answers of Chromium were written down is the same page without Chromium.
#[test]
fn a_recording_is_read_without_a_browser() {
    let recording = include_bytes!("../../../../fuzz/corpus/snapshot/page.json");
    let snapshot = loyal_browser::Snapshot::from_recording(recording).unwrap();
    let text = snapshot.text(4096);
    assert!(text.starts_with("page \"Demo page\" https://media.example/demo  1280x720"), "{text}");
    assert!(text.contains("- heading \"Demo page\"") && text.contains("- button \"Send\" [e"), "{text}");
    assert!(text.contains("- textbox \"Your name\" [e") && text.contains("=\"Ada\""), "{text}");
    assert!(loyal_browser::Snapshot::from_recording(b"{}").is_err());
}
