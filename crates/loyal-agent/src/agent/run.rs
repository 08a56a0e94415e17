//! A run of a thinking agent: what it thinks with, what it may spend, and every step of it in the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::budget::{Budget, Exhausted, Spent};
use super::check::{Candidate, Check, Verdict, judgement, verdict_of};
use super::log::{Kind, Log};
use crate::llm::{
    Ask, Call, Completion, Delta, Llm, LlmFault, Message, Payment, ToolSpec, Usage, prompt_tokens_max,
};
use crate::provenance::{Provenance, delimit};
use crate::python::Program;
use crate::tool::toolbox::{self, Need};
use crate::tool::{Allowance, Effect, Output, Tool, ToolFault, Toolbox};
use crate::{Error, ResponseHandler, Result};

/// What a model costs, in the smallest unit of a currency for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Price {
    /// Of what is asked.
    pub prompt_per_million: u128,
    /// Of what is answered.
    pub completion_per_million: u128,
}

impl Price {
    /// Of so many tokens; rounded up.
    #[must_use]
    pub const fn of(&self, usage: Usage) -> u128 {
        let millionths = (usage.prompt_tokens as u128)
            .saturating_mul(self.prompt_per_million)
            .saturating_add((usage.completion_tokens as u128).saturating_mul(self.completion_per_million));
        millionths.div_ceil(1_000_000)
    }
}

/// Tokens of one answer, unless said otherwise.
pub(super) const ANSWER_TOKENS_MAX: u32 = 1024;

/// What a run needs.
pub struct Run {
    /// What it thinks with.
    pub llm: Arc<dyn Llm>,
    /// What that costs, where it is not paid for each ask by itself ([`Llm::amount_max`]).
    pub price: Price,
    /// Tokens of one answer at most.
    pub answer_tokens_max: u32,
    /// What it can do.
    pub tools: Toolbox,
    /// What it may spend.
    pub budget: Budget,
    /// What it did.
    pub log: Log,
    /// What an answer must pass.
    pub checks: Vec<Arc<dyn Check>>,
    /// Whether the model also judges each answer, seeing goal and sources but not the reasoning.
    pub judge: bool,
    /// Who hears of its steps.
    pub out: Option<ResponseHandler>,
    /// What runs the code of [`Style::Code`](super::Style::Code).
    pub python: Option<Program>,
    /// Earlier messages of the conversation.
    pub history: Vec<Message>,
    /// What tools gave back so far: the sources an answer can be checked against.
    pub(crate) sources: Vec<Output>,
    pub(crate) tainted: bool,
    /// What was paid to hosts so far.
    pub(crate) paid: Vec<Payment>,
    /// Subtasks planned so far.
    pub(crate) node_count: usize,
    pub(crate) random: ChaCha12Rng,
    pub(crate) seed: [u8; 32],
}

impl Run {
    /// A run without tools, checks and listeners. The seed draws the boundaries around foreign text: it must be secret
    /// until the run is over. A run that replays a log needs the seed of that log.
    #[must_use]
    pub fn new(llm: Arc<dyn Llm>, budget: Budget, log: Log, seed: [u8; 32]) -> Self {
        Self {
            llm,
            price: Price::default(),
            answer_tokens_max: ANSWER_TOKENS_MAX,
            tools: Toolbox::new(),
            budget,
            log,
            checks: Vec::new(),
            judge: false,
            out: None,
            python: None,
            history: Vec::new(),
            sources: Vec::new(),
            tainted: false,
            paid: Vec::new(),
            node_count: 0,
            random: ChaCha12Rng::from_seed(seed),
            seed,
        }
    }

    /// With tools.
    #[must_use]
    pub fn with_tools(mut self, tools: Toolbox) -> Self {
        self.tools = tools;
        self
    }

    /// With something an answer must pass; cheap ones first.
    #[must_use]
    pub fn with_check(mut self, check: impl Check + 'static) -> Self {
        self.checks.push(Arc::new(check));
        self
    }

    /// With a judge.
    #[must_use]
    pub const fn with_judge(mut self) -> Self {
        self.judge = true;
        self
    }

