//! A model that says what a script says: for tests, and for trying an agent without a model.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Ask, Call, Completion, Delta, Finish, Llm, LlmFault, Usage, prompt_tokens_max};

/// What a script says to one ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A text.
    Text(String),
    /// Calls of tools: name and arguments, which need not be JSON.
    Calls(Vec<(String, String)>),
    /// A fault.
    Fault(LlmFault),
    /// Nothing, ever.
    Hang,
}

impl Reply {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// One call.
    #[must_use]
    pub fn call(name: &str, arguments: impl Into<String>) -> Self {
        Self::Calls(vec![(name.to_owned(), arguments.into())])
    }
}

type Rule = Box<dyn Fn(&Ask) -> Option<Reply> + Send + Sync>;

/// A model of rules and of replies in order. The first rule that has a reply gives it; else the next reply in order is
/// given, and the last of them stays.
#[derive(Default)]
pub struct Scripted {
    rules: Vec<Rule>,
    replies: Mutex<VecDeque<Reply>>,
    asks: Mutex<Vec<Ask>>,
    usage: Option<Usage>,
}

impl Scripted {
    /// Replies in order.
    #[must_use]
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Mutex::new(replies.into_iter().collect()), ..Self::default() }
    }

    /// With a rule, which is asked before the replies.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Fn(&Ask) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.rules.push(Box::new(rule));
        self
    }

    /// With a usage each ask claims, instead of one that is counted.
    #[must_use]
    pub const fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// What was asked so far.
    #[must_use]
    pub fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reply(&self, ask: &Ask) -> Reply {
        if let Some(reply) = self.rules.iter().find_map(|rule| rule(ask)) {
            return reply;
        }
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        next.unwrap_or_else(|| {
            Reply::Fault(LlmFault::Refused { status: 404, detail: "the script is empty".to_owned() })
        })
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl Llm for Scripted {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            self.asks.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
            let (text, calls) = match self.reply(ask) {
                Reply::Text(text) => (text, Vec::new()),
                Reply::Calls(calls) => (String::new(), calls),
                Reply::Fault(fault) => return Err(fault),
                Reply::Hang => loop {
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                },
            };
            for word in text.split_inclusive(' ') {
                sink(Delta::Text(word.to_owned()));
            }
            let calls: Vec<_> = calls
                .into_iter()
                .enumerate()
                .map(|(index, (name, arguments))| Call { id: format!("call_{index}"), name, arguments })
                .collect();
            let said = text.len() + calls.iter().map(|call| call.arguments.len()).sum::<usize>();
            let counted = Usage {
                prompt_tokens: prompt_tokens_max(ask).div_ceil(4),
                completion_tokens: said as u64 / 4,
            };
            let finish = if calls.is_empty() { Finish::Stop } else { Finish::Calls };
            Ok(Completion { text, calls, usage: self.usage.unwrap_or(counted), finish })
        }
        .boxed()
    }
}
