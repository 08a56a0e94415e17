//! Python as a tool: one piece of code, what it printed, and the value of its last line.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_types::Clock;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Effect, Output, Tool, ToolCard, ToolFault, read_arguments};
use crate::provenance::Provenance;
use crate::python::{Interpreter, Next, Program};

/// The name of the tool.
pub const PYTHON: &str = "python";

/// What this Python is, for a model.
pub(crate) const ABOUT: &str = "It is a Python 3 without files, network, environment and randomness. There are the modules asyncio, base64, \
    binascii, collections, dataclasses, datetime, functools, itertools, json, math, re, sys, typing and unicodedata; no \
    others, no classes of your own with inheritance, no yield and no match.";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The code. Print what you want to see; the value of a last expression is shown too.
    code: String,
}

/// The tool `python`: each call has an interpreter of its own, in a process of its own.
#[must_use]
pub fn python(program: Program, clock: Arc<dyn Clock + Send + Sync>) -> Arc<dyn Tool> {
    let what = "Runs a piece of Python from its first line to its end; names do not outlive it.";
    let card = ToolCard {
        name: PYTHON.to_owned(),
        description: format!("{what} {ABOUT}"),
        input: schemars::schema_for!(Arguments).to_value(),
        effect: Effect::Read,
        timeout: program.limits.time + Duration::from_secs(10),
        output_bytes_max: 20 << 10,
    };
    Arc::new(PythonTool { card, program, clock })
}

struct PythonTool {
    card: ToolCard,
    program: Program,
    clock: Arc<dyn Clock + Send + Sync>,
}

impl Tool for PythonTool {
    fn card(&self) -> &ToolCard {
        &self.card
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        async move {
            let Arguments { code } = read_arguments(arguments)?;
            let mut interpreter = Interpreter::start(&self.program).await?;
            let job = self.program.job(&code, Vec::new(), Some(self.clock.unix_seconds()));
            // It may call nothing, so it ends.
            let Next::Ended(stepped) = interpreter.run(job).await else {
                return Err(ToolFault::new("the interpreter broke down over this code"));
            };
            // Its names end with it in any case.
            let text = crate::python::Stepped { lost: false, ..stepped }.to_string();
            Ok(Output { text, provenance: Provenance::Tool(PYTHON.to_owned()) })
        }
        .boxed()
    }
}
