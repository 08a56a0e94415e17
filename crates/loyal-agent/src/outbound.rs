//! Connections to addresses somebody else wrote, with this crate's errors: the client itself is the one of `loyal-access`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use loyal_access::outbound::{self, Outbound};
use loyal_types::Origin;

pub use loyal_access::outbound::Reach;
pub(crate) use loyal_access::outbound::Reply;

use crate::{Error, Result};

/// The origin of an address, and what a request names there.
pub(crate) fn split(address: &str) -> Result<(Origin, String)> {
    outbound::split(address).map_err(|error| Error::BadAddress { why: error.to_string() })
}

/// Sends one request on a connection of its own. `request` names a path; where it goes is `origin`'s.
///
/// # Errors
/// [`Error::NotPublic`] or [`Error::Connection`].
pub(crate) async fn send(
    origin: &Origin,
    reach: Reach,
    request: Request<Full<Bytes>>,
) -> Result<Response<Reply>> {
    Outbound::new(reach).send(origin, request).await.map_err(|error| match error {
        loyal_access::Error::NotPublic { origin } => Error::NotPublic { origin },
        loyal_access::Error::Connection { origin, why } => Error::Connection { origin, why },
        other => Error::Connection { origin: origin.clone(), why: other.to_string() },
    })
}
