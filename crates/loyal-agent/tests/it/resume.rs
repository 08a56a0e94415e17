//! Runs that go on while their caller's connection is broken.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use loyal_agent::agent::Ended;
use loyal_agent::client::{Client, Reply};
use loyal_agent::serve::Limits;
use loyal_agent::{Query, ResponseHandler, Session, agent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{Up, golden, local, question, up, up_with};

const SECRET: &str = "a secret of 32 random characters";

/// Passes connections on, and breaks each of the first ones after so many bytes of the answer.
async fn breaking(up: &Up, cuts: Vec<usize>) -> String {
    let target = up.url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cuts = Arc::new(Mutex::new(cuts.into_iter()));
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(&target).await.unwrap();
            let cut = cuts.lock().unwrap().next();
            tokio::spawn(async move {
                let Some(cut) = cut else {
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                    return;
                };
                let mut request = vec![0; 65_536];
                let length = near.read(&mut request).await.unwrap();
                far.write_all(&request[..length]).await.unwrap();
                let mut answer = vec![0; cut];
                far.read_exact(&mut answer).await.unwrap();
                near.write_all(&answer).await.unwrap();
            });
        }
    });
    url
}

#[tokio::test]
async fn a_broken_response_is_asked_for_again_and_nothing_is_lost_or_doubled() {
    let up = up(golden()).await;
    let url = breaking(&up, vec![2000, 5000, 9000]).await;
    let events = Client::new(local()).run_resumable(&url, &question("count 200"), SECRET).await.unwrap();
    let reply = Reply::read(events).await.unwrap();
    let expected: String = (0..200).map(|index| format!("{index} ")).collect();
    assert_eq!(reply.answer(), expected);
    assert_eq!(reply.events.len(), 202);
    assert!(reply.events.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(up.end(0).await, Ended::Done);
}

#[tokio::test]
async fn without_a_secret_a_break_is_the_end() {
    let up = up(golden()).await;
    let url = breaking(&up, vec![2000]).await;
    let events = Client::new(local()).run(&url, &question("count 200")).await.unwrap();
    assert!(Reply::read(events).await.is_err());
}

#[tokio::test]
async fn a_run_is_opened_with_its_secret_only() {
    let up = up(golden()).await;
    let client = Client::new(local());
    Reply::read(client.run_resumable(&up.url, &question("respond"), SECRET).await.unwrap()).await.unwrap();
    let id = question("").session.unwrap().request_id();
    let get = |path: String, secret: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nloyal-resume: {secret}\r\n\r\n")
    };
    let whole = up.raw(&get(format!("/runs/{id}"), SECRET)).await;
    assert!(whole.contains("\"whole\"") && whole.contains("event: done"), "{whole}");
    for (path, secret) in [
        (format!("/runs/{id}"), "another secret of 32 characters!"),
        (format!("/runs/{id}"), "short"),
        (format!("/runs/{}", crate::kit::ulid(99)), SECRET),
        ("/runs/zzz".to_owned(), SECRET),
        (format!("/runs/{id}?after=zzz"), SECRET),
    ] {
        let answer = up.raw(&get(path.clone(), secret)).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let answer = up.raw(&format!("GET /runs/{id} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "));
    let again = client.run_resumable(&up.url, &question("respond"), SECRET).await;
    assert!(
        matches!(again, Err(loyal_agent::Error::Refused { status: 409, .. })),
        "one run to an identifier"
    );
}

#[tokio::test]
async fn nobody_coming_back_cancels_the_run() {
    let limits = Limits { away: Duration::from_millis(30), ..Limits::default() };
    let up = up_with(golden(), |server| server, limits).await;
    let mut events =
        Client::new(local()).run_resumable(&up.url, &question("unclosed"), SECRET).await.unwrap();
    events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!(up.end(0).await, Ended::Done, "it had ended before");
    let agent = agent("a", |_: Session, _: Query, out: ResponseHandler| async move {
        out.emit_text_block("X", "first").await?;
        std::future::pending().await
    });
    let limits = Limits { away: Duration::from_millis(30), ..Limits::default() };
    let up = up_with(agent, |server| server, limits).await;
    let mut events = Client::new(local()).run_resumable(&up.url, &question("x"), SECRET).await.unwrap();
    events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!(up.end(0).await, Ended::Cancelled);
}

#[tokio::test]
async fn a_run_goes_on_while_nobody_reads() {
    let up = up(golden()).await;
    let mut events =
        Client::new(local()).run_resumable(&up.url, &question("count 3000"), SECRET).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    drop(events);
    assert_eq!(up.end(0).await, Ended::Done);
    let id = question("").session.unwrap().request_id();
    let rest = up
        .raw(&format!(
            "GET /runs/{id}?after={} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nloyal-resume: {SECRET}\r\n\r\n",
            first.id
        ))
        .await;
    assert_eq!(rest.matches("data: ").count(), 3001);
}

#[tokio::test]
async fn a_response_too_long_to_keep_is_not_kept_and_not_harmed() {
    let limits = Limits { kept_run_bytes_max: 10_000, ..Limits::default() };
    let up = up_with(golden(), |server| server, limits).await;
    let events = Client::new(local()).run_resumable(&up.url, &question("count 500"), SECRET).await.unwrap();
    assert_eq!(Reply::read(events).await.unwrap().events.len(), 502);
    let id = question("").session.unwrap().request_id();
    let answer = up
        .raw(&format!(
            "GET /runs/{id} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nloyal-resume: {SECRET}\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 410 "), "{answer}");
}
