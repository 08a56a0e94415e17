//! A model's repository on the Hugging Face hub: read by name, written by one commit.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::env;
use crate::hub::HUB;

const LFS: &str = "application/vnd.git-lfs+json";
/// What of a file the hub wants to see before it says how it takes it.
const SAMPLE_BYTES: u64 = 512;
const ERROR_BYTES_MAX: u64 = 2_000;
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A repository at a revision.
#[derive(Clone)]
pub(crate) struct Repository {
    agent: Agent,
    endpoint: String,
    /// `organisation/name`.
    id: String,
    revision: String,
    bearer: Option<String>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Repository");
        shown.field("endpoint", &self.endpoint).field("id", &self.id).field("revision", &self.revision);
        shown.finish_non_exhaustive()
    }
}

/// A file that is to be committed.
struct Upload<'a> {
    path: &'a str,
    file: std::path::PathBuf,
    bytes: u64,
    sha256: String,
    is_large: bool,
}

impl Repository {
    /// `hf://organisation/name` or `hf://organisation/name@revision`, as whoever the hub's token file says.
    pub(super) fn at(address: &str) -> anyhow::Result<Self> {
        let rest = address.strip_prefix("hf://").unwrap_or(address).trim_end_matches('/');
        let (id, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        crate::hub::check_name(id, revision)?;
        ensure!(id.contains('/'), "{address}: write hf://organisation/name");
        let endpoint = env::hub_endpoint().unwrap_or_else(|| HUB.to_owned()).trim_end_matches('/').to_owned();
        let token_file = env::hub_token_file().filter(|file| file.exists());
        let bearer = token_file.map(|file| crate::hub::bearer(&endpoint, &file)).transpose()?;
        Ok(Self { agent: super::agent(), endpoint, id: id.to_owned(), revision: revision.to_owned(), bearer })
    }

    /// How people write where it is.
    pub(super) fn shown(&self) -> String {
        format!("hf://{}@{}", self.id, self.revision)
    }

    /// A file, where there is one.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Option<Box<dyn Read>>> {
        let name = super::bucket::encoded(name);
        let url = format!("{}/{}/resolve/{}/{name}", self.endpoint, self.id, self.revision);
        let mut request = self.agent.get(&url);
        if let Some(bearer) = &self.bearer {
            // The hub sends large files from elsewhere; what follows a redirect leaves this header behind.
            request = request.header("authorization", bearer);
        }
        let mut response = request.call().with_context(|| format!("{url}: the hub does not answer"))?;
        match response.status().as_u16() {
            200 => Ok(Some(Box::new(response.into_body().into_reader()))),
            404 => Ok(None),
            status => Err(self.refused(&name, status, &mut response)),
        }
    }

    /// Commits files at once; answers the repository at that commit. The repository is made where there is none.
    pub(super) fn commit(&self, folder: &Path, paths: &[&str], list: (&str, &Path)) -> anyhow::Result<Self> {
        ensure!(
            self.bearer.is_some(),
            "{}: writing takes the hub's access token; `hf auth login` keeps one",
            self.shown()
        );
        self.create()?;
        let mut uploads = Vec::new();
        let all = paths.iter().map(|path| (*path, folder.join(path))).chain([(list.0, list.1.to_owned())]);
        for (path, file) in all {
            let (bytes, sha256) = super::bucket::sha256(&mut open(&file)?)?;
            uploads.push(Upload { path, file, bytes, sha256, is_large: false });
        }
        self.ask_modes(&mut uploads)?;
        for upload in uploads.iter().filter(|upload| upload.is_large) {
            self.store_large(upload)?;
        }
        let mut body = tempfile::tempfile()?;
        let line = |body: &mut File, value: &Value| writeln!(body, "{value}");
        let about = json!({ "summary": "Publish weights with loyal", "description": "" });
        line(&mut body, &json!({ "key": "header", "value": about }))?;
        for upload in &uploads {
            let value = if upload.is_large {
                let file = json!({ "path": upload.path, "algo": "sha256", "oid": upload.sha256, "size": upload.bytes });
                json!({ "key": "lfsFile", "value": file })
            } else {
                let content = STANDARD.encode(std::fs::read(&upload.file)?);
                json!({ "key": "file", "value": { "content": content, "path": upload.path, "encoding": "base64" } })
            };
            line(&mut body, &value)?;
        }
        let bytes = std::io::Seek::stream_position(&mut body)?;
        std::io::Seek::rewind(&mut body)?;
        let url = format!("{}/api/models/{}/commit/{}", self.endpoint, self.id, self.revision);
        let request = self.post(&url, "application/x-ndjson").header("content-length", bytes);
        let said = self.answer("the commit", request.send(&body))?;
        let commit = said["commitOid"].as_str().context("the hub names no commit")?;
        crate::hub::check_name(&self.id, commit)?;
        Ok(Self { revision: commit.to_owned(), ..self.clone() })
    }

