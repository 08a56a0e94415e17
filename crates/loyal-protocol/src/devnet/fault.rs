//! Errors as JSON-RPC clients get them: the code, the sentence, the revert data.

use alloy_primitives::Bytes;
use jsonrpsee::types::ErrorObjectOwned;
use serde::Serialize;

use crate::Error;

/// The error object of a JSON-RPC answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct Fault {
    /// 3 for a revert, else a code of EIP-1474.
    pub code: i32,
    /// A sentence for people, with the words that clients look for.
    pub message: String,
    /// Revert data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Bytes>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Reverted { .. } => 3,
            Error::Request { .. } | Error::Genesis { .. } | Error::Import { .. } => -32602,
            Error::Rejected { .. } => -32003,
            Error::Unsupported { .. } | Error::Unsafe { .. } => -32004,
            Error::Limit { .. } => -32005,
            Error::Unknown { .. } | Error::Pruned { .. } | Error::Halted { .. } => -32000,
            Error::Locked { .. }
            | Error::Foreign { .. }
            | Error::Format { .. }
            | Error::OtherGenesis { .. }
            | Error::Damaged { .. }
            | Error::Store { .. } => -32603,
        };
        let message = error.to_string();
        let data = if let Error::Reverted { data, .. } = error { Some(data) } else { None };
        Self { code, message, data }
    }
}

impl From<Fault> for ErrorObjectOwned {
    fn from(fault: Fault) -> Self {
        Self::owned(fault.code, fault.message, fault.data)
    }
}
