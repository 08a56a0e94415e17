//! Videos that really play: pictures are decoded while time goes on, through native controls and a page's own.

use anyhow::{Context as _, Result};
use loyal_browser::media::State;
use serde_json::{Value, json};

use crate::kit::{act, at, click, key, showing};

async fn media(browser: &mut loyal_browser::Browser, command: Value) -> Result<State> {
    let acted = act(browser, json!({"action": "media", "command": command})).await?;
    acted.media.context("a state")
}

async fn check_clip(clip: &str) -> Result<()> {
    let body = format!("<video controls preload=auto src='/{clip}'></video>");
    let (mut browser, _site) = showing(&body).await?;
    let playing = media(&mut browser, json!("play")).await?;
    assert!(!playing.paused && playing.position > 0.0, "{playing:?}");
    let frames = playing.frames_total.context("pictures")?;
    act(&mut browser, json!({"action": "wait", "millis": 400})).await?;
    let later = media(&mut browser, json!("state")).await?;
    assert!(later.position > playing.position && later.frames_total > Some(frames), "{later:?}");
    let paused = media(&mut browser, json!("pause")).await?;
    assert!(paused.paused);
    act(&mut browser, json!({"action": "wait", "millis": 200})).await?;
    let still = media(&mut browser, json!("state")).await?;
    assert_eq!(still.position.to_bits(), paused.position.to_bits());
    let moved = media(&mut browser, json!({"seek": 3.0})).await?;
    assert!((moved.position - 3.0).abs() < 0.75, "{moved:?}");
    assert!(media(&mut browser, json!("mute")).await?.muted);
    assert!(!media(&mut browser, json!("unmute")).await?.muted);
    assert!(media(&mut browser, json!({"seek": 99.0})).await.is_err());
    media(&mut browser, json!("play")).await?;
    act(&mut browser, json!({"action": "wait", "millis": 1500})).await?;
    let ended = media(&mut browser, json!("state")).await?;
    assert!(ended.ended, "{ended:?}");
    let text = browser.snapshot().await?.text(4000);
    assert!(text.contains("ended 0:04/0:04"), "{text}");
    Ok(())
}

#[tokio::test]
async fn webm_plays() -> Result<()> {
    check_clip("clip.webm").await
}

#[tokio::test]
async fn mp4_plays() -> Result<()> {
    check_clip("clip.mp4").await
}

#[tokio::test]
async fn native_controls_are_elements() -> Result<()> {
    let (mut browser, _site) = showing("<video controls preload=auto src='/clip.webm'></video>").await?;
    act(&mut browser, json!({"action": "wait", "millis": 300})).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(key(&snapshot, "button", "play")?)).await?;
    act(&mut browser, json!({"action": "wait", "millis": 500})).await?;
    let state = media(&mut browser, json!("state")).await?;
    assert!(!state.paused && state.position > 0.0, "{state:?}");
    Ok(())
}

#[tokio::test]
async fn search_and_play() -> Result<()> {
    let search = "<title>Search</title><form action='/results'><input name=q aria-label=Search><button>Go</button></form>";
    let results = "<title>Results</title>
        <a href='/watch?v=1'>A cat that sleeps</a><a href='/watch?v=2'>The test card</a>";
    let watch = "<title>Watch</title><div role=dialog aria-label=Cookies
          style='position:fixed;inset:0;background:#fffc'><button onclick='this.parentNode.remove()'>Accept</button></div>
        <video id=v preload=auto src='/clip.mp4'></video><button onclick='v.play()'>Play video</button>";
    let pages = [("/", search), ("/results", results), ("/watch", watch)];
    let (mut browser, _site) = at(&pages).await?;
    let snapshot = browser.snapshot().await?;
    let field = key(&snapshot, "textbox", "Search")?;
    act(&mut browser, json!({"action": "fill", "target": field, "value": "test card"})).await?;
    act(&mut browser, json!({"action": "press", "keys": "Enter"})).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(key(&snapshot, "link", "The test card")?)).await?;
    let snapshot = browser.snapshot().await?;
    let play = key(&snapshot, "button", "Play video")?;
    let wall = browser.act(&click(play)).await.unwrap_err().to_string();
    assert!(wall.contains("covered by"), "{wall}");
    browser.act(&click(key(&snapshot, "button", "Accept")?)).await?;
    browser.act(&click(play)).await?;
    let state = media(&mut browser, json!("play")).await?;
    assert!(state.frames_total > Some(0) && !state.paused, "{state:?}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_play_says_so() -> Result<()> {
    let (mut browser, _site) = showing("<video controls src='/none.webm'></video>").await?;
    act(&mut browser, json!({"action": "wait", "millis": 300})).await?;
    let broken = media(&mut browser, json!("play")).await.unwrap_err().to_string();
    assert!(broken.contains("cannot be played") || broken.contains("refuses to play"), "{broken}");
    let (mut browser, _site) = showing("<p>nothing</p>").await?;
    let none = media(&mut browser, json!("play")).await.unwrap_err().to_string();
    assert!(none.contains("no video and no sound"), "{none}");
    Ok(())
}
