//! What can be done in a browser, and what each action is known to have done.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::snapshot::Point;
use crate::{Browser, Error, Ref, Result, media};

mod fields;
mod files;
pub(crate) mod hit;
mod input;
mod navigate;
mod pointer;
mod settle;

/// An action; in JSON an object with its name under `action`, such as `{"action":"click","target":"e12"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Opens an address in the tab in front.
    Goto {
        /// With `http://` or `https://`.
        url: String,
    },
    /// One page back.
    Back {},
    /// One page forward.
    Forward {},
    /// Loads the page again.
    Reload {},
    /// Clicks an element at a point where nothing covers it.
    Click {
        /// Which.
        target: Ref,
        /// How.
        #[serde(default)]
        how: Press,
    },
    /// Clicks a point of what is in view, whatever is there.
    Point {
        /// Where, in CSS pixels.
        at: Point,
        /// How.
        #[serde(default)]
        how: Press,
    },
    /// Replaces what a field holds.
    Fill {
        /// Which.
        target: Ref,
        /// With what.
        value: String,
    },
    /// Types key by key, into an element or wherever the caret is.
    Type {
        /// Where; the caret goes to its end first.
        #[serde(default)]
        target: Option<Ref>,
        /// What.
        text: String,
    },
    /// Presses a key, or several at once: `Enter`, `Control+a`, `Shift+ArrowDown`.
    Press {
        /// Which.
        keys: String,
        /// How often.
        #[serde(default = "once")]
        count: u32,
    },
    /// Chooses options of a list by what they say.
    Select {
        /// Which list.
        target: Ref,
        /// Which options; all others are let go where several can be chosen.
        options: Vec<String>,
    },
    /// Sets a box, a radio button or a switch.
    Check {
        /// Which.
        target: Ref,
        /// To what.
        on: bool,
    },
    /// Moves the pointer onto an element.
    Hover {
        /// Which.
        target: Ref,
    },
    /// Presses, moves and releases.
    Drag {
        /// From where.
        from: Spot,
        /// To where.
        to: Spot,
    },
    /// Turns the wheel over an element or the page; without a distance it brings the element into view.
    Scroll {
        /// Which; the page where none is named.
        #[serde(default)]
        target: Option<Ref>,
        /// Pixels to the right.
        #[serde(default)]
        x: f64,
        /// Pixels down.
        #[serde(default)]
        y: f64,
    },
    /// Gives files to a field or to the button that asks for them.
    Upload {
        /// Which.
        target: Ref,
        /// Paths inside the folder for uploads.
        files: Vec<PathBuf>,
    },
    /// Clicks an element and waits for the file it gives.
    Download {
        /// Which.
        target: Ref,
    },
    /// Opens a tab.
    OpenTab {
        /// At this address.
        url: String,
    },
    /// Brings a tab to the front.
    SwitchTab {
        /// Its number in the snapshot.
        index: usize,
    },
    /// Closes a tab.
    CloseTab {
        /// Its number in the snapshot.
        index: usize,
    },
    /// Answers a dialog.
    Dialog {
        /// Yes or no.
        accept: bool,
        /// What to write into it first.
        #[serde(default)]
        text: Option<String>,
    },
    /// Waits until the page says something, or no longer says it, or for a time.
    Wait {
        /// What it should say.
        #[serde(default)]
        text: Option<String>,
        /// What it should no longer say.
        #[serde(default)]
        gone: Option<String>,
        /// How long at most; 5,000 unless said.
        #[serde(default)]
        millis: Option<u64>,
    },
    /// Plays a video or a sound, or asks how far it is.
    Media {
        /// Which; the largest where none is named.
        #[serde(default)]
        target: Option<Ref>,
        /// What to do.
        command: media::Command,
    },
    /// Reads the text of an element or the page.
    Extract {
        /// Which; the page where none is named.
        #[serde(default)]
        target: Option<Ref>,
    },
    /// Takes a picture of what is in view.
    Screenshot {},
}

const fn once() -> u32 {
    1
}

/// How a button of the mouse is pressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Press {
    /// `left`, `middle` or `right`.
    pub button: Button,
    /// Two for a double click.
    pub count: u32,
    /// Keys held down: `Control`, `Shift`, `Alt`, `Meta`.
    pub keys: Vec<String>,
}

impl Default for Press {
    fn default() -> Self {
        Self { button: Button::Left, count: 1, keys: Vec::new() }
    }
}

/// A button of the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Button {
    /// For almost everything.
    Left,
    /// Opens links in tabs.
    Middle,
    /// Opens menus.
    Right,
}

/// Where a drag begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spot {
    /// An element.
    Target {
        /// Which.
        target: Ref,
    },
    /// A point of what is in view.
    At(Point),
}

/// What an action is known to have done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Acted {
    /// The new address, where the page was replaced or moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub navigated: Option<String>,
    /// Whether the document changed.
    pub changed: bool,
    /// Addresses of tabs that opened; the last of them is in front now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<String>,
    /// What a field holds now, read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A dialog that opened: kind and words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialog: Option<(String, String)>,
    /// Files that were loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// How far a video or a sound is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<media::State>,
    /// What was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A picture, as PNG.
    #[serde(skip)]
    pub picture: Option<Vec<u8>>,
    /// Where the pointer was, in CSS pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// The page was still loading or changing when the wait for it ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restless: bool,
}

