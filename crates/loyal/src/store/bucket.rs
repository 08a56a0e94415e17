//! An object store that speaks S3's API, or any address that answers GET: objects by name, signed where there is an account.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loyal_types::Clock as _;
use sha2::{Digest as _, Sha256};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::signature::{self, Account, EMPTY, Signing};
use crate::clock::SystemClock;
use crate::env;

const REGION: &str = "us-east-1";
/// The most that one request may store.
const OBJECT_BYTES_MAX: u64 = 5 << 30;
const ATTEMPTS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);
/// What of an error's body is shown.
const ERROR_BYTES_MAX: u64 = 2_000;

/// Where a store is told to be, besides its address.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct StoreArgs {
    /// Where a store with S3's API answers [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon's]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Its region [default: AWS_REGION, else us-east-1]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// Objects below an address.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    agent: Agent,
    /// What stands before a name: an address without a slash at its end.
    base: String,
    /// How people write it.
    shown: String,
    region: String,
    account: Option<Account>,
}

impl Bucket {
    /// `s3://bucket/prefix`, with the account in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or without one.
    pub(super) fn s3(address: &str, args: &StoreArgs) -> anyhow::Result<Self> {
        let rest = address.strip_prefix("s3://").unwrap_or(address).trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        ensure!(
            (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain),
            "{address}: {bucket:?} is no bucket; write s3://bucket/prefix"
        );
        let region =
            args.region.clone().or_else(|| env::variable("AWS_REGION")).unwrap_or_else(|| REGION.to_owned());
        let endpoint = args
            .endpoint
            .clone()
            .or_else(|| env::variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| env::variable("AWS_ENDPOINT_URL"))
            .filter(|endpoint| !endpoint.is_empty());
        let base = match endpoint {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        let variable = |name: &str| env::variable(name).filter(|value| !value.is_empty());
        let account = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => Some(Account { id, secret, session: variable("AWS_SESSION_TOKEN") }),
            (None, None) => None,
            _ => bail!("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together; one of them is missing"),
        };
        let base = if prefix.is_empty() { base } else { format!("{base}/{}", encoded(prefix)) };
        Self::new(base, address, (region, account))
    }

    /// Anything that answers GET below an address.
    pub(super) fn web(address: &str) -> anyhow::Result<Self> {
        Self::new(address.trim_end_matches('/').to_owned(), address, (REGION.to_owned(), None))
    }

    fn new(base: String, shown: &str, (region, account): (String, Option<Account>)) -> anyhow::Result<Self> {
        ensure!(
            base.starts_with("https://") || base.starts_with("http://"),
            "{base}: the address of a store begins with http:// or https://"
        );
        let shown = shown.trim_end_matches('/').to_owned();
        Ok(Self { agent: super::agent(), base, shown, region, account })
    }

    /// The objects of a folder in it.
    pub(super) fn below(&self, name: &str) -> Self {
        let (base, shown) = (format!("{}/{}", self.base, encoded(name)), format!("{}/{name}", self.shown));
        Self { base, shown, ..self.clone() }
    }

