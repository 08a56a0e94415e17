//! What the tests share: a site on a free port, a browser that may reach it, and short words for looking and acting.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use loyal_browser::{Acted, Action, Browser, Launch, Reach, Ref, Snapshot};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Pages by their path.
type Pages = Arc<HashMap<&'static str, String>>;

pub(crate) struct Site {
    pub(crate) port: u16,
}

impl Site {
    /// Serves pages, and beside them `/clip.webm` and `/clip.mp4`. In pages, `PORT` is the port.
    pub(crate) async fn serve(pages: &[(&'static str, &str)]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let with_port = |text: &str| text.replace("PORT", &port.to_string());
        let pages: Pages = Arc::new(pages.iter().map(|(path, text)| (*path, with_port(text))).collect());
        let router = Router::new().fallback(answer).with_state(pages);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { port })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

async fn answer(State(pages): State<Pages>, uri: Uri, headers: HeaderMap) -> Response {
    let clip: Option<(&[u8], &str)> = match uri.path() {
        "/clip.webm" => Some((include_bytes!("../golden/clip.webm"), "video/webm")),
        "/clip.mp4" => Some((include_bytes!("../golden/clip.mp4"), "video/mp4")),
        _ => None,
    };
    if let Some((bytes, kind)) = clip {
        return ranged(bytes, kind, &headers);
    }
    match uri.path() {
        "/file.txt" => {
            let heads = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"notes 1.txt\""),
            ];
            (heads, "some notes").into_response()
        }
        "/endless" => {
            let line = |_| Some((Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]), ()));
            let lines = futures_util::stream::unfold((), move |()| std::future::ready(line(())));
            let heads = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"endless\""),
            ];
            (heads, Body::from_stream(lines)).into_response()
        }
        "/endless.html" => {
            let line = |_| Some((Ok::<_, std::io::Error>(b"<b>more and more</b>".repeat(5)), ()));
            let lines = futures_util::stream::unfold((), move |()| {
                let line = line(());
                async move {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    line
                }
            });
            ([(header::CONTENT_TYPE, "text/html")], Body::from_stream(lines)).into_response()
        }
        "/never" => std::future::pending().await,
        path => match pages.get(path) {
            Some(text) => {
                ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn ranged(bytes: &[u8], kind: &str, headers: &HeaderMap) -> Response {
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let span = range.and_then(|range| range.strip_prefix("bytes=")).and_then(|range| range.split_once('-'));
    let from = span.and_then(|(from, _)| from.parse::<usize>().ok()).unwrap_or(0).min(bytes.len() - 1);
    let to =
        span.and_then(|(_, to)| to.parse::<usize>().ok()).unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let status = if span.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let heads = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_RANGE, format!("bytes {from}-{to}/{}", bytes.len())),
    ];
    (status, heads, bytes[from..=to].to_vec()).into_response()
}

/// How the tests start Chromium: with machines of this one in reach.
pub(crate) fn local() -> Launch {
    Launch { reach: Reach::default().with_local(), ..Launch::default() }.with_sandbox_unless_root()
}

pub(crate) async fn browser() -> Result<Browser> {
    Browser::launch(local()).await.context("the tests of loyal-browser need Chromium")
}

/// A browser at the first of some pages.
pub(crate) async fn at(pages: &[(&'static str, &str)]) -> Result<(Browser, Site)> {
    let site = Site::serve(pages).await?;
    let mut browser = browser().await?;
    let url = site.url(pages.first().map_or("/", |(path, _)| path));
    browser.act(&Action::Goto { url }).await?;
    Ok((browser, site))
}

/// A browser at a page of one body.
pub(crate) async fn showing(body: &str) -> Result<(Browser, Site)> {
    at(&[("/", &format!("<!doctype html><title>Test</title><body>{body}"))]).await
}

/// The ref of a node by role and name.
pub(crate) fn key(snapshot: &Snapshot, role: &str, name: &str) -> Result<Ref> {
    let node = snapshot.named(role, name);
    let node = node.with_context(|| format!("no {role} {name:?} in:\n{}", snapshot.text(8000)))?;
    Ok(node.key)
}

/// The ref of a node by its attribute `id`.
pub(crate) fn by_id(snapshot: &Snapshot, id: &str) -> Result<Ref> {
    let node = snapshot.find(|node| node.attribute("id") == Some(id));
    Ok(node.with_context(|| format!("no id {id:?} in:\n{}", snapshot.text(8000)))?.key)
}

pub(crate) fn click(target: Ref) -> Action {
    serde_json::from_value(json!({"action": "click", "target": target})).unwrap()
}

/// An action written as JSON.
pub(crate) async fn act(browser: &mut Browser, action: Value) -> Result<Acted> {
    let action = serde_json::from_value(action)?;
    Ok(browser.act(&action).await?)
}

/// What the page's own script says.
pub(crate) async fn said(browser: &mut Browser, expression: &str) -> Result<String> {
    Ok(match browser.evaluate(expression).await? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}
