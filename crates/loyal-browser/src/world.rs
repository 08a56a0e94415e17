//! What Chromium's events have told so far: tabs, frames, requests under way, dialogs, downloads.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// The most tabs; what a page opens beyond is closed at once.
pub(crate) const TAB_COUNT_MAX: usize = 20;
/// The most requests and frames of a page that are watched.
const WATCH_COUNT_MAX: usize = 10_000;

/// The state of one Chromium, as its events told it.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// In the order they were opened.
    pub(crate) tabs: Vec<Tab>,
    pub(crate) sessions: HashMap<String, Session>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) downloads: Vec<Download>,
    /// The file chooser that a page opened last.
    pub(crate) chooser: Option<Chooser>,
    /// The size that pages get; the window's own where it is visible.
    pub(crate) window: Option<(u32, u32)>,
    /// Grows with whatever pages load or change.
    pub(crate) activity: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Tab {
    pub(crate) target: String,
    pub(crate) session: String,
    pub(crate) url: String,
    pub(crate) title: String,
    pub(crate) crashed: bool,
}

/// A tab's page, or a frame of another site inside it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The session of the page around it.
    pub(crate) parent: Option<String>,
    pub(crate) target: String,
    pub(crate) requests: HashSet<String>,
    /// The frames of this process, the outermost first.
    pub(crate) frames: Vec<Frame>,
    /// Documents that replaced the outermost one.
    pub(crate) navigations: u64,
    /// Moves inside the document: fragments, history.
    pub(crate) moves: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    pub(crate) id: String,
    pub(crate) loader: String,
    pub(crate) url: String,
    pub(crate) loading: bool,
    /// The document is there, its pictures perhaps not.
    pub(crate) ready: bool,
    /// The isolated world that our scripts run in.
    pub(crate) context: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    pub(crate) session: String,
    pub(crate) kind: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Download {
    pub(crate) guid: String,
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) state: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Chooser {
    pub(crate) session: String,
    pub(crate) node: Option<i64>,
}

/// What follows from an event.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) changed: bool,
    /// Commands that answer it.
    pub(crate) replies: Vec<(Option<String>, &'static str, Value)>,
    /// A session whose calls will never be answered.
    pub(crate) lost: Option<String>,
}

/// The members of all events that are looked at.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    session_id: String,
    target_info: TargetInfo,
    target_id: String,
    frame_id: String,
    parent_frame_id: Option<String>,
    frame: FrameInfo,
    loader_id: String,
    name: String,
    request_id: String,
    message: String,
    url: String,
    guid: String,
    suggested_filename: String,
    received_bytes: f64,
    state: String,
    backend_node_id: Option<i64>,
    r#type: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TargetInfo {
    target_id: String,
    r#type: String,
    title: String,
    url: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FrameInfo {
    id: String,
    parent_id: Option<String>,
    loader_id: String,
    url: String,
}

impl World {
    pub(crate) fn tab(&self, target: &str) -> Option<&Tab> {
        self.tabs.iter().find(|tab| tab.target == target)
    }

    /// A session and those of the frames inside it.
    pub(crate) fn family(&self, session: &str) -> Vec<String> {
        let mut family = vec![session.to_owned()];
        let mut next = 0;
        while let Some(parent) = family.get(next).cloned() {
            let of_parent = |entry: &(&String, &Session)| entry.1.parent.as_deref() == Some(parent.as_str());
            let mut children: Vec<_> =
                self.sessions.iter().filter(of_parent).map(|(id, _)| id.clone()).collect();
            children.sort();
            family.extend(children);
            next += 1;
        }
        family
    }

    /// Whether nothing of a tab is loading.
    pub(crate) fn is_idle(&self, session: &str) -> bool {
        self.family(session)
            .iter()
            .filter_map(|id| self.sessions.get(id))
            .all(|session| session.requests.is_empty() && !session.frames.iter().any(|frame| frame.loading))
    }

