//! Actions of mouse and keyboard, and that none of them claims what did not happen.

use anyhow::Result;
use loyal_browser::Error;
use serde_json::json;

use crate::kit::{act, at, by_id, click, key, said, showing};

#[tokio::test]
async fn clicks_reach_their_target_or_say_why_not() -> Result<()> {
    let body = "<button id=a onclick='document.title=\"a\"'>A</button>
        <button id=off disabled>Off</button><button id=none style='position:fixed;left:-900px'>None</button>
        <p style='height:2000px'></p><button id=far ondblclick='document.title=\"far\"'>Far</button>
        <a id=right oncontextmenu='document.title=\"right\"; return false' href='#'>Right</a>
        <button id=eater>Eater</button>
        <script>window.addEventListener('click', event => { if (event.target.id === 'eater') event.stopImmediatePropagation() }, true)</script>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(by_id(&snapshot, "a")?)).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "a");
    let off = by_id(&snapshot, "off")?;
    assert_eq!(browser.act(&click(off)).await, Err(Error::Disabled { target: off }));
    assert!(browser.act(&click(by_id(&snapshot, "none")?)).await.is_err());
    let far = by_id(&snapshot, "far")?;
    act(&mut browser, json!({"action": "click", "target": far, "how": {"count": 2}})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "far");
    let right = by_id(&snapshot, "right")?;
    act(&mut browser, json!({"action": "click", "target": right, "how": {"button": "right"}})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "right");
    browser.act(&click(by_id(&snapshot, "eater")?)).await?;
    let unknown = browser.act(&click(loyal_browser::Ref(99_999))).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn moving_targets_are_followed() -> Result<()> {
    let body = "<button id=m style='position:absolute' onclick='document.title = \"caught\"'>Catch</button>
        <script>let t = 0; setInterval(() => { t += 0.02; m.style.left = 200 + 150 * Math.sin(t) + 'px'; }, 20)</script>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    browser.act(&click(by_id(&snapshot, "m")?)).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "caught");
    Ok(())
}

#[tokio::test]
async fn what_is_gone_is_stale_and_its_like_is_named() -> Result<()> {
    let body = "<div id=box><button>Save</button></div>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let save = key(&snapshot, "button", "Save")?;
    browser.evaluate("box.innerHTML = '<button>Save</button>'").await?;
    let Err(Error::Stale { target, suggestion: Some(now) }) = browser.act(&click(save)).await else {
        anyhow::bail!("not stale");
    };
    assert_eq!(target, save);
    browser.act(&click(now)).await?;
    browser.evaluate("box.innerHTML = ''").await?;
    let gone = browser.act(&click(now)).await;
    assert_eq!(gone, Err(Error::Stale { target: now, suggestion: None }));
    Ok(())
}

#[tokio::test]
async fn refs_of_another_document_are_stale() -> Result<()> {
    let pages = [("/", "<a href='/b'>Next</a>"), ("/b", "<a href='/'>Other</a>")];
    let (mut browser, site) = at(&pages).await?;
    let snapshot = browser.snapshot().await?;
    let next = key(&snapshot, "link", "Next")?;
    let acted = browser.act(&click(next)).await?;
    assert_eq!(acted.navigated, Some(site.url("/b")));
    assert_eq!(browser.act(&click(next)).await, Err(Error::Stale { target: next, suggestion: None }));
    act(&mut browser, json!({"action": "back"})).await?;
    assert_eq!(browser.snapshot().await?.url, site.url("/"));
    act(&mut browser, json!({"action": "forward"})).await?;
    assert_eq!(browser.snapshot().await?.url, site.url("/b"));
    act(&mut browser, json!({"action": "reload"})).await?;
    assert!(act(&mut browser, json!({"action": "forward"})).await.is_err());
    Ok(())
}

#[tokio::test]
async fn keys_hover_and_points() -> Result<()> {
    let body = "<div id=h onmouseenter='document.title=\"over\"'>Hover</div>
        <input id=i onkeydown='log.textContent += event.key + (event.ctrlKey ? \"^\" : \"\") + \" \"'>
        <p id=log></p><canvas id=c width=200 height=100></canvas>
        <script>c.onclick = e => document.title = `${e.offsetX},${e.offsetY}`</script>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    act(&mut browser, json!({"action": "hover", "target": by_id(&snapshot, "h")?})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "over");
    let input = by_id(&snapshot, "i")?;
    let acted = act(&mut browser, json!({"action": "type", "target": input, "text": "aB é"})).await?;
    assert_eq!(acted.value.as_deref(), Some("aB é"));
    act(&mut browser, json!({"action": "press", "keys": "Control+a"})).await?;
    act(&mut browser, json!({"action": "press", "keys": "Delete"})).await?;
    assert_eq!(said(&mut browser, "i.value").await?, "");
    assert_eq!(said(&mut browser, "log.textContent").await?, "a B   Control^ a^ Delete ");
    let snapshot = browser.snapshot().await?;
    let canvas = snapshot.find(|node| node.tag == "canvas").unwrap().rect;
    let at = json!({"x": canvas.x + 20.0, "y": canvas.y + 30.0});
    act(&mut browser, json!({"action": "point", "at": at})).await?;
    assert_eq!(said(&mut browser, "document.title").await?, "20,30");
    let refused = act(&mut browser, json!({"action": "press", "keys": "Hyper+x"})).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be held"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn drags_by_mouse_and_by_the_page() -> Result<()> {
    let body = "<style>div{width:80px;height:80px;position:absolute;top:20px}</style>
        <div id=a style='left:20px;background:red'>A</div><div id=b style='left:300px;background:blue'>B</div>
        <div id=d draggable=true style='left:20px;top:200px;background:green'>D</div>
        <div id=e style='left:300px;top:200px;background:gold'>E</div>
        <script>let down = false; var log = '';
          a.onmousedown = () => down = true;
          b.onmouseup = () => { if (down) log += 'mouse '; };
          d.ondragstart = event => event.dataTransfer.setData('text/plain', 'cargo');
          e.ondragover = event => event.preventDefault();
          e.ondrop = event => { event.preventDefault(); log += event.dataTransfer.getData('text/plain'); };
        </script>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    for (from, to) in [("a", "b"), ("d", "e")] {
        let (from, to) = (by_id(&snapshot, from)?, by_id(&snapshot, to)?);
        act(&mut browser, json!({"action": "drag", "from": {"target": from}, "to": {"target": to}})).await?;
    }
    assert_eq!(said(&mut browser, "log").await?, "mouse cargo");
    Ok(())
}

#[tokio::test]
async fn wheels_say_whether_anything_moved() -> Result<()> {
    let body = "<div id=list style='height:100px;overflow:auto'><div style='height:1000px'>long</div></div>
        <div style='height:3000px'></div>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let list = by_id(&snapshot, "list")?;
    let acted = act(&mut browser, json!({"action": "scroll", "target": list, "y": 200})).await?;
    assert!(acted.changed);
    assert_eq!(said(&mut browser, "list.scrollTop").await?, "200");
    act(&mut browser, json!({"action": "press", "keys": "Tab"})).await?;
    let acted = act(&mut browser, json!({"action": "scroll", "y": 500})).await?;
    assert!(acted.changed);
    let acted = act(&mut browser, json!({"action": "scroll", "x": 300})).await?;
    assert!(!acted.changed, "there is nothing to the right");
    Ok(())
}
