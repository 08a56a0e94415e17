//! Each rule finds the fault it is there for, and lets good text pass.

use anyhow::{Context as _, Result};
use xtask::generate::{self, Generated};
use xtask::rows::{self, Manifest, Row};
use xtask::source::Source;
use xtask::step::{self, Timing};
use xtask::vocabulary::Vocabulary;
use xtask::{Finding, Workspace, leak, prose};

const ROWS: &[Row] =
    &[(0, "loyal-a", &[]), (1, "loyal-b", &["loyal-a"]), (1, "loyal-c", &["loyal-a"]), (2, "loyal", &["*"])];

const WORDS: &str = "
| word | meaning | not |
|---|---|---|
| host | runs a model | `provider`, *service* |
| credential | a permission | `permit`, licence (of a file) |

| phrase | whose |
|---|---|
| service worker | the web |
| permit holder | nobody |
";

fn check_edge(manifest: &str, expected: Option<&str>) -> Result<()> {
    let manifest = Manifest::parse("crates/x/Cargo.toml", manifest)?.context("a package")?;
    let found: Vec<_> = rows::faults_of_edges(ROWS, &[manifest]).iter().map(ToString::to_string).collect();
    match expected {
        None => assert_eq!(found, Vec::<String>::new()),
        Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{found:?} should say {part:?}"),
    }
    Ok(())
}

#[test]
fn edges() -> Result<()> {
    check_edge("[package]\nname = 'loyal-b'\n[dependencies]\nloyal-a.workspace = true\nserde = '1'", None)?;
    check_edge("[package]\nname = 'loyal'\n[dependencies]\nloyal-b.workspace = true", None)?;
    let upwards = "[package]\nname = 'loyal-a'\n[dependencies]\nloyal-b.workspace = true";
    check_edge(upwards, Some("[dependencies] loyal-b (row 1): loyal-a (row 0) may use none"))?;
    let sibling = "[package]\nname = 'loyal-b'\n[dev-dependencies]\nloyal-c.workspace = true";
    check_edge(sibling, Some("[dev-dependencies] loyal-c"))?;
    let hidden = "[package]\nname = 'loyal-b'\n[target.'cfg(unix)'.build-dependencies]\nx = { package = 'loyal-c', path = '' }";
    check_edge(hidden, Some("[build-dependencies] loyal-c"))?;
    check_edge("[package]\nname = 'loyal-stranger'", Some("has no row"))
}

#[test]
fn rows_that_lead_upwards() {
    let rows: &[Row] = &[(0, "loyal-a", &["loyal-b"]), (1, "loyal-b", &["loyal-z"])];
    let faults = rows::faults_of_rows(rows);
    assert_eq!(
        faults,
        ["loyal-a (row 0) may not use loyal-b (row 1)", "loyal-b uses loyal-z, which has no row"]
    );
}

#[test]
fn pictures() {
    let good = "row 2   loyal   the binary\nrow 1   loyal-b   loyal-c*   two\nrow 0   loyal-a\n";
    assert_eq!(rows::faults_of_picture(ROWS, "A.md", good), []);
    let found = rows::faults_of_picture(ROWS, "A.md", &good.replace("row 1   loyal-b", "row 0   loyal-b"));
    assert_eq!(found.len(), 4, "two crates in the wrong row, and so missing in their own: {found:?}");
}

#[test]
fn packages() -> Result<()> {
    let good = "[package]\nname = 'loyal-a'\ndescription = 'A.'\nversion.workspace = true\nedition.workspace = true\n\
                rust-version.workspace = true\nlicense.workspace = true\n[dependencies]\nserde.workspace = true\n\
                [lints]\nworkspace = true\n";
    let faults = |text: &str, has_readme| -> Result<usize> {
        Ok(rows::faults_of_package(&Manifest::parse("Cargo.toml", text)?.context("a package")?, has_readme)
            .len())
    };
    assert_eq!(faults(good, true)?, 0);
    assert_eq!(faults(good, false)?, 1, "no README");
    assert_eq!(faults(&good.replace("'A.'", "' '"), true)?, 1, "no description");
    assert_eq!(faults(&good.replace("[lints]\nworkspace = true", ""), true)?, 1, "no lints");
    assert_eq!(
        faults(&good.replace("serde.workspace = true", "serde = '1'"), true)?,
        1,
        "a version of its own"
    );
    assert_eq!(faults(&good.replace("serde.", "anyhow."), true)?, 1, "anyhow in a library");
    assert_eq!(faults(&good.replace("loyal-a", "loyal-utils"), true)?, 1, "a name that says nothing");
    assert_eq!(faults(&good.replace("license.workspace = true", ""), true)?, 1, "no licence");
    Ok(())
}