    /// How people write where it is.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// An object, where there is one.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Option<Box<dyn Read>>> {
        let url = format!("{}/{}", self.base, encoded(name));
        let mut response = self.again(name, || {
            let mut request = self.agent.get(&url);
            for (name, value) in self.headers("GET", &url, EMPTY)? {
                request = request.header(name, value);
            }
            Ok(request.call()?)
        })?;
        match response.status().as_u16() {
            200 => Ok(Some(Box::new(response.into_body().into_reader()))),
            404 => Ok(None),
            status => Err(self.refused(name, status, &mut response)),
        }
    }

    /// Stores a file under a name. An object appears whole or not at all: stores see to that.
    pub(super) fn write(&self, name: &str, file: &Path) -> anyhow::Result<()> {
        let url = format!("{}/{}", self.base, encoded(name));
        let open = || File::open(file).with_context(|| file.display().to_string());
        let (bytes, digest) = sha256(&mut open()?)?;
        ensure!(
            bytes <= OBJECT_BYTES_MAX,
            "{}: {bytes} bytes, and a store takes 5 GiB in one piece; save the model in smaller files",
            file.display()
        );
        ensure!(
            self.account.is_some(),
            "{}: storing takes an account; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            self.shown
        );
        let mut response = self.again(name, || {
            let mut request = self.agent.put(&url).header("content-length", bytes);
            for (name, value) in self.headers("PUT", &url, &digest)? {
                request = request.header(name, value);
            }
            Ok(request.send(&open()?)?)
        })?;
        match response.status().as_u16() {
            200 | 201 | 204 => Ok(()),
            status => Err(self.refused(name, status, &mut response)),
        }
    }

    /// Asks a few times where the network or the store is at fault.
    fn again(
        &self,
        name: &str,
        mut ask: impl FnMut() -> anyhow::Result<Response<Body>>,
    ) -> anyhow::Result<Response<Body>> {
        let mut attempt = 1;
        loop {
            let answer = ask();
            let is_good = answer.as_ref().is_ok_and(|response| {
                let status = response.status().as_u16();
                status != 429 && status < 500
            });
            if is_good || attempt == ATTEMPTS_MAX {
                return answer.with_context(|| format!("{}/{name}: the store does not answer", self.shown));
            }
            std::thread::sleep(PAUSE * (1 << attempt));
            attempt += 1;
        }
    }

    /// The headers by which a store knows who asks.
    fn headers(&self, method: &str, url: &str, body: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
        let Some(account) = &self.account else { return Ok(Vec::new()) };
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let now = i64::try_from(SystemClock.unix_seconds())?;
        let time = jiff::Timestamp::from_second(now)?.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = vec![
            ("host", host.to_owned()),
            ("x-amz-content-sha256", body.to_owned()),
            ("x-amz-date", time.clone()),
        ];
        headers.extend(account.session.iter().map(|session| ("x-amz-security-token", session.clone())));
        let region = &self.region;
        let signed = signature::authorization(
            account,
            &Signing { method, path, headers: &headers, body, time: &time, region },
        );
        headers.remove(0);
        headers.push(("authorization", signed));
        Ok(headers)
    }

    fn refused(&self, name: &str, status: u16, response: &mut Response<Body>) -> anyhow::Error {
        let body =
            response.body_mut().with_config().limit(ERROR_BYTES_MAX).read_to_string().unwrap_or_default();
        let says = ["Code", "Message"].iter().filter_map(|tag| {
            let (_, rest) = body.split_once(&format!("<{tag}>"))?;
            rest.split_once("</")
                .map(|(text, _)| text.chars().filter(|c| !c.is_control()).collect::<String>())
        });
        let says: Vec<String> = says.collect();
        let who = match (status, &self.account) {
            (401 | 403, None) => "; no account is set: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            _ => "",
        };
        anyhow::anyhow!("{}/{name}: the store answers {status} {}{who}", self.shown, says.join(": "))
    }
}

/// A name as a path of an address: every byte but letters, digits, `-_.~` and `/` by its number.
pub(super) fn encoded(name: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    name.bytes().map(one).collect()
}

/// How many bytes a file has, and its SHA-256 in hexadecimal digits.
pub(super) fn sha256(file: &mut File) -> anyhow::Result<(u64, String)> {
    let mut digest = Sha256::new();
    let bytes = std::io::copy(file, &mut digest)?;
    Ok((bytes, hex::encode(digest.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_addresses_as_they_are() {
        assert_eq!(encoded("a/b c+é$.bin"), "a/b%20c%2B%C3%A9%24.bin");
        for bad in ["s3://", "s3://A/b", "s3://ab", "s3://a_b/c"] {
            assert!(Bucket::s3(bad, &StoreArgs::default()).is_err(), "{bad}");
        }
    }
}
