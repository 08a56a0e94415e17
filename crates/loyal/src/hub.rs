//! Downloads from the Hugging Face hub, or a mirror of it: lists, redirects, pieces that go on where they were cut, and
//! digests that must fit.

mod fault;
mod part;

use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use fault::Fault;
pub(crate) use part::{Digest, Part};

/// The hub itself.
pub(crate) const HUB: &str = "https://huggingface.co";
const REDIRECTS_MAX: usize = 5;
/// Attempts at one file that bring nothing, before giving up.
const ATTEMPTS_MAX: u32 = 4;
/// The longest list of files that is read.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// A hub, and who asks.
#[derive(Debug)]
pub(crate) struct Hub {
    agent: Agent,
    endpoint: String,
    access: Option<Access>,
}

/// An access token, and the file it comes from.
struct Access {
    bearer: String,
    file: PathBuf,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("file", &self.file).finish_non_exhaustive()
    }
}

/// One state of a model on the hub.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// The model, as `organisation/name`.
    pub(crate) id: String,
    /// The commit that the revision stands for now.
    pub(crate) commit: String,
    /// Its files.
    pub(crate) names: Vec<String>,
}

/// A file on the hub.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Its name.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// What its content must be.
    pub(crate) digest: Digest,
    id: String,
    url: String,
}

