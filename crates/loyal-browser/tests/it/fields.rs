//! Fields: filled, chosen, set and read back, of every kind that a page may have.

use anyhow::Result;
use loyal_browser::Error;
use serde_json::json;

use crate::kit::{act, by_id, said, showing};

#[tokio::test]
async fn fields_hold_what_they_are_given() -> Result<()> {
    let body = "<input id=text value=old><input id=pass type=password><textarea id=area></textarea>
        <input id=num type=number><input id=date type=date><input id=range type=range max=50>
        <input id=colour type=color><div id=rich contenteditable>old <b>rich</b></div><input id=mail type=email>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    for (id, value) in [
        ("text", "new 'text' é"),
        ("pass", "geheim"),
        ("area", "two\nlines"),
        ("num", "12.50"),
        ("date", "2026-11-26"),
        ("range", "30"),
        ("colour", "#ff8800"),
        ("rich", "plain"),
        ("mail", "a@example.com"),
    ] {
        let target = by_id(&snapshot, id)?;
        let acted = act(&mut browser, json!({"action": "fill", "target": target, "value": value})).await?;
        let expected = if id == "pass" { "••••••" } else { value };
        assert_eq!(acted.value.as_deref(), Some(expected), "{id}");
    }
    let text = by_id(&snapshot, "text")?;
    act(&mut browser, json!({"action": "fill", "target": text, "value": ""})).await?;
    assert_eq!(said(&mut browser, "text.value + pass.value").await?, "geheim");
    Ok(())
}

#[tokio::test]
async fn fields_that_refuse_say_so() -> Result<()> {
    let body = "<input id=short maxlength=3><input id=read readonly value=x><input id=off disabled>
        <input id=num type=number><p id=p style='cursor:pointer'>no field</p>
        <input id=upper oninput='this.value = this.value.toUpperCase()'>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    for (id, value, words) in [
        ("short", "abcdef", "holds \"abc\" instead of \"abcdef\""),
        ("read", "y", "can only be read"),
        ("off", "y", "is disabled"),
        ("num", "many", "instead of \"many\""),
        ("p", "y", "is a <p>, which holds no text"),
        ("upper", "abc", "holds \"ABC\""),
    ] {
        let target = by_id(&snapshot, id)?;
        let refused = act(&mut browser, json!({"action": "fill", "target": target, "value": value})).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(words), "{id}: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn choices_and_boxes() -> Result<()> {
    let body = "<select id=one><option>small<option value=L>large<option disabled>huge</select>
        <select id=many multiple size=4><option>a<option>b<option>c</select>
        <label>Agree <input id=box type=checkbox></label>
        <label><input id=hid type=checkbox style='opacity:0;position:absolute'><span>Styled</span></label>
        <div id=aria role=checkbox aria-checked=false tabindex=0
          onclick='this.setAttribute(\"aria-checked\", this.getAttribute(\"aria-checked\") !== \"true\")'>Aria</div>
        <input id=stuck type=checkbox onclick='return false'>
        <script>var log = ''; one.onchange = () => log += one.value; box.onchange = () => log += box.checked;</script>";
    let (mut browser, _site) = showing(body).await?;
    let snapshot = browser.snapshot().await?;
    let (one, many) = (by_id(&snapshot, "one")?, by_id(&snapshot, "many")?);
    let acted = act(&mut browser, json!({"action": "select", "target": one, "options": ["large"]})).await?;
    assert_eq!(acted.value.as_deref(), Some("large"));
    let acted = act(&mut browser, json!({"action": "select", "target": many, "options": ["a", "c"]})).await?;
    assert_eq!(acted.value.as_deref(), Some("a, c"));
    let absent = act(&mut browser, json!({"action": "select", "target": one, "options": ["tiny"]})).await;
    assert!(absent.unwrap_err().to_string().contains("it has small | large | huge"));
    let huge = act(&mut browser, json!({"action": "select", "target": one, "options": ["huge"]})).await;
    assert!(huge.is_err());
    for id in ["box", "hid", "aria"] {
        let target = by_id(&snapshot, id)?;
        for on in [true, true, false] {
            let acted = act(&mut browser, json!({"action": "check", "target": target, "on": on})).await?;
            assert_eq!(acted.value.as_deref(), Some(if on { "checked" } else { "not checked" }), "{id}");
        }
    }
    let stuck = by_id(&snapshot, "stuck")?;
    let refused = act(&mut browser, json!({"action": "check", "target": stuck, "on": true})).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused.downcast_ref(), Some(Error::NotKept { .. })), "{refused}");
    assert_eq!(said(&mut browser, "log").await?, "Ltruefalse");
    Ok(())
}