    pub(crate) fn frame_mut(&mut self, session: &str, frame: &str) -> Option<&mut Frame> {
        self.sessions.get_mut(session)?.frames.iter_mut().find(|candidate| candidate.id == frame)
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, session: Option<&str>, method: &str, event: Event) -> Taken {
        let mut taken = Taken { changed: true, ..Taken::default() };
        match method {
            "Target.attachedToTarget" => self.attached(session, event, &mut taken),
            "Target.detachedFromTarget" => {
                self.sessions.remove(&event.session_id);
                self.tabs.retain(|tab| tab.session != event.session_id);
                self.dialog = self.dialog.take().filter(|dialog| dialog.session != event.session_id);
                taken.lost = Some(event.session_id);
            }
            "Target.targetInfoChanged" => {
                let info = event.target_info;
                if let Some(tab) = self.tabs.iter_mut().find(|tab| tab.target == info.target_id) {
                    (tab.url, tab.title) = (info.url, info.title);
                }
            }
            "Target.targetCrashed" => {
                let tab = self.tabs.iter_mut().find(|tab| tab.target == event.target_id);
                taken.lost = tab.map(|tab| {
                    tab.crashed = true;
                    tab.session.clone()
                });
            }
            "Inspector.targetCrashed" => {
                let tab = self.tabs.iter_mut().find(|tab| Some(tab.session.as_str()) == session);
                tab.into_iter().for_each(|tab| tab.crashed = true);
                taken.lost = session.map(str::to_owned);
            }
            "Browser.downloadWillBegin" | "Page.downloadWillBegin" => self.download_begins(event),
            "Browser.downloadProgress" => self.download_goes_on(event),
            _ => {
                let changed = session.is_some_and(|session| self.of_page(session, method, event, &mut taken));
                taken.changed = changed;
            }
        }
        taken
    }

    fn attached(&mut self, parent: Option<&str>, event: Event, taken: &mut Taken) {
        let (id, info) = (event.session_id, event.target_info);
        let to = |method, parameters| (Some(id.clone()), method, parameters);
        let is_tab = info.r#type == "page" && parent.is_none();
        if !is_tab && info.r#type != "iframe" {
            taken.replies.push(to("Runtime.runIfWaitingForDebugger", json!({})));
            taken.replies.push((None, "Target.detachFromTarget", json!({"sessionId": id})));
            return;
        }
        if is_tab && self.tabs.len() >= TAB_COUNT_MAX {
            taken.replies.push((None, "Target.closeTarget", json!({"targetId": info.target_id})));
            return;
        }
        let attach = json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true});
        taken.replies.extend([
            to("Page.enable", json!({})),
            to("Page.setLifecycleEventsEnabled", json!({"enabled": true})),
            to("Network.enable", json!({"maxTotalBufferSize": 0, "maxResourceBufferSize": 0})),
            to("DOM.enable", json!({})),
            to("Target.setAutoAttach", attach),
        ]);
        if is_tab {
            taken.replies.push(to("Page.setInterceptFileChooserDialog", json!({"enabled": true})));
            taken.replies.push(to("Emulation.setFocusEmulationEnabled", json!({"enabled": true})));
            if let Some((width, height)) = self.window {
                let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
                taken.replies.push(to("Emulation.setDeviceMetricsOverride", size));
            }
            self.tabs.push(Tab {
                target: info.target_id.clone(),
                session: id.clone(),
                url: info.url.clone(),
                title: info.title,
                crashed: false,
            });
        }
        taken.replies.push(to("Runtime.runIfWaitingForDebugger", json!({})));
        // The outermost frame of a target bears its name.
        let frame = Frame { id: info.target_id.clone(), url: info.url, ..Frame::default() };
        let parent = parent.map(str::to_owned);
        let session = Session { parent, target: info.target_id, frames: vec![frame], ..Session::default() };
        self.sessions.insert(id, session);
    }

    fn of_page(&mut self, id: &str, method: &str, event: Event, taken: &mut Taken) -> bool {
        match method {
            // A page may ask to be kept; it is left all the same.
            "Page.javascriptDialogOpening" if event.r#type == "beforeunload" => {
                let yes = (Some(id.to_owned()), "Page.handleJavaScriptDialog", json!({"accept": true}));
                taken.replies.push(yes);
                return false;
            }
            "Page.javascriptDialogOpening" => {
                let (kind, message) = (event.r#type, event.message.chars().take(1000).collect());
                self.dialog = Some(Dialog { session: id.to_owned(), kind, message });
                return true;
            }
            "Page.javascriptDialogClosed" => {
                self.dialog = None;
                return true;
            }
            "Page.fileChooserOpened" => {
                self.chooser = Some(Chooser { session: id.to_owned(), node: event.backend_node_id });
                return true;
            }
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(id) else { return false };
        let active = session.take(method, event);
        self.activity += u64::from(active);
        active
    }

    fn download_begins(&mut self, event: Event) {
        if self.downloads.iter().any(|download| download.guid == event.guid) {
            return;
        }
        let (guid, url, name) = (event.guid, event.url, event.suggested_filename);
        self.downloads.push(Download { guid, url, name, bytes: 0, state: "inProgress".to_owned() });
    }

    fn download_goes_on(&mut self, event: Event) {
        if let Some(download) = self.downloads.iter_mut().find(|download| download.guid == event.guid) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a file")]
            let bytes = event.received_bytes as u64;
            (download.bytes, download.state) = (bytes, event.state);
        }
    }
}

