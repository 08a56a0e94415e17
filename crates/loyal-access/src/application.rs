//! A credential asked of its issuer.

use alloy_primitives::Address;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use serde_json::Value;

use crate::document::{self, CredentialFile};
use crate::issuer::Wish;
use crate::outbound::{Outbound, Reach, split};
use crate::verification::Verification;
use crate::{Error, Result};

/// The most bytes of an issuer's answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Wish {
    /// Asks an issuer (its address without `/v1`), and verifies what it gives.
    ///
    /// # Errors
    /// [`Error::Denied`] where it refuses; [`Error::Connection`]; [`Error::Refused`] where the credential is not good.
    pub async fn send(&self, issuer_url: &str, reach: Reach) -> Result<CredentialFile> {
        let base = issuer_url.trim_end_matches('/').trim_end_matches("/v1");
        let (origin, path) = split(&format!("{base}/v1/credentials"))?;
        let body = serde_json::to_vec(self).map_err(|error| Error::Refused(error.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Error::BadAddress { why: error.to_string() })?;
        let (head, body) = Outbound::new(reach).send(&origin, request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Error::Connection { origin, why: error.to_string() })?.to_bytes();
        if !head.status.is_success() {
            let value: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| value["error"][name].as_str().map(str::to_owned);
            return Err(Error::Denied {
                status: head.status.as_u16(),
                code: text("code").unwrap_or_else(|| format!("status_{}", head.status.as_u16())),
                message: text("message").unwrap_or_else(|| "the issuer does not say why".to_owned()),
                retry_after: None,
            });
        }
        read(&body, self.holder)
    }
}

/// Reads the file of a credential, which must be good and this holder's.
///
/// # Errors
/// [`Error::Document`]; [`Error::Refused`] says what is not good.
pub fn read(bytes: &[u8], holder: Address) -> Result<CredentialFile> {
    let file: CredentialFile = document::read("the credential", bytes)?;
    let found = file.signed.credential.holder;
    if found != holder {
        return Err(Error::Refused(format!("the credential is {found}'s, and the key is {holder}'s")));
    }
    let verification = Verification::read(bytes, None)?;
    match verification.findings.iter().find(|(_, is_so)| !is_so) {
        Some((what, _)) => Err(Error::Refused(format!("the credential is not good; this is not so: {what}"))),
        None => Ok(file),
    }
}
