//! What stands before the methods: the client's rate, and batches: one of signed transactions becomes one block.

use std::{borrow::Cow, future::Future, net::IpAddr, sync::Arc};

use alloy_primitives::Bytes;
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, Notification, RpcServiceT},
    server::{BatchResponseBuilder, MethodResponse, ResponsePayload},
    types::{ErrorObjectOwned, Id, Request},
};
use tower::Layer;

use super::{args::Args, chain::Chain, client::Rates, fault::Fault};
use crate::Error;

/// Puts [`Bounded`] before the methods, for one client.
#[derive(Debug, Clone)]
pub(crate) struct BoundLayer {
    pub(crate) chain: Arc<Chain>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) client: IpAddr,
    pub(crate) answer_bytes_max: u32,
}

impl<S> Layer<S> for BoundLayer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, bounds: self.clone() }
    }
}

/// The service before the methods.
#[derive(Debug, Clone)]
pub(crate) struct Bounded<S> {
    inner: S,
    bounds: BoundLayer,
}

impl<S> Bounded<S> {
    fn admit(&self, count: usize) -> Result<(), ErrorObjectOwned> {
        let BoundLayer { rates, chain, client, .. } = &self.bounds;
        if rates.take(*client, count, chain.clock().elapsed()) {
            return Ok(());
        }
        Err(Fault::from(Error::Limit { what: "too many requests; slow down".into() }).into())
    }
}

impl<S> RpcServiceT for Bounded<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Send
        + Sync
        + Clone
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (admitted, inner) = (self.admit(1), self.inner.clone());
        async move {
            match admitted {
                Ok(()) => inner.call(request).await,
                Err(error) => MethodResponse::error(request.id, error),
            }
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let admitted = self.admit(batch.len());
        let (inner, chain, limit) =
            (self.inner.clone(), self.bounds.chain.clone(), self.bounds.answer_bytes_max);
        async move {
            if let Err(error) = admitted {
                return MethodResponse::error(Id::Null, error);
            }
            match transactions(&batch) {
                Some(transactions) => send_all(chain, transactions, limit).await,
                None => inner.batch(batch).await,
            }
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}

type Sent = (Id<'static>, Result<Bytes, Error>);

/// The transactions of a batch that consists of nothing else.
fn transactions(batch: &Batch<'_>) -> Option<Vec<Sent>> {
    let each = batch.iter().map(|entry| match entry {
        Ok(BatchEntry::Call(request)) if request.method_name() == "eth_sendRawTransaction" => {
            let params = request.params.as_ref().map(Cow::as_ref);
            let args = Args::parse(params.map(|params| params.get()));
            let raw = args.and_then(|args| args.required(0, "transaction"));
            Some((request.id.clone().into_owned(), raw))
        }
        _ => None,
    });
    each.collect::<Option<Vec<_>>>().filter(|transactions| transactions.len() > 1)
}

async fn send_all(chain: Arc<Chain>, transactions: Vec<Sent>, limit: u32) -> MethodResponse {
    let sent = tokio::task::spawn_blocking(move || {
        let raws = transactions.iter().filter_map(|(_, raw)| raw.clone().ok()).collect();
        let mut hashes = chain.send_all(raws).into_iter();
        let answer = |raw: Result<Bytes, Error>| {
            raw.and_then(|_| hashes.next().unwrap_or(Err(Error::Unknown { what: "a transaction".into() })))
        };
        let (ids, raws): (Vec<_>, Vec<_>) = transactions.into_iter().unzip();
        ids.into_iter().zip(raws.into_iter().map(answer).collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    let Ok(sent) = sent.await else {
        return MethodResponse::error(
            Id::Null,
            ErrorObjectOwned::from(jsonrpsee::types::ErrorCode::InternalError),
        );
    };
    let mut answers = BatchResponseBuilder::new_with_limit(limit as usize);
    for (id, hash) in sent {
        let payload = match hash {
            Ok(hash) => ResponsePayload::success(hash),
            Err(error) => ResponsePayload::error(Fault::from(error)),
        };
        if let Err(too_large) = answers.append(MethodResponse::response(id, payload, limit as usize)) {
            return too_large;
        }
    }
    MethodResponse::from_batch(answers.finish())
}
