//! The tidy test: the rows of the architecture, and what every file and package owes its reader.
#![allow(clippy::panic_in_result_fn, reason = "a test asserts, and reads files on the way")]

#[path = "tidy/faults.rs"]
mod faults;
#[path = "tidy/policy.rs"]
mod policy;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use xtask::generate::{self, GENERATED};
use xtask::lock::Lock;
use xtask::rows::{self, Manifest, Row};
use xtask::source::Source;
use xtask::vocabulary::Vocabulary;
use xtask::{Finding, Workspace, leak, prose};

/// The picture of ARCHITECTURE.md: row, crate, and which of our crates it may use, in tests too (`*`: any below).
/// When the code shows that a row is wrong, change both in one commit and say why in docs/decisions/.
const ROWS: &[Row] = &[
    (0, "loyal-types", &[]),
    (1, "loyal-model", &["loyal-types"]),
    (1, "loyal-enclave", &["loyal-types"]),
    (1, "loyal-protocol", &["loyal-types"]),
    (1, "loyal-browser", &["loyal-types"]),
    (2, "loyal-fingerprint", &["loyal-types", "loyal-model"]),
    (2, "loyal-training", &["loyal-types", "loyal-model"]),
    (2, "loyal-access", &["loyal-types", "loyal-protocol"]),
    (3, "loyal-roles", ROLES),
    (3, "loyal-agent", &["loyal-types", "loyal-access", "loyal-browser"]),
    (4, "loyal-search", &["loyal-types", "loyal-agent"]),
    (4, "loyal-social", &["loyal-types", "loyal-agent"]),
    (5, "loyal-chat", &["loyal-types", "loyal-access", "loyal-agent", "loyal-search"]),
    (6, "loyal", &["*"]),
    // Outside of the picture: the chores know none of our crates, the fuzz targets know the parsers.
    (7, "xtask", &[]),
    (7, "fuzz", &["*"]),
];
const ROLES: &[&str] =
    &["loyal-types", "loyal-model", "loyal-fingerprint", "loyal-protocol", "loyal-access", "loyal-enclave"];

/// Packages whose absence is the architecture: in none of these crates, directly.
const ABSENT_PACKAGES: &[(&[&str], &[&str], &str)] = &[
    (
        &["loyal-types", "loyal-model", "loyal-fingerprint", "loyal-training"],
        NETWORK,
        "knows no chain and no HTTP",
    ),
    (&["loyal-protocol", "loyal-access", "loyal-browser", "loyal-agent"], WEIGHTS, "knows no weights"),
    (&["loyal-search", "loyal-social", "loyal-chat"], WEIGHTS, "knows no weights"),
];
const NETWORK: &[&str] = &[
    "reqwest",
    "hyper",
    "ureq",
    "axum",
    "tokio",
    "alloy",
    "alloy-primitives",
    "revm",
    "jsonrpsee",
    "hf-hub",
];
const WEIGHTS: &[&str] = &["candle-core", "safetensors", "tokenizers", "gemm"];

/// What no crate below row 6 asks the system for: it is passed in.
const ABSENT_CALLS: &[(&str, &str)] = &[
    ("SystemTime::now", "take a Clock"),
    ("Instant::now", "take a Clock"),
    ("env::var", "only the binary reads the environment"),
    ("env::var_os", "only the binary reads the environment"),
    ("env::vars", "only the binary reads the environment"),
    ("thread_rng", "take a seed or an Rng"),
    ("rand::rng", "take a seed or an Rng"),
    ("rand::random", "take a seed or an Rng"),
    ("from_os_rng", "take a seed or an Rng"),
    ("from_entropy", "take a seed or an Rng"),
    ("OsRng", "take a seed or an Rng"),
];

/// Lines of a source file before its tests.
const FILE_LINE_COUNT_MAX: usize = 600;

/// File names that say nothing.
const EMPTY_NAMES: &[&str] = &["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];

/// Markdown whose words are not ours, or that has to name the forbidden ones.
const PROSE_EXEMPT: &[&str] = &["docs/vocabulary.md"];

fn workspace() -> Workspace {
    Workspace::here().expect("the tests run in a checkout")
}

/// Fails with every finding on a line of its own.
fn expect_none(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(|finding| format!("  {finding}\n")).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.concat());
}

fn rust_files(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for path in workspace.tracked()?.into_iter().filter(|path| path.ends_with(".rs")) {
        let text = workspace.text(&path)?.with_context(|| format!("{path}: not UTF-8"))?;
        files.push((path, text));
    }
    Ok(files)
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/")
}

/// The crate a path belongs to, if it is a library of rows 0 to 5.
fn library(path: &str) -> Option<&str> {
    let name = path.strip_prefix("crates/")?.split('/').next()?;
    (name != "loyal" && path.contains("/src/")).then_some(name)
}

#[test]
fn edges_lead_downwards() -> Result<()> {
    assert_eq!(rows::faults_of_rows(ROWS), Vec::<String>::new());
    expect_none(&rows::faults_of_edges(ROWS, &Manifest::all(&workspace())?));
    Ok(())
}

#[test]
fn rows_are_those_of_the_picture() -> Result<()> {
    let text = workspace().text("ARCHITECTURE.md")?.context("ARCHITECTURE.md: not UTF-8")?;
    expect_none(&rows::faults_of_picture(ROWS, "ARCHITECTURE.md", &text));
    assert!(text.lines().count() < 300, "ARCHITECTURE.md has 300 lines or more");
    Ok(())
}

