//! `loyal up`: one command makes a chain, a model, a host, an issuer and a page; killed anywhere, it goes on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr};

use loyal_browser::{Action, Browser, Launch, Reach};
use serde_json::{Value, json};

use crate::chain;
use crate::command::{Place, finish};
use crate::model::{self, Shape};

/// Questions to a process that does something once a second.
const LOOKS_MAX: usize = 50_000;
/// Every door on a free port.
const DOORS: [&str; 8] =
    ["--listen", "127.0.0.1:0", "--issuer", "127.0.0.1:0", "--status", "127.0.0.1:0", "--folder", "c"];

/// Everything, until this is dropped.
struct Up {
    child: Child,
    said: Value,
    errors: BufReader<ChildStderr>,
}

fn spawn(place: &Place, more: &[&str]) -> Child {
    let arguments = [&["up"][..], &DOORS, &["--json"], more].concat();
    place.command(&arguments).spawn().unwrap()
}

impl Up {
    fn start(place: &Place, more: &[&str]) -> Self {
        let own = ["--rpc", "127.0.0.1:0"];
        let is_named = more.contains(&"--chain") || more.contains(&"--rpc");
        let own: &[&str] = if is_named { &[] } else { &own };
        let mut child = spawn(place, &[own, more].concat());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let said = serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = child.kill();
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            panic!("{error}: {line:?}: {text}")
        });
        Self { child, said, errors }
    }

    fn at(&self, door: &str) -> &str {
        self.said[door].as_str().unwrap()
    }

    fn status(&self) -> Value {
        let text = ureq::get(format!("{}status.json", self.at("status"))).call();
        serde_json::from_str(&text.unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    fn end(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ended = self.child.wait().unwrap();
        let mut text = String::new();
        self.errors.read_to_string(&mut text).unwrap();
        assert!(ended.success(), "{text}");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place() -> Place {
    let place = Place::new();
    model::write(&place.path("m"), Shape::default());
    place
}

fn ask(place: &Place, question: &str, up: &Up) -> Value {
    let ask = ["access", "ask", question, "--key", "2", "--folder", "c", "--host", up.at("host"), "--json"];
    place.run(&ask).json()
}

fn request(place: &Place, up: &Up, more: &[&str]) -> Value {
    let request = ["access", "request", up.at("issuer"), "--key", "2", "--folder", "c", "--json"];
    place.run(&[&request, more].concat()).json()
}

/// Sends bytes, and answers what came back as text.
fn raw(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(request.replace("ADDRESS", &address).as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn one_command_serves_is_paid_and_goes_on_after_a_kill() {
    let place = place();
    // A credential says where its chain answers: that stays the same from start to start.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = ["m", "--rpc", free.as_str()];
    let up = Up::start(&place, &start);
    assert_eq!((&up.said["model"], &up.said["hosting"]), (&json!(1), &json!(1)));
    let before = up.status();
    assert_eq!((&before["hosting"]["level"], &before["epoch"]["invocations"]), (&json!("gated"), &json!(0)));
    assert_eq!((&before["model"]["name"], &before["model"]["state"]), (&json!("m"), &json!("active")));
    assert_eq!(before["hosting"]["bond"]["text"], "720 LOYAL");
    let credential = request(&place, &up, &["--calls", "7", "--spend", "0.5"]);
    assert_eq!((&credential["callsMax"], &credential["spendMax"]), (&json!(7), &json!("500000000000000000")));
    let said = ask(&place, "Who?", &up);
    assert_eq!(said["receipt"]["receipt"]["seq"], 0);
    let (first, page) = (up.said.clone(), before["model"]["weightsRoot"].clone());
    up.kill();
    let up = Up::start(&place, &start);
    assert_eq!((&up.said["owner"], &up.said["hosting"]), (&first["owner"], &json!(1)));
    let said = ask(&place, "Where?", &up);
    assert_eq!(said["receipt"]["receipt"]["seq"], 1);
    let now = up.status();
    assert_eq!(
        (&now["epoch"]["invocations"], &now["epoch"]["charged"]["text"]),
        (&json!(2), &json!("0.004 LOYAL"))
    );
    assert_eq!(now["receipts"][0]["invocation"], said["receipt"]["receipt"]["invocationId"]);
    assert_eq!(now["model"]["weightsRoot"], page);
    assert!(!now.to_string().contains("Where?"), "no prompt is shown");
    // What is owed is redeemed when it ends, and everybody's part can be withdrawn.
    up.end();
    let up = Up::start(&place, &start);
    let now = up.status();
    assert_eq!(now["hosting"]["collected"]["text"], "0.004 LOYAL");
    assert_eq!(now["unredeemed"]["units"], "0");
    let withdrawable = |index: usize| !now["parties"][index]["withdrawable"].as_array().unwrap().is_empty();
    assert!(withdrawable(0) && withdrawable(1), "{now}");
    place.run(&["owner", "withdraw", "--key", "0", "--folder", "c"]).good();
    // Another model under the same record is refused, by its root.
    drop(up);
    model::write(&place.path("other"), Shape { seed: 2, ..Shape::default() });
    let other = spawn(&place, &["--rpc", "127.0.0.1:0", "other"]);
    finish(other).bad(1, &["its root is", "none of model 1", "--folder"]);
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place();
    drop(Up::start(&place, &["m"]));
    for name in ["c/accounts.json", "c/model/fingerprints.json"] {
        let mode = std::fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn killed_while_it_is_made_it_is_made_whole_the_next_time() {
    let place = place();
    for stage in ["making", "contracts", "model", "hosting"] {
        let mut child = spawn(&place, &["--rpc", "127.0.0.1:0", "m"]);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_reached = lines.map_while(Result::ok).any(|line| line.starts_with(stage));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_reached, "{stage}");
    }
    let up = Up::start(&place, &["m"]);
    assert_eq!((&up.said["model"], &up.said["hosting"]), (&json!(1), &json!(1)));
    request(&place, &up, &[]);
    ask(&place, "Who?", &up);
}

#[test]
fn the_status_page_is_for_this_machine_and_names_builders_tills() {
    let place = place();
    let up = Up::start(&place, &["m"]);
    let page = raw(up.at("status"), "GET / HTTP/1.1\r\nhost: ADDRESS\r\nconnection: close\r\n\r\n");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    assert!(!page.to_lowercase().contains("access-control-allow-origin"), "{page}");
    for path in ["/", "/status.json"] {
        let evil = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
        let answer = raw(up.at("status"), &evil);
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("hosting"), "{answer}");
    }
    let wide = ["up", "--status", "0.0.0.0:0", "--folder", "d"];
    place.run(&wide).bad(1, &["--status", "for one machine"]);
    // Terms name the till of whoever brings the caller.
    let terms = |header: &str| {
        let request = format!("GET /v1/loyal HTTP/1.1\r\nhost: ADDRESS\r\n{header}connection: close\r\n\r\n");
        raw(up.at("host"), &request)
    };
    let till = |answer: &str| {
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        body["accepts"][0]["payTo"].as_str().unwrap().to_owned()
    };
    let (plain, brought) = (terms(""), terms(&format!("loyal-builder: {}\r\n", up.at("owner"))));
    assert_ne!(till(&plain), till(&brought));
    assert!(terms("loyal-builder: nobody\r\n").starts_with("HTTP/1.1 400"));
    // A model that makes texts is not asked for embeddings, and nobody pays to learn that.
    let body = json!({ "input": "the cat" }).to_string();
    let url = format!("{}/embeddings", up.at("host"));
    let mut refused = ureq::post(&url)
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(&body)
        .unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    let said: Value = serde_json::from_str(&refused.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(said["error"]["code"], "embeddings_unsupported");
}

/// An engine that makes embeddings, one for each connection.
fn engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = if head.starts_with("POST /v1/embeddings ") {
                let data = json!([{ "object": "embedding", "index": 0, "embedding": [0.5, -0.25] }]);
                json!({ "object": "list", "data": data, "model": "vectors", "usage": { "prompt_tokens": 3, "total_tokens": 3 } })
            } else {
                json!({ "object": "list", "data": [{ "id": "vectors", "object": "model" }] })
            };
            let answer = answer.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{answer}", answer.len());
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn embeddings_of_an_engine_are_paid_on_a_chain_elsewhere() {
    let place = place();
    let chain = chain::Running::start(&place, &["--accounts", "1"]);
    std::fs::rename(place.path("c"), place.path("chain")).unwrap();
    let url = chain.said["url"].as_str().unwrap();
    let up = Up::start(&place, &["--chain", url, "--upstream", &engine(), "--name", "vectors"]);
    assert_eq!(up.said["chain"], url);
    request(&place, &up, &[]);
    let proxy = ["access", "proxy", "--key", "2", "--folder", "c", "--listen", "127.0.0.1:0", "--json"];
    let mut proxy = place.command(&proxy).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}/embeddings", said["url"].as_str().unwrap());
    let body = json!({ "input": "the cat", "model": "vectors" }).to_string();
    let answer = ureq::post(&url).content_type("application/json").send(&body);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    let answer: Value = serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["data"][0]["embedding"], json!([0.5, -0.25]));
    let now = up.status();
    assert_eq!((&now["epoch"]["invocations"], &now["receipts"][0]["tokensIn"]), (&json!(1), &json!(3)));
    assert_eq!(now["receipts"][0]["tokensOut"], 0);
}

#[test]
fn the_page_shows_an_invocation_in_a_real_browser() {
    let place = place();
    // Texts of the chain are anybody's: a name that is markup is shown as text.
    let up = Up::start(&place, &["m", "--name", "<img src=x onerror=document.title=1>"]);
    let page = up.at("status").to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let launch = |window| {
        Launch { reach: Reach::default().with_local(), window, ..Launch::default() }
            .with_sandbox_unless_root()
    };
    let mut browser = runtime.block_on(async {
        let mut browser = Browser::launch(launch((1280, 900))).await.expect("this test needs Chromium");
        browser.act(&Action::Goto { url: page.clone() }).await.unwrap();
        browser
    });
    let mut until = |expression: &str| {
        let found =
            (0..LOOKS_MAX).any(|_| runtime.block_on(browser.evaluate(expression)).unwrap() == json!(true));
        assert!(found, "{expression}: {:?}", runtime.block_on(browser.evaluate("document.body.innerText")));
    };
    until("document.getElementById('invocations').textContent === '0'");
    until("document.querySelector('h1').textContent.startsWith('<img')");
    until("document.images.length === 0");
    request(&place, &up, &[]);
    let said = ask(&place, "Who?", &up);
    until("document.getElementById('invocations').textContent === '1'");
    let id = said["receipt"]["receipt"]["invocationId"].as_str().unwrap();
    until(&format!("document.querySelector('#receipts .id').title === '{id}'"));
    until("document.documentElement.scrollWidth <= innerWidth");
    up.kill();
    until("document.getElementById('lost').textContent.includes('figures are old')");
}
