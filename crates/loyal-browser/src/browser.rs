//! A browser for one run: its tabs, what they show, and its recovery when a page or Chromium itself dies.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cdp::Cdp;
use crate::launch::egress::{Count, Domains, Egress};
use crate::launch::{self, Process};
use crate::snapshot::{Node, Ref, Refs, capture, tree};
use crate::world::Tab;
use crate::{Error, Launch, Result, Snapshot, media, page};

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// An action, with everything that belongs to it.
    pub action: Duration,
    /// A page's way to its document.
    pub load: Duration,
    /// The wait for a page to come to rest after an action.
    pub settle: Duration,
    /// A download.
    pub download: Duration,
    /// The bytes of a download.
    pub download_bytes_max: u64,
    /// How often a dead Chromium is started again.
    pub restart_count_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            action: Duration::from_secs(30),
            load: Duration::from_secs(15),
            settle: Duration::from_secs(3),
            download: Duration::from_secs(60),
            download_bytes_max: 256 << 20,
            restart_count_max: 1,
        }
    }
}

/// A Chromium with one tab in front, and the refs it gave out.
pub struct Browser {
    /// How long things may take.
    pub limits: Limits,
    launch: Launch,
    pub(crate) cdp: Cdp,
    process: Process,
    egress: Egress,
    pub(crate) refs: Refs,
    /// The target in front.
    active: String,
    /// The last address that was shown.
    last_url: String,
    notes: Vec<String>,
    restart_count: u32,
    pub(crate) downloads: TempDir,
    /// The folder that uploads may come from.
    pub(crate) uploads: Option<PathBuf>,
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.process.version;
        f.debug_struct("Browser")
            .field("version", version)
            .field("url", &self.last_url)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    css_visual_viewport: Viewport,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Viewport {
    client_width: f64,
    client_height: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    target_id: String,
}

#[derive(Deserialize)]
struct Picture {
    data: String,
}

impl Browser {
    /// Starts a Chromium with an empty tab.
    ///
    /// # Errors
    /// [`Error::NoBrowser`] and [`Error::Launch`], which say what is missing.
    pub async fn launch(launch: Launch) -> Result<Self> {
        let egress = Egress::start(launch.reach.clone()).await?;
        let downloads = tempfile::Builder::new().prefix("loyal-downloads-").tempdir();
        let downloads =
            downloads.map_err(|error| Error::Launch { why: format!("no folder for downloads: {error}") })?;
        let (process, cdp, active) = begin(&launch, egress.port, downloads.path()).await?;
        Ok(Self {
            limits: Limits::default(),
            launch,
            cdp,
            process,
            egress,
            refs: Refs::default(),
            active,
            last_url: "about:blank".to_owned(),
            notes: Vec::new(),
            restart_count: 0,
            downloads,
            uploads: None,
        })
    }

    /// Files of this folder may be uploaded; none may, unless this is said.
    #[must_use]
    pub fn with_uploads(mut self, folder: impl Into<PathBuf>) -> Self {
        self.uploads = Some(folder.into());
        self
    }

    /// Chromium's name and version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.process.version
    }

    /// The number of Chromium's process, which is also that of its group.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// How often each domain was reached and refused, also by pages on their own.
    #[must_use]
    pub fn domains(&self) -> BTreeMap<String, Count> {
        self.egress.domains().counts()
    }

    /// The same counts, to be read by somebody else, and after the browser has ended.
    #[must_use]
    pub fn domain_counter(&self) -> Domains {
        self.egress.domains()
    }

