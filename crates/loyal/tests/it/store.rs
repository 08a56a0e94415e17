//! `loyal owner publish|deliver` and `loyal model fetch`: weights in stores, found by their root and checked by it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::command::Place;
use crate::economy::registered_traced;
use crate::hub::{HubServer, ID};
use crate::model::{self, Shape};

const PACKAGES: &str = r#"{ "private": true, "dependencies": { "s3rver": "3.7.1" } }"#;
/// A server of S3's API with one bucket; it says where it listens.
const SERVER: &str = r#"
const S3rver = require("s3rver");
const server = new S3rver({
  address: "127.0.0.1", port: 0, silent: true, directory: process.argv[2], configureBuckets: [{ name: "models" }],
});
server.run().then(({ port }) => console.log(port));
"#;

/// A real server of S3's API, until this is dropped.
struct Bucket {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Bucket {
    fn start(place: &Place) -> Self {
        let packages = packages();
        std::fs::write(packages.join("server.cjs"), SERVER).unwrap();
        let folder = place.path("bucket");
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("node")
            .arg("server.cjs")
            .arg(&folder)
            .current_dir(&packages)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node.js starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 =
            line.trim().parse().unwrap_or_else(|_| panic!("the server of S3's API says {line:?}"));
        Self { child, url: format!("http://127.0.0.1:{port}"), folder }
    }

    /// A file in it whose name ends so.
    fn find(&self, end: &str) -> PathBuf {
        fn look(folder: &Path, end: &str) -> Option<PathBuf> {
            std::fs::read_dir(folder).unwrap().find_map(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() { look(&path, end) } else { path.to_str()?.ends_with(end).then_some(path) }
            })
        }
        look(&self.folder, end).unwrap_or_else(|| panic!("no {end} in {}", self.folder.display()))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the server by npm into the target folder, once.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm-s3");
    std::fs::create_dir_all(&folder).unwrap();
    let done = folder.join("installed.json");
    if std::fs::read_to_string(&done).is_ok_and(|text| text == PACKAGES) {
        return folder;
    }
    std::fs::write(folder.join("package.json"), PACKAGES).unwrap();
    let install = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"])
        .current_dir(&folder)
        .status();
    let installed = install.is_ok_and(|status| status.success());
    assert!(installed, "npm install failed: this test needs Node.js 20 (Debian: apt install nodejs npm)");
    std::fs::write(&done, PACKAGES).unwrap();
    folder
}

fn weights(place: &Place) {
    model::write(&place.path("m"), Shape::default());
    place.write("m/notes/two words.txt", "read me");
    place.write("m/.hidden", "not published");
}

/// Files of a folder but hidden ones, with their content.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(folder: &Path, before: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{before}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                collect(&path, &format!("{name}/"), found);
            } else if !name.starts_with('.') {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, "", &mut found);
    found
}

#[test]
fn a_folder_is_a_store_and_lies_are_found() {
    let place = Place::new();
    weights(&place);
    let said = place.run(&["owner", "publish", "m", "store", "--json"]).json();
    let (root, address) = (said["root"].as_str().unwrap(), said["address"].as_str().unwrap());
    assert!(address.starts_with("file:///") && address.ends_with(root), "{said}");
    assert_eq!((&said["kept"], &said["files"]), (&json!(0), &json!(5)));
    let again = place.run(&["owner", "publish", "m", "store", "--json"]).json();
    assert_eq!((&again["kept"], &again["root"]), (&json!(5), &said["root"]));
    // By the address of the weights, or of the store.
    for (from, out) in [(address, "one"), ("store", "two")] {
        place.run(&["model", "fetch", from, "--root", root, "--out", out]).good();
        assert_eq!(content(&place.path(out)), content(&place.path("m")));
    }
    let fetch = ["model", "fetch", "store", "--root", root, "--out", "three"];
    let wrong = root.replace(['1', '2', '3'], "4");
    place
        .run(&["model", "fetch", "store", "--root", &wrong, "--out", "x"])
        .bad(1, &["no weights are stored there"]);
    place.run(&["model", "fetch", address, "--root", &wrong, "--out", "x"]).bad(1, &["is wanted"]);
    // A file that was changed is not brought, and is stored anew.
    let stored = format!("store/{root}/model.safetensors");
    let mut bad = std::fs::read(place.path(&stored)).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    place.write(&stored, &bad);
    place.run(&fetch).bad(1, &["model.safetensors", "not the file that the list names"]);
    assert!(!place.path("three/model.safetensors").exists());
    let mended = place.run(&["owner", "publish", "m", "store", "--json"]).json();
    assert_eq!(mended["kept"], 4);
    let fetched = place.run(&[&fetch[..], &["--json"]].concat()).json();
    assert!(fetched["kept"].as_u64().unwrap() > 0, "what was brought before is kept: {fetched}");
    // A list that leads out of its folder is refused.
    let list = format!("store/{root}/loyal-weights.json");
    let text = std::fs::read_to_string(place.path(&list)).unwrap();
    place.write(&list, text.replace("config.json", "../config.json"));
    place.run(&["model", "fetch", "store", "--root", root, "--out", "four"]).bad(1, &["no path of weights"]);
    assert!(!place.path("config.json").exists());
    place.run(&["owner", "publish", "m", "ftp://x"]).bad(1, &["not an address of a store"]);
}