impl Hub {
    /// The hub at `endpoint`; `token_file`, where it exists, holds an access token.
    ///
    /// # Errors
    /// The address is none, or the token cannot be read or must not be sent there.
    pub(crate) fn new(endpoint: &str, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        ensure!(
            endpoint.starts_with("https://") || endpoint.starts_with("http://"),
            "HF_ENDPOINT is {endpoint:?}; it must begin with https://"
        );
        let token_file = token_file.filter(|file| file.exists());
        let access = token_file.map(|file| Access::read(&endpoint, file)).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, where it is known who may see the access token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("loyal/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        Ok(Self { agent: config.build().into(), endpoint, access })
    }

    /// The files of a model at a revision.
    ///
    /// # Errors
    /// The hub cannot be reached, refuses, or answers something else.
    pub(crate) fn list(&self, id: &str, revision: &str) -> anyhow::Result<Listing> {
        check_name(id, revision)?;
        let url = format!("{}/api/models/{id}/revision/{}", self.endpoint, revision.replace('/', "%2F"));
        let mut response = self.get(&url, 0)?;
        if response.status().as_u16() != 200 {
            return Err(self.refused(
                response.status().as_u16(),
                &format!("{id} at revision {revision}"),
                id,
            ));
        }
        let odd = || format!("{url}: the answer is no list of files; is HF_ENDPOINT the address of a hub?");
        let bytes =
            response.body_mut().with_config().limit(LIST_BYTES_MAX).read_to_vec().with_context(odd)?;
        let value: Value = serde_json::from_slice(&bytes).with_context(odd)?;
        let commit = value["sha"].as_str().with_context(odd)?.to_owned();
        let siblings = value["siblings"].as_array().with_context(odd)?;
        let names =
            siblings.iter().filter_map(|file| file["rfilename"].as_str()).map(str::to_owned).collect();
        check_name(id, &commit)?;
        Ok(Listing { id: id.to_owned(), commit, names })
    }

    /// Size and digest of a file.
    ///
    /// # Errors
    /// As [`Hub::list`].
    pub(crate) fn describe(&self, listing: &Listing, name: &str) -> anyhow::Result<Remote> {
        let url = format!("{}/{}/resolve/{}/{name}", self.endpoint, listing.id, listing.commit);
        let mut at = url.clone();
        for _ in 0..REDIRECTS_MAX {
            let response = self.ask(self.agent.head(&at), &at)?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let moved = header("location").filter(|_| (300..400).contains(&status));
            // A renamed model moves on the hub itself; a large file lies elsewhere, and the hub says what it is.
            if let Some(path) = moved.filter(|to| to.starts_with('/')) {
                at = format!("{}{path}", self.endpoint);
                continue;
            }
            if status != 200 && moved.is_none() {
                return Err(self.refused(status, &format!("{name} of {}", listing.id), &listing.id));
            }
            let size = header("x-linked-size").or_else(|| header("content-length")).map(str::parse);
            let etag = header("x-linked-etag").or_else(|| header("etag")).and_then(Digest::from_etag);
            let (Some(Ok(bytes)), Some(digest)) = (size, etag) else {
                bail!(
                    "{url}: the hub names no size and digest, so that the file could not be checked; use another HF_ENDPOINT"
                );
            };
            return Ok(Remote { name: name.to_owned(), bytes, digest, id: listing.id.clone(), url: at });
        }
        bail!("{url}: more than {REDIRECTS_MAX} redirects; try again later")
    }

    /// Brings `part` to its full size, going on behind what is there, and checks it. `on_bytes` hears of each
    /// piece and may stop.
    ///
    /// # Errors
    /// The network stays away, the disk is full, `on_bytes` stops ([`crate::ending::Ending::Interrupted`]), or
    /// the content is not what the hub says: then `part` is deleted.
    pub(crate) fn download(
        &self,
        remote: &Remote,
        part: &Part,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let mut futile = 0;
        while part.bytes() < remote.bytes {
            let before = part.bytes();
            let Err(fault) = self.transfer(remote, part, on_bytes) else { break };
            futile = if part.bytes() > before { 0 } else { futile + 1 };
            match fault {
                Fault::Final(error) => return Err(error),
                Fault::Passing(error) if futile + 1 >= ATTEMPTS_MAX => {
                    let (have, all) = (part.bytes(), remote.bytes);
                    return Err(error.context(format!(
                        "{}: the transfer breaks off at {have} of {all} bytes; what is there is kept: run the command again to go on",
                        remote.name
                    )));
                }
                Fault::Passing(_) => std::thread::sleep(Duration::from_millis(200 << futile)),
            }
        }
        part.check(&remote.digest, remote.bytes)
    }

    /// One attempt.
    fn transfer(
        &self,
        remote: &Remote,
        part: &Part,
        on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let start = part.bytes();
        let response = self.get(&remote.url, start).map_err(Fault::Passing)?;
        let status = response.status().as_u16();
        let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
        let goes_on = range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")));
        let append = match status {
            206 if goes_on => true,
            200 => false,
            // What is there does not fit what the server has: once more from the beginning.
            206 | 416 => {
                part.clear().map_err(Fault::Final)?;
                return Err(Fault::Passing(anyhow::anyhow!(
                    "the server answers another range than asked for"
                )));
            }
            429 | 500.. => return Err(Fault::Passing(anyhow::anyhow!("the server answers {status}"))),
            _ => return Err(Fault::Final(self.refused(status, &remote.name, &remote.id))),
        };
        let mut file = part.open(append).map_err(Fault::Final)?;
        let mut left = remote.bytes - if append { start } else { 0 };
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Err(Fault::Passing(anyhow::anyhow!("the server ends the transfer early"))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Passing(error.into())),
                Ok(count) => count.min(usize::try_from(left).unwrap_or(usize::MAX)),
            };
            part.write(&mut file, &buffer[..count]).map_err(Fault::Final)?;
            left -= count as u64;
            if on_bytes(part.bytes()).is_break() {
                return Err(Fault::Final(crate::ending::Ending::Interrupted.into()));
            }
        }
        part.sync(&file).map_err(Fault::Final)
    }

    /// GET from byte `start` on, through redirects.
    fn get(&self, url: &str, start: u64) -> anyhow::Result<Response<Body>> {
        let mut at = url.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let mut request = self.agent.get(&at);
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = self.ask(request, &at)?;
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            match location.filter(|_| response.status().is_redirection()) {
                None => return Ok(response),
                Some(path) if path.starts_with('/') => at = format!("{}{path}", origin(&at)),
                Some(other) => at = other.to_owned(),
            }
        }
        bail!("{url}: more than {REDIRECTS_MAX} redirects; try again later")
    }

    /// Sends a request; the access token goes to the hub itself only.
    fn ask(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
        url: &str,
    ) -> anyhow::Result<Response<Body>> {
        if let Some(access) = self.access.as_ref().filter(|_| origin(url) == origin(&self.endpoint)) {
            request = request.header("authorization", &access.bearer);
        }
        request.call().map_err(|error| fault::unreachable(origin(url), &error))
    }

    fn refused(&self, status: u16, what: &str, id: &str) -> anyhow::Error {
        let file = self.access.as_ref().map(|access| access.file.as_path());
        fault::refused(status, what, &format!("{}/{id}", self.endpoint), file)
    }
}

