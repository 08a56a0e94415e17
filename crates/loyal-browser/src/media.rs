//! Videos and sounds: played, paused and moved, with their state read back. Playing means that time and pictures both go on.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Acted;
use crate::page::{self, Element};
use crate::{Browser, Error, Ref, Result};

/// How long a medium may take to begin.
const BEGIN_TIME: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How far from its aim a jump may end; seconds.
const SEEK_TOLERANCE: f64 = 0.75;

/// What to do with a medium.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Plays, and waits until time and pictures go on.
    Play,
    /// Stops where it is.
    Pause,
    /// Jumps to a second.
    Seek(f64),
    /// Switches the sound off.
    Mute,
    /// Switches the sound on.
    Unmute,
    /// Says how far it is.
    State,
}

/// How far a medium is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Seconds from the start.
    pub position: f64,
    /// Seconds of the whole, where it has an end.
    pub duration: Option<f64>,
    /// Whether it stands still because nobody wants it to play.
    pub paused: bool,
    /// Whether it reached its end.
    pub ended: bool,
    /// Whether its sound is off.
    pub muted: bool,
    /// From 0 to 1.
    pub volume: f64,
    /// Pictures decoded so far; none for a sound.
    pub frames_total: Option<u64>,
    /// Pictures left out so far; none for a sound.
    pub frames_dropped: Option<u64>,
    /// Why it cannot be played.
    pub error: Option<String>,
    /// Where it comes from.
    pub source: String,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            Self { error: Some(_), .. } => "broken",
            Self { ended: true, .. } => "ended",
            Self { paused: true, .. } => "paused",
            _ => "playing",
        };
        write!(f, "{state} {}", clock(self.position))?;
        self.duration.map_or(Ok(()), |duration| write!(f, "/{}", clock(duration)))?;
        if self.muted { f.write_str(" muted") } else { Ok(()) }
    }
}

fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a negative time is zero")]
    let seconds = seconds as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

impl Browser {
    pub(crate) async fn media(
        &mut self,
        session: &str,
        target: Option<Ref>,
        command: &Command,
    ) -> Result<Acted> {
        let element = self.medium(session, target).await?;
        let unfit = |why: String| match target {
            Some(target) => Error::Unfit { target, why },
            None => Error::BadAction { action: "media", why },
        };
        let before = self.state(&element).await?;
        if let Some(why) = &before.error {
            return Err(unfit(format!("cannot be played: {why}")));
        }
        let state = match command {
            Command::State => before.clone(),
            Command::Play => self.play(&element).await?.map_err(unfit)?,
            Command::Seek(to) => {
                let bound = before.duration.unwrap_or(f64::MAX);
                if !(to.is_finite() && (0.0..=bound).contains(to)) {
                    return Err(unfit(format!("has no second {to}: it is {bound} s long")));
                }
                element.ask(&self.cdp, "(el, to) => loyal.seek(el, to)", &[json!(to)]).await?
            }
            Command::Pause => self.tell(&element, "el.pause()").await?,
            Command::Mute => self.tell(&element, "el.muted = true").await?,
            Command::Unmute => self.tell(&element, "el.muted = false").await?,
        };
        let good = match command {
            Command::Pause => state.paused || state.ended,
            Command::Mute => state.muted,
            Command::Unmute => !state.muted,
            Command::Seek(to) => (state.position - to).abs() < SEEK_TOLERANCE || state.ended,
            Command::Play | Command::State => true,
        };
        if !good {
            return Err(unfit(format!("did not obey: it is {state}")));
        }
        Ok(Acted { changed: state != before, media: Some(state), ..Acted::default() })
    }

    async fn medium(&mut self, session: &str, target: Option<Ref>) -> Result<Element> {
        if let Some(target) = target {
            let (_, element) = self.element(target).await?;
            let is_medium: bool = element.ask(&self.cdp, "el => el instanceof HTMLMediaElement", &[]).await?;
            let why = "is no video and no sound".to_owned();
            return if is_medium { Ok(element) } else { Err(Error::Unfit { target, why }) };
        }
        let frames: Vec<(String, String)> = {
            let world = self.cdp.world();
            let family = world.family(session);
            let of = |id: &String| world.sessions.get(id).map(|state| (id.clone(), state.frames.clone()));
            let frames = family.iter().filter_map(of);
            frames
                .flat_map(|(id, frames)| frames.into_iter().map(move |frame| (id.clone(), frame.id)))
                .collect()
        };
        for (session, frame) in frames {
            match page::largest_medium(&self.cdp, &session, &frame).await {
                Ok(Some(element)) => return Ok(element),
                // A frame that went away has no medium.
                Ok(None) | Err(Error::Protocol { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::BadAction { action: "media", why: "this page has no video and no sound".to_owned() })
    }

    async fn state(&self, element: &Element) -> Result<State> {
        element.ask(&self.cdp, "el => loyal.media(el)", &[]).await
    }

    async fn tell(&self, element: &Element, what: &str) -> Result<State> {
        let function = format!("el => {{ {what}; return loyal.media(el); }}");
        element.ask(&self.cdp, &function, &[]).await
    }

    /// Plays until it is seen to; the inner error says why it does not.
    async fn play(&self, element: &Element) -> Result<Result<State, String>> {
        let refused: Option<String> = element.ask(&self.cdp, "el => loyal.play(el)", &[]).await?;
        if let Some(why) = refused {
            return Ok(Err(format!("refuses to play: {why}")));
        }
        let first = self.state(element).await?;
        let looking = async {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                let now = self.state(element).await?;
                if is_going(&first, &now) || now.error.is_some() {
                    return Ok::<_, Error>(now);
                }
            }
        };
        match tokio::time::timeout(BEGIN_TIME, looking).await {
            Ok(state) => {
                let state = state?;
                Ok(match &state.error {
                    Some(why) => Err(format!("broke: {why}")),
                    None => Ok(state),
                })
            }
            Err(_) => {
                let seconds = BEGIN_TIME.as_secs();
                Ok(Err(format!("does not go on within {seconds} s: it is {}", self.state(element).await?)))
            }
        }
    }
}

/// Whether time and, in a video, pictures went on between two looks.
fn is_going(first: &State, now: &State) -> bool {
    let time = now.position > first.position || now.ended || now.position < first.position - 1.0;
    let pictures = match (first.frames_total, now.frames_total) {
        (Some(before), Some(now)) => now > before,
        (None, Some(now)) => now > 0,
        _ => true,
    };
    time && (pictures || now.ended)
}
