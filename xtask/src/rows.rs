//! The rows of the architecture: which crate may use which, and what every package owes its reader.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use crate::finding::Finding;
use crate::workspace::Workspace;

/// One crate of the picture: its row, its name, and which of our crates it may use (`*` for any below).
pub type Row = (u8, &'static str, &'static [&'static str]);

/// A package's `Cargo.toml`.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it stands, relative to the root.
    pub path: String,
    /// The package's name.
    pub name: String,
    /// All of it.
    pub table: Table,
}

impl Manifest {
    /// Reads a manifest; `None` for one without a package.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn parse(path: &str, text: &str) -> Result<Option<Self>> {
        let table: Table = text.parse().with_context(|| format!("{path}: not TOML"))?;
        let name = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        let Some(name) = name.map(str::to_owned) else { return Ok(None) };
        Ok(Some(Self { path: path.to_owned(), name, table }))
    }

    /// Every manifest of a package in the checkout.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let mut manifests = Vec::new();
        for path in workspace.tracked()?.iter().filter(|path| is_ours(path)) {
            let text = workspace.text(path)?.with_context(|| format!("{path}: not UTF-8"))?;
            manifests.extend(Self::parse(path, &text)?);
        }
        Ok(manifests)
    }

    /// Names of the packages it depends on, with the table that says so, for every target.
    pub fn dependencies(&self) -> Vec<(String, String, &Value)> {
        let targets = self.table.get("target").and_then(Value::as_table);
        let tables = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        let mut dependencies = Vec::new();
        for table in std::iter::once(&self.table).chain(tables) {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                for (name, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                    let package = value.get("package").and_then(Value::as_str).unwrap_or(name);
                    dependencies.push((kind.to_owned(), package.to_owned(), value));
                }
            }
        }
        dependencies
    }
}

fn is_ours(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml") && !path.contains("/node_modules/")
}

/// Faults of the rows themselves: an edge that does not lead downwards, or to a crate that is not there.
pub fn faults_of_rows(rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for (row, name, uses) in rows {
        for used in uses.iter().filter(|used| **used != "*") {
            match rows.iter().find(|(_, other, _)| other == used) {
                Some((below, ..)) if below < row => {}
                Some((other, ..)) => {
                    faults.push(format!("{name} (row {row}) may not use {used} (row {other})"));
                }
                None => faults.push(format!("{name} uses {used}, which has no row")),
            }
        }
    }
    faults
}

/// Holds every package's dependencies against the rows.
pub fn faults_of_edges(rows: &[Row], manifests: &[Manifest]) -> Vec<Finding> {
    let row_of = |name: &str| rows.iter().find(|(_, crate_name, _)| *crate_name == name);
    let mut findings = Vec::new();
    for manifest in manifests {
        let Some((row, name, uses)) = row_of(&manifest.name) else {
            let problem = format!("{} has no row; give it one in xtask/tests/tidy.rs", manifest.name);
            findings.push(Finding::new(&manifest.path, 0, problem));
            continue;
        };
        for (kind, used, _) in manifest.dependencies() {
            let Some((below, ..)) = row_of(&used) else { continue };
            let listed = uses.contains(&used.as_str()) || uses.contains(&"*");
            if below >= row || !listed {
                let problem = format!(
                    "[{kind}] {used} (row {below}): {name} (row {row}) may use {}",
                    if uses.is_empty() { "none of our crates".to_owned() } else { uses.join(", ") }
                );
                findings.push(Finding::new(&manifest.path, 0, problem));
            }
        }
    }
    findings
}

/// Holds the rows against the picture `row N  loyal-a  loyal-b` of a document.
pub fn faults_of_picture(rows: &[Row], path: &str, document: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut drawn = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let Some(rest) = line.strip_prefix("row ") else { continue };
        let Some((number, rest)) = rest.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u8>() else { continue };
        let is_name = |word: &&str| *word == "loyal" || word.starts_with("loyal-");
        for name in rest.split_whitespace().map(|word| word.trim_end_matches([',', '*'])).filter(is_name) {
            if rows.iter().any(|(row, known, _)| *row == number && *known == name) {
                drawn.push(name);
            } else {
                let problem =
                    format!("the picture puts {name} in row {number}, xtask/tests/tidy.rs does not");
                findings.push(Finding::new(path, index + 1, problem));
            }
        }
    }
    for (row, name, _) in rows.iter().filter(|(_, name, _)| name.starts_with("loyal")) {
        if !drawn.contains(name) {
            findings.push(Finding::new(path, 0, format!("the picture lacks {name} in row {row}")));
        }
    }
    findings
}

/// What every package owes: a description, a README, the workspace's lints, licence, edition and versions.
pub fn faults_of_package(manifest: &Manifest, has_readme: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fault = |problem: String| findings.push(Finding::new(&manifest.path, 0, problem));
    let package = manifest.table.get("package");
    let field = |name: &str| package.and_then(|package| package.get(name));
    if field("description").and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
        fault("give the package a description".to_owned());
    }
    for name in ["version", "edition", "rust-version", "license"] {
        if !inherits(field(name)) {
            fault(format!("write `{name}.workspace = true`"));
        }
    }
    if !inherits(manifest.table.get("lints")) {
        fault("write `[lints] workspace = true`".to_owned());
    }
    if !has_readme {
        fault("give the package a README.md beside its Cargo.toml".to_owned());
    }
    if ["utils", "util", "common", "helpers", "misc"]
        .iter()
        .any(|word| manifest.name.split('-').any(|p| p == *word))
    {
        fault(format!("{} says nothing: name the crate after its noun", manifest.name));
    }
    for (kind, name, value) in manifest.dependencies() {
        if !inherits(Some(value)) {
            fault(format!(
                "[{kind}] {name}: put it in [workspace.dependencies] and write `{name}.workspace = true`"
            ));
        }
        let library = manifest.name.starts_with("loyal-");
        if library && kind == "dependencies" && name == "anyhow" {
            fault("a library has its own error type; anyhow is for binaries, tests and examples".to_owned());
        }
    }
    findings
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}