/// What a request to the hub at `endpoint` shows, from the file of an access token.
///
/// # Errors
/// The token cannot be read or must not be sent there.
pub(crate) fn bearer(endpoint: &str, file: &Path) -> anyhow::Result<String> {
    Access::read(endpoint, file).map(|access| access.bearer)
}

impl Access {
    fn read(endpoint: &str, file: &Path) -> anyhow::Result<Self> {
        let host = endpoint.split("://").nth(1).unwrap_or_default();
        let local = ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host.starts_with(name));
        ensure!(
            local || endpoint.starts_with("https://"),
            "the access token in {} would go unencrypted to {endpoint}; use https:// in HF_ENDPOINT",
            file.display()
        );
        let shown = file.display();
        let text =
            fs::read_to_string(file).with_context(|| format!("{shown}: reading the access token failed"))?;
        let token = text.trim();
        let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(fits, "{shown}: there is no access token in it; it must hold one, and nothing else");
        Ok(Self { bearer: format!("Bearer {token}"), file: file.to_owned() })
    }
}

/// `https://host` of an address.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |at| &url[..start + at])
}

/// Names that stand in an address as they are, and cannot lead anywhere else.
pub(crate) fn check_name(id: &str, revision: &str) -> anyhow::Result<()> {
    let plain = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !text.is_empty() && text.bytes().all(fits) && !text.starts_with('.') && !text.contains("..")
    };
    let parts: Vec<&str> = id.split('/').collect();
    ensure!(
        parts.len() <= 2 && parts.iter().all(|part| plain(part)),
        "{id:?} is no model's id; it is written organisation/name, such as HuggingFaceTB/SmolLM2-135M"
    );
    ensure!(revision.split('/').all(plain), "{revision:?} is no revision; give a branch, a tag or a commit");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_nowhere_else() {
        for good in ["gpt2", "HuggingFaceTB/SmolLM2-135M", "a/b_c.d-e"] {
            assert!(check_name(good, "main").is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/b/c", "../x", "a/..", "a b", "a?b", "a#b", "a%2Fb", ".hidden/x", "https://x/y"]
        {
            assert!(check_name(bad, "main").is_err(), "{bad}");
            assert!(check_name("a/b", "x").is_ok());
        }
        assert!(check_name("a/b", "refs/pr/1").is_ok());
        assert!(check_name("a/b", "../..").is_err());
    }

    #[test]
    fn origins() {
        assert_eq!(origin("https://a.example/b/c?d"), "https://a.example");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        // A name that only begins like the hub's is another.
        assert_ne!(origin("https://huggingface.co.example/x"), HUB);
    }

    #[test]
    fn access_tokens_stay_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "hf_secret\n").unwrap();
        let hub = Hub::new("https://hub.example/", Some(&file)).unwrap();
        assert!(!format!("{hub:?}").contains("hf_secret"));
        let error = Hub::new("http://hub.example", Some(&file)).unwrap_err().to_string();
        assert!(error.contains("unencrypted") && !error.contains("hf_secret"), "{error}");
        fs::write(&file, "two words").unwrap();
        let error = Hub::new(HUB, Some(&file)).unwrap_err().to_string();
        assert!(error.contains("token") && !error.contains("two words"), "{error}");
    }
}