/// Several packages have programs: `cargo run` takes the one that a manifest names, if only one does.
#[test]
fn cargo_run_has_one_program_to_choose() -> Result<()> {
    let workspace = workspace();
    let table = |path: &str| -> Result<toml::Table> {
        Ok(workspace.text(path)?.with_context(|| format!("{path}: not UTF-8"))?.parse()?)
    };
    let root = table("Cargo.toml")?;
    let members: Vec<_> = root["workspace"]["default-members"].as_array().into_iter().flatten().collect();
    assert_eq!(members, [&toml::Value::from("crates/*")]);
    let mut named = Vec::new();
    for manifest in Manifest::all(&workspace)?.iter().filter(|manifest| manifest.path.starts_with("crates/"))
    {
        let manifest = table(&manifest.path)?;
        named.extend(manifest["package"].get("default-run").and_then(toml::Value::as_str).map(str::to_owned));
    }
    assert_eq!(named, ["loyal"]);
    Ok(())
}

#[test]
fn packages_are_described_and_linted() -> Result<()> {
    let workspace = workspace();
    let mut findings = Vec::new();
    for manifest in Manifest::all(&workspace)? {
        let readme = workspace.root.join(&manifest.path).with_file_name("README.md");
        findings.extend(rows::faults_of_package(&manifest, readme.is_file()));
        let folder = manifest.path.trim_end_matches("/Cargo.toml");
        if folder.starts_with("crates/") && folder != format!("crates/{}", manifest.name) {
            findings.push(Finding::new(&manifest.path, 0, "name the folder after the crate"));
        }
    }
    expect_none(&findings);
    Ok(())
}

#[test]
fn what_is_absent_stays_absent() -> Result<()> {
    let workspace = workspace();
    let mut findings = Vec::new();
    for manifest in Manifest::all(&workspace)? {
        let rules = ABSENT_PACKAGES.iter().filter(|(crates, ..)| crates.contains(&manifest.name.as_str()));
        for (_, packages, why) in rules {
            for (_, name, _) in
                manifest.dependencies().iter().filter(|(_, name, _)| packages.contains(&name.as_str()))
            {
                findings.push(Finding::new(&manifest.path, 0, format!("{name}: {} {why}", manifest.name)));
            }
        }
    }
    for (path, text) in rust_files(&workspace)?.iter().filter(|(path, _)| library(path).is_some()) {
        for used in Source::parse(text).with_context(|| path.clone())?.identifiers {
            for (call, why) in ABSENT_CALLS.iter().filter(|(call, _)| *call == used.text) {
                findings.push(Finding::new(path, used.line, format!("{call}: {why}")));
            }
        }
    }
    expect_none(&findings);
    Ok(())
}

#[test]
fn files_say_what_they_are_and_stay_short() -> Result<()> {
    let mut findings = Vec::new();
    for (path, text) in rust_files(&workspace())? {
        if !(text.starts_with("//! ") || text.starts_with("#![doc")) {
            findings.push(Finding::new(&path, 1, "begin with a `//!` sentence that says what the file is"));
        }
        let name = path.rsplit('/').next().unwrap_or(&path);
        if EMPTY_NAMES.contains(&name) {
            findings.push(Finding::new(&path, 0, "name the file after its noun (`foo.rs` with `foo/`)"));
        }
        let source = Source::parse(&text).with_context(|| path.clone())?;
        if source.line_count > FILE_LINE_COUNT_MAX && !is_test(&path) {
            let problem =
                format!("{} lines before its tests, of at most {FILE_LINE_COUNT_MAX}", source.line_count);
            findings.push(Finding::new(&path, 0, problem));
        }
        if library(&path).is_some() && path.ends_with("/src/lib.rs") {
            let others = source.other_items.iter();
            findings.extend(others.map(|item| {
                Finding::new(&path, item.line, "lib.rs is a table of contents: `mod` and `use`")
            }));
        }
    }
    expect_none(&findings);
    Ok(())
}

#[test]
fn words_are_those_of_the_vocabulary() -> Result<()> {
    let workspace = workspace();
    let text = workspace.text("docs/vocabulary.md")?.context("docs/vocabulary.md: not UTF-8")?;
    let vocabulary = Vocabulary::parse(&text).context("docs/vocabulary.md")?;
    let mut findings = Vec::new();
    for (path, text) in rust_files(&workspace)?.iter().filter(|(path, _)| !is_test(path)) {
        findings.extend(prose::in_rust(&vocabulary, path, text)?);
    }
    for path in workspace
        .tracked()?
        .iter()
        .filter(|path| path.ends_with(".md") && !PROSE_EXEMPT.contains(&path.as_str()))
    {
        let text = workspace.text(path)?.with_context(|| format!("{path}: not UTF-8"))?;
        findings.extend(prose::in_markdown(&vocabulary, path, &text));
    }
    expect_none(&findings);
    Ok(())
}

#[test]
fn no_file_names_one_machine() -> Result<()> {
    let workspace = workspace();
    let mut findings = Vec::new();
    for path in workspace.tracked()? {
        if let Some(text) = workspace.text(&path)? {
            findings.extend(leak::findings(&path, &text));
        }
    }
    expect_none(&findings);
    Ok(())
}

#[test]
fn generated_files_are_what_their_generators_make() -> Result<()> {
    expect_none(&generate::findings(&workspace(), GENERATED)?);
    Ok(())
}

#[test]
fn lock_file_is_counted() -> Result<()> {
    let text = workspace().text("Cargo.lock")?.context("Cargo.lock: not UTF-8")?;
    let count = Lock::parse(&text)?.packages.len();
    assert!(count > 0, "Cargo.lock lists no package");
    // Past the test runner's capture: the number is for the reader, also when all is well.
    writeln!(std::io::stderr(), "Cargo.lock: {count} packages")?;
    Ok(())
}