#[test]
fn sources() -> Result<()> {
    let text = "//! Head.\n\n/// A type.\npub struct Seen { pub field: u8, hidden: u8 }\npub(crate) fn unseen() {}\n\
                impl Seen {\n    pub fn method(&self) { let _ = std::time::Instant::now(); /* no */ }\n}\n\
                // A comment.\npub enum Kind { Variant { inner: u8 } }\nuse a::b;\nmod c;\n\
                const TEXT: &str = r#\"said\"#;\n\n#[cfg(test)]\nmod tests {\n    pub fn in_tests() {}\n}\n";
    let source = Source::parse(text)?;
    let texts =
        |pieces: &[xtask::source::Piece]| pieces.iter().map(|piece| piece.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&source.public_names), ["Seen", "field", "method", "Kind", "Variant", "inner"]);
    assert_eq!(source.line_count, 14);
    for said in [" Head.", " A type.", "A comment.", "said"] {
        assert!(
            texts(&source.prose).iter().any(|text| text == said),
            "{said:?} is missing in {:?}",
            source.prose
        );
    }
    assert!(source.identifiers.iter().any(|piece| piece.text == "Instant::now" && piece.line == 7));
    assert_eq!(source.other_items.len(), 5, "two types, an impl, a function and a constant");
    assert!(Source::parse("fn (").is_err());
    Ok(())
}

fn check_words(text: &str, expected: &[&str]) -> Result<()> {
    let vocabulary = Vocabulary::parse(WORDS)?;
    let found: Vec<_> = prose::in_rust(&vocabulary, "a.rs", text)?.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{text:?}: {found:?}");
    for (found, part) in found.iter().zip(expected) {
        assert!(found.contains(part), "{found:?} should say {part:?}");
    }
    Ok(())
}

#[test]
fn words() -> Result<()> {
    check_words("pub struct Host;", &[])?;
    check_words("pub struct HostProvider;", &["HostProvider says \"provider\"; the word is host"])?;
    check_words("pub trait T { fn new_service(&self); }", &["the public name new_service"])?;
    check_words("fn new_service() {}", &[])?;
    check_words("//! A service, and a licence.", &[])?;
    check_words("//! Two providers.", &["a.rs:1: the text says \"provider\""])?;
    check_words("// A permit.", &["\"permit\""])?;
    check_words("fn f() { panic!(\"no permit\") }", &["\"permit\""])?;
    check_words("//! A permit holder, at https://x.example/provider.", &[])?;
    check_words("pub fn service_worker() {}", &[])
}

#[test]
fn words_of_markdown() -> Result<()> {
    let vocabulary = Vocabulary::parse(WORDS)?;
    let text = "A host.\n```\nprovider\n```\nSee [it](a/provider.md).\nA `Provider`.\n";
    let found = prose::in_markdown(&vocabulary, "a.md", text);
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [6]);
    Ok(())
}

#[test]
fn tables_of_another_shape() {
    for bad in
        ["no table", "| word | meaning | not |\n|---|---|---|\n| a | b |", "| a | b |\n|---|---|\n| c | d |"]
    {
        assert!(Vocabulary::parse(bad).is_err(), "{bad:?}");
    }
}

fn check_leak(path: &str, text: &str, expected: usize) {
    assert_eq!(leak::findings(path, text).len(), expected, "{path}: {text}");
}

#[test]
fn traces_of_a_machine() {
    let home = concat!("/", "home/someone/x");
    check_leak("a.md", &format!("see {home}"), 1);
    check_leak("a.rs", &format!("\"{}\"", concat!("/", "tmp/x")), 1);
    check_leak("a.md", &format!("https://x.example{home}"), 0);
    check_leak("a.md", "crates/work/src and ../root/a", 0);
    check_leak("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"", 0);
    check_leak("Cargo.lock", "source = \"registry+https://crates.example.net/index\"", 1);
    check_leak("web/package-lock.json", "\"resolved\": \"https://npm.example.net/a.tgz\"", 1);
    check_leak("a.md", "https://example.net", 0);
    check_leak("a.md", concat!("https://user:pw@x.arti", "factory.example.net/y"), 1);
}

#[test]
fn generated_files() -> Result<()> {
    let workspace = Workspace::here()?;
    let make = |path, source, make| Generated { path, source, make };
    let good =
        make("LICENSE-MIT", "Cargo.toml", |workspace| Ok(std::fs::read(workspace.root.join("LICENSE-MIT"))?));
    let stale = make("LICENSE-MIT", "Cargo.toml", |_| Ok(b"something else".to_vec()));
    let absent = make("LICENSE-MIT", "no/such/generator.rs", |_| Ok(Vec::new()));
    let found = generate::findings(&workspace, &[good, stale, absent])?;
    assert_eq!(
        found,
        [Finding::new("LICENSE-MIT", 0, "not what its generator makes; run `cargo xtask generate`")]
    );
    Ok(())
}

#[test]
fn closing_line() {
    let timing = |name, ended, seconds| Timing { name, ended, took: std::time::Duration::from_secs(seconds) };
    let text = step::table(&[timing("a", "passed", 90), timing("b", "failed", 9), timing("c", "missing", 1)]);
    assert!(text.ends_with("\n1 passed, 1 failed\n"), "{text}");
    assert!(text.contains("1 min 30 s   90 %  passed"), "{text}");
    assert!(text.contains("1 missing"), "{text}");
}
