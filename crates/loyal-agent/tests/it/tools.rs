//! The tools that come along: a calculator, files of one folder, pages of the web.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loyal_agent::provenance::Provenance;
use loyal_agent::tool::{Effect, Folder, Output, Tool, ToolFault, Web, calculate, read_page, tool};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::hostile;

async fn call(tool: &dyn Tool, arguments: Value) -> Result<Output, ToolFault> {
    tool.call(arguments).await
}

#[tokio::test]
async fn numbers_are_exact_and_have_units() {
    let calculate = calculate();
    for (expression, expected) in [
        ("2^200", "1606938044258990275541962092341162602522202993782792835301376"),
        ("1/3 + 1/6", "0.5"),
        ("5 feet 3 inches to cm", "160.02 cm"),
        ("0.1 + 0.2", "0.3"),
        ("100! / 98!", "9900"),
    ] {
        let output = call(&calculate, json!({ "expression": expression })).await.unwrap();
        assert_eq!(output.text, expected, "{expression}");
    }
    for wrong in ["1 +", "2 kg to m", "1/0", "nonsense words", &"1+".repeat(2000)] {
        assert!(call(&calculate, json!({ "expression": wrong })).await.is_err(), "{wrong}");
    }
}

/// Work without end stops by the number of its steps.
#[tokio::test]
async fn an_endless_computation_is_stopped() {
    for endless in ["9^9^9^9", "1000000!"] {
        assert!(call(&calculate(), json!({ "expression": endless })).await.is_err(), "{endless}");
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Trip {
    /// Where to.
    to: String,
    /// How many people.
    #[serde(default)]
    people: Option<u32>,
}

#[tokio::test]
async fn a_schema_is_that_of_the_type_and_faults_name_the_place() {
    let book = tool("book", "Books a trip.", |trip: Trip| async move {
        Ok(format!("{} for {}", trip.to, trip.people.unwrap_or(1)))
    });
    let schema = &book.card().input;
    assert_eq!(schema["required"], json!(["to"]));
    assert_eq!(schema["properties"]["to"]["description"], "Where to.");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(call(&book, json!({ "to": "Rome", "people": 2 })).await.unwrap().text, "Rome for 2");
    let fault = call(&book, json!({ "to": "Rome", "people": "two" })).await.unwrap_err().to_string();
    assert!(fault.contains("the argument people is wrong") && fault.contains("u32"), "{fault}");
}

#[test]
#[should_panic(expected = "no name of a tool")]
fn a_tool_has_a_plain_name() {
    drop(tool("Not A Name", "", |_: Trip| async { Ok("") }));
}

fn of<'a>(tools: &'a [Arc<dyn Tool>], name: &str) -> &'a dyn Tool {
    &**tools.iter().find(|tool| tool.card().name == name).unwrap()
}

#[tokio::test]
async fn files_stay_in_their_folder() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = outside.path().join("inside");
    std::fs::create_dir(&folder).unwrap();
    let tools = Folder::open(&folder).unwrap().tools();
    let (list, read, write) = (of(&tools, "list_files"), of(&tools, "read_file"), of(&tools, "write_file"));
    assert_eq!((read.card().effect, write.card().effect), (Effect::Read, Effect::Write));
    call(write, json!({ "path": "a/b.txt", "text": "hello" })).await.unwrap();
    assert_eq!(call(read, json!({ "path": "a/b.txt" })).await.unwrap().text, "hello");
    assert_eq!(call(list, json!({})).await.unwrap().text, "a/");
    assert_eq!(call(list, json!({ "path": "a" })).await.unwrap().text, "b.txt 5");
    let absolute = outside.path().join("secret");
    for path in ["../secret", "a/../../secret", absolute.to_str().unwrap(), "..", "a\0b"] {
        assert!(call(read, json!({ "path": path })).await.is_err(), "{path:?}");
        assert!(call(write, json!({ "path": path, "text": "x" })).await.is_err(), "{path:?}");
        assert!(call(list, json!({ "path": path })).await.is_err(), "{path:?}");
    }
    assert!(call(write, json!({ "path": "a", "text": "x" })).await.is_err(), "a folder is no file");
    std::fs::write(folder.join("binary"), [0xff, 0xfe]).unwrap();
    assert!(call(read, json!({ "path": "binary" })).await.is_err());
    assert_eq!(std::fs::read_to_string(absolute).unwrap(), "secret");
}

#[cfg(unix)]
#[tokio::test]
async fn links_do_not_lead_out() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = outside.path().join("inside");
    std::fs::create_dir(&folder).unwrap();
    symlink(outside.path().join("secret"), folder.join("file")).unwrap();
    symlink(outside.path(), folder.join("folder")).unwrap();
    symlink(outside.path().join("new"), folder.join("dangling")).unwrap();
    let tools = Folder::open(&folder).unwrap().tools();
    for path in ["file", "folder/secret", "folder/new"] {
        assert!(call(of(&tools, "read_file"), json!({ "path": path })).await.is_err(), "{path}");
        assert!(
            call(of(&tools, "write_file"), json!({ "path": path, "text": "x" })).await.is_err(),
            "{path}"
        );
    }
    // A link that leads nowhere is replaced, never followed.
    let _ = call(of(&tools, "write_file"), json!({ "path": "dangling", "text": "x" })).await;
    assert!(!outside.path().join("new").exists());
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

