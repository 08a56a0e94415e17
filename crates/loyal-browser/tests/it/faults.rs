//! Faults: pages that hang, never answer, never end or crash, and a Chromium that is killed. Nothing waits for ever.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use loyal_browser::{Browser, Error, Launch, Limits};
use serde_json::json;

use crate::kit::{act, at, click, key, local, said};

/// What a test waits at most for what must not hang.
const BUDGET: Duration = Duration::from_secs(45);

#[tokio::test]
async fn a_page_that_computes_for_ever_is_given_up() -> Result<()> {
    let page = "<button onclick='for (;;);'>Hang</button>";
    let (mut browser, site) = at(&[("/", page), ("/ok", "<h1>Well</h1>")]).await?;
    let snapshot = browser.snapshot().await?;
    let hang = key(&snapshot, "button", "Hang")?;
    let hung = tokio::time::timeout(BUDGET, browser.act(&click(hang))).await?;
    assert!(matches!(hung, Err(Error::Timeout { .. })), "{hung:?}");
    act(&mut browser, json!({"action": "goto", "url": site.url("/ok")})).await?;
    let snapshot = browser.snapshot().await?;
    assert!(snapshot.named("heading", "Well").is_some());
    assert!(snapshot.notes.iter().any(|note| note.contains("did not answer")), "{:?}", snapshot.notes);
    Ok(())
}

#[tokio::test]
async fn servers_that_do_not_answer_or_do_not_end() -> Result<()> {
    let (mut browser, site) = at(&[("/", "<h1>Well</h1>")]).await?;
    browser.limits =
        Limits { load: Duration::from_secs(2), settle: Duration::from_secs(1), ..Limits::default() };
    let never = act(&mut browser, json!({"action": "goto", "url": site.url("/never")})).await.unwrap_err();
    assert!(matches!(never.downcast_ref(), Some(Error::Unreachable { .. })), "{never}");
    let nobody = act(&mut browser, json!({"action": "goto", "url": "http://127.0.0.1:1/"})).await;
    assert!(nobody.is_err() || browser.snapshot().await?.text(2000).contains("Connection refused"));
    let endless = act(&mut browser, json!({"action": "goto", "url": site.url("/endless.html")})).await?;
    assert!(endless.restless);
    let text = browser.snapshot().await?.text(4 << 10);
    assert!(text.contains("more and more") && text.len() <= 4 << 10);
    act(&mut browser, json!({"action": "goto", "url": site.url("/")})).await?;
    assert!(browser.snapshot().await?.named("heading", "Well").is_some());
    Ok(())
}

#[tokio::test]
async fn a_line_without_end_is_an_error() -> Result<()> {
    let (mut browser, _site) = at(&[("/", "<h1>Well</h1>")]).await?;
    let huge = browser.evaluate("'x'.repeat(100e6)").await;
    assert!(matches!(huge, Err(Error::TooLarge { .. })), "{huge:?}");
    assert_eq!(said(&mut browser, "1 + 1").await?, "2");
    Ok(())
}

#[tokio::test]
async fn a_crashed_page_is_opened_again() -> Result<()> {
    let (mut browser, site) = at(&[("/", "<h1>Well</h1>")]).await?;
    let crash = browser.crash_page().await;
    assert!(crash.is_err());
    let snapshot = tokio::time::timeout(BUDGET, browser.snapshot()).await??;
    assert_eq!(snapshot.url, site.url("/"));
    assert!(snapshot.named("heading", "Well").is_some(), "{}", snapshot.text(2000));
    assert!(snapshot.notes.iter().any(|note| note.contains("crashed")), "{:?}", snapshot.notes);
    Ok(())
}

#[tokio::test]
async fn a_killed_browser_is_started_again_once() -> Result<()> {
    let page = "<button onclick='fetch(\"/never\")'>Go</button>";
    let (mut browser, site) = at(&[("/", page)]).await?;
    let snapshot = browser.snapshot().await?;
    let go = key(&snapshot, "button", "Go")?;
    let process = browser.process_id();
    // In the middle of an action: the page waits for a server that never answers.
    let killer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        std::process::Command::new("kill").args(["-9", &process.to_string()]).status()
    });
    let broken = tokio::time::timeout(BUDGET, browser.act(&click(go))).await?;
    assert_eq!(broken, Err(Error::Gone));
    killer.await??;
    let snapshot = tokio::time::timeout(BUDGET, browser.snapshot()).await??;
    assert_eq!(snapshot.url, site.url("/"));
    assert!(snapshot.notes.iter().any(|note| note.contains("started again")), "{:?}", snapshot.notes);
    let again = std::process::Command::new("kill").args(["-9", &browser.process_id().to_string()]).status();
    assert!(again?.success());
    let last = tokio::time::timeout(BUDGET, async {
        loop {
            match browser.snapshot().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    });
    assert_eq!(last.await?, Error::Gone);
    Ok(())
}

#[tokio::test]
async fn a_flood_of_tabs_is_bounded() -> Result<()> {
    let page = "<button onclick='for (let i = 0; i < 60; i++) window.open(\"about:blank\")'>Flood</button>";
    let (mut browser, _site) = at(&[("/", page)]).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(key(&snapshot, "button", "Flood")?)).await?;
    assert!(browser.snapshot().await?.tabs.0.len() <= 20);
    Ok(())
}

#[tokio::test]
async fn no_chromium_is_explained() -> Result<()> {
    let launch = Launch { program: Some(PathBuf::from("/no/such/chromium")), ..local() };
    let none = Browser::launch(launch).await.unwrap_err().to_string();
    assert!(none.contains("apt install chromium") && none.contains("/no/such/chromium"), "{none}");
    let launch = Launch { program: Some(PathBuf::from("/bin/false")), ..local() };
    let other = Browser::launch(launch).await;
    assert!(matches!(other, Err(Error::Launch { .. })), "{other:?}");
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_left_behind() -> Result<()> {
    let (browser, _site) = at(&[("/", "<h1>Well</h1>")]).await?;
    let process = browser.process_id();
    assert!(runs(process)?, "it runs as long as it is held");
    drop(browser);
    // They are killed at once; that they are gone takes a moment on a busy machine.
    for _ in 0..300 {
        if !runs(process)? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("processes of Chromium still run")
}

/// Whether a process of a group runs. One that has ended and that nobody has asked about yet does not.
#[cfg(target_os = "linux")]
fn runs(group: u32) -> Result<bool> {
    for entry in std::fs::read_dir("/proc")? {
        let stat = std::fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        // The name in brackets may hold anything: what counts is behind it.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        if fields.get(2) == Some(&group.to_string().as_str()) && !["Z", "X"].contains(&fields[0]) {
            return Ok(true);
        }
    }
    Ok(false)
}
