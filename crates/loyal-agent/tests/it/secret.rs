//! Secrets: the model and the log see a placeholder, the one origin they are for gets the value, and nobody else does.

use std::sync::{Arc, Mutex};

use loyal_agent::agent::budget::Limits;
use loyal_agent::agent::{self, Style};
use loyal_agent::llm::{Ask, Reply, Role, Scripted};
use loyal_agent::secret::Secrets;
use loyal_agent::tool::{BROWSE, Grant, Tool as _, Toolbox, Web, browse_with_secrets, tool};
use loyal_browser::{Browser, Launch, Reach};
use loyal_types::Origin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::think::{Word, new};

const VALUE: &str = "s3cr\"t value+1";

/// A server that keeps each request, and answers with it and the value.
async fn echo() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65_536];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let escaped = VALUE.replace('"', "&quot;");
            let body = if request.starts_with("GET /form") {
                "<title>Log in</title><form action='/in' method=post><input name=p aria-label=Password><button>Go</button></form>"
                    .to_owned()
            } else {
                format!("<title>In</title><p>you sent {escaped}</p>")
            };
            kept.lock().unwrap().push(request);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (url, seen)
}

fn secrets(origin: &str) -> Secrets {
    Secrets::default().with("pass", VALUE, origin.parse::<Origin>().unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_carries_values_to_their_origin_alone() {
    let (url, seen) = echo().await;
    let (other, others) = echo().await;
    let http = Web::public().with_local().with_secrets(secrets(&url)).request();
    assert!(http.card().description.contains("{{secret:pass}}") && http.card().description.contains(&url));
    let send = |arguments: Value| http.call(arguments);
    let sent = json!({
        "url": format!("{url}/a?k={{{{secret:pass}}}}"), "method": "POST",
        "headers": { "authorization": "Bearer {{secret:pass}}" }, "body": "{\"p\": \"{{secret:pass}}\"}",
    });
    send(sent).await.unwrap();
    let request = seen.lock().unwrap().pop().unwrap();
    assert!(request.starts_with("POST /a?k=s3cr%22t%20value%2B1 "), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {VALUE}\r\n")), "{request}");
    assert!(request.ends_with("{\"p\": \"s3cr\\\"t value+1\"}"), "{request}");
    for arguments in [
        json!({ "url": format!("{other}/{{{{secret:pass}}}}") }),
        json!({ "url": other, "method": "POST", "body": "{{secret:pass}}" }),
        json!({ "url": other, "headers": { "x": "{{secret:pass}}" } }),
        json!({ "url": url, "body": "{{secret:other}}" }),
        json!({ "url": url, "body": VALUE }),
        json!({ "url": format!("{other}/s3cr%22t%20value%2B1") }),
        json!({ "url": url, "headers": { "Host": "evil.example" } }),
        json!({ "url": url, "headers": { "x": "a\r\nb: c" } }),
    ] {
        let fault = send(arguments.clone()).await.unwrap_err().to_string();
        assert!(!fault.contains(VALUE), "{arguments}: {fault}");
    }
    assert!(seen.lock().unwrap().is_empty() && others.lock().unwrap().is_empty(), "nothing was sent");
}

#[test]
fn what_is_no_secret_is_refused() {
    let origin = || "https://a.example".parse::<Origin>().unwrap();
    assert!(Secrets::default().with("Bad Name", "12345678", origin()).is_err());
    assert!(Secrets::default().with("short", "1234567", origin()).is_err());
    assert!(Secrets::default().with("lines", "1234\n5678", origin()).is_err());
    let secrets = Secrets::default().with("a", "12345678", origin()).unwrap();
    let secrets = secrets.with("b", "0123456789", origin()).unwrap();
    assert_eq!(secrets.hide("0123456789 12345678".to_owned()), "{{secret:b}} {{secret:a}}");
    assert!(!format!("{secrets:?}").contains("1234"));
}

/// Neither the prompt nor the log has a value, though a tool and a page show it.
#[tokio::test]
async fn neither_model_nor_log_sees_a_value() {
    let (url, _) = echo().await;
    let http = Web::public().with_local().with_secrets(secrets(&url)).request();
    let leak = tool("leak", "Leaks.", |_: Word| async { Ok(format!("it is {VALUE}")) });
    let fail = tool("fail", "Fails.", |_: Word| async {
        Err::<String, _>(loyal_agent::tool::ToolFault(format!("not {VALUE}")))
    });
    let tools = Toolbox::new().with_all([http]).with(leak).with(fail).with_secrets(secrets(&url));
    let body =
        json!({ "url": url, "method": "POST", "body": "{{secret:pass}}", "content_type": "text/plain" });
    let llm = Arc::new(Scripted::new([
        Reply::call("http", body.to_string()),
        Reply::call("leak", r#"{"word":""}"#),
        Reply::call("fail", r#"{"word":""}"#),
        Reply::text("done"),
    ]));
    let (run, memory) = new(&llm, Limits::default());
    agent::run("goal", Style::React, &mut run.with_tools(tools)).await.unwrap();
    let asks = llm.asks();
    let last = |index: usize| asks[index].messages.last().unwrap().text.as_str();
    assert!(last(2).contains("it is {{secret:pass}}") && last(3).contains("not {{secret:pass}}"));
    let all = format!("{asks:?}{}", String::from_utf8(memory.bytes()).unwrap());
    assert!(all.contains("{{secret:pass}}") && !all.contains("s3cr"), "{all}");
}

fn key(ask: &Ask, words: &str) -> Option<String> {
    let shown = ask.messages.iter().rev().find(|message| message.role == Role::Tool)?;
    let line = shown.text.lines().rev().find(|line| line.contains(words) && line.contains("[e"))?;
    Some(line.split_once('[')?.1.split(']').next()?.to_owned())
}

#[tokio::test]
async fn a_browser_types_a_value_into_its_own_origin_alone() {
    let (url, seen) = echo().await;
    let (other, others) = echo().await;
    let launch = Launch { reach: Reach::default().with_local(), ..Launch::default() };
    let browser =
        Browser::launch(launch.with_sandbox_unless_root()).await.expect("these tests need Chromium");
    let tool = browse_with_secrets(browser, None, secrets(&url));
    let pages = [format!("{other}/form"), format!("{url}/form")];
    let llm = Arc::new(Scripted::default().with_rule(move |ask| {
        let steps = ask.messages.iter().filter(|message| message.role == Role::Tool).count();
        let field = key(ask, "textbox \"Password\"").unwrap_or_default();
        let actions = match steps {
            0 | 2 => json!([{ "action": "goto", "url": pages[steps / 2] }]),
            1 => json!([{ "action": "fill", "target": field, "value": "{{secret:pass}}" }]),
            3 => json!([
                { "action": "fill", "target": field, "value": "{{secret:pass}}" },
                { "action": "press", "keys": "Enter" }, { "action": "wait" },
            ]),
            _ => return Some(Reply::text("done")),
        };
        Some(Reply::call(BROWSE, json!({ "step": steps, "actions": actions }).to_string()))
    }));
    let grant = Grant { tool: BROWSE.to_owned(), arguments: json!({}), call_count_max: 10 };
    let tools = Toolbox::new().with_all([tool]).with_grant(grant).with_secrets(secrets(&url));
    let (run, memory) = new(&llm, Limits::default());
    agent::run("log in", Style::React, &mut run.with_tools(tools)).await.unwrap();
    let posted: Vec<_> =
        seen.lock().unwrap().iter().filter(|request| request.starts_with("POST /in")).cloned().collect();
    assert_eq!(posted.len(), 1);
    assert!(posted[0].ends_with("p=s3cr%22t+value%2B1"), "{}", posted[0]);
    assert!(!others.lock().unwrap().iter().any(|request| request.contains("s3cr")));
    let log = String::from_utf8(memory.bytes()).unwrap();
    assert!(log.contains("{{secret:pass}} is for http://127.0.0.1"), "{log}");
    assert!(log.contains("you sent {{secret:pass}}") && !log.contains("s3cr"), "{log}");
    assert!(!format!("{:?}", llm.asks()).contains("s3cr"));
}
