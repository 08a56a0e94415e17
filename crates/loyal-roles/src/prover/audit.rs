//! Audits: is a receipt in the report of its epoch? Anybody who holds receipts can ask, and whoever asked for a model holds some.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use loyal_access::document::{Inclusion, SignedReceipt};
use loyal_access::outbound::{self, Outbound};
use loyal_protocol::contracts::Gate;
use loyal_protocol::{Addresses, Client, message};
use loyal_types::Hash;
use loyal_types::tree::Entry as Leaf;
use serde_json::Value;

use crate::error::{Error, Result};

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longer than any model takes for a few tokens.
const ANSWER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(120);

/// Where a receipt was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// In the report, as this proves.
    Reported(Box<Inclusion>),
    /// Not in it: the host shows no proof, or one that proves nothing.
    Missing {
        /// Whether the receipt alone convicts, since its number is beyond those that the report counts.
        is_proven: bool,
    },
    /// There is no report yet.
    Unposted,
    /// The host does not answer.
    Away(String),
}

/// Looks for a receipt in the report of its epoch; `url` is where its host answers, up to and with `/v1`.
///
/// # Errors
/// The chain's; the receipt is not its hosting's.
pub async fn run(
    (client, at): (&Client, &Addresses),
    outbound: &Outbound,
    url: &str,
    receipt: &SignedReceipt,
) -> Result<Found> {
    let (hosting, epoch) = (receipt.receipt.hostingId, receipt.receipt.epoch);
    let domain = message::domain(client.chain_id(), at.registry);
    let time = crate::ticket::uint48(receipt.receipt.issuedAt);
    let signer = client.call(at.gate, &Gate::signerAtCall { hostingId: hosting, time })?;
    if receipt.signer(&domain) != Some(signer) {
        return Err(Error::refused(format!("the receipt is not signed by hosting {hosting}")));
    }
    let report = client.call(at.gate, &Gate::reportOfCall { hostingId: hosting, epoch })?;
    if report.postedAt == 0 {
        return Ok(Found::Unposted);
    }
    if receipt.receipt.seq >= report.count {
        return Ok(Found::Missing { is_proven: true });
    }
    let address = format!("{url}/receipts/{}", receipt.receipt.invocationId);
    Ok(match send(outbound, Method::GET, &address, Bytes::new()).await {
        Ok((200, body)) => match read(receipt, &body).filter(|shown| is_included(shown, &report, &domain)) {
            Some(inclusion) => Found::Reported(Box::new(inclusion)),
            None => Found::Missing { is_proven: false },
        },
        Ok((status, _)) if status < 500 => Found::Missing { is_proven: false },
        Ok((status, _)) => Found::Away(format!("{url} answered with status {status}")),
        Err(error) => Found::Away(error.to_string()),
    })
}

fn read(receipt: &SignedReceipt, body: &[u8]) -> Option<Inclusion> {
    let mut value = serde_json::from_slice::<Value>(body).ok()?;
    let mut shown = value.get_mut("inclusion")?.take();
    let proof = serde_json::from_value(shown.get_mut("proof")?.take()).ok()?;
    let report = serde_json::from_value(shown.get_mut("report")?.take()).ok()?;
    Some(Inclusion { receipt: receipt.clone(), proof, report })
}

/// Whether a receipt stands in a posted report, at its number.
fn is_included(inclusion: &Inclusion, report: &Gate::Report, domain: &alloy_sol_types::Eip712Domain) -> bool {
    let receipt = &inclusion.receipt.receipt;
    let leaf = Leaf {
        digest: Hash(inclusion.receipt.id(domain).0),
        amount: receipt.amount,
        tokens: u128::from(receipt.tokensIn) + u128::from(receipt.tokensOut),
    };
    inclusion.proof.index == receipt.seq
        && inclusion.proof.count == report.count
        && inclusion.proof.verify(&leaf, Hash(report.root.0))
}

/// Sends JSON to an address and reads what comes back: its status and its bytes.
///
/// # Errors
/// Nobody answers, or with too much.
pub(super) async fn send(
    outbound: &Outbound,
    method: Method,
    url: &str,
    body: Bytes,
) -> Result<(u16, Bytes)> {
    let (origin, path) = outbound::split(url)?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| Error::refused(format!("{url}: {error}")))?;
    let answer = async {
        let (head, body) = outbound.send(&origin, request).await?.into_parts();
        let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let read = read.map_err(|error| Error::refused(format!("{url}: {error}")))?;
        Ok((head.status.as_u16(), read.to_bytes()))
    };
    let late = |_| Error::refused(format!("{url} does not answer"));
    tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(late)?
}
