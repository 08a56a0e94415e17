//! Files that go up, from one folder only, and files that come down, within bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::pointer::Look;
use super::{Acted, Press};
use crate::world::Download;
use crate::{Browser, Error, Ref, Result};

/// How long a page may take to ask for files after a click.
const CHOOSER_TIME: Duration = Duration::from_secs(3);

impl Browser {
    pub(super) async fn upload(&mut self, session: &str, target: Ref, files: &[PathBuf]) -> Result<Acted> {
        let files = files.iter().map(|file| self.allowed(file)).collect::<Result<Vec<_>>>()?;
        let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let (place, element) = self.element(target).await?;
        let look: Look = element.ask(&self.cdp, "el => loyal.look(loyal.up(el))", &[]).await?;
        if look.disabled {
            return Err(Error::Disabled { target });
        }
        let mark = self.mark(session, Some((&place.session, &place.frame))).await?;
        let is_field = look.tag == "input" && look.r#type == "file";
        let (to, node) = if is_field {
            (place.session.clone(), place.node)
        } else {
            self.asked_for(session, target).await?
        };
        let give = json!({"files": paths, "backendNodeId": node});
        let done = self.cdp.tell(Some(&to), "DOM.setFileInputFiles", give).await;
        let mut acted = self.settle(session, &mark, done).await?.acted;
        if is_field && acted.dialog.is_none() && acted.navigated.is_none() {
            let found: Option<String> = element.ask(&self.cdp, "el => loyal.value(el)", &[]).await?;
            let wanted: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
            let wanted: Vec<_> = wanted.into_iter().map(|name| name.to_string_lossy()).collect();
            let (wanted, found) = (wanted.join(", "), found.unwrap_or_default());
            // A page may take the files and empty the field: then it changed.
            if wanted != found && !acted.changed {
                return Err(Error::NotKept { target, wanted, found });
            }
            acted.value = Some(found);
        }
        acted.changed = true;
        acted.files = files;
        Ok(acted)
    }

    /// Clicks what asks for files, and finds the field behind it.
    async fn asked_for(&mut self, session: &str, target: Ref) -> Result<(String, i64)> {
        self.cdp.world().chooser = None;
        self.click(session, target, &Press::default()).await?;
        let asked = self.cdp.until(|world| world.chooser.clone());
        let asked = tokio::time::timeout(CHOOSER_TIME, asked).await;
        let why = "asks for no files when it is clicked".to_owned();
        let Ok(chooser) = asked else { return Err(Error::Unfit { target, why }) };
        let chooser = chooser?;
        self.cdp.world().chooser = None;
        let node = chooser.node.ok_or(Error::Unfit { target, why })?;
        Ok((chooser.session, node))
    }

    /// A path inside the folder for uploads, without links that lead out of it.
    fn allowed(&self, file: &Path) -> Result<PathBuf> {
        let Some(folder) = &self.uploads else {
            return Err(Error::file(file, "no folder for uploads was given to this browser"));
        };
        let folder = folder.canonicalize().map_err(|error| Error::file(folder, error))?;
        let inside = folder.join(file);
        let real = inside.canonicalize().map_err(|error| Error::file(file, error))?;
        if !real.starts_with(&folder) {
            return Err(Error::file(file, "lies outside of the folder for uploads"));
        }
        if !real.is_file() {
            return Err(Error::file(file, "is no file"));
        }
        Ok(real)
    }

    pub(super) async fn download(&mut self, session: &str, target: Ref) -> Result<Acted> {
        let before = self.cdp.world().downloads.len();
        let mut acted = self.click(session, target, &Press::default()).await?;
        let (time, bytes_max) = (self.limits.download, self.limits.download_bytes_max);
        let ended = self.cdp.until(|world| {
            let download = world.downloads.get(before)?;
            let over = download.bytes > bytes_max;
            (over || download.state != "inProgress").then(|| download.clone())
        });
        let download = match tokio::time::timeout(time, ended).await {
            Ok(download) => download?,
            Err(_) => {
                let begun = self.cdp.world().downloads.get(before).cloned();
                return Err(match begun {
                    Some(download) => {
                        self.cancel(&download).await;
                        Error::Timeout { what: format!("the download of {}", download.name), after: time }
                    }
                    None => Error::Unfit { target, why: "gives no file when it is clicked".to_owned() },
                });
            }
        };
        if download.state == "inProgress" {
            self.cancel(&download).await;
            let what = format!("the download of {}", download.name);
            let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            return Err(Error::TooLarge { what, bytes_max });
        }
        if download.state != "completed" {
            return Err(Error::Unreachable {
                address: download.url,
                why: "the download broke off".to_owned(),
            });
        }
        acted.files = vec![self.kept(&download)?];
        acted.text = Some(format!("{} bytes from {}", download.bytes, download.url));
        acted.changed = true;
        Ok(acted)
    }

    async fn cancel(&self, download: &Download) {
        let cancelled = self.cdp.tell(None, "Browser.cancelDownload", json!({"guid": download.guid})).await;
        drop(cancelled);
        drop(std::fs::remove_file(self.downloads.path().join(&download.guid)));
    }

    /// The file under the name that its page gave it, without what could lead elsewhere.
    fn kept(&self, download: &Download) -> Result<PathBuf> {
        let from = self.downloads.path().join(&download.guid);
        let plain = |letter: char| letter.is_alphanumeric() || " ._-()".contains(letter);
        let name: String = download.name.chars().filter(|letter| plain(*letter)).take(100).collect();
        let name = name.trim_start_matches('.');
        let folder =
            self.downloads.path().join(format!("of-{}", &download.guid[..download.guid.len().min(8)]));
        let to = folder.join(if name.is_empty() { "download" } else { name });
        std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
        std::fs::rename(&from, &to).map_err(|error| Error::file(&from, error))?;
        Ok(to)
    }
}
