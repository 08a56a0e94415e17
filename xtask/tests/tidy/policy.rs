//! The check against `deny.toml` finds what it should in a made-up dependency tree.

use anyhow::Result;
use xtask::deny::graph::{Graph, Package};
use xtask::deny::policy::Policy;
use xtask::deny::{self, Verdict};

const POLICY: &str = "
[licenses]
allow = ['MIT', 'Apache-2.0 WITH LLVM-exception']
exceptions = [{ crate = 'special', allow = ['MPL-2.0'] }]
[bans]
multiple-versions = 'warn'
wildcards = 'deny'
allow-wildcard-paths = true
deny = [{ crate = 'bad', reason = 'it is bad', wrappers = ['wrapper'] }]
[sources]
unknown-registry = 'deny'
unknown-git = 'deny'
allow-registry = ['https://github.com/rust-lang/crates.io-index']
";

fn package(name: &str, license: Option<&str>) -> Package {
    Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: license.map(str::to_owned),
        source: Some("registry+https://github.com/rust-lang/crates.io-index".to_owned()),
        dependencies: Vec::new(),
    }
}

fn using(name: &str, used: &str, requirement: &str, is_path: bool) -> Package {
    let dependency =
        deny::graph::Dependency { name: used.to_owned(), requirement: requirement.to_owned(), is_path };
    Package { dependencies: vec![dependency], ..package(name, Some("MIT")) }
}

fn verdict(packages: Vec<Package>) -> Result<Verdict> {
    Ok(deny::check(&Policy::parse(POLICY)?, &Graph { packages }))
}

fn check_licence(name: &str, license: Option<&str>, allowed: bool) -> Result<()> {
    let verdict = verdict(vec![package(name, license)])?;
    assert_eq!(verdict.faults.is_empty(), allowed, "{license:?}: {:?}", verdict.faults);
    Ok(())
}

#[test]
fn licences() -> Result<()> {
    check_licence("a", Some("MIT"), true)?;
    check_licence("a", Some("GPL-3.0-only"), false)?;
    check_licence("a", Some("GPL-3.0-only OR MIT"), true)?;
    check_licence("a", Some("GPL-3.0-only AND MIT"), false)?;
    check_licence("a", Some("MIT/GPL-2.0"), true)?;
    check_licence("a", Some("Apache-2.0 WITH LLVM-exception"), true)?;
    check_licence("a", Some("Apache-2.0"), false)?;
    check_licence("special", Some("MPL-2.0"), true)?;
    check_licence("a", Some("MPL-2.0"), false)?;
    check_licence("a", None, false)?;
    check_licence("a", Some("Do what you like"), false)
}

#[test]
fn bans() -> Result<()> {
    let alone = verdict(vec![package("bad", Some("MIT")), using("a", "bad", "^1", false)])?;
    assert_eq!(alone.faults, ["bad 1.0.0 is banned: it is bad; it is used by a"]);
    let wrapped = verdict(vec![package("bad", Some("MIT")), using("wrapper", "bad", "^1", false)])?;
    assert_eq!(wrapped, Verdict::default());
    Ok(())
}

#[test]
fn wildcards_of_ours() -> Result<()> {
    let own = |package| Package { source: None, ..package };
    let any = verdict(vec![own(using("ours", "serde", "*", false))])?;
    assert_eq!(any.faults, ["ours 1.0.0: any version of serde would do"]);
    assert_eq!(verdict(vec![own(using("ours", "loyal-types", "*", true))])?, Verdict::default());
    Ok(())
}

#[test]
fn sources() -> Result<()> {
    let from = |source: &str| Package { source: Some(source.to_owned()), ..package("a", Some("MIT")) };
    assert_eq!(verdict(vec![from("git+https://github.com/x/y?rev=1#2")])?.faults.len(), 1);
    assert_eq!(verdict(vec![from("registry+https://crates.example.net/")])?.faults.len(), 1);
    assert_eq!(
        verdict(vec![from("registry+https://github.com/rust-lang/crates.io-index")])?,
        Verdict::default()
    );
    Ok(())
}

#[test]
fn several_versions_are_a_warning() -> Result<()> {
    let second = Package { version: "2.0.0".to_owned(), ..package("a", Some("MIT")) };
    let verdict = verdict(vec![package("a", Some("MIT")), second])?;
    assert_eq!(verdict.faults, Vec::<String>::new());
    assert_eq!(verdict.warnings, ["1 crates in more than one version: a (1.0.0, 2.0.0)"]);
    Ok(())
}

#[test]
fn unknown_keys_are_refused() {
    assert!(Policy::parse("[bans]\nskip-tree = []").is_err(), "a key nobody enforces must not look enforced");
}
