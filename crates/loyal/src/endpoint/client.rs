//! Requests over HTTP: patient with hosts that are busy, short with those that answer nonsense, never beyond a budget.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_types::Clock as _;
use serde_json::Value;
use ureq::Agent;

use crate::clock::SystemClock;
use crate::{env, stop};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Times a request is sent that brings nonsense or no answer at all.
const TRIES_MAX: u32 = 4;
/// The longest wait between two tries, unless the host asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Where an API key is read from; it is never given by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// A file that holds it and nothing else.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

/// How much is asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Time for one answer.
    pub(crate) timeout: Duration,
    /// How long a host may say that it is busy before it is given up.
    pub(crate) give_up_after: Duration,
    /// Requests in all, ordinary prompts and repetitions counted.
    pub(crate) budget: Option<usize>,
    /// Time between the beginnings of two requests, at least.
    pub(crate) pace: Duration,
    /// Whether requests say which program sends them.
    pub(crate) says_who: bool,
}

/// Why a request brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The host does not answer this prompt.
    #[error("{0}")]
    Refused(String),
    /// The host answers nothing at all.
    #[error("{0}")]
    Gone(String),
    /// There is no such path: the endpoint does not know this way of asking.
    #[error("{0}")]
    NoSuchWay(String),
}

/// An endpoint's address, and who asks.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    bearer: Option<String>,
    limits: Limits,
    state: Arc<State>,
}

/// What all threads that ask know.
#[derive(Debug, Default)]
struct State {
    sent: AtomicUsize,
    /// When the next request may be sent.
    free_at: Mutex<Duration>,
    gone: Mutex<Option<String>>,
}

