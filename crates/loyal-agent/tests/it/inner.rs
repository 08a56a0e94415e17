//! Agents that are tools of others: what they spend, their caller has spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use loyal_agent::agent::budget::{Budget, Limits};
use loyal_agent::agent::log::Log;
use loyal_agent::agent::{self, Ending, Outcome, Run, Style, Thinker};
use loyal_agent::llm::{
    Ask, Call, Completion, Delta, Finish, Llm, LlmFault, Payment, Reply, Scripted, Usage,
};
use loyal_agent::tool::{Toolbox, tool};
use proptest::prelude::*;

use crate::kit::{SEED, Still};
use crate::think::Word;

const COST: u128 = 10;
const TOKENS: Usage = Usage { prompt_tokens: 500, completion_tokens: 100 };

/// A model that is paid for each ask and never comes to an end: it calls `upper`, each time with another word.
#[derive(Default)]
struct Endless(AtomicU64);

impl Endless {
    fn asks(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Llm for Endless {
    fn complete<'a>(
        &'a self,
        ask: &'a Ask,
        sink: &'a mut (dyn FnMut(Delta) + Send),
    ) -> BoxFuture<'a, Result<Completion, LlmFault>> {
        async move {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            let (invocation, host, asset) = (format!("{count}"), "h".to_owned(), "a".to_owned());
            sink(Delta::Paid(Payment { invocation, host, asset, amount: COST }));
            // Asked for its last word, it gives one.
            let (text, calls, finish) = if ask.tools.is_empty() {
                ("So far.".to_owned(), Vec::new(), Finish::Stop)
            } else {
                let arguments = format!(r#"{{"word":"w{count:06}"}}"#);
                let call = Call { id: "1".to_owned(), name: "upper".to_owned(), arguments };
                (String::new(), vec![call], Finish::Calls)
            };
            Ok(Completion { text, calls, usage: TOKENS, finish })
        }
        .boxed()
    }

    fn amount_max(&self) -> u128 {
        COST
    }
}

/// A caller that calls `ask` so many times at once, in one round after another, and then answers.
fn caller(rounds: usize, at_once: usize) -> Arc<Scripted> {
    let call = |round, index| ("ask".to_owned(), format!(r#"{{"question":"{round} {index}"}}"#));
    let round = |round| Reply::Calls((0..at_once).map(|index| call(round, index)).collect());
    let replies = (0..rounds).map(round).chain([Reply::text("done")]);
    Arc::new(Scripted::new(replies).with_usage(TOKENS))
}

/// What comes of a caller with these limits, and its log. The inner agent may spend whatever it wants.
async fn outcome(
    caller: &Arc<Scripted>,
    inner: &Arc<Endless>,
    limits: Limits,
    earlier: Option<&[u8]>,
) -> (Outcome, Vec<u8>) {
    let upper = tool("upper", "Capitals.", |at: Word| async move { Ok(at.word.to_uppercase()) });
    let mut thinker = Thinker::new("inner", inner.clone(), Arc::new(Still), SEED);
    thinker.tools = Toolbox::new().with(upper);
    thinker.limits = Limits {
        steps: u64::MAX,
        wall: Duration::from_secs(1 << 20),
        model_tokens: u64::MAX,
        tool_calls: u64::MAX,
        amount: u128::MAX,
        depth: 9,
    };
    let (log, memory) = Log::in_memory(Arc::new(Still));
    let log = match earlier {
        Some(earlier) => log.resuming(earlier).unwrap(),
        None => log,
    };
    let run = Run::new(caller.clone(), Budget::new(limits, Duration::ZERO), log, SEED);
    let mut run = run.with_tools(Toolbox::new().with_all([Arc::new(thinker).as_tool("ask")]));
    let outcome = agent::run("goal", Style::React, &mut run).await.unwrap();
    (outcome, memory.bytes())
}

#[tokio::test]
async fn what_an_inner_agent_spends_its_caller_has_spent() {
    let (outer, inner) = (caller(1, 1), Arc::new(Endless::default()));
    let limits = Limits { steps: 20, amount: 1_000_000, ..Limits::default() };
    let (outcome, bytes) = outcome(&outer, &inner, limits, None).await;
    // Nineteen steps were left: nine for the call, the last of them for its last word.
    assert_eq!((outcome.ending.clone(), inner.asks()), (Ending::Accepted, 9));
    assert_eq!(outcome.spent.steps, 2 + 9);
    assert_eq!(outcome.spent.model_tokens, TOKENS.total() * (2 + 9));
    assert_eq!(outcome.spent.tool_calls, 1 + 8);
    assert_eq!((outcome.spent.amount, outcome.paid.len()), (COST * 9, 9));
    // The log has it all: nobody is asked again.
    let (silent, idle) = (Arc::new(Scripted::default()), Arc::new(Endless::default()));
    let (again, same) = self::outcome(&silent, &idle, limits, Some(&bytes)).await;
    assert_eq!((again, String::from_utf8(same)), (outcome, String::from_utf8(bytes)));
    assert_eq!((silent.asks().len(), idle.asks()), (0, 0));
}

#[tokio::test]
async fn a_caller_without_money_lends_none() {
    let (outer, inner) = (caller(1, 1), Arc::new(Endless::default()));
    let (outcome, _) = outcome(&outer, &inner, Limits::default(), None).await;
    assert_eq!((outcome.answer.as_str(), outcome.spent.amount, inner.asks()), ("done", 0, 0));
    let read = outer.asks()[1].messages.last().unwrap().text.clone();
    assert!(read.contains("no money is left"), "{read}");
}

#[tokio::test]
async fn an_agent_at_the_last_level_is_called_and_plans_nothing() {
    let (outer, inner) = (caller(1, 1), Arc::new(Endless::default()));
    let limits = Limits { depth: 0, amount: 1_000_000, ..Limits::default() };
    let (outcome, _) = outcome(&outer, &inner, limits, None).await;
    assert!(outcome.complete && inner.asks() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However many are called at once, and whatever they would spend, the caller's bounds hold, and a log that breaks off
    /// anywhere goes on to the same end.
    #[test]
    fn a_caller_s_bounds_hold(
        (rounds, at_once) in (0usize..4, 1usize..4),
        steps in 1u64..40,
        model_tokens in 0u64..100_000,
        tool_calls in 0u64..30,
        amount in 0u128..400,
        breaks in any::<prop::sample::Index>(),
    ) {
        let limits = Limits { steps, model_tokens, tool_calls, amount, ..Limits::default() };
        let (outer, inner) = (caller(rounds, at_once), Arc::new(Endless::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (outcome, bytes) = runtime.block_on(outcome(&outer, &inner, limits, None));
        let (spent, asks) = (outcome.spent, outer.asks().len() as u64 + inner.asks());
        prop_assert!(spent.steps <= steps && spent.model_tokens <= model_tokens);
        prop_assert!(spent.tool_calls <= tool_calls && spent.amount <= amount);
        prop_assert_eq!(spent.model_tokens, asks * TOKENS.total());
        prop_assert_eq!(spent.amount, u128::from(inner.asks()) * COST);
        prop_assert_eq!(outcome.paid.len() as u64, inner.asks());
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let earlier = lines[..=breaks.index(lines.len())].concat();
        let silent = (Arc::new(Scripted::default()), Arc::new(Endless::default()));
        let (again, same) = runtime.block_on(self::outcome(&silent.0, &silent.1, limits, Some(&bytes)));
        prop_assert_eq!((again, same), (outcome.clone(), bytes));
        let told = String::from_utf8_lossy(&earlier).matches(r#""kind":"answer""#).count();
        let rest = caller(rounds, at_once);
        // The caller of the second life says what the first would have said next.
        for _ in 0..told {
            runtime.block_on(rest.complete(&Ask::default(), &mut |_| {})).unwrap();
        }
        let (resumed, _) = runtime.block_on(self::outcome(&rest, &inner, limits, Some(&earlier)));
        prop_assert_eq!((resumed.answer, resumed.ending, resumed.spent), (outcome.answer, outcome.ending, spent));
    }
}