    /// Makes the repository, unless it is there.
    fn create(&self) -> anyhow::Result<()> {
        let (organization, name) = self.id.split_once('/').unwrap_or(("", &self.id));
        let body = json!({ "type": "model", "name": name, "organization": organization });
        let url = format!("{}/api/repos/create", self.endpoint);
        let mut response = self
            .post(&url, "application/json")
            .send(body.to_string())
            .with_context(|| format!("{url}: the hub does not answer"))?;
        match response.status().as_u16() {
            200 | 201 | 409 => Ok(()),
            status => Err(self.refused("making it", status, &mut response)),
        }
    }

    /// Asks which files the hub wants in its store for large ones.
    fn ask_modes(&self, uploads: &mut [Upload<'_>]) -> anyhow::Result<()> {
        let mut files = Vec::new();
        for upload in uploads.iter() {
            let mut sample = Vec::new();
            open(&upload.file)?.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
            files.push(
                json!({ "path": upload.path, "sample": STANDARD.encode(sample), "size": upload.bytes }),
            );
        }
        let url = format!("{}/api/models/{}/preupload/{}", self.endpoint, self.id, self.revision);
        let request = self.post(&url, "application/json");
        let said = self.answer("the files", request.send(json!({ "files": files }).to_string()))?;
        for told in said["files"].as_array().into_iter().flatten() {
            let path = told["path"].as_str().unwrap_or_default();
            ensure!(told["shouldIgnore"] != json!(true), "{path}: the repository ignores it; rename it");
            for upload in uploads.iter_mut().filter(|upload| upload.path == path && upload.bytes > 0) {
                upload.is_large = told["uploadMode"] == "lfs";
            }
        }
        Ok(())
    }

    /// Sends a large file where the hub wants it, unless it has it (Git LFS, batch API, transfer `basic`).
    fn store_large(&self, upload: &Upload<'_>) -> anyhow::Result<()> {
        let object = json!({ "oid": upload.sha256, "size": upload.bytes });
        let body = json!({ "operation": "upload", "transfers": ["basic"], "objects": [object], "hash_algo": "sha256" });
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.endpoint, self.id);
        let request = self.post(&url, LFS).header("accept", LFS);
        let said = self.answer(upload.path, request.send(body.to_string()))?;
        let told = &said["objects"][0];
        if let Some(why) = told["error"]["message"].as_str() {
            bail!("{}: {}: {}", self.shown(), upload.path, plain(why));
        }
        let action = &told["actions"]["upload"];
        let Some(href) = action["href"].as_str() else { return Ok(()) };
        let mut request = self.agent.put(href).header("content-length", upload.bytes);
        for (name, value) in action["header"].as_object().into_iter().flatten() {
            if let Some(value) = value.as_str().filter(|_| !name.eq_ignore_ascii_case("content-length")) {
                request = request.header(name, value);
            }
        }
        let sent = request.send(&open(&upload.file)?);
        let mut response =
            sent.with_context(|| format!("{}: the store of large files does not answer", upload.path))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(upload.path, status.as_u16(), &mut response));
        }
        if let Some(href) = told["actions"]["verify"]["href"].as_str() {
            ensure!(
                href.starts_with(&format!("{}/", self.endpoint)),
                "{}: the hub wants {} verified elsewhere",
                self.shown(),
                upload.path
            );
            self.answer(upload.path, self.post(href, LFS).send(object.to_string()))?;
        }
        Ok(())
    }

    fn post(&self, url: &str, kind: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(url).header("content-type", kind);
        match &self.bearer {
            Some(bearer) => request.header("authorization", bearer),
            None => request,
        }
    }

    fn answer(&self, what: &str, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut response =
            sent.with_context(|| format!("{}: {what}: the hub does not answer", self.shown()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(what, status.as_u16(), &mut response));
        }
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    fn refused(&self, what: &str, status: u16, response: &mut Response<Body>) -> anyhow::Error {
        let body =
            response.body_mut().with_config().limit(ERROR_BYTES_MAX).read_to_string().unwrap_or_default();
        let says: Value = serde_json::from_str(&body).unwrap_or_default();
        let says = plain(says["error"].as_str().unwrap_or_default());
        anyhow::anyhow!("{}: {what}: the hub answers {status} {says}", self.shown())
    }
}

/// What a server says, without what could move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn open(file: &Path) -> anyhow::Result<File> {
    File::open(file).with_context(|| file.display().to_string())
}