    /// Why an address may not be visited.
    pub(crate) fn fault(&self, address: &str) -> Option<String> {
        if address == "about:blank" {
            return None;
        }
        match address.parse::<loyal_types::Origin>() {
            Ok(origin) => self.launch.reach.fault(&origin.domain),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What the tab in front shows.
    ///
    /// # Errors
    /// When Chromium is gone for good, or the page does not answer.
    pub async fn snapshot(&mut self) -> Result<Snapshot> {
        for _ in 0..3 {
            let session = self.ready().await?;
            match self.look(&session).await {
                Err(error) if error.is_lost() => {}
                Err(Error::Crashed | Error::Gone) => {}
                Err(Error::DialogOpen { .. }) => {}
                Err(error @ Error::Timeout { .. }) => return Err(self.unhang(error).await),
                other => return other,
            }
        }
        Err(Error::Crashed)
    }

    async fn look(&mut self, session: &str) -> Result<Snapshot> {
        self.name_tabs().await;
        let mut snapshot = self.frame_of_snapshot();
        if snapshot.dialog.is_some() {
            return Ok(snapshot);
        }
        let family = self.cdp.world().family(session);
        let metrics = self.cdp.call::<Metrics>(Some(session), "Page.getLayoutMetrics", json!({}));
        let first = capture::part(&self.cdp, session);
        let (metrics, first) = tokio::try_join!(metrics, first)?;
        snapshot.title = first.title();
        let mut parts = vec![first];
        for inner in family.iter().skip(1) {
            match capture::part(&self.cdp, inner).await {
                Ok(part) => parts.push(part),
                Err(Error::Gone) => return Err(Error::Gone),
                Err(Error::DialogOpen { .. }) => return Ok(self.frame_of_snapshot()),
                // A frame that does not answer leaves a gap, and the page is still shown.
                Err(error) => self.notes.push(format!("a frame could not be read: {error}")),
            }
        }
        let window = metrics.css_visual_viewport;
        snapshot.window = (window.client_width, window.client_height);
        let loaders = self.loaders(&family);
        let builder = tree::Builder::new(parts, &loaders, &mut self.refs);
        (snapshot.nodes, snapshot.scroll) = builder.build(session, snapshot.window);
        let document = loaders.get(&(session.to_owned(), self.main_frame(session))).cloned();
        self.refs.end(&document.unwrap_or_default(), &mut snapshot.nodes);
        self.play_states(&mut snapshot.nodes).await;
        snapshot.notes = std::mem::take(&mut self.notes);
        Ok(snapshot)
    }

    /// Asks for the titles of several tabs; Chromium tells their changes late.
    async fn name_tabs(&self) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Targets {
            target_infos: Vec<Info>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Info {
            target_id: String,
            title: String,
        }
        if self.cdp.world().tabs.len() < 2 {
            return;
        }
        let Ok(targets) = self.cdp.call::<Targets>(None, "Target.getTargets", json!({})).await else {
            return;
        };
        let mut world = self.cdp.world();
        for info in targets.target_infos {
            let tab = world.tabs.iter_mut().find(|tab| tab.target == info.target_id);
            tab.into_iter().for_each(|tab| tab.title.clone_from(&info.title));
        }
    }

    /// A snapshot without nodes.
    fn frame_of_snapshot(&mut self) -> Snapshot {
        let world = self.cdp.world();
        let tabs: Vec<_> = world.tabs.iter().map(|tab| (tab.title.clone(), tab.url.clone())).collect();
        let active = world.tabs.iter().position(|tab| tab.target == self.active).unwrap_or(0);
        let (title, url) = tabs.get(active).cloned().unwrap_or_default();
        let dialog = world.dialog.as_ref().map(|dialog| (dialog.kind.clone(), dialog.message.clone()));
        drop(world);
        self.last_url.clone_from(&url);
        Snapshot { url, title, tabs: (tabs, active), dialog, ..Snapshot::default() }
    }

    async fn play_states(&self, nodes: &mut [Node]) {
        const MEDIA_COUNT_MAX: usize = 4;
        let media = nodes.iter_mut().filter(|node| node.tag == "video" || node.tag == "audio");
        for node in media.take(MEDIA_COUNT_MAX) {
            let Some(known) = self.refs.known(node.key) else { continue };
            let Ok(element) = page::resolve(&self.cdp, &known.place).await else { continue };
            if let Ok(state) = element.ask::<media::State>(&self.cdp, "el => loyal.media(el)", &[]).await {
                node.playing = Some(state.to_string());
            }
        }
    }

    /// The address of the frame that an element is in: whoever types into the element tells it to that frame.
    #[must_use]
    pub fn address_of(&self, key: Ref) -> Option<String> {
        let place = &self.refs.known(key)?.place;
        let mut world = self.cdp.world();
        let frame = world.frame_mut(&place.session, &place.frame)?;
        // A document that was replaced is none any more.
        (frame.loader == place.loader).then(|| frame.url.clone())
    }

    fn loaders(&self, family: &[String]) -> HashMap<(String, String), String> {
        let world = self.cdp.world();
        let of = |id: &String| world.sessions.get(id).map(|session| (id.clone(), session.frames.clone()));
        let frames = family.iter().filter_map(of).flat_map(|(id, frames)| {
            frames.into_iter().map(move |frame| ((id.clone(), frame.id), frame.loader))
        });
        frames.collect()
    }

    pub(crate) fn main_frame(&self, session: &str) -> String {
        let world = self.cdp.world();
        let frame = world.sessions.get(session).and_then(|session| session.frames.first());
        frame.map(|frame| frame.id.clone()).unwrap_or_default()
    }

    /// A picture of what is in view, as PNG.
    ///
    /// # Errors
    /// When the page is gone or does not answer.
    pub async fn screenshot(&mut self) -> Result<Vec<u8>> {
        self.picture(json!({"format": "png"})).await
    }

    pub(crate) async fn picture(&mut self, how: Value) -> Result<Vec<u8>> {
        let session = self.ready().await?;
        let picture = self.cdp.call::<Picture>(Some(&session), "Page.captureScreenshot", how).await?;
        let method = || "Page.captureScreenshot".to_owned();
        STANDARD
            .decode(picture.data)
            .map_err(|error| Error::Protocol { method: method(), message: error.to_string() })
    }

    /// An expression in the page's own world: for tests and for whoever owns the page.
    ///
    /// # Errors
    /// When it throws, or the page does not answer.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let session = self.ready().await?;
        page::evaluate(&self.cdp, &session, expression).await
    }

    /// The session of the tab in front, brought back to life where it died.
    pub(crate) async fn ready(&mut self) -> Result<String> {
        if self.cdp.is_closed() {
            self.restart().await?;
        }
        let tab = self.cdp.world().tab(&self.active).cloned();
        match tab {
            Some(tab) if !tab.crashed => Ok(tab.session),
            Some(tab) => {
                self.notes.push(format!("the page crashed and was opened again at {}", self.last_url));
                self.replace(&tab.target).await
            }
            None => {
                let last = self.cdp.world().tabs.last().cloned();
                match last {
                    Some(tab) => {
                        self.notes.push("the tab was closed; this is the one before".to_owned());
                        self.front(&tab).await?;
                        Ok(tab.session)
                    }
                    None => self.open("about:blank").await.map(|tab| tab.session),
                }
            }
        }
    }

    /// Another tab in place of a dead one, at its last address.
    async fn replace(&mut self, target: &str) -> Result<String> {
        let url = self.last_url.clone();
        let tab = self.open("about:blank").await?;
        // What is dead may refuse to be closed; its tab is out of the way in any case.
        drop(self.cdp.tell(None, "Target.closeTarget", json!({"targetId": target})).await);
        self.cdp.world().tabs.retain(|tab| tab.target != target);
        self.load(&tab.session, &url).await?;
        Ok(tab.session)
    }

    /// A page that does not answer any more gives way to an empty one.
    pub(crate) async fn unhang(&mut self, error: Error) -> Error {
        let hung = self.active.clone();
        self.notes.push(format!("the page did not answer ({error}) and was closed"));
        if let Err(error) = self.open("about:blank").await {
            return error;
        }
        drop(self.cdp.tell(None, "Target.closeTarget", json!({"targetId": hung})).await);
        let mut world = self.cdp.world();
        world.tabs.retain(|tab| tab.target != hung);
        world.dialog = None;
        error
    }

    async fn restart(&mut self) -> Result<()> {
        if self.restart_count >= self.limits.restart_count_max {
            return Err(Error::Gone);
        }
        self.restart_count += 1;
        let url = self.last_url.clone();
        let begun = begin(&self.launch, self.egress.port, self.downloads.path()).await?;
        (self.process, self.cdp, self.active) = begun;
        self.notes.push(format!("the browser died and was started again at {url}"));
        let session = self.cdp.world().tab(&self.active).map(|tab| tab.session.clone());
        if let Some(session) = session {
            self.load(&session, &url).await?;
        }
        Ok(())
    }

    async fn load(&self, session: &str, url: &str) -> Result<()> {
        if url.starts_with("http") {
            let at = json!({"url": url});
            self.cdp.tell(Some(session), "Page.navigate", at).await?;
            let main = self.main_frame(session);
            let ready = self.cdp.until(|world| {
                let frames = &world.sessions.get(session)?.frames;
                frames
                    .iter()
                    .any(|frame| frame.id == main && frame.ready && !frame.loader.is_empty())
                    .then_some(())
            });
            // Slow pages are shown as far as they are.
            drop(tokio::time::timeout(self.limits.load, ready).await);
        }
        Ok(())
    }

    /// A new tab in front.
    pub(crate) async fn open(&mut self, url: &str) -> Result<Tab> {
        let made = self.cdp.call::<Created>(None, "Target.createTarget", json!({"url": url})).await?;
        let found = self.cdp.until(|world| world.tab(&made.target_id).cloned());
        let waited = tokio::time::timeout(Duration::from_secs(10), found).await;
        let tab = waited.unwrap_or_else(|_| {
            Err(Error::Timeout { what: "a new tab".to_owned(), after: Duration::from_secs(10) })
        })?;
        greet(&self.cdp, &tab.session).await?;
        self.active.clone_from(&tab.target);
        Ok(tab)
    }

    /// Brings a tab to the front.
    pub(crate) async fn front(&mut self, tab: &Tab) -> Result<()> {
        self.active.clone_from(&tab.target);
        self.cdp.tell(None, "Target.activateTarget", json!({"targetId": tab.target})).await
    }

    pub(crate) fn active(&self) -> &str {
        &self.active
    }

    pub(crate) fn visited(&mut self, url: &str) {
        url.clone_into(&mut self.last_url);
    }

    /// Makes the page's process end at once, for tests of what follows.
    ///
    /// # Errors
    /// Always: [`Error::Crashed`], or what kept it from crashing.
    pub async fn crash_page(&mut self) -> Result<()> {
        let session = self.ready().await?;
        self.cdp.tell(Some(&session), "Page.crash", json!({})).await
    }

    /// Ends Chromium; dropping the browser does so too, less kindly.
    ///
    /// # Errors
    /// None so far.
    pub async fn close(self) -> Result<()> {
        let gone =
            self.cdp.call_within::<Value>(None, "Browser.close", json!({}), Duration::from_secs(2)).await;
        drop(gone);
        Ok(())
    }
}

async fn begin(launch: &Launch, proxy: u16, downloads: &Path) -> Result<(Process, Cdp, String)> {
    let (process, cdp) = launch::start(launch, proxy).await?;
    cdp.world().window = launch.headless.then_some(launch.window);
    let attach = json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true});
    cdp.tell(None, "Target.setDiscoverTargets", json!({"discover": true})).await?;
    cdp.tell(None, "Target.setAutoAttach", attach).await?;
    let folder = json!({
        "behavior": "allowAndName", "downloadPath": downloads.display().to_string(), "eventsEnabled": true,
    });
    cdp.tell(None, "Browser.setDownloadBehavior", folder).await?;
    let first = cdp.until(|world| world.tabs.first().cloned());
    let first = tokio::time::timeout(launch.time, first)
        .await
        .unwrap_or_else(|_| Err(Error::Timeout { what: "the first tab".to_owned(), after: launch.time }))?;
    greet(&cdp, &first.session).await?;
    Ok((process, cdp, first.target))
}

/// Waits until a new tab has taken the commands that its beginning was answered with: a navigation in the middle of
/// them can leave it waiting for ever.
async fn greet(cdp: &Cdp, session: &str) -> Result<()> {
    for method in ["Page.enable", "Network.enable", "DOM.enable"] {
        cdp.tell(Some(session), method, json!({})).await?;
    }
    cdp.tell(Some(session), "Runtime.evaluate", json!({"expression": "0"})).await
}
