//! MiniWoB++ by scripted policies that know each task, see it through snapshots only and act through actions only.
//!
//! `cargo run --release -p loyal-browser --example miniwob -- FOLDER [--seeds N] [--task NAME] [--show]`, where the
//! folder is `miniwob/html` of the Python package `miniwob` 1.1.0.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

mod click;
mod draw;
mod episode;
mod form;
mod people;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use loyal_browser::{Browser, Launch, Reach};
use tokio::net::TcpListener;

use crate::episode::{Episode, Times};

struct Ask {
    folder: PathBuf,
    seeds: u64,
    task: Option<String>,
    show: bool,
}

fn ask() -> Result<Ask> {
    let mut words = std::env::args().skip(1);
    let mut ask = Ask { folder: PathBuf::new(), seeds: 5, task: None, show: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => ask.seeds = words.next().context("--seeds takes a number")?.parse()?,
            "--task" => ask.task = words.next(),
            "--show" => ask.show = true,
            _ if word.starts_with('-') => bail!("{word} is no option; there are --seeds, --task and --show"),
            _ => ask.folder = PathBuf::from(word),
        }
    }
    if !ask.folder.join("miniwob").is_dir() {
        bail!(
            "name the folder `miniwob/html` of the Python package miniwob 1.1.0 (pip download miniwob==1.1.0)"
        );
    }
    Ok(ask)
}

#[tokio::main]
async fn main() -> Result<()> {
    let ask = ask()?;
    let port = serve(ask.folder.clone()).await?;
    let reach = Reach::default().with_local();
    let mut browser =
        Browser::launch(Launch { reach, ..Launch::default() }.with_sandbox_unless_root()).await?;
    println!("{}", browser.version());
    let mut names: Vec<String> = std::fs::read_dir(ask.folder.join("miniwob"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| ask.task.as_ref().is_none_or(|task| name == task))
        .collect();
    names.sort();
    let mut times = Times::default();
    let mut solved: Vec<(String, u64)> = Vec::new();
    let mut skipped = Vec::new();
    for name in names {
        let url = format!("http://127.0.0.1:{port}/miniwob/{name}.html");
        let mut count = 0;
        for seed in 1..=ask.seeds {
            match play(&mut browser, &mut times, (&url, seed), (&name, ask.show)).await {
                Ok(None) => break,
                Ok(Some(reward)) if reward > 0.0 => count += 1,
                Ok(Some(reward)) => println!("{name}, seed {seed}: reward {reward}"),
                Err(error) => println!("{name}, seed {seed}: {error:#}"),
            }
            if ask.show {
                println!("{}", browser.snapshot().await?.text(4000));
            }
        }
        if has_policy(&name) { solved.push((name, count)) } else { skipped.push(name) }
    }
    report(&ask, &times, (&solved, &skipped));
    Ok(())
}

/// The tasks that no policy is written for.
const WITHOUT: [&str; 15] = [
    "book-flight",
    "book-flight-nodelay",
    "chase-circle",
    "click-checkboxes-soft",
    "count-sides",
    "daily-calendar",
    "drag-cube",
    "draw-circle",
    "hot-cold",
    "hover-shape",
    "moving-items",
    "number-checkboxes",
    "simon-says",
    "text-editor",
    "tic-tac-toe",
];

fn has_policy(name: &str) -> bool {
    !WITHOUT.contains(&name)
}

/// Plays one episode; none where there is no policy for the task.
async fn play(
    browser: &mut Browser,
    times: &mut Times,
    begin: (&str, u64),
    (name, show): (&str, bool),
) -> Result<Option<f64>> {
    if !has_policy(name) {
        return Ok(None);
    }
    let mut episode = Episode::begin(browser, times, begin).await?;
    if show {
        println!("{}\n{}", episode.goal, episode.page.text(4000));
    }
    let done = tokio::time::timeout(Duration::from_secs(60), act(&mut episode, name)).await;
    let done = done.context("not done within a minute")?;
    // An episode that was won may end in the middle of an action.
    for _ in 0..20 {
        if let Some(reward) = episode.reward().await? {
            return Ok(Some(reward));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done?;
    bail!("the page did not end the episode")
}

async fn act(episode: &mut Episode<'_>, name: &str) -> Result<()> {
    let done = click::run(episode, name).await?
        || form::run(episode, name).await?
        || people::run(episode, name).await?
        || draw::run(episode, name).await?;
    if done { Ok(()) } else { bail!("no policy") }
}

fn report(ask: &Ask, times: &Times, (solved, skipped): (&[(String, u64)], &[String])) {
    let all: u64 = solved.iter().map(|(_, count)| count).sum();
    let episodes = ask.seeds * solved.len() as u64;
    println!("{all} of {episodes} episodes of {} tasks solved", solved.len());
    println!("without a policy: {}", skipped.join(", "));
    let clicks = times.clicks.clone();
    println!("clicks: {}", summary(clicks));
    for (low, high) in [(0, 60), (60, 200), (200, 1000)] {
        let looks =
            times.looks.iter().filter(|(nodes, _)| (low..high).contains(nodes)).map(|(_, took)| *took);
        println!("snapshots of {low} to {high} nodes: {}", summary(looks.collect()));
    }
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("{} measured, p50 {:.1} ms, p95 {:.1} ms", times.len(), at(50), at(95))
}

async fn serve(folder: PathBuf) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().fallback(file).with_state(Arc::new(folder));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}

async fn file(State(folder): State<Arc<PathBuf>>, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.split('/').any(|part| part == "..") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        _ => "application/octet-stream",
    };
    match std::fs::read(folder.join(path)) {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
