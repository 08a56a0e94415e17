//! What becomes of a run: its agent fails, hangs, says too much; its reader is slow or gone; the server stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loyal_agent::agent::Ended;
use loyal_agent::client;
use loyal_agent::event::{Bounds, Content};
use loyal_agent::serve::Limits;
use loyal_agent::{Error, Event, Query, ResponseHandler, Session, agent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::kit::{ask, golden, local, post, question, up, up_with};

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.content.content_type()).collect()
}

#[tokio::test]
async fn an_answer_has_ids_that_grow_and_the_callers_name() {
    let up = up(golden()).await;
    let reply = up.ask("count 300").await.unwrap();
    assert_eq!(reply.events.len(), 302);
    assert!(reply.events.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert!(reply.events.iter().all(|event| event.source == "sentient-chat-client"));
    let expected: String = (0..300).map(|index| format!("{index} ")).collect();
    assert_eq!(reply.answer(), expected);
    assert_eq!(reply.streams(), [("FINAL_RESPONSE".to_owned(), expected)]);
}

#[tokio::test]
async fn one_seed_gives_one_stream_of_bytes() {
    let body = serde_json::to_string(&question("unclosed")).unwrap();
    let answer = |up: crate::kit::Up, body: String| async move {
        let answer = up.post("/assist", &body).await;
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let (one, other) = (up(golden()).await, up(golden()).await);
    assert_eq!(answer(one, body.clone()).await, answer(other, body).await);
}

#[tokio::test]
async fn failures_end_in_an_error_and_done() {
    let up = up(golden()).await;
    for (index, (prompt, code, message)) in [
        ("panic", 500, "The agent could not finish its work."),
        ("raise", 500, "The agent could not finish its work."),
        ("told", 402, "Pay first."),
        ("name", 500, "The agent could not finish its work."),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = up.ask(prompt).await.unwrap();
        assert_eq!(kinds(&reply.events), ["atomic.error", "atomic.done"], "{prompt}");
        let fault = reply.faults().next().unwrap();
        assert_eq!((fault.code, fault.message.as_str()), (code, message), "{prompt}");
        let details = fault.details.as_ref().unwrap().as_json();
        assert!(details.contains(&question("").session.unwrap().request_id().to_string()), "{details}");
        let Ended::Failed { why } = up.end(index).await else { panic!("failed") };
        assert!(!reply.events.iter().any(|event| format!("{event:?}").contains("secret detail")));
        assert_eq!(why.contains("secret detail"), matches!(prompt, "panic" | "raise"), "{why}");
    }
}

#[tokio::test]
async fn an_agent_that_panics_before_it_has_a_future_is_no_worse() {
    struct Sudden;
    impl loyal_agent::Agent for Sudden {
        fn name(&self) -> &str {
            "sudden"
        }
        fn assist<'a>(
            &'a self,
            _: Session,
            _: Query,
            _: ResponseHandler,
        ) -> futures_util::future::BoxFuture<'a, loyal_agent::Result<()>> {
            panic!("at once")
        }
    }
    let reply = up(Sudden).await.ask("x").await.unwrap();
    assert_eq!(kinds(&reply.events), ["atomic.error", "atomic.done"]);
}

#[tokio::test]
async fn open_streams_are_closed_in_order_and_nothing_follows() {
    let agent = agent("a", |_: Session, _: Query, out: ResponseHandler| async move {
        let stream = out.create_text_stream("FINAL_RESPONSE")?;
        stream.emit_chunk("x").await?;
        stream.complete().await?;
        stream.complete().await?;
        assert!(matches!(stream.emit_chunk("y").await, Err(Error::StreamClosed { .. })));
        let open = out.create_text_stream("OTHER")?;
        out.complete().await?;
        out.complete().await?;
        assert!(out.is_complete() && open.is_complete());
        assert_eq!(out.emit_text_block("X", "late").await, Err(Error::ResponseClosed));
        assert_eq!(out.emit_error("late", 500, None).await, Err(Error::ResponseClosed));
        assert!(matches!(open.emit_chunk("late").await, Err(Error::StreamClosed { .. })));
        assert!(matches!(out.create_text_stream("X"), Err(Error::ResponseClosed)));
        Err(Error::failed("after the end: nobody hears"))
    });
    let up = up(agent).await;
    let reply = up.ask("x").await.unwrap();
    assert_eq!(kinds(&reply.events), ["chunked.text", "chunked.text", "chunked.text", "atomic.done"]);
    assert!(
        matches!(up.end(0).await, Ended::Failed { why } if why.contains("nobody hears")),
        "no assert failed"
    );
}

