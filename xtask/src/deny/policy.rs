//! The tables of `deny.toml`, as far as this check enforces them; a key it does not know is an error.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Which graph is looked at.
    pub graph: GraphChoice,
    /// For cargo-deny only.
    pub advisories: toml::Table,
    /// Under what terms dependencies may be copied.
    pub licenses: Licences,
    /// Crates not to be used.
    pub bans: Bans,
    /// Where crates may come from.
    pub sources: Sources,
}

/// `[graph]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GraphChoice {
    /// With every feature of ours.
    pub all_features: bool,
}

/// `[licenses]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Licences {
    /// SPDX identifiers, with `WITH exception` where one applies.
    pub allow: Vec<String>,
    /// More for single crates.
    pub exceptions: Vec<Exception>,
    /// Whether an allowed licence nobody uses is worth a word; for cargo-deny only.
    pub unused_allowed_license: Option<Level>,
    /// Our own packages.
    pub private: Private,
}

/// `[licenses.private]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Private {
    /// Whether our own packages need no licence.
    pub ignore: bool,
}

/// One of `[licenses] exceptions`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The crate.
    #[serde(rename = "crate")]
    pub name: String,
    /// What it may be under, besides the general list.
    pub allow: Vec<String>,
}

/// `[bans]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bans {
    /// Several versions of one crate.
    pub multiple_versions: Level,
    /// A dependency of ours on any version.
    pub wildcards: Level,
    /// Whether our own crates may depend on each other without a version.
    pub allow_wildcard_paths: bool,
    /// Crates not to be used.
    pub deny: Vec<Ban>,
    /// Crates that may be there in several versions.
    pub skip: Vec<Skip>,
}

/// One of `[bans] deny`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// The crate.
    #[serde(rename = "crate")]
    pub name: String,
    /// Why.
    pub reason: String,
    /// Crates that may use it all the same.
    #[serde(default)]
    pub wrappers: Vec<String>,
}

/// One of `[bans] skip`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// The crate.
    #[serde(rename = "crate")]
    pub name: String,
    /// Why.
    pub reason: String,
}

/// `[sources]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sources {
    /// A registry that is not listed.
    pub unknown_registry: Level,
    /// A git repository that is not listed.
    pub unknown_git: Level,
    /// Registries.
    pub allow_registry: Vec<String>,
    /// Git repositories.
    pub allow_git: Vec<String>,
}

/// How hard a rule is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not looked at.
    Allow,
    /// Said, not refused.
    #[default]
    Warn,
    /// Refused.
    Deny,
}

impl Policy {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not TOML or holds a key that this check would not enforce.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("deny.toml")
    }
}
