//! A hub on this computer: lists, redirects large files to another address, knows ranges, and misbehaves when told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

pub(crate) const ID: &str = "someone/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub holds, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// How many transfers of large files break off half-way.
    pub(crate) cuts: usize,
    /// A large file whose bytes are not those of its digest.
    pub(crate) corrupt: bool,
    /// The only access token that is let in.
    pub(crate) token: Option<String>,
    /// Ranges are not known.
    pub(crate) whole_only: bool,
    /// What was asked: method, path, and these headers.
    pub(crate) log: Vec<Asked>,
    /// Large files that were sent and are not committed yet, by their SHA-256.
    pub(crate) sent: BTreeMap<String, Vec<u8>>,
    /// Commits that were made.
    pub(crate) commits: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) store: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// The hub and the store of its large files, at two addresses.
pub(crate) struct HubServer {
    pub(crate) endpoint: String,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl HubServer {
    /// A hub that holds `files`.
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let behaviour = Arc::new(Mutex::new(Behaviour { files, ..Behaviour::default() }));
        let store = listen(&behaviour, None);
        let endpoint = listen(&behaviour, Some(store));
        Self { endpoint, behaviour }
    }

    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }
}

/// Serves at a free address: as the store, or as the hub in front of `store`.
fn listen(behaviour: &Arc<Mutex<Behaviour>>, store: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let behaviour = Arc::clone(behaviour);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (behaviour, store) = (Arc::clone(&behaviour), store.clone());
            std::thread::spawn(move || {
                // A client that goes away in the middle is its own business.
                let _ = serve(&stream, &behaviour, store.as_deref());
            });
        }
    });
    address
}

fn serve(mut stream: &TcpStream, behaviour: &Mutex<Behaviour>, store: Option<&str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut sent) = (0, Vec::new());
    let mut lines = reader.by_ref().lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let mut asked = Asked {
        store: store.is_none(),
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Asked::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    reader.take(length).read_to_end(&mut sent)?;
    let (head, body) = {
        let mut behaviour = behaviour.lock().unwrap();
        behaviour.log.push(asked.clone());
        match store {
            Some(store) if asked.method == "POST" => posted(&mut behaviour, &asked, (store, &sent)),
            None if asked.method == "PUT" => put(&mut behaviour, &asked, sent),
            Some(store) => hub(&behaviour, &asked, store),
            None => large(&mut behaviour, &asked),
        }
    };
    stream.write_all(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes())?;
    if asked.method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()?;
    stream.shutdown(std::net::Shutdown::Both)
}

fn simple(status: &str) -> (String, Vec<u8>) {
    (format!("{status}\r\ncontent-length: 0"), Vec::new())
}

fn hub(behaviour: &Behaviour, asked: &Asked, store: &str) -> (String, Vec<u8>) {
    let wanted = behaviour.token.as_ref().map(|token| format!("Bearer {token}"));
    if wanted.is_some() && asked.authorization != wanted {
        return simple("401 Unauthorized");
    }
    if asked.path == format!("/api/models/{ID}/revision/main") {
        let files: Vec<_> =
            behaviour.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let text = serde_json::json!({"id": ID, "sha": COMMIT, "siblings": files}).to_string();
        return (format!("200 OK\r\ncontent-length: {}", text.len()), text.into_bytes());
    }
    let name =
        ["main", COMMIT].iter().find_map(|at| asked.path.strip_prefix(&format!("/{ID}/resolve/{at}/")));
    let name = &name.unwrap_or_default().replace("%20", " ");
    let Some(content) = behaviour.files.get(name) else { return simple("404 Not Found") };
    let length = content.len();
    if name.ends_with(".safetensors") {
        let digest = hex::encode(Sha256::digest(content));
        let head = format!(
            "302 Found\r\nlocation: {store}/{name}?signed=yes\r\nx-linked-size: {length}\r\nx-linked-etag: \"{digest}\"\r\ncontent-length: 0"
        );
        return (head, Vec::new());
    }
    let blob =
        hex::encode(Sha1::new_with_prefix(format!("blob {length}\0")).chain_update(content).finalize());
    (format!("200 OK\r\netag: \"{blob}\"\r\ncontent-length: {length}"), content.clone())
}