impl Session {
    /// Takes an event of this page in; whether it matters.
    fn take(&mut self, method: &str, event: Event) -> bool {
        match method {
            "Network.requestWillBeSent" => {
                // Streams that never end are no loading.
                let endless = ["EventSource", "WebSocket", "Ping", "Media"].contains(&event.r#type.as_str());
                !endless && self.requests.len() < WATCH_COUNT_MAX && self.requests.insert(event.request_id)
            }
            "Network.loadingFinished" | "Network.loadingFailed" => self.requests.remove(&event.request_id),
            "Page.frameAttached" => {
                let known = self.frames.iter().any(|frame| frame.id == event.frame_id);
                if !known && self.frames.len() < WATCH_COUNT_MAX && event.parent_frame_id.is_some() {
                    self.frames.push(Frame { id: event.frame_id, ..Frame::default() });
                }
                true
            }
            "Page.frameDetached" => {
                self.frames.retain(|frame| frame.id != event.frame_id);
                true
            }
            "Page.frameNavigated" => {
                self.navigated(event.frame);
                true
            }
            "Page.navigatedWithinDocument" => {
                self.moves += 1;
                self.set(&event.frame_id, |frame| frame.url = event.url)
            }
            "Page.frameStartedLoading" | "Page.frameStartedNavigating" => {
                self.set(&event.frame_id, |frame| (frame.loading, frame.ready) = (true, false))
            }
            "Page.frameStoppedLoading" => {
                self.set(&event.frame_id, |frame| (frame.loading, frame.ready) = (false, true))
            }
            "Page.lifecycleEvent" => match event.name.as_str() {
                "DOMContentLoaded" => self.set(&event.frame_id, |frame| frame.ready = true),
                _ => false,
            },
            _ => false,
        }
    }

    fn set(&mut self, frame: &str, change: impl FnOnce(&mut Frame)) -> bool {
        self.frames.iter_mut().find(|candidate| candidate.id == frame).map(change).is_some()
    }

    fn navigated(&mut self, info: FrameInfo) {
        if info.parent_id.is_none() {
            self.navigations += 1;
            self.requests.clear();
            self.frames.truncate(1);
            if let Some(outermost) = self.frames.first_mut() {
                outermost.id.clone_from(&info.id);
            }
        }
        if !self.frames.iter().any(|frame| frame.id == info.id) {
            self.frames.push(Frame { id: info.id.clone(), ..Frame::default() });
        }
        self.set(&info.id, |frame| {
            (frame.loader, frame.url, frame.context) = (info.loader_id, info.url, None);
        });
    }
}