impl Action {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Goto { .. } => "goto",
            Self::Back {} => "back",
            Self::Forward {} => "forward",
            Self::Reload {} => "reload",
            Self::Click { .. } => "click",
            Self::Point { .. } => "point",
            Self::Fill { .. } => "fill",
            Self::Type { .. } => "type",
            Self::Press { .. } => "press",
            Self::Select { .. } => "select",
            Self::Check { .. } => "check",
            Self::Hover { .. } => "hover",
            Self::Drag { .. } => "drag",
            Self::Scroll { .. } => "scroll",
            Self::Upload { .. } => "upload",
            Self::Download { .. } => "download",
            Self::OpenTab { .. } => "open_tab",
            Self::SwitchTab { .. } => "switch_tab",
            Self::CloseTab { .. } => "close_tab",
            Self::Dialog { .. } => "dialog",
            Self::Wait { .. } => "wait",
            Self::Media { .. } => "media",
            Self::Extract { .. } => "extract",
            Self::Screenshot {} => "screenshot",
        }
    }

    /// The element it is about.
    #[must_use]
    pub const fn target(&self) -> Option<Ref> {
        match self {
            Self::Click { target, .. }
            | Self::Fill { target, .. }
            | Self::Select { target, .. }
            | Self::Check { target, .. }
            | Self::Hover { target }
            | Self::Upload { target, .. }
            | Self::Download { target }
            | Self::Drag { from: Spot::Target { target }, .. } => Some(*target),
            Self::Type { target, .. }
            | Self::Scroll { target, .. }
            | Self::Media { target, .. }
            | Self::Extract { target } => *target,
            _ => None,
        }
    }

    fn time(&self, browser: &Browser) -> Duration {
        let limits = browser.limits;
        match self {
            Self::Download { .. } => limits.action + limits.download,
            Self::Goto { .. } | Self::OpenTab { .. } | Self::Back {} | Self::Forward {} | Self::Reload {} => {
                limits.action.max(limits.load + limits.settle)
            }
            _ => limits.action,
        }
    }
}

impl Browser {
    /// Does an action and says what it is known to have done.
    ///
    /// # Errors
    /// One for each way it can fail to have an effect; none of them leaves the browser unusable, save
    /// [`Error::Gone`].
    pub async fn act(&mut self, action: &Action) -> Result<Acted> {
        let time = action.time(self);
        let late = Error::Timeout { what: action.name().to_owned(), after: time };
        let done = Box::pin(tokio::time::timeout(time, self.perform(action))).await.unwrap_or(Err(late));
        match done {
            Err(error @ Error::Timeout { .. }) if !self.answers().await => Err(self.unhang(error).await),
            Err(error) if error.is_lost() => Err(self.lost(action, error).await),
            done => done,
        }
    }

    /// An element or a document went away in the middle.
    async fn lost(&mut self, action: &Action, error: Error) -> Error {
        match action.target() {
            Some(target) => self.stale(target).await,
            None => error,
        }
    }

    async fn perform(&mut self, action: &Action) -> Result<Acted> {
        if let Action::Dialog { accept, text } = action {
            return self.answer_dialog(*accept, text.as_deref()).await;
        }
        let session = self.ready().await?;
        match action {
            Action::Goto { url } => self.goto(&session, url).await,
            Action::Back {} => self.turn(&session, -1).await,
            Action::Forward {} => self.turn(&session, 1).await,
            Action::Reload {} => self.reload(&session).await,
            Action::Click { target, how } => self.click(&session, *target, how).await,
            Action::Point { at, how } => self.point(&session, *at, how).await,
            Action::Fill { target, value } => self.fill(&session, *target, value).await,
            Action::Type { target, text } => self.type_text(&session, *target, text).await,
            Action::Press { keys, count } => self.press(&session, keys, *count).await,
            Action::Select { target, options } => self.select(&session, *target, options).await,
            Action::Check { target, on } => self.check(&session, *target, *on).await,
            Action::Hover { target } => self.hover(&session, *target).await,
            Action::Drag { from, to } => self.drag(&session, *from, *to).await,
            Action::Scroll { target, x, y } => self.scroll(&session, *target, (*x, *y)).await,
            Action::Upload { target, files } => self.upload(&session, *target, files).await,
            Action::Download { target } => self.download(&session, *target).await,
            Action::OpenTab { url } => self.open_tab(url).await,
            Action::SwitchTab { index } => self.switch_tab(*index).await,
            Action::CloseTab { index } => self.close_tab(*index).await,
            Action::Wait { text, gone, millis } => {
                self.wait(&session, (text.as_deref(), gone.as_deref()), *millis).await
            }
            Action::Media { target, command } => self.media(&session, *target, command).await,
            Action::Extract { target } => self.extract(&session, *target).await,
            Action::Screenshot {} => {
                let picture = Some(self.screenshot().await?);
                Ok(Acted { picture, ..Acted::default() })
            }
            Action::Dialog { .. } => unreachable!("answered above"),
        }
    }
}
