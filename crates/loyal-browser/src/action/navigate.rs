//! Pages and tabs: addresses, history, dialogs, waiting and reading.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Acted;
use crate::world::Tab;
use crate::{Browser, Error, Ref, Result, page};

/// What a page that keeps opening dialogs is answered, before it is given up.
const DIALOG_COUNT_MAX: usize = 20;
const WAIT_MILLIS: u64 = 5_000;
const WAIT_MILLIS_MAX: u64 = 25_000;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The most bytes that reading gives.
const TEXT_BYTES_MAX: usize = 32 << 10;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Navigated {
    error_text: Option<String>,
    loader_id: Option<String>,
    is_download: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct History {
    current_index: i64,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: i64,
    url: String,
}

impl Browser {
    pub(super) async fn goto(&mut self, session: &str, url: &str) -> Result<Acted> {
        if let Some(why) = self.fault(url) {
            return Err(Error::Denied { address: url.to_owned(), why });
        }
        let denied = self.denied_count(url);
        let (session, went) = self.navigate(session, url).await?;
        if self.denied_count(url) > denied {
            let why = "it leads to a machine that may not be reached".to_owned();
            return Err(Error::Denied { address: url.to_owned(), why });
        }
        if let Some(why) = went.error_text.filter(|_| !went.is_download) {
            return Err(Error::Unreachable { address: url.to_owned(), why });
        }
        self.arrive(&session, went.loader_id.as_deref()).await
    }

    fn denied_count(&self, url: &str) -> u64 {
        let domain = url.parse::<loyal_types::Origin>().map(|origin| origin.domain).unwrap_or_default();
        self.domains().get(&domain).map_or(0, |count| count.denied)
    }

    /// Waits for a document, and then for its rest.
    async fn arrive(&mut self, session: &str, loader: Option<&str>) -> Result<Acted> {
        let ready = self.cdp.until(|world| {
            let frame = world.sessions.get(session)?.frames.first()?;
            let here = loader.is_none_or(|loader| frame.loader == loader);
            (here && frame.ready || world.dialog.is_some()).then_some(())
        });
        let in_time = tokio::time::timeout(self.limits.load, ready).await;
        let late = in_time.is_err();
        in_time.unwrap_or(Ok(()))?;
        let mark = match self.mark(session, None).await {
            Err(Error::DialogOpen { kind, message }) => {
                let dialog = Some((kind, message));
                return Ok(Acted {
                    dialog,
                    navigated: self.address(session),
                    changed: true,
                    ..Acted::default()
                });
            }
            mark => mark?,
        };
        let mut acted = self.settle(session, &mark, Ok(())).await?.acted;
        acted.navigated = self.address(session);
        if let Some(url) = acted.navigated.clone() {
            self.visited(&url);
        }
        acted.restless |= late;
        acted.changed = true;
        Ok(acted)
    }

    fn address(&self, session: &str) -> Option<String> {
        let world = self.cdp.world();
        world.sessions.get(session)?.frames.first().map(|frame| frame.url.clone())
    }

    /// Leaves a page, closing its dialogs; one that never stops opening them loses its tab.
    async fn navigate(&mut self, session: &str, url: &str) -> Result<(String, Navigated)> {
        let mut session = session.to_owned();
        let (time, mut dialog_count) = (self.limits.load, 0);
        loop {
            let go = json!({"url": url});
            let went = self.cdp.call_within::<Navigated>(Some(&session), "Page.navigate", go, time).await;
            match went {
                Err(Error::DialogOpen { .. }) if dialog_count < DIALOG_COUNT_MAX => {
                    dialog_count += 1;
                    self.close_dialog(false, None).await?;
                }
                Err(error @ Error::DialogOpen { .. }) => {
                    drop(self.unhang(error).await);
                    session = self.ready().await?;
                    dialog_count = 0;
                }
                Err(Error::Timeout { .. }) => {
                    drop(self.cdp.tell(Some(&session), "Page.stopLoading", json!({})).await);
                    let why = format!("no answer within {} s", time.as_secs_f64());
                    return Err(Error::Unreachable { address: url.to_owned(), why });
                }
                // Attempts that its dialogs held up undo each other: a fresh tab has none.
                Ok(went) if dialog_count > 0 && went.error_text.as_deref() == Some("net::ERR_ABORTED") => {
                    drop(self.unhang(Error::Timeout { what: url.to_owned(), after: time }).await);
                    session = self.ready().await?;
                    dialog_count = 0;
                }
                went => return Ok((session, went?)),
            }
        }
    }

    async fn close_dialog(&self, accept: bool, text: Option<&str>) -> Result<()> {
        let Some(dialog) = self.cdp.world().dialog.take() else { return Ok(()) };
        let mut answer = json!({"accept": accept});
        if let Some(text) = text {
            answer["promptText"] = json!(text);
        }
        let told = self.cdp.tell(Some(&dialog.session), "Page.handleJavaScriptDialog", answer).await;
        match told {
            // It closed by itself.
            Ok(()) | Err(Error::Protocol { .. }) => {}
            Err(error) => return Err(error),
        }
        // Whatever the page does next, another dialog at once included, its first event comes soon.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    pub(super) async fn answer_dialog(&mut self, accept: bool, text: Option<&str>) -> Result<Acted> {
        let open = self.cdp.world().dialog.clone();
        let Some(dialog) = open else {
            return Err(Error::BadAction { action: "dialog", why: "no dialog is open".to_owned() });
        };
        self.close_dialog(accept, text).await?;
        let session = self.ready().await?;
        let mut acted = match self.mark(&session, None).await {
            Err(Error::DialogOpen { kind, message }) => {
                Acted { dialog: Some((kind, message)), ..Acted::default() }
            }
            Err(error) if super::settle::is_replaced(&error) => Acted::default(),
            mark => self.settle(&session, &mark?, Ok(())).await?.acted,
        };
        acted.changed = true;
        acted.text = Some(format!("{} {:?} answered", dialog.kind, dialog.message));
        Ok(acted)
    }

    pub(super) async fn turn(&mut self, session: &str, by: i64) -> Result<Acted> {
        let history: History = self.cdp.call(Some(session), "Page.getNavigationHistory", json!({})).await?;
        let wanted = usize::try_from(history.current_index + by).ok();
        let Some(entry) = wanted.and_then(|index| history.entries.get(index)) else {
            let (action, why) = if by < 0 { ("back", "first") } else { ("forward", "last") };
            return Err(Error::BadAction { action, why: format!("this is the {why} page of this tab") });
        };
        let before = self.navigation_counts(session);
        let go = json!({"entryId": entry.id});
        self.cdp.tell(Some(session), "Page.navigateToHistoryEntry", go).await?;
        let url = entry.url.clone();
        self.wait_for_change(session, before).await?;
        let acted = self.arrive(session, None).await?;
        Ok(Acted { navigated: acted.navigated.or(Some(url)), ..acted })
    }

    pub(super) async fn reload(&mut self, session: &str) -> Result<Acted> {
        let before = self.navigation_counts(session);
        self.cdp.tell(Some(session), "Page.reload", json!({})).await?;
        self.wait_for_change(session, before).await?;
        self.arrive(session, None).await
    }

    fn navigation_counts(&self, session: &str) -> (u64, u64) {
        let world = self.cdp.world();
        world.sessions.get(session).map_or((0, 0), |state| (state.navigations, state.moves))
    }

    async fn wait_for_change(&self, session: &str, before: (u64, u64)) -> Result<()> {
        let changed = self.cdp.until(|world| {
            let state = world.sessions.get(session)?;
            let now = (state.navigations, state.moves);
            (now != before || world.dialog.is_some()).then_some(())
        });
        let time = self.limits.load;
        tokio::time::timeout(time, changed)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { what: "the page".to_owned(), after: time }))
    }

    pub(super) async fn open_tab(&mut self, url: &str) -> Result<Acted> {
        if let Some(why) = self.fault(url) {
            return Err(Error::Denied { address: url.to_owned(), why });
        }
        let tab = self.open("about:blank").await?;
        let acted =
            if url == "about:blank" { Acted::default() } else { self.goto(&tab.session, url).await? };
        Ok(Acted { opened: vec![url.to_owned()], changed: true, ..acted })
    }

    fn tab_at(&self, action: &'static str, index: usize) -> Result<Tab> {
        let world = self.cdp.world();
        let count = world.tabs.len();
        world.tabs.get(index).cloned().ok_or_else(|| Error::BadAction {
            action,
            why: format!("there is no tab {index}; they are numbered from 0 to {}", count.saturating_sub(1)),
        })
    }

    pub(super) async fn switch_tab(&mut self, index: usize) -> Result<Acted> {
        let tab = self.tab_at("switch_tab", index)?;
        self.front(&tab).await?;
        self.visited(&tab.url);
        Ok(Acted { navigated: Some(tab.url), changed: true, ..Acted::default() })
    }

    pub(super) async fn close_tab(&mut self, index: usize) -> Result<Acted> {
        let tab = self.tab_at("close_tab", index)?;
        let target = tab.target.clone();
        let is_last = self.cdp.world().tabs.len() == 1;
        if is_last {
            self.open("about:blank").await?;
        }
        self.cdp.tell(None, "Target.closeTarget", json!({"targetId": target})).await?;
        let closed = self.cdp.until(|world| world.tab(&target).is_none().then_some(()));
        // A page may ask before it closes; that question is answered by itself.
        drop(tokio::time::timeout(Duration::from_secs(5), closed).await);
        if self.active() == target {
            let last = self.cdp.world().tabs.last().cloned();
            if let Some(last) = last {
                self.front(&last).await?;
                self.visited(&last.url);
            }
        }
        Ok(Acted { changed: true, ..Acted::default() })
    }

    pub(super) async fn wait(
        &mut self,
        session: &str,
        (text, gone): (Option<&str>, Option<&str>),
        millis: Option<u64>,
    ) -> Result<Acted> {
        let time = Duration::from_millis(millis.unwrap_or(WAIT_MILLIS).min(WAIT_MILLIS_MAX));
        if text.is_none() && gone.is_none() {
            tokio::time::sleep(time).await;
            return Ok(Acted::default());
        }
        let says = "() => loyal.text()";
        let looking = async {
            loop {
                let main = self.main_frame(session);
                let said = page::ask::<String>(&self.cdp, (session, &main), says, &[]).await;
                match said {
                    Ok(said) => {
                        let there = text.is_none_or(|text| said.contains(text));
                        if there && gone.is_none_or(|gone| !said.contains(gone)) {
                            return Ok(());
                        }
                    }
                    Err(error) if super::settle::is_replaced(&error) => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let what = match (text, gone) {
            (Some(text), _) => format!("the text {text:?}"),
            (None, gone) => format!("the end of the text {:?}", gone.unwrap_or_default()),
        };
        tokio::time::timeout(time, looking).await.unwrap_or(Err(Error::Timeout { what, after: time }))?;
        Ok(Acted { changed: true, ..Acted::default() })
    }

    pub(super) async fn extract(&mut self, session: &str, target: Option<Ref>) -> Result<Acted> {
        let mut text: String = match target {
            Some(target) => {
                let (_, element) = self.element(target).await?;
                element.ask(&self.cdp, "el => loyal.text(el)", &[]).await?
            }
            None => {
                let main = self.main_frame(session);
                page::ask(&self.cdp, (session, &main), "() => loyal.text()", &[]).await?
            }
        };
        if text.len() > TEXT_BYTES_MAX {
            let mut end = TEXT_BYTES_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str("\n… (only its start)");
        }
        Ok(Acted { text: Some(text), ..Acted::default() })
    }
}
