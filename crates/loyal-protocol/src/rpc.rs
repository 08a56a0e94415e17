//! The seam to a chain: one JSON-RPC request, in this process, over HTTP, or to several endpoints that must agree.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{Failure, Outcome, contracts, devnet::Chain, reason};

/// What answers JSON-RPC.
pub trait Rpc: Send + Sync + fmt::Debug {
    /// Answers one request.
    ///
    /// # Errors
    /// [`Failure::Silent`], [`Failure::Nonsense`], [`Failure::Reverted`] and [`Failure::Refused`].
    fn request(&self, method: &str, params: Value) -> Outcome<Value>;

    /// What to call it in a sentence.
    fn name(&self) -> String;
}

impl Rpc for Chain {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        Self::request(self, method, params).map_err(|fault| {
            refusal(self, method, i64::from(fault.code), &fault.message, fault.data.unwrap_or_default())
        })
    }

    fn name(&self) -> String {
        "the embedded chain".to_owned()
    }
}

/// An endpoint over HTTP.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    url: String,
}

impl Http {
    /// The endpoint at `url`, which must answer within `patience`.
    #[must_use]
    pub fn new(url: &str, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.new_agent(), url: url.to_owned() }
    }

    fn nonsense(&self, method: &str, why: impl Into<String>) -> Failure {
        Failure::Nonsense { endpoint: self.url.clone(), method: method.to_owned(), why: why.into() }
    }
}

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

impl Rpc for Http {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let silent = |why: String| Failure::Silent { endpoint: self.url.clone(), why };
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(&body);
        let mut reply = sent.map_err(|error| silent(error.to_string()))?;
        let text = reply.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| silent(error.to_string()))?;
        let mut answer: Value = serde_json::from_str(&text)
            .map_err(|_| self.nonsense(method, format!("status {}, no JSON", reply.status())))?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let code = error["code"].as_i64().unwrap_or_default();
            let data = error["data"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            return Err(refusal(self, method, code, error["message"].as_str().unwrap_or("no message"), data));
        }
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(self.nonsense(method, "neither a result nor an error")),
        }
    }

    fn name(&self) -> String {
        self.url.clone()
    }
}

/// Several endpoints that must say the same. What is sent goes to all of them.
#[derive(Debug, Clone)]
pub struct Agreeing {
    endpoints: Vec<Arc<dyn Rpc>>,
}

impl Agreeing {
    /// All of these.
    #[must_use]
    pub const fn new(endpoints: Vec<Arc<dyn Rpc>>) -> Self {
        Self { endpoints }
    }
}

impl Rpc for Agreeing {
    fn request(&self, method: &str, params: Value) -> Outcome<Value> {
        let mut first: Option<(String, Outcome<Value>)> = None;
        for endpoint in &self.endpoints {
            let answer = endpoint.request(method, params.clone());
            match &first {
                None => first = Some((endpoint.name(), answer)),
                // A transaction one endpoint has heard of from another is known: that is no disagreement.
                Some((_, before)) if method == "eth_sendRawTransaction" => {
                    if before.is_err() && answer.is_ok() {
                        first = Some((endpoint.name(), answer));
                    }
                }
                Some((name, before)) => agree(method, (name, before), (&endpoint.name(), &answer))?,
            }
        }
        first.map_or_else(
            || Err(Failure::Silent { endpoint: "no endpoint".to_owned(), why: "none was given".to_owned() }),
            |(_, answer)| answer,
        )
    }

    fn name(&self) -> String {
        self.endpoints.iter().map(|endpoint| endpoint.name()).collect::<Vec<_>>().join(" and ")
    }
}

fn agree(method: &str, first: (&str, &Outcome<Value>), second: (&str, &Outcome<Value>)) -> Outcome<()> {
    let same = match (first.1, second.1) {
        (Ok(a), Ok(b)) => a == b,
        (Err(Failure::Reverted { data: a, .. }), Err(Failure::Reverted { data: b, .. })) => a == b,
        (Err(failure), _) | (_, Err(failure)) => return Err(failure.clone()),
    };
    if same {
        return Ok(());
    }
    Err(Failure::Disagreement {
        method: method.to_owned(),
        first: first.0.to_owned(),
        second: second.0.to_owned(),
    })
}

/// An endpoint's error as one of ours: a revert with its facts, or the endpoint's own words.
fn refusal(
    endpoint: &dyn Rpc,
    method: &str,
    code: i64,
    message: &str,
    data: alloy_primitives::Bytes,
) -> Failure {
    if code == 3 || !data.is_empty() {
        let own = contracts::revert_of(&data).map(|error| reason::sentence(&error));
        let reason = own.unwrap_or_else(|| message.to_owned());
        return Failure::Reverted { reason, data };
    }
    Failure::Refused {
        endpoint: endpoint.name(),
        method: method.to_owned(),
        code,
        message: message.to_owned(),
    }
}
