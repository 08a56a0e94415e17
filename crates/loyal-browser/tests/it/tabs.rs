//! Tabs, dialogs and files.

use anyhow::{Context as _, Result};
use loyal_browser::Error;
use serde_json::json;

use crate::kit::{act, at, by_id, click, key, local, said, showing};

#[tokio::test]
async fn tabs_open_come_to_the_front_and_close() -> Result<()> {
    let pages = [
        ("/", "<title>One</title><a href='/two' target=_blank>Two</a>"),
        ("/two", "<title>Two</title><h1>Second</h1>"),
    ];
    let (mut browser, site) = at(&pages).await?;
    let snapshot = browser.snapshot().await?;
    let acted = browser.act(&click(key(&snapshot, "link", "Two")?)).await?;
    assert_eq!(acted.opened.len(), 1, "{acted:?}");
    let snapshot = browser.snapshot().await?;
    assert_eq!((snapshot.title.as_str(), snapshot.tabs.0.len(), snapshot.tabs.1), ("Two", 2, 1));
    assert!(snapshot.text(4000).contains("tab 1 (this) \"Two\""), "{}", snapshot.text(4000));
    act(&mut browser, json!({"action": "switch_tab", "index": 0})).await?;
    assert_eq!(browser.snapshot().await?.title, "One");
    act(&mut browser, json!({"action": "close_tab", "index": 0})).await?;
    assert_eq!(browser.snapshot().await?.title, "Two");
    act(&mut browser, json!({"action": "open_tab", "url": site.url("/")})).await?;
    assert_eq!(browser.snapshot().await?.title, "One");
    assert!(act(&mut browser, json!({"action": "switch_tab", "index": 7})).await.is_err());
    Ok(())
}

#[tokio::test]
async fn dialogs_are_shown_and_answered() -> Result<()> {
    let body =
        "<button onclick='document.title = prompt(\"Your name?\", \"\") + confirm(\"Sure?\")'>Ask</button>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let ask = key(&snapshot, "button", "Ask")?;
    let acted = browser.act(&click(ask)).await?;
    assert_eq!(acted.dialog, Some(("prompt".to_owned(), "Your name?".to_owned())));
    let snapshot = browser.snapshot().await?;
    assert!(snapshot.text(4000).contains("dialog prompt \"Your name?\""));
    let refused = browser.act(&click(ask)).await;
    assert!(matches!(refused, Err(Error::DialogOpen { .. })), "{refused:?}");
    let acted = act(&mut browser, json!({"action": "dialog", "accept": true, "text": "Ada"})).await?;
    assert_eq!(acted.dialog, Some(("confirm".to_owned(), "Sure?".to_owned())));
    let acted = act(&mut browser, json!({"action": "dialog", "accept": false})).await?;
    assert_eq!(acted.dialog, None);
    assert_eq!(said(&mut browser, "document.title").await?, "Adafalse");
    assert!(act(&mut browser, json!({"action": "dialog", "accept": true})).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_page_that_does_not_want_to_be_left_is_left() -> Result<()> {
    let page = "<script>onbeforeunload = event => { event.preventDefault(); return 'stay'; }</script>
        <button onclick='for (;;) alert(\"again\")'>Trap</button>";
    let (mut browser, site) = at(&[("/", page), ("/out", "<h1>Out</h1>")]).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(key(&snapshot, "button", "Trap")?)).await?;
    act(&mut browser, json!({"action": "dialog", "accept": true})).await?;
    act(&mut browser, json!({"action": "goto", "url": site.url("/out")})).await?;
    let snapshot = browser.snapshot().await?;
    assert!(snapshot.named("heading", "Out").is_some(), "{}", snapshot.text(4000));
    Ok(())
}

#[tokio::test]
async fn files_come_down_whole_and_within_bounds() -> Result<()> {
    let body = "<a href='/file.txt'>File</a> <a href='/endless'>Endless</a> <a href='#'>None</a>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let get = |target| json!({"action": "download", "target": target});
    let acted = act(&mut browser, get(key(&snapshot, "link", "File")?)).await?;
    let file = acted.files.first().context("a file")?;
    assert_eq!(file.file_name().and_then(|name| name.to_str()), Some("notes 1.txt"));
    assert_eq!(std::fs::read_to_string(file)?, "some notes");
    browser.limits.download_bytes_max = 1 << 20;
    browser.limits.download = std::time::Duration::from_secs(5);
    let endless = act(&mut browser, get(key(&snapshot, "link", "Endless")?)).await.unwrap_err();
    assert!(matches!(endless.downcast_ref(), Some(Error::TooLarge { .. })), "{endless}");
    browser.limits.download = std::time::Duration::from_millis(300);
    let none = act(&mut browser, get(key(&snapshot, "link", "None")?)).await.unwrap_err();
    assert!(none.to_string().contains("gives no file"), "{none}");
    Ok(())
}

#[tokio::test]
async fn files_go_up_from_one_folder_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.txt"), "hello")?;
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link.txt"))?;
    let page = "<input type=file id=f><button onclick='other.click()'>Choose</button>
        <input type=file id=other style='display:none'>
        <script>f.onchange = async () => document.title = await f.files[0].text();
          other.onchange = async () => document.title = 'other ' + await other.files[0].text();</script>";
    let site = crate::kit::Site::serve(&[("/", page)]).await?;
    let mut browser = loyal_browser::Browser::launch(local()).await?.with_uploads(folder.path());
    act(&mut browser, json!({"action": "goto", "url": site.url("/")})).await?;
    let snapshot = browser.snapshot().await?;
    let field = by_id(&snapshot, "f")?;
    let up = |target, file: &str| json!({"action": "upload", "target": target, "files": [file]});
    let acted = act(&mut browser, up(field, "a.txt")).await?;
    assert_eq!(acted.value.as_deref(), Some("a.txt"));
    act(&mut browser, json!({"action": "wait", "millis": 50})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "hello");
    act(&mut browser, up(key(&snapshot, "button", "Choose")?, "a.txt")).await?;
    act(&mut browser, json!({"action": "wait", "millis": 50})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "other hello");
    for outside in ["/etc/hostname", "../x", "link.txt", "none.txt"] {
        assert!(act(&mut browser, up(field, outside)).await.is_err(), "{outside}");
    }
    Ok(())
}

#[tokio::test]
async fn waiting_and_reading() -> Result<()> {
    let body = "<p id=p>soon</p><script>setTimeout(() => p.textContent = 'now', 400)</script>";
    let (mut browser, _site) = showing(body).await?;
    act(&mut browser, json!({"action": "wait", "text": "now"})).await?;
    let acted = act(&mut browser, json!({"action": "extract"})).await?;
    assert_eq!(acted.text.as_deref(), Some("now"));
    let late =
        act(&mut browser, json!({"action": "wait", "text": "never", "millis": 200})).await.unwrap_err();
    assert!(late.to_string().contains("the text \"never\""), "{late}");
    let acted = act(&mut browser, json!({"action": "screenshot"})).await?;
    assert!(acted.picture.is_some_and(|png| png.starts_with(b"\x89PNG")));
    Ok(())
}
