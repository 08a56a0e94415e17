//! Agents that do not keep to the wire: each ends in a typed error within the client's bounds.

use std::time::Duration;

use loyal_agent::client::{self, Limits, Reach};
use loyal_agent::event::{Bounds, Content, Event, encode};
use loyal_agent::{Error, Result};

use crate::kit::{HEAD, hostile, local, question, ulid};

fn event(index: u128, content: Content) -> Vec<u8> {
    let name = if matches!(content, Content::Done(_)) { "done" } else { "X" }.to_owned();
    let event = Event { id: ulid(index), source: "s".to_owned(), name, metadata: None, content };
    let mut bytes = Vec::new();
    encode(&event, &mut bytes).unwrap();
    bytes
}

fn text(index: u128) -> Vec<u8> {
    event(index, Content::Text(format!("text {index}")))
}

fn done(index: u128) -> Vec<u8> {
    event(index, Content::Done(None))
}

/// How many events came, and how it ended.
async fn read(body: Vec<u8>, hold: bool, limits: Limits) -> (usize, Result<()>) {
    let url = hostile([HEAD.as_bytes(), &body].concat(), hold).await;
    let mut events = match client::run(&url, &question("x"), limits).await {
        Ok(events) => events,
        Err(error) => return (0, Err(error)),
    };
    let mut count = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => count += 1,
            Err(error) => {
                assert!(events.next().await.is_none(), "nothing follows an error");
                return (count, Err(error));
            }
        }
    }
    (count, Ok(()))
}

fn quick() -> Limits {
    Limits { idle: Duration::from_millis(50), ..local() }
}

#[tokio::test]
async fn well_behaved_is_read_to_the_end() {
    assert_eq!(read([text(1), done(2)].concat(), false, local()).await, (2, Ok(())));
    assert_eq!(
        read([text(1), done(2)].concat(), true, local()).await,
        (2, Ok(())),
        "an open connection is no fault"
    );
}

#[tokio::test]
async fn faults_have_types() {
    assert_eq!(read(text(1), false, local()).await, (1, Err(Error::CutShort)));
    assert_eq!(read(Vec::new(), false, local()).await, (0, Err(Error::CutShort)));
    let half = [text(1), text(2)[..40].to_vec()].concat();
    assert_eq!(read(half, false, local()).await, (1, Err(Error::CutShort)));
    assert_eq!(read([done(1), text(2)].concat(), false, local()).await, (1, Err(Error::AfterDone)));
    assert_eq!(read([done(1), done(2)].concat(), false, local()).await, (1, Err(Error::AfterDone)));
    for bad in ["data: {\n\n", "data: 5\n\n", "data: {\"content_type\":\"new\",\"source\":\"s\"}\n\n"] {
        let (count, result) = read([text(1), bad.as_bytes().to_vec()].concat(), false, local()).await;
        assert!(count == 1 && matches!(result, Err(Error::BadEvent { line: 5, .. })), "{bad} {result:?}");
    }
    let (_, result) = read(b"data: \xff\xfe\n\n".to_vec(), false, local()).await;
    assert!(matches!(result, Err(Error::BadEvent { line: 2, .. })), "{result:?}");
}

#[tokio::test]
async fn silence_has_an_end() {
    assert_eq!(
        read(text(1), true, quick()).await,
        (1, Err(Error::Stalled { after: Duration::from_millis(50) }))
    );
    let pings = b": ping\n\n".repeat(3);
    assert!(matches!(read(pings, true, quick()).await.1, Err(Error::Stalled { .. })));
    let total = Duration::from_millis(50);
    assert_eq!(
        read(text(1), true, Limits { total, ..local() }).await,
        (1, Err(Error::TooLate { after: total }))
    );
    let url = hostile(Vec::new(), true).await;
    assert!(matches!(client::run(&url, &question("x"), quick()).await, Err(Error::Stalled { .. })));
}

#[tokio::test]
async fn more_than_the_bounds_is_refused_before_it_is_held() {
    let response = Bounds { event_bytes_max: 1000, response_bytes_max: 20_000, event_count_max: 10 };
    let small = || Limits { response, ..local() };
    let line = [b"data: ".to_vec(), vec![b'x'; 5000]].concat();
    let (_, result) = read(line, true, small()).await;
    assert_eq!(result, Err(Error::TooLarge { what: "line", max: 1064 }));
    let many = (1..50).flat_map(text).collect();
    assert_eq!(read(many, true, small()).await.1, Err(Error::TooLarge { what: "count of events", max: 10 }));
    let comments = b": ping\n\n".repeat(5000);
    assert_eq!(read(comments, true, small()).await.1, Err(Error::TooLarge { what: "response", max: 20_000 }));
}

/// A gigabyte without an end of line, sent for as long as somebody takes it.
#[tokio::test]
async fn an_endless_line_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(format!("{HEAD}data: ").as_bytes()).await;
        let mut sent = 0u64;
        while sent < 1 << 30 && stream.write_all(&[b'x'; 65_536]).await.is_ok() {
            sent += 65_536;
        }
        sent
    });
    let mut events = client::run(&url, &question("x"), local()).await.unwrap();
    let result = events.next().await.unwrap();
    assert!(matches!(result, Err(Error::TooLarge { what: "line", .. })), "{result:?}");
    drop(events);
    assert!(sent.await.unwrap() < 64 << 20, "the connection was closed long before");
}

#[tokio::test]
async fn answers_of_another_kind_are_refusals() {
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    };
    let ask = async |answer: Vec<u8>| {
        client::run(&hostile(answer, false).await, &question("x"), local()).await.err()
    };
    let refused = |status, detail: &str| Some(Error::Refused { status, detail: detail.to_owned() });
    assert_eq!(ask(answer("422 No", "{\"detail\":1}")).await, refused(422, "{\"detail\":1}"));
    assert_eq!(ask(answer("302 Found\r\nlocation: http://127.0.0.1/", "")).await, refused(302, ""));
    let html = ask(answer("200 OK\r\ncontent-type: text/html", "<p>")).await;
    assert!(matches!(html, Some(Error::Refused { status: 200, .. })), "{html:?}");
    assert!(matches!(ask(b"SSH-2.0\r\n".to_vec()).await, Some(Error::Connection { .. })));
    assert!(matches!(ask(Vec::new()).await, Some(Error::Connection { .. })));
}

#[tokio::test]
async fn private_machines_are_not_asked_unless_that_is_wanted() {
    let url = hostile(Vec::new(), false).await;
    let public = Limits { reach: Reach::Public, ..local() };
    let port = url.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "0x7f.1"] {
        let error =
            client::run(&format!("http://{host}:{port}/assist"), &question("x"), public.clone()).await;
        assert!(matches!(error, Err(Error::NotPublic { .. })), "{host}: {error:?}");
    }
    for address in ["", "ftp://example.com", "http://user@example.com", "http://exa mple.com"] {
        let error = client::run(address, &question("x"), public.clone()).await;
        assert!(matches!(error, Err(Error::BadAddress { .. })), "{address}: {error:?}");
    }
}