#[tokio::test]
async fn a_json_that_is_no_object_is_the_agents_own_error() {
    let agent = agent("a", |_: Session, _: Query, out: ResponseHandler| async move {
        assert!(matches!(out.emit_json("X", &[1, 2]).await, Err(Error::NoObject { .. })));
        assert!(matches!(out.emit_json("X", "text").await, Err(Error::NoObject { .. })));
        out.emit_json("X", &std::collections::BTreeMap::from([("a", 1)])).await
    });
    assert_eq!(kinds(&up(agent).await.ask("x").await.unwrap().events), ["atomic.json", "atomic.done"]);
}

#[tokio::test]
async fn the_deadline_ends_a_run_that_hangs() {
    let limits = Limits { deadline: Duration::from_millis(30), ..Limits::default() };
    let up = up_with(golden(), |server| server, limits).await;
    let reply = up.ask("hang").await.unwrap();
    assert_eq!(kinds(&reply.events), ["atomic.error", "atomic.done"]);
    assert_eq!(reply.faults().next().unwrap().code, 504);
    assert_eq!(up.end(0).await, Ended::TooLate);
}

#[tokio::test]
async fn too_much_ends_in_an_error() {
    let response = Bounds { event_bytes_max: 2000, response_bytes_max: 10_000, event_count_max: 20 };
    let agent = agent("a", |_: Session, query: Query, out: ResponseHandler| async move {
        let (count, length) = query.prompt.split_once(' ').unwrap();
        for _ in 0..count.parse::<u32>().unwrap() {
            out.emit_text_block("X", "x".repeat(length.parse().unwrap())).await?;
        }
        Ok(())
    });
    let up = up_with(agent, |server| server, Limits { response, ..Limits::default() }).await;
    for (prompt, before) in [("1 3000", 0), ("50 1", 20), ("50 1500", 6)] {
        let reply = up.ask(prompt).await.unwrap();
        assert_eq!(reply.faults().next().unwrap().code, 413, "{prompt}");
        assert_eq!(reply.events.len(), before + 2, "{prompt}");
    }
    assert_eq!(up.ask("3 10").await.unwrap().events.len(), 4);
}

