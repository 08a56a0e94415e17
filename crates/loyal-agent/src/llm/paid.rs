//! A model behind a gate: each ask is an invocation that a caller signs and pays, and keeps the receipt of.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_access::caller::{Piece, Reply};
use loyal_access::wallet::Record;
use loyal_access::{Caller, Error};

use super::dialect::{self, Building, Patience};
use super::{Ask, Completion, Delta, Llm, LlmFault, Payment};

/// A hosted model that is paid. Its wallet's caps hold beside the budget of a run.
#[derive(Debug)]
pub struct Paid {
    caller: Caller,
    model: Option<String>,
    amount_max: u128,
    asset: String,
}

impl Paid {
    /// What a caller's host serves. The host's price of now is the most that one ask may cost, also later on.
    ///
    /// # Errors
    /// [`LlmFault::Unreachable`]; [`LlmFault::Withheld`] where the host says of itself what the chain does not.
    pub async fn open(caller: Caller) -> Result<Self, LlmFault> {
        let terms = caller.terms().await.map_err(fault)?;
        let (amount_max, asset) = (terms.requirements.amount, terms.requirements.asset.to_string());
        Ok(Self { caller, model: None, amount_max, asset })
    }

    /// With the name of the model, for hosts that serve several.
    #[must_use]
    pub fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model;
        self
    }

    /// What it is paid in: the address of an asset.
    #[must_use]
    pub fn asset(&self) -> &str {
        &self.asset
    }

    async fn attempt(
        &self,
        body: &Bytes,
        sink: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Completion, LlmFault> {
        let invoked = self.caller.invoke_within("/chat/completions", body.clone(), self.amount_max).await;
        let mut reply = invoked.map_err(fault)?;
        let read = read(&mut reply, sink).await;
        // What was paid is told also where the answer cannot be read.
        if let Some(record) = reply.record() {
            sink(Delta::Paid(payment(record)));
        }
        read
    }
}

async fn read(reply: &mut Reply, sink: &mut (dyn FnMut(Delta) + Send)) -> Result<Completion, LlmFault> {
    let mut building = Building::default();
    while let Some(piece) = reply.next().await.map_err(fault)? {
        let chunk = match &piece {
            Piece::Whole(body) => serde_json::from_slice(body)?,
            Piece::Event(data) => serde_json::from_str(data)?,
        };
        building.add(chunk, sink)?;
    }
    building.end()
}

fn payment(record: &Record) -> Payment {
    let receipt = &record.receipt.receipt.receipt;
    Payment {
        invocation: receipt.invocationId.to_string(),
        host: record.host.clone(),
        asset: record.asset.to_string(),
        amount: receipt.amount,
    }
}

/// What a caller's error means for an ask.
fn fault(error: Error) -> LlmFault {
    let (why, is_short) = (error.to_string(), error.is_short());
    match error {
        Error::Capped { .. } | Error::TooDear { .. } => LlmFault::Capped { why },
        Error::Denied { status: status @ (429 | 503), retry_after, .. } => {
            LlmFault::Busy { status, retry_after: retry_after.map(std::time::Duration::from_secs) }
        }
        Error::Denied { status, code, message, .. } => {
            LlmFault::Refused { status, detail: format!("{message} ({code})") }
        }
        Error::Misbehaved { .. } | Error::Faulted { .. } => LlmFault::Withheld { why },
        // It was paid once; asking anew is a new invocation.
        Error::AnswerGone => LlmFault::Garbage { why },
        Error::Locked { .. } | Error::Wallet { .. } | Error::File { .. } | Error::Refused(_) => {
            LlmFault::Unpaid { why }
        }
        Error::Chain(_) if is_short => LlmFault::Unpaid { why },
        _ => LlmFault::Unreachable { why },
    }
}

impl Llm for Paid {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            let body = Bytes::from(dialect::body(self.model.as_deref(), ask).to_string());
            let mut patience = Patience::default();
            loop {
                match self.attempt(&body, sink).await {
                    Ok(completion) => return Ok(completion),
                    Err(fault) => patience.wait(fault).await?,
                }
            }
        }
        .boxed()
    }

    fn amount_max(&self) -> u128 {
        self.amount_max
    }
}