impl Client {
    /// The endpoint at `url`: its base (`https://host/v1`), or its host alone.
    ///
    /// # Errors
    /// The address is none, or the API key cannot be read or must not be sent there.
    pub(crate) fn new(url: &str, access: Option<&Access>, limits: Limits) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let rest =
            rest.with_context(|| format!("{url:?} is no address; it must begin with https:// or http://"))?;
        ensure!(
            !rest.is_empty() && !rest.contains(['?', '#', '@']),
            "{url:?}: give the base address, such as https://host/v1"
        );
        let base = if rest.contains('/') { url.to_owned() } else { format!("{url}/v1") };
        let bearer = access.map(|access| access.read().map(|key| format!("Bearer {key}"))).transpose()?;
        let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&without_port(rest));
        ensure!(
            bearer.is_none() || is_local || url.starts_with("https://"),
            "the API key would go unencrypted to {url}; use https://"
        );
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry prompts, and perhaps the key, to somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(if limits.says_who { concat!("loyal/", env!("CARGO_PKG_VERSION")) } else { "" })
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_global(Some(limits.timeout));
        Ok(Self { agent: config.build().into(), base, bearer, limits, state: Arc::default() })
    }

    /// Base address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Scheme, name and port: what a ledger knows a host by.
    pub(crate) fn host(&self) -> String {
        let start = self.base.find("://").map_or(0, |at| at + 3);
        let end = self.base[start..].find('/').map_or(self.base.len(), |at| start + at);
        self.base[..end].to_lowercase()
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Whether the budget has room for so many more.
    pub(crate) fn affords(&self, requests: usize) -> bool {
        self.limits.budget.is_none_or(|budget| self.sent() + requests <= budget)
    }

    /// Why the host answers nothing any more, once it does.
    pub(crate) fn gone(&self) -> Option<String> {
        self.state.gone.lock().ok()?.clone()
    }

    /// Name of the first model that the endpoint lists.
    ///
    /// # Errors
    /// It cannot be reached or lists none.
    pub(crate) fn first_model(&self) -> anyhow::Result<String> {
        let list = self.request("models", None).map_err(|failure| {
            anyhow::anyhow!("{}: {failure}; if it lists no models, name one with --model", self.base)
        })?;
        let id = list["data"][0]["id"].as_str();
        Ok(id
            .with_context(|| format!("{}/models names no model; name one with --model", self.base))?
            .to_owned())
    }

    /// Sends a request until it is answered, refused, or given up.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.request(path, Some(body))
    }

    fn request(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let start = SystemClock.elapsed();
        let mut tries = 0;
        loop {
            if let Some(problem) = self.gone() {
                return Err(Failure::Gone(problem));
            }
            if !self.affords(1) {
                return Err(Failure::Refused("not asked: the budget of requests is used up".to_owned()));
            }
            if !self.waits_its_turn() {
                return Err(Failure::Refused("not asked: interrupted".to_owned()));
            }
            // One thread may have taken the last one while this one waited.
            if self
                .state
                .sent
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |sent| self.one_more(sent))
                .is_err()
            {
                return Err(Failure::Refused("not asked: the budget of requests is used up".to_owned()));
            }
            let (problem, pause) = match self.send(path, body) {
                Sent::Answered(value) => return Ok(value),
                Sent::Failed(failure) => {
                    if let Failure::Gone(problem) = &failure {
                        self.give_up(problem);
                    }
                    return Err(failure);
                }
                Sent::Busy(status, wait) => {
                    let waited = SystemClock.elapsed() - start;
                    let problem = format!("it answers {status} for {} s now", waited.as_secs());
                    if waited >= self.limits.give_up_after {
                        self.give_up(&problem);
                        return Err(Failure::Gone(problem));
                    }
                    let left = self.limits.give_up_after - waited;
                    (problem, wait.unwrap_or_else(|| pause(tries)).min(left))
                }
                Sent::Odd(problem) => {
                    if tries + 1 >= TRIES_MAX {
                        return Err(Failure::Refused(problem));
                    }
                    (problem, pause(tries))
                }
                Sent::Unreachable(problem) => {
                    if tries + 1 >= TRIES_MAX {
                        self.give_up(&problem);
                        return Err(Failure::Gone(problem));
                    }
                    (problem, pause(tries))
                }
            };
            tries += 1;
            if !wait(pause) {
                return Err(Failure::Refused(format!("interrupted while waiting: {problem}")));
            }
        }
    }

    fn give_up(&self, problem: &str) {
        if let Ok(mut gone) = self.state.gone.lock() {
            gone.get_or_insert_with(|| problem.to_owned());
        }
    }

    fn one_more(&self, sent: usize) -> Option<usize> {
        self.limits.budget.is_none_or(|budget| sent < budget).then_some(sent + 1)
    }

    /// Waits until a request may be sent; false after Ctrl-C.
    fn waits_its_turn(&self) -> bool {
        if self.limits.pace.is_zero() {
            return true;
        }
        let now = SystemClock.elapsed();
        let turn = self.state.free_at.lock().map_or(now, |mut free_at| {
            let turn = now.max(*free_at);
            *free_at = turn.saturating_add(self.limits.pace);
            turn
        });
        wait(turn.saturating_sub(now))
    }

    /// A refusal's own words, shortened: they come from a stranger, who may repeat the key it was shown.
    fn said(&self, body: &[u8], status: u16) -> String {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &value["error"];
        let message =
            error["message"].as_str().or_else(|| error.as_str()).or_else(|| value["detail"].as_str());
        let clean = |text: &str| {
            let text = self.without_key(text);
            text.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        };
        message.map_or_else(
            || format!("it answers {status}"),
            |text| format!("it answers {status}: {}", clean(text)),
        )
    }

    /// Text of the host without the API key, if it is in it.
    pub(crate) fn without_key(&self, text: &str) -> String {
        match self.bearer.as_deref().and_then(|bearer| bearer.strip_prefix("Bearer ")) {
            Some(key) => text.replace(key, "[key]"),
            None => text.to_owned(),
        }
    }

    /// One attempt.
    fn send(&self, path: &str, body: Option<&Value>) -> Sent {
        let url = format!("{}/{path}", self.base);
        let sent = match body {
            Some(body) => {
                let mut request = self.agent.post(&url).header("content-type", "application/json");
                if let Some(bearer) = &self.bearer {
                    request = request.header("authorization", bearer);
                }
                request.send(body.to_string())
            }
            None => {
                let mut request = self.agent.get(&url);
                if let Some(bearer) = &self.bearer {
                    request = request.header("authorization", bearer);
                }
                request.call()
            }
        };
        let mut response = match sent {
            Ok(response) => response,
            Err(ureq::Error::Timeout(_)) => return Sent::Odd("no answer in time".to_owned()),
            Err(error) => return unanswered(&self.base, &error),
        };
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(seconds);
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match (status, read) {
            (200, Ok(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(value) => Sent::Answered(value),
                Err(_) => Sent::Odd("the answer is no JSON".to_owned()),
            },
            (200, Err(error)) => Sent::Odd(format!("the answer breaks off ({error})")),
            (429 | 503 | 529, _) => Sent::Busy(status, retry_after),
            (500.., _) => Sent::Odd(format!("it answers {status}")),
            (401 | 403, _) => Sent::Failed(Failure::Gone(format!(
                "it refuses access ({status}); name a file with --api-key-file, or a variable with --api-key-env"
            ))),
            (404 | 405, read) => {
                Sent::Failed(Failure::NoSuchWay(self.said(&read.unwrap_or_default(), status)))
            }
            (_, read) => Sent::Failed(Failure::Refused(self.said(&read.unwrap_or_default(), status))),
        }
    }
}