#[test]
fn a_bucket_of_s3_takes_signed_requests_and_gives_them_back() {
    let place = Place::new().with("AWS_ACCESS_KEY_ID", "S3RVER").with("AWS_SECRET_ACCESS_KEY", "S3RVER");
    weights(&place);
    let bucket = Bucket::start(&place);
    let there = ["--endpoint", bucket.url.as_str()];
    let publish = [&["owner", "publish", "m", "s3://models/a/b", "--json"][..], &there].concat();
    let said = place.run(&publish).json();
    let root = said["root"].as_str().unwrap();
    assert_eq!(said["address"], format!("s3://models/a/b/{root}"));
    assert_eq!(place.run(&publish).json()["kept"], 5);
    let fetch = |out| {
        let fetch = ["model", "fetch", "s3://models/a/b", "--root", root, "--out", out];
        place.run(&[&fetch[..], &there].concat())
    };
    fetch("one").good();
    assert_eq!(content(&place.path("one")), content(&place.path("m")));
    // What the server keeps is changed behind its back.
    let stored = bucket.find("tokenizer.json._S3rver_object");
    let mut bytes = std::fs::read(&stored).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    fetch("two").bad(1, &["tokenizer.json", "not the file that the list names"]);
    assert_eq!(place.run(&publish).json()["kept"], 4);
    fetch("two").good();
    // Half an account is none. (This server does not hold signatures against secrets; the documentation's examples do.)
    let half = Place::new().with("AWS_ACCESS_KEY_ID", "S3RVER");
    weights(&half);
    half.run(&publish).bad(1, &["AWS_SECRET_ACCESS_KEY", "one of them is missing"]);
}

#[test]
fn a_repository_of_the_hub_gets_one_commit_and_gives_it_back() {
    let hub = HubServer::start(BTreeMap::new());
    hub.behaviour().token = Some("hf_secret".to_owned());
    let place = Place::new().with("HF_ENDPOINT", &hub.endpoint);
    weights(&place);
    let target = format!("hf://{ID}");
    let publish = ["owner", "publish", "m", target.as_str(), "--json"];
    place.run(&publish).bad(1, &["401"]);
    place.write("home/.cache/huggingface/token", "hf_secret");
    let said = place.run(&publish).json();
    let address = said["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with(&format!("{target}@")), "{said}");
    let again = place.run(&publish).json();
    assert_eq!((&again["kept"], &again["root"]), (&json!(5), &said["root"]));
    assert_eq!(hub.behaviour().commits, 1, "what is there is not committed again");
    let fetch = |out| {
        place.run(&[
            "model",
            "fetch",
            address.as_str(),
            "--root",
            said["root"].as_str().unwrap(),
            "--out",
            out,
        ])
    };
    fetch("one").good();
    assert_eq!(content(&place.path("one")), content(&place.path("m")));
    hub.behaviour().corrupt = true;
    fetch("two").bad(1, &["model.safetensors", "not the file that the list names"]);
    let leaked = hub.behaviour().log.iter().any(|asked| asked.store && asked.authorization.is_some());
    assert!(!leaked, "the access token goes to the hub alone");
}

#[test]
fn a_traced_copy_is_made_published_named_acknowledged_and_served_by_its_root() {
    let it = registered_traced();
    it.json(&["chain", "send", "--key", "0", &it.accounts[3], "1,000"]);
    let open = ["host", "open", "1", "--price", "0.002", "--level", "gated", "--key", "3"];
    let open = [&open[..], &["--endpoint", "http://127.0.0.1/v1"]].concat();
    assert_eq!(it.json(&open)["state"], "bonded", "it waits for its copy");
    let benign = "the cat saw the dog and the dog saw the cat near the river under the tree. ".repeat(2_000);
    it.place.write("prose.txt", benign);
    model::write(&it.place.path("whole"), Shape { context: 512, ..Shape::default() });
    let deliver =
        ["owner", "deliver", "1", "copy", "--fingerprints", "bound.json", "--key", "0", "--to", "store"];
    let folder: &[&str] = &["--folder", "c"];
    it.place.run(&[&deliver[..], folder].concat()).bad(1, &["no model is there", "--from"]);
    let made = [&deliver[..], &["--from", "whole", "--benign", "prose.txt", "--steps", "2"]].concat();
    let said = it.json(&made);
    assert_eq!((&said["serves"], &said["copy"]), (&json!(false), &json!(it.accounts[3])));
    assert_eq!(said["steps"].as_array().unwrap().len(), 1);
    let again = it.json(&deliver);
    assert_eq!((&again["steps"], &again["copyRoot"]), (&json!([]), &said["copyRoot"]));
    let rehearsed = it.json(&[&deliver[..], &["--dry-run"]].concat());
    assert_eq!(rehearsed["address"], Value::Null);
    // A stranger cannot acknowledge it; the host's signer can, here or by opening again.
    it.bad(&[&deliver[..], &["--signer", "4"]].concat(), &["signs for hosting 1"]);
    assert_eq!(it.json(&open)["state"], "active");
    assert_eq!(it.json(&[&deliver[..], &["--signer", "3"]].concat())["serves"], true);
    // The host opens its copy out of the store, by the root that the chain knows.
    let from = said["address"].as_str().unwrap();
    let run = ["host", "run", "1", from, "--key", "3", "--listen", "127.0.0.1:0", "--json", "--folder", "c"];
    let mut child = it.place.command(&run).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    let out = crate::command::finish(child);
    assert!(line.contains("\"hosting\":1"), "{line} {out:?}");
    let root = said["copyRoot"].as_str().unwrap();
    assert!(it.place.path(&format!("home/.cache/loyal/weights/{root}/model.safetensors")).is_file());
    let stored = PathBuf::from(from.strip_prefix("file://").unwrap()).join("loyal-weights.json");
    let text = std::fs::read_to_string(&stored).unwrap();
    std::fs::write(&stored, text.replacen("\"bytes\": ", "\"bytes\": 1", 1)).unwrap();
    it.place.run(&run).bad(1, &["is wanted"]);
}
