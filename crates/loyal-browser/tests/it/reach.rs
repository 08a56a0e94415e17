//! The allow-list: a domain outside of it is never contacted, by nobody in the browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use loyal_browser::{Browser, Error, Launch, Reach};
use serde_json::json;
use tokio::net::TcpListener;

use crate::kit::{Site, act, click, key, local};

/// A machine that counts who knocks.
async fn door() -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let count = Arc::new(AtomicUsize::new(0));
    let knocks = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            knocks.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok((port, count))
}

#[tokio::test]
async fn only_allowed_domains_are_contacted() -> Result<()> {
    let (port, knocks) = door().await?;
    let page = "<a href='http://localhost:DOOR/'>Out</a><img src='http://localhost:DOOR/pixel'>
        <iframe src='http://localhost:DOOR/frame'></iframe><link rel=preconnect href='http://localhost:DOOR'>
        <script>fetch('http://localhost:DOOR/data').catch(() => 0);
          try { new WebSocket('ws://localhost:DOOR/socket') } catch {}
          navigator.sendBeacon('http://localhost:DOOR/beacon');
          new Worker(URL.createObjectURL(new Blob([`fetch('http://localhost:DOOR/worker').catch(() => 0)`])));
        </script>";
    let page = page.replace("DOOR", &port.to_string());
    let site = Site::serve(&[("/", &page)]).await?;
    let reach = Reach::default().with_local().only(&["127.0.0.1"]);
    let mut browser = Browser::launch(Launch { reach, ..local() }).await?;
    act(&mut browser, json!({"action": "goto", "url": site.url("/")})).await?;
    let away = format!("http://localhost:{port}/");
    let refused = act(&mut browser, json!({"action": "goto", "url": away})).await.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(Error::Denied { .. })), "{refused}");
    let snapshot = browser.snapshot().await?;
    browser.act(&click(key(&snapshot, "link", "Out")?)).await?;
    act(&mut browser, json!({"action": "wait", "millis": 300})).await?;
    assert_eq!(knocks.load(Ordering::SeqCst), 0);
    let counts = browser.domains();
    assert!(counts["localhost"].denied > 2 && counts["localhost"].allowed == 0, "{counts:?}");
    let others: Vec<_> =
        counts.iter().filter(|(name, count)| *name != "127.0.0.1" && count.allowed > 0).collect();
    assert!(others.is_empty(), "{others:?}");
    Ok(())
}

#[tokio::test]
async fn private_machines_need_a_word() -> Result<()> {
    let (port, knocks) = door().await?;
    let launch = Launch { reach: Reach::default(), ..local() };
    let mut browser = Browser::launch(launch).await?;
    let url = format!("http://127.0.0.1:{port}/");
    let refused = act(&mut browser, json!({"action": "goto", "url": url})).await.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(Error::Denied { .. })), "{refused}");
    for address in ["file:///etc/passwd", "chrome://version", "javascript:1", "http://user@example.com", "x"]
    {
        let refused = act(&mut browser, json!({"action": "goto", "url": address})).await.unwrap_err();
        assert!(matches!(refused.downcast_ref(), Some(Error::Denied { .. })), "{address}: {refused}");
    }
    assert_eq!(knocks.load(Ordering::SeqCst), 0);
    Ok(())
}
