//! Scripts of ours inside a page: in a world of their own, on an element, with a value back.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cdp::Cdp;
use crate::snapshot::Place;
use crate::{Error, Result};

const SHARED: &str = include_str!("page.js");

/// An element inside Chromium, by its handle.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) session: String,
    pub(crate) object: String,
}

#[derive(Deserialize)]
struct Evaluated {
    result: Remote,
    #[serde(rename = "exceptionDetails")]
    exception: Option<Exception>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Remote {
    value: Value,
    object_id: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Exception {
    text: String,
    exception: Option<Remote>,
}

impl Evaluated {
    fn outcome(self, what: &str) -> Result<Remote> {
        let Some(exception) = self.exception else { return Ok(self.result) };
        let thrown = exception.exception.and_then(|thrown| thrown.description);
        Err(Error::Protocol { method: what.to_owned(), message: thrown.unwrap_or(exception.text) })
    }
}

/// The isolated world of a frame, made when it is first needed.
pub(crate) async fn context(cdp: &Cdp, session: &str, frame: &str) -> Result<i64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct World {
        execution_context_id: i64,
    }
    let known = cdp.world().frame_mut(session, frame).and_then(|frame| frame.context);
    if let Some(context) = known {
        return Ok(context);
    }
    let ask = json!({"frameId": frame, "worldName": "loyal"});
    let made = cdp.call::<World>(Some(session), "Page.createIsolatedWorld", ask).await?;
    let context = made.execution_context_id;
    let ask = json!({"expression": SHARED, "contextId": context});
    cdp.call::<Evaluated>(Some(session), "Runtime.evaluate", ask).await?.outcome("page.js")?;
    if let Some(frame) = cdp.world().frame_mut(session, frame) {
        frame.context = Some(context);
    }
    Ok(context)
}

/// A function in the world of a frame.
pub(crate) async fn ask<T: DeserializeOwned>(
    cdp: &Cdp,
    (session, frame): (&str, &str),
    function: &str,
    arguments: &[Value],
) -> Result<T> {
    for last in [false, true] {
        let context = context(cdp, session, frame).await?;
        let ask = json!({
            "functionDeclaration": function, "executionContextId": context, "returnByValue": true,
            "awaitPromise": true, "arguments": values(arguments),
        });
        let done = cdp.call::<Evaluated>(Some(session), "Runtime.callFunctionOn", ask).await;
        if !last && done.as_ref().is_err_and(Error::is_lost) {
            // The document was replaced in between.
            cdp.world().frame_mut(session, frame).into_iter().for_each(|frame| frame.context = None);
            continue;
        }
        return typed(done?.outcome(function)?, function);
    }
    Err(Error::Crashed)
}

fn typed<T: DeserializeOwned>(remote: Remote, function: &str) -> Result<T> {
    serde_json::from_value(remote.value)
        .map_err(|error| Error::Protocol { method: function.to_owned(), message: error.to_string() })
}

fn values(arguments: &[Value]) -> Vec<Value> {
    arguments.iter().map(|value| json!({"value": value})).collect()
}

/// The element at a place, in our world.
pub(crate) async fn resolve(cdp: &Cdp, place: &Place) -> Result<Element> {
    #[derive(Deserialize)]
    struct Resolved {
        object: Remote,
    }
    let context = context(cdp, &place.session, &place.frame).await?;
    let ask = json!({"backendNodeId": place.node, "executionContextId": context, "objectGroup": "loyal"});
    let resolved = cdp.call::<Resolved>(Some(&place.session), "DOM.resolveNode", ask).await?;
    let object = resolved.object.object_id.ok_or(Error::Crashed)?;
    Ok(Element { session: place.session.clone(), object })
}

impl Element {
    /// Calls a function with this element as its first argument.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        cdp: &Cdp,
        function: &str,
        arguments: &[Value],
    ) -> Result<T> {
        let done = self.call(cdp, function, values(arguments), true).await?;
        typed(done, function)
    }

    /// Calls a function of this element and another.
    pub(crate) async fn with<T: DeserializeOwned>(
        &self,
        cdp: &Cdp,
        function: &str,
        other: &Self,
    ) -> Result<T> {
        let done = self.call(cdp, function, vec![json!({"objectId": other.object})], true).await?;
        typed(done, function)
    }

    /// Calls a function that gives another element, or none.
    pub(crate) async fn other(&self, cdp: &Cdp, function: &str) -> Result<Option<Self>> {
        let done = self.call(cdp, function, Vec::new(), false).await?;
        Ok(done.object_id.map(|object| Self { session: self.session.clone(), object }))
    }

    async fn call(&self, cdp: &Cdp, function: &str, arguments: Vec<Value>, by_value: bool) -> Result<Remote> {
        let mut all = vec![json!({"objectId": self.object})];
        all.extend(arguments);
        let ask = json!({
            "functionDeclaration": function, "objectId": self.object, "arguments": all,
            "returnByValue": by_value, "awaitPromise": true, "userGesture": true, "objectGroup": "loyal",
        });
        let done = cdp.call::<Evaluated>(Some(&self.session), "Runtime.callFunctionOn", ask).await?;
        done.outcome(function)
    }
}

/// An expression in the page's own world.
pub(crate) async fn evaluate(cdp: &Cdp, session: &str, expression: &str) -> Result<Value> {
    let ask = json!({
        "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true,
    });
    let done = cdp.call::<Evaluated>(Some(session), "Runtime.evaluate", ask).await?;
    Ok(done.outcome(expression)?.value)
}

/// The largest video or sound of a frame.
pub(crate) async fn largest_medium(cdp: &Cdp, session: &str, frame: &str) -> Result<Option<Element>> {
    let context = context(cdp, session, frame).await?;
    let ask = json!({
        "functionDeclaration": "() => loyal.largest()", "executionContextId": context, "objectGroup": "loyal",
    });
    let done = cdp.call::<Evaluated>(Some(session), "Runtime.callFunctionOn", ask).await?;
    let found = done.outcome("loyal.largest")?;
    Ok(found.object_id.map(|object| Element { session: session.to_owned(), object }))
}
