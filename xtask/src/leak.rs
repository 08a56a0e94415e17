//! Traces of one machine in a file: absolute paths, and hosts of a private package registry.

use crate::finding::Finding;

/// Files in which every host must be one of [`PUBLIC_HOSTS`]: they say where packages come from.
const SOURCES: [&str; 8] = [
    "Cargo.lock",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    ".npmrc",
    "requirements.txt",
    "uv.lock",
    ".cargo/config.toml",
];

const PUBLIC_HOSTS: [&str; 6] = [
    "github.com",
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "pypi.org",
    "files.pythonhosted.org",
    "index.crates.io",
];

/// Words in a host's name that give away a mirror inside of somebody's network.
const PRIVATE: [&str; 8] =
    ["artifactory", "nexus", "jfrog", ".internal", ".intranet", ".corp", ".lan", "pypi-mirror"];

/// Folders that exist on one machine only. Split, so that this file does not hold them itself.
const FOLDERS: [&str; 8] = [
    concat!("/", "root/"),
    concat!("/", "work/"),
    concat!("/", "workspace/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
    concat!("/", "tmp/"),
    concat!("/", "mnt/"),
    concat!("C:", "\\Users\\"),
];

/// The traces in one file.
pub fn findings(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let says_sources = SOURCES.iter().any(|source| *source == name || *source == path);
    for (index, line) in text.lines().enumerate() {
        for folder in FOLDERS.iter().filter(|folder| holds_folder(line, folder)) {
            let problem =
                format!("{folder}… exists on one machine only; use a relative path or a placeholder");
            findings.push(Finding::new(path, index + 1, problem));
        }
        for host in hosts(line) {
            let private = PRIVATE.iter().any(|word| host.contains(word));
            if private || says_sources && !PUBLIC_HOSTS.contains(&host.as_str()) {
                let problem = "names a host of one machine's package registry; use the public one";
                findings.push(Finding::new(path, index + 1, problem));
            }
        }
    }
    findings
}

/// Whether the line holds the folder at the start of a path, not in the middle of a longer one or of an address.
fn holds_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let starts = before.is_none_or(|c| !(c.is_alphanumeric() || "._-~/}>)*$:".contains(c)));
        let after = line[at + folder.len()..].chars().next();
        starts && after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

fn hosts(line: &str) -> Vec<String> {
    let after_scheme = line.split("://").skip(1);
    after_scheme
        .map(|rest| {
            let authority = rest.split(|c: char| c.is_whitespace() || "/?#\"'`)>,".contains(c)).next();
            let host = authority.unwrap_or_default().rsplit('@').next().unwrap_or_default();
            host.split(':').next().unwrap_or_default().to_ascii_lowercase()
        })
        .filter(|host| !host.is_empty())
        .collect()
}
