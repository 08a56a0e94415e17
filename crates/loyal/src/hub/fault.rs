//! What goes wrong between here and the hub, in words that help.

use std::path::Path;

/// Why an attempt brought no file.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    /// None will.
    Final(anyhow::Error),
}

/// No answer at all.
pub(super) fn unreachable(origin: &str, error: &ureq::Error) -> anyhow::Error {
    let cause = match error {
        ureq::Error::HostNotFound => "its name is not known here: there may be no network".to_owned(),
        other => other.to_string(),
    };
    anyhow::anyhow!(
        "no connection to {origin} ({cause}).\n\
         - Without a network: copy the model's folder (config.json, tokenizer.json, model.safetensors) from a \
         computer that has one, and name that folder instead of pulling.\n\
         - With a mirror of the hub: set HF_ENDPOINT to its address.\n\
         - Behind a proxy: set HTTPS_PROXY to its address."
    )
}

/// An answer, but not what was asked for. `page` is where a person can look.
pub(super) fn refused(status: u16, what: &str, page: &str, token_file: Option<&Path>) -> anyhow::Error {
    match (status, token_file) {
        (401 | 403, None) => anyhow::anyhow!(
            "{what}: the hub refuses ({status}): it does not exist, is private, or asks you to accept its terms.\n\
             - Check the spelling, and look at {page}.\n\
             - Put an access token (from your settings on the hub) into a file, and name the file with --token-file \
             or HF_TOKEN_PATH."
        ),
        (401 | 403, Some(file)) => anyhow::anyhow!(
            "{what}: the hub refuses ({status}) the access token in {}: it may have expired, or its owner has not \
             accepted the model's terms; look at {page}",
            file.display()
        ),
        (404, _) => {
            anyhow::anyhow!("{what}: the hub has no such thing (404); check the spelling, and look at {page}")
        }
        _ => anyhow::anyhow!("{what}: the hub answers {status}; try again later, or look at {page}"),
    }
}