/// What one attempt brought.
enum Sent {
    Answered(Value),
    Failed(Failure),
    /// Too many requests, and how long to wait if it says so.
    Busy(u16, Option<Duration>),
    /// Something else than an answer.
    Odd(String),
    /// Nobody there.
    Unreachable(String),
}

fn unanswered(base: &str, error: &ureq::Error) -> Sent {
    match error {
        ureq::Error::HostNotFound => {
            Sent::Failed(Failure::Gone(format!("the name in {base} is not known here")))
        }
        ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            Sent::Unreachable(format!("nobody listens at {base}"))
        }
        ureq::Error::ConnectionFailed => Sent::Unreachable(format!("nobody listens at {base}")),
        // It listens, but what it says is no HTTP, or it hangs up.
        other => Sent::Odd(format!("no answer ({other})")),
    }
}

/// `Retry-After` in seconds. A date would need a clock that both sides share: then the usual pause is made.
fn seconds(header: &str) -> Option<Duration> {
    let seconds: f64 = header.trim().parse().ok()?;
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn pause(tries: u32) -> Duration {
    Duration::from_millis(250u64 << tries.min(10)).min(PAUSE_MAX)
}

/// Waits, but not beyond Ctrl-C: then it is false.
fn wait(pause: Duration) -> bool {
    let end = SystemClock.elapsed().saturating_add(pause);
    loop {
        if stop::asked().is_break() {
            return false;
        }
        let left = end.saturating_sub(SystemClock.elapsed());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

fn without_port(authority: &str) -> &str {
    let host = authority.split('/').next().unwrap_or_default();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name)
}

impl Access {
    fn read(&self) -> anyhow::Result<String> {
        let (name, text) = match self {
            Self::File(file) => (file.display().to_string(), read(file)?),
            Self::Variable(name) => {
                let value = env::variable(name);
                (
                    name.clone(),
                    value.with_context(|| format!("the variable {name} is not set, or is no text"))?,
                )
            }
        };
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{name}: there is no API key in it; it must hold one, and nothing else");
        }
        Ok(key.to_owned())
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{}: reading the API key failed", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(1),
        give_up_after: Duration::from_secs(1),
        budget: None,
        pace: Duration::ZERO,
        says_who: true,
    };

    #[test]
    fn addresses() {
        let base = |url: &str| {
            Client::new(url, None, LIMITS).map(|client| (client.base().to_owned(), client.host()))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            base("http://A.example:80").unwrap(),
            pair("http://A.example:80/v1", "http://a.example:80")
        );
        assert_eq!(
            base("https://a.example/api/").unwrap(),
            pair("https://a.example/api", "https://a.example")
        );
        for bad in ["a.example", "ftp://a", "https://", "https://user@host/v1", "https://a/v1?x=y"] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_stay_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-secret\n").unwrap();
        let access = Access::File(file.clone());
        assert!(Client::new("https://a.example", Some(&access), LIMITS).is_ok());
        assert!(Client::new("http://127.0.0.1:1", Some(&access), LIMITS).is_ok());
        for plain in ["http://a.example", "http://localhost.example", "http://127.0.0.1.example:80"] {
            let error = Client::new(plain, Some(&access), LIMITS).err().unwrap().to_string();
            assert!(error.contains("unencrypted") && !error.contains("secret"), "{error}");
        }
        std::fs::write(&file, "two words").unwrap();
        let error = Client::new("https://a.example", Some(&access), LIMITS).err().unwrap().to_string();
        assert!(error.contains("key") && !error.contains("two words"), "{error}");
    }

    #[test]
    fn waits_are_those_the_host_asks_for() {
        assert_eq!(seconds("7"), Some(Duration::from_secs(7)));
        assert_eq!(seconds("1e300"), Some(Duration::MAX));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(pause(30), PAUSE_MAX);
    }
}
