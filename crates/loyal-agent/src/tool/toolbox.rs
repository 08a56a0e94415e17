//! The tools of one agent, and who may have them called: bounds, permissions, and what foreign words do to both.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Allowance, Effect, Output, Tool, ToolCard, ToolFault, schema};
use crate::secret::Secrets;

/// Tools by name.
#[derive(Clone, Default)]
pub struct Toolbox {
    tools: Vec<Arc<dyn Tool>>,
    grants: Vec<Grant>,
    person: Option<Arc<dyn Person>>,
    secrets: Secrets,
}

/// A permission given before a run: calls of this tool whose arguments are these.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The tool.
    pub tool: String,
    /// Members the arguments must have, with exactly these values; an object without members allows any.
    pub arguments: Value,
    /// How many calls.
    pub call_count_max: u32,
}

/// Somebody who can be asked.
pub trait Person: Send + Sync {
    /// Whether this call, with these very arguments, may be made.
    fn allows<'a>(&'a self, tool: &'a ToolCard, arguments: &'a Value) -> BoxFuture<'a, bool>;

    /// What they answer to a question; nothing where they do not.
    fn answer<'a>(&'a self, question: &'a str) -> BoxFuture<'a, Option<String>> {
        let _ = question;
        Box::pin(std::future::ready(None))
    }
}

/// What a call needs before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing more.
    Nothing,
    /// A person's yes.
    Person,
    /// It is not made, and the model is told why.
    Refused(String),
}

impl Toolbox {
    /// No tools.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more tool; it takes the place of one of the same name.
    #[must_use]
    pub fn with(self, tool: impl Tool + 'static) -> Self {
        self.with_all([Arc::new(tool) as Arc<dyn Tool>])
    }

    /// With more tools.
    #[must_use]
    pub fn with_all(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        for tool in tools {
            self.tools.retain(|known| known.card().name != tool.card().name);
            self.tools.push(tool);
        }
        self
    }

    /// With a permission given before.
    #[must_use]
    pub fn with_grant(mut self, grant: Grant) -> Self {
        self.grants.push(grant);
        self
    }

    /// With somebody who can be asked.
    #[must_use]
    pub fn with_person(mut self, person: Arc<dyn Person>) -> Self {
        self.person = Some(person);
        self
    }

    /// With secrets: whatever a tool gives back is shown without them. The tools that use them are given them too.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// What no model and no log may see.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What is said of the tools.
    pub fn cards(&self) -> impl Iterator<Item = &ToolCard> {
        self.tools.iter().map(|tool| tool.card())
    }

    /// The tool of a name.
    ///
    /// # Errors
    /// The names there are, for a model that made one up.
    pub(crate) fn find(&self, name: &str) -> Result<&Arc<dyn Tool>, ToolFault> {
        self.tools.iter().find(|tool| tool.card().name == name).ok_or_else(|| {
            let names: Vec<_> = self.cards().map(|card| card.name.as_str()).collect();
            let name: String = name.chars().take(80).collect();
            ToolFault(format!("there is no tool {name:?}; there are: {}", names.join(", ")))
        })
    }

    /// The tool and its arguments, when they fit together.
    pub(crate) fn prepare(&self, name: &str, arguments: &str) -> Result<(Arc<dyn Tool>, Value), ToolFault> {
        let tool = self.find(name)?;
        let text = if arguments.trim().is_empty() { "{}" } else { arguments };
        let arguments: Value = serde_json::from_str(text)
            .map_err(|error| ToolFault(format!("the arguments are no JSON: {error}")))?;
        if let Some(fault) = schema::fault(&tool.card().input, &arguments) {
            return Err(ToolFault(format!("{fault}; the schema is {}", tool.card().input)));
        }
        Ok((tool.clone(), arguments))
    }

    /// What a call needs. One that only reads needs nothing; one that pays needs a grant or a person; one that writes
    /// needs them once somebody else's words were read. A grant that covers the call is used up by one.
    pub(crate) fn need(&mut self, card: &ToolCard, arguments: &Value, tainted: bool) -> Need {
        let free = match card.effect {
            Effect::Read => true,
            Effect::Write => !tainted,
            Effect::Pay => false,
        };
        if free {
            return Need::Nothing;
        }
        if let Some(grant) = self.grants.iter_mut().find(|grant| grant.covers(&card.name, arguments)) {
            grant.call_count_max -= 1;
            return Need::Nothing;
        }
        if self.person.is_some() {
            return Need::Person;
        }
        let why = match card.effect {
            Effect::Pay => "it moves money",
            _ => "words of others were read in this run, and it changes something",
        };
        Need::Refused(format!(
            "{why}: that needs a permission given before, or a person, and there is neither"
        ))
    }

    /// Whether a call of it could go through at all.
    pub(crate) fn may_be_called(&self, card: &ToolCard) -> bool {
        let granted = |grant: &Grant| grant.tool == card.name && grant.call_count_max > 0;
        card.effect == Effect::Read || self.person.is_some() || self.grants.iter().any(granted)
    }

    /// Asks a person; gives back the refusal, if it is one.
    pub(crate) async fn ask_person(&self, card: &ToolCard, arguments: &Value) -> Option<String> {
        let allowed = match &self.person {
            Some(person) => person.allows(card, arguments).await,
            None => false,
        };
        (!allowed).then(|| "a person was asked and refused; do not try again".to_owned())
    }
}

impl Grant {
    fn covers(&self, tool: &str, arguments: &Value) -> bool {
        let Value::Object(wanted) = &self.arguments else { return false };
        self.call_count_max > 0
            && self.tool == tool
            && wanted.iter().all(|(name, value)| arguments.get(name) == Some(value))
    }
}

/// Calls a tool within its time, hides secrets in what it gives back, and cuts that to its bound.
pub(crate) async fn call(
    tool: &dyn Tool,
    arguments: Value,
    allowance: Option<&Allowance>,
    secrets: &Secrets,
) -> Result<Output, ToolFault> {
    let card = tool.card();
    let work = match allowance {
        Some(allowance) => tool.call_within(arguments, allowance),
        None => tool.call(arguments),
    };
    let called = tokio::time::timeout(card.timeout, work).await;
    let late = || ToolFault(format!("{} gave no result within {} s", card.name, card.timeout.as_secs_f64()));
    let result = called.map_err(|_| late())?;
    let mut output = result.map_err(|fault| ToolFault(secrets.hide(fault.0)))?;
    output.text = clip(secrets.hide(output.text), card.output_bytes_max);
    Ok(output)
}

/// Head and tail of a text that is too long.
pub(crate) fn clip(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let head = text.floor_char_boundary(bytes_max / 3 * 2);
    let tail = text.ceil_char_boundary(text.len() - bytes_max / 3);
    let left_out = tail - head;
    format!("{}\n[… {left_out} bytes left out …]\n{}", &text[..head], &text[tail..])
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cards().map(|card| &card.name)).finish()
    }
}
