//! What an agent can do beside talking: tools, each with a schema of its arguments, an effect and bounds.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod agent;
mod allowance;
mod browse;
mod calculate;
mod files;
mod http;
mod page;
mod person;
mod python;
mod schema;
mod search;
pub(crate) mod toolbox;

pub use agent::{Known, call_agent};
pub use allowance::Allowance;
pub use browse::{BROWSE, browse, browse_with_secrets, domains_named};
pub use calculate::calculate;
pub use files::Folder;
pub use http::{Web, read_page};
pub use person::ask_user;
pub use python::{PYTHON, python};
pub use search::{Found, Search, Searx, search};
pub use toolbox::{Grant, Person, Toolbox};

pub(crate) use calculate::value_of;
pub(crate) use python::ABOUT as PYTHON_ABOUT;
pub(crate) use schema::fault as schema_fault;
pub(crate) use toolbox::clip;

use crate::Error;
use crate::provenance::Provenance;

/// What a tool's call changes outside of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    Read,
    /// Something that may not be undone.
    Write,
    /// It moves money.
    Pay,
}

/// What is said of a tool before it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCard {
    /// `[a-z][a-z0-9_]{0,63}`.
    pub name: String,
    /// What it is for, for a model to read.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input: Value,
    /// What it changes.
    pub effect: Effect,
    /// How long a call may take.
    pub timeout: Duration,
    /// Bytes of what it gives back; more loses its middle.
    pub output_bytes_max: usize,
}

/// What a call gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// For the model.
    pub text: String,
    /// Whose words these are.
    pub provenance: Provenance,
}

/// Why a call failed, for the model to read: it can try again, otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolFault(pub String);

impl ToolFault {
    /// In words.
    pub fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl From<Error> for ToolFault {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Something an agent can do.
pub trait Tool: Send + Sync {
    /// What is said of it.
    fn card(&self) -> &ToolCard;

    /// Does it. Dropping the future stops it.
    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>>;

    /// Does it for a run that has a budget. A tool that thinks, pays or calls tools itself spends from `allowance`; one that
    /// does not need not know of it.
    fn call_within<'a>(
        &'a self,
        arguments: Value,
        allowance: &'a Allowance,
    ) -> BoxFuture<'a, Result<Output, ToolFault>> {
        let _ = allowance;
        self.call(arguments)
    }
}

impl<T: Tool + ?Sized> Tool for Arc<T> {
    fn card(&self) -> &ToolCard {
        (**self).card()
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        (**self).call(arguments)
    }

    fn call_within<'a>(
        &'a self,
        arguments: Value,
        allowance: &'a Allowance,
    ) -> BoxFuture<'a, Result<Output, ToolFault>> {
        (**self).call_within(arguments, allowance)
    }
}

/// A tool of a name, a description and a closure; the schema is that of the closure's argument.
///
/// # Panics
/// Where the name is not `[a-z][a-z0-9_]{0,63}`: a mistake in the program.
pub fn tool<A, F, W, O>(name: &str, description: &str, call: F) -> ClosureTool<A, F>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(A) -> W + Send + Sync + 'static,
    W: Future<Output = Result<O, ToolFault>> + Send + 'static,
    O: fmt::Display,
{
    assert!(is_name(name), "{name:?} is no name of a tool: [a-z][a-z0-9_]{{0,63}}");
    let input = schemars::schema_for!(A).to_value();
    let card = ToolCard {
        name: name.to_owned(),
        description: description.to_owned(),
        input,
        effect: Effect::Read,
        timeout: Duration::from_secs(30),
        output_bytes_max: 16 << 10,
    };
    ClosureTool { card, call, arguments: PhantomData }
}

/// Whether a text can name a tool.
pub(crate) fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 64
        && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_')
}

/// A tool made by [`tool()`].
pub struct ClosureTool<A, F> {
    card: ToolCard,
    call: F,
    arguments: PhantomData<fn(A)>,
}

impl<A, F> ClosureTool<A, F> {
    /// With an effect; [`Effect::Read`] unless said.
    #[must_use]
    pub const fn with_effect(mut self, effect: Effect) -> Self {
        self.card.effect = effect;
        self
    }

    /// With a time a call may take; 30 s unless said.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.card.timeout = timeout;
        self
    }

    /// With a bound on what comes back; 16 KiB unless said.
    #[must_use]
    pub const fn with_output_bytes_max(mut self, bytes: usize) -> Self {
        self.card.output_bytes_max = bytes;
        self
    }
}

impl<A, F> fmt::Debug for ClosureTool<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosureTool").field("card", &self.card).finish_non_exhaustive()
    }
}

impl<A, F, W, O> Tool for ClosureTool<A, F>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(A) -> W + Send + Sync + 'static,
    W: Future<Output = Result<O, ToolFault>> + Send + 'static,
    O: fmt::Display,
{
    fn card(&self) -> &ToolCard {
        &self.card
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        let read = read_arguments::<A>(arguments);
        let name = self.card.name.clone();
        let work = read.map(|arguments| (self.call)(arguments));
        async move {
            let text = work?.await?.to_string();
            Ok(Output { text, provenance: Provenance::Tool(name) })
        }
        .boxed()
    }
}

/// Arguments as a type, or which of them is wrong and what would be right.
pub(crate) fn read_arguments<A: DeserializeOwned>(arguments: Value) -> Result<A, ToolFault> {
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let path = error.path().to_string();
        ToolFault(if path == "." {
            format!("the arguments are wrong: {}", error.inner())
        } else {
            format!("the argument {path} is wrong: {}", error.inner())
        })
    })
}