    /// With somebody who hears of its steps.
    #[must_use]
    pub fn with_out(mut self, out: ResponseHandler) -> Self {
        self.out = Some(out);
        self
    }

    /// With what runs code.
    #[must_use]
    pub fn with_python(mut self, program: Program) -> Self {
        self.python = Some(program);
        self
    }

    /// With what the model costs.
    #[must_use]
    pub const fn with_price(mut self, price: Price) -> Self {
        self.price = price;
        self
    }

    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        let spec = |card: &crate::tool::ToolCard| ToolSpec {
            name: card.name.clone(),
            description: card.description.clone(),
            input: card.input.clone(),
        };
        self.tools.cards().map(spec).collect()
    }

    /// Tells whoever listens of a step.
    pub(crate) async fn tell(&self, name: &str, value: &Value) -> Result<()> {
        match &self.out {
            Some(out) if !self.log.is_replaying() => out.emit_json(name, value).await,
            _ => Ok(()),
        }
    }

    /// One ask of the model, paid from `budget`.
    pub(crate) async fn ask(&mut self, node: &str, budget: &Budget, ask: &Ask) -> Result<Asked> {
        let most = Usage { prompt_tokens: prompt_tokens_max(ask), completion_tokens: ask.max_tokens.into() };
        let (price, amount_max) = (self.price, self.llm.amount_max());
        let cost = |usage: Usage, amount: u128| Spent {
            model_tokens: usage.total(),
            amount: price.of(usage).saturating_add(amount),
            ..Spent::default()
        };
        let reserved = match budget.reserve(cost(most, amount_max), self.log.now()) {
            Ok(reserved) => reserved,
            Err(exhausted) => {
                self.log.note(node, Kind::Budget, &exhausted)?;
                return Ok(Asked::Exhausted(exhausted));
            }
        };
        let text = serde_json::to_string(ask).map_err(Error::failed)?;
        let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        self.log.note(node, Kind::Ask, &json!({ "sha256": hash, "messages": ask.messages.len() }))?;
        let answer = match self.log.recorded::<Answer>(node, Kind::Answer)? {
            Some(answer) => answer,
            None => {
                let answer = self.listen(ask, budget.left(self.log.now()).wall).await;
                self.log.record(node, Kind::Answer, &answer)?;
                answer
            }
        };
        let paid = answer.paid.iter().fold(0, |sum: u128, payment| sum.saturating_add(payment.amount));
        self.paid.extend(answer.paid);
        Ok(match answer.came {
            Came::Completion(completion) => {
                reserved.settle(cost(completion.usage, paid));
                Asked::Completion(completion)
            }
            Came::Fault(fault) => {
                if fault.is_free() {
                    reserved.settle(Spent { amount: paid, ..cost(most, 0) });
                }
                Asked::Fault(fault)
            }
            Came::Late => Asked::Exhausted(Exhausted::Wall),
        })
    }

    /// What a model answers within a time, and what was paid for that.
    async fn listen(&self, ask: &Ask, wait: Duration) -> Answer {
        let mut paid = Vec::new();
        let mut sink = |delta| {
            if let Delta::Paid(payment) = delta {
                paid.push(payment);
            }
        };
        let came = match tokio::time::timeout(wait, self.llm.complete(ask, &mut sink)).await {
            Ok(Ok(completion)) => Came::Completion(completion),
            Ok(Err(fault)) => Came::Fault(fault),
            Err(_) => Came::Late,
        };
        Answer { came, paid }
    }

    /// The calls of one answer, each with what the model reads of its result.
    pub(crate) async fn call(
        &mut self,
        node: &str,
        budget: &Budget,
        calls: &[Call],
    ) -> Result<Vec<Result<Output, ToolFault>>> {
        let prepared: Vec<_> =
            calls.iter().map(|call| self.tools.prepare(&call.name, &call.arguments)).collect();
        let reads = prepared
            .iter()
            .all(|prepared| prepared.as_ref().is_ok_and(|(tool, _)| tool.card().effect == Effect::Read));
        let mut results = Vec::new();
        if reads {
            results = self.call_together(node, budget, calls, prepared).await?;
        } else {
            for (call, prepared) in calls.iter().zip(prepared) {
                results.push(self.call_alone(node, budget, call, prepared).await?);
            }
        }
        for output in results.iter().flatten() {
            self.tainted |= output.provenance.is_foreign();
            self.sources.push(output.clone());
        }
        Ok(results)
    }

    /// Calls that only read: at the same time, told in the order they were asked for.
    async fn call_together(
        &mut self,
        node: &str,
        budget: &Budget,
        calls: &[Call],
        prepared: Vec<Result<Prepared, ToolFault>>,
    ) -> Result<Vec<Result<Output, ToolFault>>> {
        let mut waiting = Vec::new();
        for (call, prepared) in calls.iter().zip(prepared) {
            self.log.note(node, Kind::Call, call)?;
            let paid = budget.spend(Spent { tool_calls: 1, ..Spent::default() }, self.log.now());
            waiting.push(prepared.and_then(|prepared| paid.map(|()| prepared).map_err(ToolFault::new)));
        }
        // Allowances are of what was left before any of the calls, so that a run that broke off among them goes on alike.
        let now = self.log.now();
        let allowances: Vec<_> = waiting.iter().map(|_| Allowance::new(budget, waiting.len(), now)).collect();
        let mut results: Vec<Result<Output, ToolFault>> = Vec::new();
        while results.len() < waiting.len() {
            let Some(told) = self.log.recorded::<Told>(node, Kind::Result)? else { break };
            results.push(self.heard(budget, told));
        }
        let (left, allowances) = (waiting.split_off(results.len()), &allowances[results.len()..]);
        let wait = budget.left(self.log.now()).wall;
        let secrets = self.tools.secrets();
        let work = left.into_iter().zip(allowances).map(|(prepared, allowance)| async move {
            let (tool, arguments) = prepared?;
            tokio::time::timeout(wait, toolbox::call(&*tool, arguments, Some(allowance), secrets))
                .await
                .unwrap_or_else(|_| Err(ToolFault::new("no time is left")))
        });
        for (result, allowance) in join_all(work).await.into_iter().zip(allowances) {
            results.push(self.tell_result(node, result, allowance)?);
        }
        Ok(results)
    }

    /// A call that changes something: permitted first, and never made twice.
    async fn call_alone(
        &mut self,
        node: &str,
        budget: &Budget,
        call: &Call,
        prepared: Result<Prepared, ToolFault>,
    ) -> Result<Result<Output, ToolFault>> {
        let was_begun = self.log.is_replaying();
        self.log.note(node, Kind::Call, call)?;
        let paid = budget.spend(Spent { tool_calls: 1, ..Spent::default() }, self.log.now());
        let need = prepared
            .as_ref()
            .ok()
            .map(|(tool, arguments)| self.tools.need(tool.card(), arguments, self.tainted));
        if let Some(told) = self.log.recorded::<Told>(node, Kind::Result)? {
            return Ok(self.heard(budget, told));
        }
        let allowance = Allowance::new(budget, 1, self.log.now());
        let result = match (prepared, need, paid) {
            (Err(fault), ..) => Err(fault),
            (_, _, Err(exhausted)) => Err(ToolFault::new(exhausted)),
            (Ok((tool, _)), ..) if was_begun && tool.card().effect != Effect::Read => Err(ToolFault::new(
                "this call was under way when the run broke off; whether it took effect is not known, so look first",
            )),
            (Ok((tool, arguments)), need, Ok(())) => {
                let refused = match need {
                    Some(Need::Refused(why)) => Some(why),
                    Some(Need::Person) => self.tools.ask_person(tool.card(), &arguments).await,
                    Some(Need::Nothing) | None => None,
                };
                let wait = budget.left(self.log.now()).wall;
                match refused {
                    Some(why) => Err(ToolFault(why)),
                    None => {
                        let secrets = self.tools.secrets();
                        tokio::time::timeout(
                            wait,
                            toolbox::call(&*tool, arguments, Some(&allowance), secrets),
                        )
                        .await
                        .unwrap_or_else(|_| Err(ToolFault::new("no time is left")))
                    }
                }
            }
        };
        self.tell_result(node, result, &allowance)
    }

    /// Writes down what a call gave back, and what it spent beyond itself.
    fn tell_result(
        &mut self,
        node: &str,
        result: Result<Output, ToolFault>,
        allowance: &Allowance,
    ) -> Result<Result<Output, ToolFault>> {
        let (spent, paid) = allowance.used_up();
        let told = Told { came: ToolCame::from(&result), spent, paid };
        self.log.record(node, Kind::Result, &told)?;
        self.paid.extend(told.paid);
        Ok(result)
    }

    /// What the log tells of a call that was made before.
    fn heard(&mut self, budget: &Budget, told: Told) -> Result<Output, ToolFault> {
        budget.charge(told.spent);
        self.paid.extend(told.paid);
        told.came.into()
    }

    /// What the checks say of an answer, cheap ones first; the first that is not content decides.
    pub(crate) async fn check(
        &mut self,
        node: &str,
        budget: &Budget,
        goal: &str,
        answer: &str,
    ) -> Result<Verdict> {
        let sources = std::mem::take(&mut self.sources);
        let candidate = Candidate { goal, answer, sources: &sources };
        let found = self.checks.iter().find_map(|check| match check.check(candidate) {
            Verdict::Pass => None,
            verdict => Some((check.name().to_owned(), verdict)),
        });
        let (name, verdict) = match found {
            Some(found) => found,
            None if self.judge => {
                let verdict = match self.ask(node, budget, &judgement(candidate)).await? {
                    Asked::Completion(completion) => verdict_of(&completion.text),
                    Asked::Fault(fault) => Verdict::Revise(format!("the judge could not look: {fault}")),
                    Asked::Exhausted(bound) => Verdict::Revise(format!("the judge could not look: {bound}")),
                };
                ("judge".to_owned(), verdict)
            }
            None => ("all".to_owned(), Verdict::Pass),
        };
        self.sources = sources;
        self.log.note(node, Kind::Check, &json!({ "check": name, "verdict": verdict }))?;
        Ok(verdict)
    }

    /// What a part of the run answered, as data for another part: it may repeat what foreign texts said.
    pub(crate) fn quoted(&mut self, text: &str) -> String {
        delimit(text, &Provenance::Tool("subtask".to_owned()), &mut self.random)
    }

    /// A result as the model reads it: data inside of a boundary, or what went wrong.
    pub(crate) fn shown(&mut self, result: &Result<Output, ToolFault>) -> String {
        match result {
            Ok(output) => delimit(&output.text, &output.provenance, &mut self.random),
            // A fault may quote what a page or a tool's host said.
            Err(fault) => {
                let text = toolbox::clip(fault.to_string(), 4096);
                delimit(&text, &Provenance::Tool("error".to_owned()), &mut self.random)
            }
        }
    }
}

type Prepared = (Arc<dyn Tool>, Value);

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("tools", &self.tools)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What became of an ask.
pub(crate) enum Asked {
    Completion(Completion),
    Fault(LlmFault),
    Exhausted(Exhausted),
}

/// What came of an ask; a line of the log.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    came: Came,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paid: Vec<Payment>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    Completion(Completion),
    Fault(LlmFault),
    Late,
}

/// What a call gave back, and what it spent beyond itself; a line of the log.
#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    came: ToolCame,
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    spent: Spent,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paid: Vec<Payment>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolCame {
    Output(Output),
    Fault(String),
}

impl From<&Result<Output, ToolFault>> for ToolCame {
    fn from(result: &Result<Output, ToolFault>) -> Self {
        match result {
            Ok(output) => Self::Output(output.clone()),
            Err(fault) => Self::Fault(fault.to_string()),
        }
    }
}

impl From<ToolCame> for Result<Output, ToolFault> {
    fn from(came: ToolCame) -> Self {
        match came {
            ToolCame::Output(output) => Ok(output),
            ToolCame::Fault(why) => Err(ToolFault(why)),
        }
    }
}
