//! How long a snapshot and a verified click take: `cargo run --release -p loyal-browser --example latency`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Path;
use axum::response::Html;
use axum::routing::get;
use loyal_browser::action::Press;
use loyal_browser::{Action, Browser, Launch, Reach};
use tokio::net::TcpListener;

const ROUND_COUNT: usize = 60;

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().route("/{count}", get(page));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let reach = Reach::default().with_local();
    let start = Instant::now();
    let launch = Launch { reach, ..Launch::default() }.with_sandbox_unless_root();
    let mut browser = Browser::launch(launch).await?;
    println!("{}, started in {:.0} ms", browser.version(), start.elapsed().as_secs_f64() * 1e3);
    for count in [60, 2000] {
        browser.act(&Action::Goto { url: format!("http://127.0.0.1:{port}/{count}") }).await?;
        let (mut looks, mut nodes, mut bytes) = (Vec::new(), 0, 0);
        for _ in 0..ROUND_COUNT {
            let start = Instant::now();
            let snapshot = browser.snapshot().await?;
            looks.push(start.elapsed());
            (nodes, bytes) = (snapshot.nodes.len(), snapshot.text(16 << 10).len());
        }
        println!("snapshot of {nodes} nodes ({bytes} bytes of text): {}", summary(looks));
        let snapshot = browser.snapshot().await?;
        let target = snapshot.named("button", "Count").context("the button")?.key;
        let mut clicks = Vec::new();
        for _ in 0..ROUND_COUNT {
            let start = Instant::now();
            let acted = browser.act(&Action::Click { target, how: Press::default() }).await?;
            clicks.push(start.elapsed());
            anyhow::ensure!(acted.changed, "the click changed nothing");
        }
        println!("click with hit test and effect check: {}", summary(clicks));
    }
    Ok(())
}

/// A page of about so many nodes, six a row.
async fn page(Path(count): Path<usize>) -> Html<String> {
    let row = |number: usize| {
        format!("<div><a href='#{number}'>Link {number}</a> <span>text {number}</span></div>")
    };
    let rows: String = (0..count / 6).map(row).collect();
    let button = "<button onclick='said.textContent = ++count'>Count</button><p id=said></p>";
    Html(format!("<!doctype html><title>Rows</title><script>var count = 0</script>{button}{rows}"))
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p95 {:.1} ms, least {:.1} ms", at(50), at(95), at(0))
}
