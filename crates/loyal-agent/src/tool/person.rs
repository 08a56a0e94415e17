//! The user as a tool: a question that only they can answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Effect, Output, Person, Tool, ToolCard, ToolFault, read_arguments};
use crate::provenance::Provenance;

const QUESTION_CHARACTERS_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// One question, short, that says all that is needed to answer it.
    question: String,
}

/// The tool `ask_user`. What a person answers are the user's own words.
#[must_use]
pub fn ask_user(person: Arc<dyn Person>) -> Arc<dyn Tool> {
    let what = "Asks the user a question and waits for the answer. Ask only what cannot be found out otherwise, and never for \
                passwords or keys.";
    let card = ToolCard {
        name: "ask_user".to_owned(),
        description: what.to_owned(),
        input: schemars::schema_for!(Arguments).to_value(),
        effect: Effect::Read,
        timeout: Duration::from_secs(300),
        output_bytes_max: 16 << 10,
    };
    Arc::new(AskUser { card, person })
}

struct AskUser {
    card: ToolCard,
    person: Arc<dyn Person>,
}

impl Tool for AskUser {
    fn card(&self) -> &ToolCard {
        &self.card
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        async move {
            let Arguments { question } = read_arguments(arguments)?;
            // A terminal shall show the question, not obey it.
            let question: String =
                question.chars().filter(|c| !c.is_control()).take(QUESTION_CHARACTERS_MAX).collect();
            match self.person.answer(&question).await {
                Some(text) => Ok(Output { text, provenance: Provenance::User }),
                None => {
                    Err(ToolFault::new("nobody is there to answer; go on without, and say what is missing"))
                }
            }
        }
        .boxed()
    }
}