#[tokio::test]
async fn a_page_is_read_as_a_person_sees_it() {
    let html = r#"<!doctype html><html><head><title>A &amp; B</title><style>p{}</style></head><body>
        <h1>One</h1><script>if (a < b) { alert("</p>") }</script><p>First   <b>bold</b>&nbsp;text &#233; &lt;tag&gt;.</p>
        <!-- hidden <p>comment</p> --><p hidden>unseen</p><div style="display: none">unseen <p>deep</p></div>
        <ul><li>x<li>y</ul><a href="/two?a=1">next</a> <img src=x alt="a cat"><p title='a > b'>last 1 < 2"#;
    let url = hostile(answer("200 OK\r\ncontent-type: text/html; charset=utf-8", html), false).await;
    let page = read_page(&Web::public().with_local());
    let output = call(&*page, json!({ "url": url })).await.unwrap();
    let expected = format!(
        "{url} (status 200)\ntitle: A & B\n\n# One\n\nFirst bold text é <tag>.\n\n- x\n- y\nnext ({url}/two?a=1) [picture: a cat]\nlast 1 < 2"
    );
    assert_eq!(output.text, expected);
    assert_eq!(output.provenance, Provenance::Page(url));
}

#[tokio::test]
async fn private_machines_are_not_reached_by_any_spelling() {
    let page = read_page(&Web::public());
    let request = Web::public().request();
    assert_eq!(request.card().effect, Effect::Write);
    for url in [
        "http://127.0.0.1/",
        "http://localhost:1/",
        "http://[::1]/",
        "http://0/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://[fd00::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://0.0.0.0/",
        "file:///etc/passwd",
        "gopher://example.com",
        "http://user@127.0.0.1/",
    ] {
        for tool in [&page, &request] {
            let fault = call(&**tool, json!({ "url": url })).await.unwrap_err().to_string();
            let told = ["not on the public internet", "neither http", "names a user"];
            assert!(told.iter().any(|words| fault.contains(words)), "{url}: {fault}");
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_to_allowed_places_only() {
    let target = hostile(answer("200 OK\r\ncontent-type: text/plain", "arrived"), false).await;
    let start = hostile(answer(&format!("302 Found\r\nlocation: {target}/x"), ""), false).await;
    let page = read_page(&Web::public().with_local());
    let output = call(&*page, json!({ "url": start })).await.unwrap();
    assert!(output.text.ends_with("arrived"), "{}", output.text);
    assert_eq!(output.provenance, Provenance::Page(target.clone()), "the words are those of where it led");
    for location in ["file:///etc/passwd", "javascript:alert(1)", ""] {
        let start = hostile(answer(&format!("302 Found\r\nlocation: {location}"), ""), false).await;
        assert!(call(&*page, json!({ "url": start })).await.is_err(), "{location}");
    }
    let looping = hostile(answer("302 Found\r\nlocation: /again", ""), false).await;
    let fault = call(&*page, json!({ "url": looping })).await.unwrap_err().to_string();
    assert!(fault.contains("redirects"), "{fault}");
    let port = target.rsplit(':').next().unwrap();
    let elsewhere =
        hostile(answer(&format!("302 Found\r\nlocation: http://localhost:{port}/"), ""), false).await;
    let only = read_page(&Web::public().with_local().only(&["127.0.0.1"]));
    assert!(call(&*only, json!({ "url": target })).await.is_ok());
    let fault = call(&*only, json!({ "url": elsewhere })).await.unwrap_err().to_string();
    assert!(fault.contains("not among the domains"), "{fault}");
}

#[tokio::test]
async fn a_large_page_is_read_from_its_start() {
    let body = "word ".repeat(600_000);
    let url = hostile(answer("200 OK\r\ncontent-type: text/plain", &body), false).await;
    let output = call(&*read_page(&Web::public().with_local()), json!({ "url": url })).await.unwrap();
    assert!(output.text.contains("(only its start)") && output.text.len() < 3 << 20);
    let binary = hostile(answer("200 OK\r\ncontent-type: image/png", "x"), false).await;
    assert!(call(&*read_page(&Web::public().with_local()), json!({ "url": binary })).await.is_err());
}

/// Pages made to take long: nested, unclosed, quoted without end.
#[tokio::test]
async fn hostile_pages_cost_no_more_than_their_length() {
    let done = AtomicUsize::new(0);
    for piece in ["<a'", "<a \"", "<div hidden>", "</p>", "<!--", "<script", "&", "<", "<b x="] {
        let body = piece.repeat(400_000 / piece.len());
        let url = hostile(answer("200 OK\r\ncontent-type: text/html", &body), false).await;
        call(&*read_page(&Web::public().with_local()), json!({ "url": url })).await.unwrap();
        done.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!(done.load(Ordering::SeqCst), 9);
}