/// A caller that closes its connection ends the agent, whatever the agent waits for.
#[tokio::test]
async fn a_caller_that_leaves_cancels_the_run() {
    struct Gone(Arc<Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let gone = Arc::new(Notify::new());
    let agent = {
        let gone = gone.clone();
        agent("a", move |_: Session, _: Query, out: ResponseHandler| {
            let gone = Gone(gone.clone());
            async move {
                let _gone = gone;
                out.emit_text_block("X", "first").await?;
                std::future::pending().await
            }
        })
    };
    let up = up(agent).await;
    let mut events = client::run(&up.url, &question("x"), local()).await.unwrap();
    assert!(events.next().await.unwrap().is_ok());
    drop(events);
    gone.notified().await;
    assert_eq!(up.end(0).await, Ended::Cancelled);
    assert_eq!(up.server.metrics().cancelled(), 1);
}

/// The agent hears of it too, for work it handed elsewhere.
#[tokio::test]
async fn cancellation_reaches_what_the_agent_started() {
    let heard = Arc::new(Notify::new());
    let agent = {
        let heard = heard.clone();
        agent("a", move |_: Session, _: Query, out: ResponseHandler| {
            let heard = heard.clone();
            async move {
                let cancelled = out.cancellation();
                tokio::spawn(async move {
                    cancelled.cancelled().await;
                    heard.notify_one();
                });
                out.emit_text_block("X", "first").await?;
                std::future::pending().await
            }
        })
    };
    let up = up(agent).await;
    let mut events = client::run(&up.url, &question("x"), local()).await.unwrap();
    events.next().await.unwrap().unwrap();
    drop(events);
    heard.notified().await;
}

/// A reader that takes nothing stops the agent after some events, and then the run.
#[tokio::test]
async fn a_slow_reader_holds_the_agent_back_and_is_given_up() {
    let emitted = Arc::new(AtomicU64::new(0));
    let agent = {
        let emitted = emitted.clone();
        agent("a", move |_: Session, _: Query, out: ResponseHandler| {
            let emitted = emitted.clone();
            async move {
                loop {
                    out.emit_text_block("X", "x".repeat(100_000)).await?;
                    emitted.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    let response = Bounds { response_bytes_max: 1 << 30, ..Bounds::default() };
    let limits = Limits { stall: Duration::from_millis(100), response, ..Limits::default() };
    let up = up_with(agent, |server| server, limits).await;
    let mut stream = up.connect().await;
    stream
        .write_all(post("/assist", &serde_json::to_string(&question("x")).unwrap()).as_bytes())
        .await
        .unwrap();
    let ended = up.end(0).await;
    assert!(matches!(ended, Ended::Failed { .. } | Ended::Cancelled), "{ended:?}");
    // The sockets of the system hold a few megabytes, we hold a quarter of one.
    assert!(emitted.load(Ordering::SeqCst) < 300);
    drop(stream);
}

#[tokio::test]
async fn a_stopping_server_lets_runs_end_and_then_ends_them() {
    let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
    let up = up_with(golden(), |server| server, limits).await;
    let mut hanging = client::run(&up.url, &question("hang"), local()).await.unwrap();
    up.server.stop();
    let error = hanging.next().await.unwrap().unwrap();
    assert!(matches!(&error.content, Content::Error(fault) if fault.code == 503), "{error:?}");
    assert!(hanging.next().await.unwrap().unwrap().is_done());
    assert_eq!(up.end(0).await, Ended::Shutdown);
    assert!(matches!(ask(&up.url, "x").await, Err(Error::Connection { .. })));
}

#[tokio::test]
async fn more_runs_than_allowed_are_refused() {
    let up = up_with(golden(), |server| server, Limits { run_count_max: 1, ..Limits::default() }).await;
    let hanging = client::run(&up.url, &question("hang"), local()).await.unwrap();
    assert!(matches!(up.ask("x").await, Err(Error::Refused { status: 503, .. })));
    drop(hanging);
    up.end(0).await;
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let go = Arc::new(Notify::new());
    let agent = {
        let go = go.clone();
        agent("a", move |_: Session, _: Query, out: ResponseHandler| {
            let go = go.clone();
            async move {
                go.notified().await;
                out.respond("ANSWER", "x").await
            }
        })
    };
    let up =
        up_with(agent, |server| server, Limits { ping: Duration::from_millis(5), ..Limits::default() }).await;
    let mut stream = up.connect().await;
    stream
        .write_all(post("/assist", &serde_json::to_string(&question("x")).unwrap()).as_bytes())
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.windows(9).filter(|window| window == b": ping\n\n\r").count() < 2 {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).await.unwrap();
        seen.extend_from_slice(&piece[..length]);
    }
    go.notify_one();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("event: done"));
}

#[tokio::test]
async fn a_request_without_a_session_gets_one() {
    let up = up(golden()).await;
    let answer =
        up.post("/assist", r#"{"query":{"id":"01m81by2rsjs94cwfcaffqapwv","prompt":"respond"}}"#).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""source":"loyal""#), "{answer}");
    assert!(answer.contains("event: done"));
}

#[tokio::test]
async fn beside_the_agent_stand_a_card_a_pulse_and_counters() {
    let up = up(golden()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(up.raw(&get("/healthz")).await.ends_with("ok\n"));
    assert!(up.raw(&get("/metrics")).await.starts_with("HTTP/1.1 404 "), "it has a listener of its own");
    up.ask("count 5").await.unwrap();
    up.end(0).await;
    let client = client::Client::new(local());
    let card = client.card(&up.url).await.unwrap().unwrap();
    assert_eq!((card.name.as_str(), card.takes.history), ("golden", true));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = up.server.clone();
    tokio::spawn(async move { server.run_metrics(listener).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(get("/metrics").as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("loyal_agent_runs_total{end=\"done\"} 1\n"), "{page}");
    assert!(page.contains("loyal_agent_events_total 7\n"), "{page}");
}
