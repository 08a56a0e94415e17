//! A sidecar as any program sees it: answers, refusals, who may ask, and how it ends.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response};
use loyal_access::outbound::{Outbound, Reach, Reply, split};
use loyal_access::sidecar::{Limits, Sidecar};
use loyal_access::wallet::{Caps, Entry};
use loyal_access::{Caller, Wallet};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::caller::{PRICE, Scene, key, settings};
use crate::double::Fault;

/// A sidecar that runs.
pub(crate) struct Up {
    pub(crate) url: String,
    pub(crate) sidecar: Arc<Sidecar>,
    pub(crate) running: JoinHandle<loyal_access::Result<()>>,
}

impl Up {
    pub(crate) async fn start(caller: Caller, limits: Limits, secret: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sidecar = Arc::new(Sidecar::new(caller, limits, secret.map(str::to_owned)));
        let running = tokio::spawn(sidecar.clone().run(listener));
        Self { url, sidecar, running }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Reply> {
        let (origin, path) = split(&format!("{}{path}", self.url)).unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        Outbound::new(Reach::Local).send(&origin, request).await.unwrap()
    }

    async fn chat(&self, prompt: &str, stream: bool) -> Response<Reply> {
        let body =
            json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": prompt }] });
        self.send(Method::POST, "/v1/chat/completions", &[], body.to_string()).await
    }
}

async fn text(response: Response<Reply>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn code(response: Response<Reply>) -> (u16, String) {
    let status = response.status().as_u16();
    let value: Value = serde_json::from_str(&text(response).await).unwrap();
    (status, value["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_get_answers_and_the_wallet_gets_receipts() {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller(), Limits::default(), None).await;
    let whole = up.chat("hello", false).await;
    assert_eq!(whole.status(), 200);
    assert!(whole.headers().contains_key("loyal-receipt"));
    let value: Value = serde_json::from_str(&text(whole).await).unwrap();
    assert_eq!(value["choices"][0]["message"]["content"], "You said: hello");
    let stream = text(up.chat("to you", true).await).await;
    assert!(stream.ends_with("data: [DONE]\n\n") && stream.contains(": loyal invocation 0x"), "{stream}");
    assert!(!stream.contains("\"choices\":[]") && !stream.contains("\"loyal\""), "{stream}");
    // Whoever asks for the count of tokens gets it, as from anybody else.
    let body = json!({
        "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "count" }],
    });
    let counted = text(up.send(Method::POST, "/v1/chat/completions", &[], body.to_string()).await).await;
    assert!(counted.contains("\"total_tokens\":3") && !counted.contains("\"loyal\""), "{counted}");
    let models = up.send(Method::GET, "/v1/models", &[], String::new()).await;
    assert!(text(models).await.contains("\"id\":\"default\""));
    for (path, body) in
        [("/v1/completions", json!({ "prompt": "p" })), ("/v1/embeddings", json!({ "input": "e" }))]
    {
        assert_eq!(up.send(Method::POST, path, &[], body.to_string()).await.status(), 200, "{path}");
    }
    assert_eq!((scene.double.answered(), scene.records().len()), (5, 5));
    assert!(scene.records().iter().all(|record| record.is_answer_seen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_a_code_and_say_whether_to_try_again() {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller(), Limits { request_bytes_max: 200, ..Limits::default() }, None).await;
    let bad = up.send(Method::POST, "/v1/chat/completions", &[], "{}".to_owned()).await;
    assert_eq!(bad.headers()["x-should-retry"], "false");
    assert_eq!(code(bad).await, (400, "malformed".to_owned()));
    assert_eq!(code(up.chat(&"x".repeat(200), false).await).await, (413, "too_large".to_owned()));
    assert_eq!(
        code(up.send(Method::GET, "/v2", &[], String::new()).await).await,
        (404, "no_route".to_owned())
    );
    scene.double.will([Fault::Full]);
    let full = up.chat("x", false).await;
    assert_eq!(
        (&full.headers()["x-should-retry"], &full.headers()["retry-after"]),
        (&"true".parse().unwrap(), &"7".parse().unwrap())
    );
    assert_eq!(code(full).await, (429, "too_many_requests".to_owned()));
    scene.double.will([Fault::Mute; 4]);
    assert_eq!(code(up.chat("again", false).await).await, (502, "host_unreachable".to_owned()));
    assert_eq!(up.chat("again", false).await.status(), 200, "the same request gets the answer that was paid");
    assert_eq!(scene.double.answered(), 1);
    scene.double.will([Fault::OtherAnswer]);
    assert_eq!(code(up.chat("y", false).await).await, (502, "host_misbehaved".to_owned()));
    let stream = up.chat("z", true).await;
    assert_eq!(code(stream).await, (502, "host_misbehaved".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_hold_for_programs_too() {
    let scene = Scene::open().await;
    let mut wallet = scene.wallet();
    let caps = Caps { day: Some(PRICE), ..Caps::default() };
    wallet.write(Entry::Caps { asset: scene.market.asset(), caps }).unwrap();
    let caller = Caller::new(scene.file.clone(), key(6), wallet, scene.seams(1), settings()).unwrap();
    let up = Up::start(caller, Limits::default(), None).await;
    assert_eq!(up.chat("x", false).await.status(), 200);
    assert_eq!(code(up.chat("x", false).await).await, (402, "spend_capped".to_owned()));
}

/// A page that the user looks at, or a name pointed at this machine, spends nothing; nor does who lacks the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_and_strangers_spend_nothing() {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller(), Limits::default(), None).await;
    let body = json!({ "messages": [{ "role": "user", "content": "x" }] }).to_string();
    for (headers, status) in [
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "http://localhost:3000")], 200),
    ] {
        let response = up.send(Method::POST, "/v1/chat/completions", &headers, body.clone()).await;
        assert_eq!(response.status(), status, "{headers:?}");
    }
    up.sidecar.stop();
    up.running.await.unwrap().unwrap();
    drop(up.sidecar);
    let up = Up::start(scene.caller(), Limits::default(), Some("s3cret")).await;
    for (key, status) in [("Bearer s3cret", 200), ("Bearer s3creT", 401), ("s3cret", 401), ("", 401)] {
        let response =
            up.send(Method::POST, "/v1/chat/completions", &[("authorization", key)], body.clone()).await;
        assert_eq!(response.status(), status, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_when_told_and_the_wallet_is_free() {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller(), Limits::default(), None).await;
    assert_eq!(up.chat("x", false).await.status(), 200);
    up.sidecar.stop();
    up.running.await.unwrap().unwrap();
    drop(up.sidecar);
    assert!(Wallet::open(scene.folder.path()).is_ok());
}

/// A program that goes away in the middle of a stream leaves an invocation whose receipt is fetched later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_goes_away_leaves_a_receipt() {
    let scene = Scene::open().await;
    let up = Up::start(scene.caller(), Limits::default(), None).await;
    let mut stream = up.chat("one two three", true).await;
    stream.body_mut().frame().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(up.chat("next", false).await.status(), 200);
    up.sidecar.stop();
    up.running.await.unwrap().unwrap();
    let ids: std::collections::BTreeSet<_> =
        scene.records().iter().map(|record| record.receipt.receipt.receipt.invocationId).collect();
    // The first one's stream is on a channel of its own where it had not ended when the second began.
    assert!(ids.len() == 2 || scene.double.channel_count() == 2, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_others_reach_wants_a_secret() {
    let scene = Scene::open().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let sidecar = Arc::new(Sidecar::new(scene.caller(), Limits::default(), None));
    let error = sidecar.run(listener).await.unwrap_err();
    assert!(error.to_string().contains("want a secret"), "{error}");
}
