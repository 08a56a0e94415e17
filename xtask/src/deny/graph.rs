//! The dependency tree, as `cargo metadata` tells it.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

/// Every package of the tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Graph {
    /// In cargo's order.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its SPDX expression, if it has one.
    pub license: Option<String>,
    /// Where it comes from, `kind+address`; absent for ours.
    pub source: Option<String>,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package.
    pub name: String,
    /// The versions that would do.
    #[serde(rename = "req")]
    pub requirement: String,
    /// Whether it is a folder of this checkout.
    #[serde(rename = "path", default, deserialize_with = "present")]
    pub is_path: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.is_some())
}

impl Graph {
    /// Asks cargo, first without a network. Packages for other platforms and features may never have been
    /// downloaded here: then it is asked again, and may fetch them.
    ///
    /// # Errors
    /// When the tree does not match `Cargo.lock`, or a package is neither here nor reachable.
    pub fn read(workspace: &Workspace, all_features: bool) -> Result<Self> {
        let mut arguments = vec!["metadata", "--format-version", "1", "--locked"];
        if all_features {
            arguments.push("--all-features");
        }
        let offline = [&arguments[..], &["--offline"]].concat();
        let json = match workspace.cargo_output(&offline) {
            Ok(json) => json,
            Err(_) => match workspace.cargo_output(&arguments) {
                Ok(json) => json,
                Err(error) => bail!("{error:#}\nrun `cargo fetch --locked` once where there is a network"),
            },
        };
        serde_json::from_slice(&json).context("cargo metadata wrote something else than expected")
    }

    /// Names of the packages whose manifests ask for this one.
    pub fn users(&self, package: &Package) -> Vec<String> {
        let asks =
            |user: &&Package| user.dependencies.iter().any(|dependency| dependency.name == package.name);
        let names: BTreeSet<_> = self.packages.iter().filter(asks).map(|user| user.name.clone()).collect();
        names.into_iter().collect()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}