/// What a client writes: where files go, and which of them make a commit.
fn posted(behaviour: &mut Behaviour, asked: &Asked, (store, body): (&str, &[u8])) -> (String, Vec<u8>) {
    let wanted = behaviour.token.as_ref().map(|token| format!("Bearer {token}"));
    if wanted.is_none() || asked.authorization != wanted {
        return simple("401 Unauthorized");
    }
    let answer = |value: &Value| {
        let text = value.to_string();
        (format!("200 OK\r\ncontent-length: {}", text.len()), text.into_bytes())
    };
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let said = &lines[0];
    if asked.path == "/api/repos/create" {
        return if behaviour.commits == 0 { answer(&json!({ "url": ID })) } else { simple("409 Conflict") };
    }
    if asked.path == format!("/api/models/{ID}/preupload/main") {
        let files = said["files"].as_array().unwrap().iter().map(|file| {
            let is_large = file["path"].as_str().unwrap().ends_with(".safetensors");
            json!({ "path": file["path"], "uploadMode": if is_large { "lfs" } else { "regular" }, "shouldIgnore": false })
        });
        return answer(&json!({ "files": files.collect::<Vec<_>>() }));
    }
    if asked.path == format!("/{ID}.git/info/lfs/objects/batch") {
        let oid = said["objects"][0]["oid"].as_str().unwrap();
        let upload = json!({ "href": format!("{store}/{oid}"), "header": { "x-signed": "yes" } });
        return answer(&json!({ "objects": [{ "oid": oid, "actions": { "upload": upload } }] }));
    }
    assert_eq!(asked.path, format!("/api/models/{ID}/commit/main"));
    assert_eq!(said["key"], "header");
    for line in &lines[1..] {
        let (file, path) = (&line["value"], line["value"]["path"].as_str().unwrap().to_owned());
        let content = if line["key"] == "lfsFile" {
            behaviour.sent[file["oid"].as_str().unwrap()].clone()
        } else {
            base64::engine::general_purpose::STANDARD.decode(file["content"].as_str().unwrap()).unwrap()
        };
        behaviour.files.insert(path, content);
    }
    behaviour.commits += 1;
    answer(&json!({ "commitOid": COMMIT, "commitUrl": ID }))
}

/// A large file, which must be what its name says.
fn put(behaviour: &mut Behaviour, asked: &Asked, body: Vec<u8>) -> (String, Vec<u8>) {
    let oid = asked.path.trim_start_matches('/').to_owned();
    if hex::encode(Sha256::digest(&body)) != oid || asked.authorization.is_some() {
        return simple("400 Bad Request");
    }
    behaviour.sent.insert(oid, body);
    simple("200 OK")
}

fn large(behaviour: &mut Behaviour, asked: &Asked) -> (String, Vec<u8>) {
    let name = asked.path.trim_start_matches('/').split('?').next().unwrap_or_default();
    let Some(content) = behaviour.files.get(name) else { return simple("404 Not Found") };
    let mut content = content.clone();
    if behaviour.corrupt {
        let last = content.len() - 1;
        content[last] ^= 1;
    }
    let all = content.len();
    let start = asked
        .range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let start: usize = start.filter(|_| !behaviour.whole_only).unwrap_or(0);
    let mut body = content[start..].to_vec();
    let status = if start > 0 {
        format!("206 Partial Content\r\ncontent-range: bytes {start}-{}/{all}", all - 1)
    } else {
        "200 OK".to_owned()
    };
    let head = format!("{status}\r\ncontent-length: {}", body.len());
    if behaviour.cuts > 0 {
        behaviour.cuts -= 1;
        body.truncate(body.len() / 2);
    }
    (head, body)
}
