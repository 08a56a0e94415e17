//! Who gets a credential, and for how much.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256};
use loyal_protocol::contracts::CredentialRegistry;
use loyal_protocol::message::{self, Credential};
use loyal_protocol::{Addresses, Client, Key};
use serde::{Deserialize, Serialize};

use crate::admission::SCOPE_INVOKE;
use crate::document::{CredentialFile, SignedCredential, decimal};
use crate::{Error, Result};

/// The format of a credential's file.
pub const FORMAT: &str = "loyal-credential";
/// Its version.
pub const VERSION: u32 = 1;
/// Issuers behind one contract at most.
const KEYS_MAX: usize = 32;

/// What an issuer allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Who may have one; everybody where nobody is named.
    #[serde(default)]
    pub holders: Vec<Address>,
    /// Only this version; any where zero.
    #[serde(default)]
    pub version: u32,
    /// Only this hosting; any where zero.
    #[serde(default)]
    pub hosting: u64,
    /// Only through this builder; any or nobody where zero.
    #[serde(default)]
    pub builder: Address,
    /// Invocations at most.
    pub calls_max: u32,
    /// Spending at most, in base units of the hosting's asset.
    #[serde(with = "decimal")]
    pub spend_max: u128,
    /// How long it is good, in seconds.
    pub lifetime: u64,
    /// Hash of the model's policy under which it is issued; none where zero.
    #[serde(default)]
    pub policy_hash: B256,
}

/// What somebody asks an issuer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// Who will hold it.
    pub holder: Address,
    /// Invocations at most; what the policy allows where none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_max: Option<u32>,
    /// Spending at most, in base units; what the policy allows where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::payment::maybe_decimal")]
    pub spend_max: Option<u128>,
}

/// Who signs: one key, or several behind a contract (ERC-1271).
#[derive(Debug, Clone)]
pub struct Signers {
    /// The contract, where there is one.
    pub contract: Option<Address>,
    /// The keys. Behind a contract their signatures stand one after another, in the order of their accounts, as the
    /// contracts of Safe take them.
    pub keys: Vec<Key>,
}

impl Signers {
    /// The issuer's account.
    ///
    /// # Errors
    /// There is no key, or there are several and no contract.
    pub fn issuer(&self) -> Result<Address> {
        match (self.contract, self.keys.as_slice()) {
            (Some(contract), keys) if !keys.is_empty() && keys.len() <= KEYS_MAX => Ok(contract),
            (None, [key]) => Ok(key.address()),
            (None, [_, _, ..]) => Err(Error::Refused(
                "several keys sign behind a contract only: name it as the issuer".to_owned(),
            )),
            _ => Err(Error::Refused(format!("an issuer has 1 to {KEYS_MAX} keys"))),
        }
    }

    fn sign(&self, digest: B256) -> Bytes {
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        keys.sort_by_key(|key| key.address());
        keys.iter().flat_map(|key| key.sign_bytes(digest).to_vec()).collect::<Vec<u8>>().into()
    }
}

/// An issuer of one model.
#[derive(Debug)]
pub struct Issuer {
    /// The contracts.
    pub at: Addresses,
    /// The model.
    pub model: U256,
    /// What it allows.
    pub policy: Policy,
    /// Who signs.
    pub signers: Signers,
    /// Where the chain answers, for holders.
    pub chain_urls: Vec<String>,
    /// Where hostings answer, for holders.
    pub hosts: Vec<String>,
}

impl Issuer {
    /// Issues a credential under the policy. `salt` tells credentials apart.
    ///
    /// # Errors
    /// [`Error::Refused`] where the policy does not allow it or the chain does not know the issuer; the chain's.
    pub fn issue(&self, client: &Client, wish: &Wish, (salt, now): (B256, u64)) -> Result<CredentialFile> {
        let policy = &self.policy;
        if wish.holder == Address::ZERO {
            return Err(Error::Refused("holder: nobody has the account zero".to_owned()));
        }
        if !policy.holders.is_empty() && !policy.holders.contains(&wish.holder) {
            return Err(Error::Refused(format!(
                "{} is not among those who may have a credential",
                wish.holder
            )));
        }
        let calls_max = wish.calls_max.unwrap_or(policy.calls_max);
        let spend_max = wish.spend_max.unwrap_or(policy.spend_max);
        if calls_max > policy.calls_max || spend_max > policy.spend_max {
            let (calls, spend) = (policy.calls_max, policy.spend_max);
            let what =
                format!("more than the policy allows: {calls} invocations and {spend} base units at most");
            return Err(Error::Refused(what));
        }
        let issuer = self.signers.issuer()?;
        self.check_issuer(client, issuer)?;
        let (model, holder, at) = (self.model, wish.holder, &self.at);
        let call = CredentialRegistry::modelGenerationCall { modelId: model };
        let model_generation = client.call(at.credentials, &call)?;
        let call = CredentialRegistry::holderGenerationCall { modelId: model, holder };
        let credential = Credential {
            modelId: model,
            version: policy.version,
            hostingId: U256::from(policy.hosting),
            holder,
            builder: policy.builder,
            asset: Address::ZERO,
            requestHash: B256::ZERO,
            policyHash: policy.policy_hash,
            scopes: SCOPE_INVOKE,
            callsMax: calls_max,
            spendMax: spend_max,
            notBefore: 0,
            expiresAt: now.saturating_add(policy.lifetime),
            modelGeneration: model_generation,
            holderGeneration: client.call(at.credentials, &call)?,
            salt,
        };
        let domain = message::domain(client.chain_id(), at.registry);
        let signature = self.signers.sign(message::digest(&credential, &domain));
        Ok(self.file(client.chain_id(), SignedCredential { credential, issuer, signature }))
    }

    fn file(&self, chain_id: u64, signed: SignedCredential) -> CredentialFile {
        let at = &self.at;
        CredentialFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain_id,
            chain_urls: self.chain_urls.clone(),
            registry: at.registry,
            channel: at.channel,
            authorization_collector: at.authorization_collector,
            router: at.router,
            gate: at.gate,
            hosts: self.hosts.clone(),
            signed,
        }
    }

    /// Whether the chain lets this account issue.
    fn check_issuer(&self, client: &Client, issuer: Address) -> Result<()> {
        let call = CredentialRegistry::issuerOfCall { modelId: self.model, issuer };
        let term = client.call(self.at.credentials, &call)?;
        if term.since == 0 || term.until != 0 {
            return Err(Error::Refused(format!(
                "{issuer} does not issue for model {}: its owner names issuers",
                self.model
            )));
        }
        Ok(())
    }
}

impl Policy {
    /// Reads a policy from its file.
    ///
    /// # Errors
    /// [`Error::File`] says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let policy: Self = serde_json::from_slice(&bytes).map_err(|error| Error::file(path, error))?;
        if policy.lifetime == 0 || policy.calls_max == 0 || policy.spend_max == 0 {
            return Err(Error::file(path, "lifetime, callsMax and spendMax must be above zero"));
        }
        Ok(policy)
    }
}
