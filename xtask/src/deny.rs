//! `cargo xtask deny`: the tables of `deny.toml`, held against the dependency tree without a network.
//!
//! Licences, bans and sources are looked at. Advisories are not: their database is a download, and
//! `cargo deny check advisories` reads it where there is a network.

pub mod graph;
pub mod licence;
pub mod policy;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use graph::{Graph, Package};
use policy::{Bans, Level, Policy, Sources};

/// What the check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Faults: each fails the check.
    pub faults: Vec<String>,
    /// What the policy only warns of.
    pub warnings: Vec<String>,
}

impl Verdict {
    fn add(&mut self, level: Level, problem: String) {
        match level {
            Level::Deny => self.faults.push(problem),
            Level::Warn => self.warnings.push(problem),
            Level::Allow => {}
        }
    }
}

/// Reads `deny.toml` and the dependency tree, prints what it found.
///
/// # Errors
/// When the tree breaks the policy, or cannot be read here.
pub fn run(workspace: &Workspace) -> Result<()> {
    let text = workspace.text("deny.toml")?.context("deny.toml: not UTF-8")?;
    let policy = Policy::parse(&text)?;
    let graph = Graph::read(workspace, policy.graph.all_features)?;
    let verdict = check(&policy, &graph);
    for warning in &verdict.warnings {
        eprintln!("warning: {warning}");
    }
    for fault in &verdict.faults {
        eprintln!("fault: {fault}");
    }
    eprintln!(
        "deny: {} packages; licences, bans and sources looked at; advisories need `cargo deny check advisories` and a network",
        graph.packages.len()
    );
    if !verdict.faults.is_empty() {
        bail!("{} faults against deny.toml", verdict.faults.len());
    }
    Ok(())
}

/// Holds the tree against the policy.
pub fn check(policy: &Policy, graph: &Graph) -> Verdict {
    let mut verdict = Verdict::default();
    for package in &graph.packages {
        let own = package.source.is_none();
        if !(own && policy.licenses.private.ignore)
            && let Err(problem) = licence::check(&policy.licenses, package)
        {
            verdict.faults.push(format!("{package}: {problem}"));
        }
        check_source(&policy.sources, package, &mut verdict);
        check_bans(&policy.bans, graph, package, &mut verdict);
    }
    check_versions(&policy.bans, graph, &mut verdict);
    verdict
}

fn check_source(sources: &Sources, package: &Package, verdict: &mut Verdict) {
    let Some(source) = &package.source else { return };
    let (kind, address) = source.split_once('+').unwrap_or(("", source));
    let address = address.split(['?', '#']).next().unwrap_or(address).trim_end_matches('/');
    let known = |list: &[String]| list.iter().any(|allowed| allowed.trim_end_matches('/') == address);
    match kind {
        "git" if known(&sources.allow_git) => {}
        "git" => verdict.add(sources.unknown_git, format!("{package}: from the git repository {address}")),
        _ if known(&sources.allow_registry) => {}
        _ => verdict.add(sources.unknown_registry, format!("{package}: from the registry {address}")),
    }
}

fn check_bans(bans: &Bans, graph: &Graph, package: &Package, verdict: &mut Verdict) {
    for ban in bans.deny.iter().filter(|ban| ban.name == package.name) {
        let users = graph.users(package);
        let wrapped = !users.is_empty() && users.iter().all(|user| ban.wrappers.contains(user));
        if !wrapped {
            let reason = &ban.reason;
            verdict.faults.push(format!("{package} is banned: {reason}; it is used by {}", users.join(", ")));
        }
    }
    if package.source.is_some() {
        return;
    }
    for dependency in package.dependencies.iter().filter(|dependency| dependency.requirement == "*") {
        if !(dependency.is_path && bans.allow_wildcard_paths) {
            verdict.add(bans.wildcards, format!("{package}: any version of {} would do", dependency.name));
        }
    }
}

fn check_versions(bans: &Bans, graph: &Graph, verdict: &mut Verdict) {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &graph.packages {
        let skipped = bans.skip.iter().any(|skip| skip.name == package.name);
        if !skipped {
            versions.entry(&package.name).or_default().push(&package.version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    if !versions.is_empty() {
        let list: Vec<_> =
            versions.iter().map(|(name, versions)| format!("{name} ({})", versions.join(", "))).collect();
        let problem = format!("{} crates in more than one version: {}", list.len(), list.join(", "));
        verdict.add(bans.multiple_versions, problem);
    }
}
