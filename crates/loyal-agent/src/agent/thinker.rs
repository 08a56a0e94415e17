//! A thinking agent to be served: each question is a run of its own, with the same model, tools and bounds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_types::Clock;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::budget::{Budget, Limits};
use super::check::{Check, Form};
use super::log::Log;
use super::run::ANSWER_TOKENS_MAX;
use super::{Agent, Price, Run, Style};
use crate::event::FINAL_RESPONSE;
use crate::llm::{Llm, Message, Role};
use crate::provenance::Provenance;
use crate::python::Program;
use crate::session::Speaker;
use crate::tool::{Allowance, Effect, Output, Tool, ToolCard, ToolFault, Toolbox, read_arguments};
use crate::{Error, Query, ResponseHandler, Result, Session};

/// Bytes of earlier messages a model reads.
const HISTORY_BYTES_MAX: usize = 32 << 10;

/// An agent that thinks with a model.
pub struct Thinker {
    name: String,
    llm: Arc<dyn Llm>,
    clock: Arc<dyn Clock + Send + Sync>,
    random: Mutex<ChaCha12Rng>,
    /// How it thinks.
    pub style: Style,
    /// What it can do.
    pub tools: Toolbox,
    /// What runs its code, where it thinks by writing some.
    pub python: Option<Program>,
    /// What one run may spend.
    pub limits: Limits,
    /// What the model costs, where it is not paid for each ask by itself.
    pub price: Price,
    /// Tokens of one answer at most.
    pub answer_tokens_max: u32,
    /// What an answer must pass.
    pub checks: Vec<Arc<dyn Check>>,
    /// Whether the model judges each answer.
    pub judge: bool,
}

impl Thinker {
    /// An agent without tools, which answers with what is not empty. The seed must be secret and new at each start.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        llm: Arc<dyn Llm>,
        clock: Arc<dyn Clock + Send + Sync>,
        seed: [u8; 32],
    ) -> Self {
        Self {
            name: name.into(),
            llm,
            clock,
            random: Mutex::new(ChaCha12Rng::from_seed(seed)),
            style: Style::default(),
            tools: Toolbox::new(),
            python: None,
            limits: Limits::default(),
            price: Price::default(),
            answer_tokens_max: ANSWER_TOKENS_MAX,
            checks: vec![Arc::new(Form::text())],
            judge: false,
        }
    }

    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        // Nothing panics while it holds the lock.
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut seed);
        seed
    }

    /// A run of its own.
    fn run(&self) -> Run {
        let (log, _) = Log::in_memory(self.clock.clone());
        self.run_within(Budget::new(self.limits, log.now()), log)
    }

    fn run_within(&self, budget: Budget, log: Log) -> Run {
        let run = Run::new(self.llm.clone(), budget, log, self.seed());
        let mut run = run.with_tools(self.tools.clone()).with_price(self.price);
        run.python.clone_from(&self.python);
        run.checks.clone_from(&self.checks);
        run.judge = self.judge;
        run.answer_tokens_max = self.answer_tokens_max;
        run
    }

    /// This agent as a tool of another one. It changes what its own tools may change, and has read what they read. Its
    /// limits bound each call; what it spends is its caller's too, and never more than the caller allows the call. Both
    /// count money in one currency.
    pub fn as_tool(self: Arc<Self>, name: &str) -> Arc<dyn Tool> {
        let effect = self.tools.cards().map(|card| card.effect).max().unwrap_or(Effect::Read);
        let card = ToolCard {
            name: name.to_owned(),
            description: "Works on a question with a model and tools of its own, and answers it.".to_owned(),
            input: schemars::schema_for!(Question).to_value(),
            effect,
            timeout: self.limits.wall + Duration::from_secs(10),
            output_bytes_max: 32 << 10,
        };
        Arc::new(ThinkerTool { card, thinker: self })
    }

    async fn answer(&self, session: Session, query: Query, out: ResponseHandler) -> Result<()> {
        let mut run = self.run().with_out(out.clone());
        let earlier = session.messages(HISTORY_BYTES_MAX).into_iter().map(|message| {
            let role = match message.speaker {
                Speaker::User => Role::User,
                Speaker::Agent => Role::Assistant,
            };
            Message::new(role, message.text)
        });
        run.history = earlier.collect();
        let outcome = super::run(&query.prompt, self.style, &mut run).await?;
        if outcome.answer.is_empty() {
            let missing = outcome.missing.join("; ");
            return Err(Error::told(500, format!("There is no answer: {missing}.")));
        }
        let stream = out.create_text_stream(FINAL_RESPONSE)?;
        stream.emit_chunk(outcome.answer.as_str()).await?;
        stream.complete().await?;
        let facts = json!({
            "complete": outcome.complete, "missing": outcome.missing, "citations": outcome.citations,
            "spent": outcome.spent, "paid": outcome.paid, "log": outcome.log,
        });
        out.complete_with(&facts).await
    }
}

impl Agent for Thinker {
    fn name(&self) -> &str {
        &self.name
    }

    fn assist<'a>(
        &'a self,
        session: Session,
        query: Query,
        out: ResponseHandler,
    ) -> BoxFuture<'a, Result<()>> {
        self.answer(session, query, out).boxed()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The question, with all that must be known to answer it.
    question: String,
}

struct ThinkerTool {
    card: ToolCard,
    thinker: Arc<Thinker>,
}

impl Tool for ThinkerTool {
    fn card(&self) -> &ToolCard {
        &self.card
    }

    fn call<'a>(&'a self, arguments: Value) -> BoxFuture<'a, Result<Output, ToolFault>> {
        async move { self.think(arguments, &mut self.thinker.run()).await }.boxed()
    }

    fn call_within<'a>(
        &'a self,
        arguments: Value,
        allowance: &'a Allowance,
    ) -> BoxFuture<'a, Result<Output, ToolFault>> {
        async move {
            let budget = allowance.lease(self.thinker.limits)?;
            let (log, _) = Log::in_memory(self.thinker.clock.clone());
            let mut run = self.thinker.run_within(budget, log.beginning_at(allowance.now()));
            let result = self.think(arguments, &mut run).await;
            allowance.tell_paid(run.paid);
            result
        }
        .boxed()
    }
}

impl ThinkerTool {
    async fn think(&self, arguments: Value, run: &mut Run) -> Result<Output, ToolFault> {
        let Question { question } = read_arguments(arguments)?;
        let outcome = super::run(&question, self.thinker.style, run).await?;
        if outcome.answer.is_empty() {
            return Err(ToolFault(format!("there is no answer: {}", outcome.missing.join("; "))));
        }
        let mut text = outcome.answer;
        if !outcome.complete {
            text.push_str(&format!("\n(incomplete: {})", outcome.missing.join("; ")));
        }
        let foreign = run.sources.iter().map(|source| &source.provenance).find(|whose| whose.is_foreign());
        let provenance = foreign.cloned().unwrap_or_else(|| Provenance::Tool(self.card.name.clone()));
        Ok(Output { text, provenance })
    }
}

impl std::fmt::Debug for Thinker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thinker")
            .field("name", &self.name)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}
