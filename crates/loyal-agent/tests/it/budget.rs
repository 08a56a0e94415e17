//! Budgets that cannot be overdrawn, and plans that cannot wait for each other, whatever the model says.

use std::sync::Arc;
use std::time::Duration;

use loyal_agent::agent::budget::{Budget, Exhausted, Limits, Spent};
use loyal_agent::agent::plan::{Plan, Subtask};
use loyal_agent::agent::{self, Style};
use loyal_agent::llm::{LlmFault, Reply, Scripted, Usage};
use proptest::prelude::*;

use crate::think::new;

const NOW: Duration = Duration::ZERO;

fn tokens(count: u64) -> Spent {
    Spent { model_tokens: count, amount: u128::from(count), ..Spent::default() }
}

fn limits(count: u64) -> Limits {
    Limits { model_tokens: count, amount: u128::from(count), depth: 10, ..Limits::default() }
}

/// What is done with a tree of budgets, by index.
#[derive(Debug, Clone)]
enum Step {
    Lease(prop::sample::Index, u64),
    Spend(prop::sample::Index, u64),
    /// Reserved, and settled for a share of it, in hundredths.
    Ask(prop::sample::Index, u64, u64),
    /// Reserved, and never settled.
    Lost(prop::sample::Index, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0u64..2000).prop_map(|(at, part)| Step::Lease(at, part)),
        (index(), 0u64..300).prop_map(|(at, cost)| Step::Spend(at, cost)),
        (index(), 0u64..300, 0u64..=100).prop_map(|(at, cost, share)| Step::Ask(at, cost, share)),
        (index(), 0u64..300).prop_map(|(at, cost)| Step::Lost(at, cost)),
    ]
}

proptest! {
    /// No part spends more than it was leased, no parent less than its parts, and the whole never more than it has.
    #[test]
    fn nothing_is_overdrawn(steps in proptest::collection::vec(step(), 0..80)) {
        let mut tree: Vec<(Budget, u64, Option<usize>)> = vec![(Budget::new(limits(1000), NOW), 1000, None)];
        let mut granted = 0;
        for step in steps {
            match step {
                Step::Lease(at, part) => {
                    let parent = at.index(tree.len());
                    if let Ok(lease) = tree[parent].0.lease(limits(part), NOW) {
                        let bound = lease.left(NOW).model_tokens;
                        prop_assert!(bound <= part);
                        tree.push((lease, bound, Some(parent)));
                    }
                }
                Step::Spend(at, cost) => {
                    let budget = &tree[at.index(tree.len())].0;
                    let left = budget.left(NOW).model_tokens;
                    let paid = budget.spend(tokens(cost), NOW);
                    prop_assert_eq!(paid.is_ok(), cost <= left);
                    granted += if paid.is_ok() { cost } else { 0 };
                }
                Step::Ask(at, cost, share) => {
                    if let Ok(reserved) = tree[at.index(tree.len())].0.reserve(tokens(cost), NOW) {
                        let real = cost * share / 100;
                        reserved.settle(tokens(real));
                        granted += real;
                    }
                }
                Step::Lost(at, cost) => {
                    if let Ok(reserved) = tree[at.index(tree.len())].0.reserve(tokens(cost), NOW) {
                        drop(reserved);
                        granted += cost;
                    }
                }
            }
            for (index, (budget, bound, _)) in tree.iter().enumerate() {
                let spent = budget.spent().model_tokens;
                prop_assert!(spent <= *bound);
                let parts: u64 = tree
                    .iter()
                    .filter(|(_, _, parent)| *parent == Some(index))
                    .map(|(budget, ..)| budget.spent().model_tokens)
                    .sum();
                prop_assert!(parts <= spent);
            }
            prop_assert_eq!(tree[0].0.spent().model_tokens, granted);
            prop_assert_eq!(tree[0].0.left(NOW).model_tokens, 1000 - granted);
        }
    }

    /// A plan of any shape becomes one whose needs lead backwards only.
    #[test]
    fn a_plan_is_repaired(needs in proptest::collection::vec(proptest::collection::vec(0usize..40, 0..6), 0..30)) {
        let subtasks: Vec<_> =
            needs.into_iter().map(|needs| Subtask { goal: "x".to_owned(), needs }).collect();
        let mut plan = Plan { atomic: false, subtasks };
        let before = plan.clone();
        let dropped = plan.repair();
        prop_assert!(plan.subtasks.len() <= 16);
        for (index, subtask) in plan.subtasks.iter().enumerate() {
            prop_assert!(subtask.needs.iter().all(|need| *need < index));
            prop_assert!(subtask.needs.iter().all(|need| before.subtasks[index].needs.contains(need)));
        }
        let mut again = plan.clone();
        prop_assert!(again.repair().is_empty() && again == plan, "repaired once is repaired: {dropped:?}");
    }

    /// Whatever a model plans and however often it fails, a run ends within its budget.
    #[test]
    fn every_run_ends(
        needs in proptest::collection::vec(proptest::collection::vec(0usize..9, 0..4), 2..9),
        faults in proptest::collection::vec(0u8..6, 1..40),
        steps in 1u64..60,
        nested in any::<bool>(),
    ) {
        let plan = serde_json::json!({ "subtasks":
            needs.iter().map(|needs| serde_json::json!({ "goal": "part", "needs": needs })).collect::<Vec<_>>() });
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let llm = Arc::new(Scripted::default().with_usage(Usage { prompt_tokens: 50, completion_tokens: 50 }).with_rule(move |ask| {
            let index = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let plans = ask.messages[0].text.starts_with("You plan");
            let atomic = ask.messages.last().is_some_and(|message| message.text.starts_with("part"));
            Some(match faults[index % faults.len()] {
                0 => Reply::Fault(LlmFault::Garbage { why: "x".to_owned() }),
                1 => Reply::Fault(LlmFault::Unreachable { why: "x".to_owned() }),
                2 => Reply::call("nothing", format!("{{\"n\":{index}}}")),
                3 => Reply::text(""),
                _ if plans && (nested || !atomic) => Reply::text(plan.to_string()),
                _ if plans => Reply::text("{\"atomic\":true}"),
                _ => Reply::text("answer"),
            })
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut run, memory) = new(&llm, Limits { steps, ..Limits::default() });
        let outcome = runtime.block_on(agent::run("goal", Style::Recursive, &mut run)).unwrap();
        prop_assert!(outcome.spent.steps <= steps);
        prop_assert!(llm.asks().len() as u64 <= steps);
        let lines = agent::log::read(&memory.bytes()).unwrap();
        prop_assert_eq!(lines.last().map(|line| line.kind), Some(agent::log::Kind::End));
        prop_assert_eq!(outcome.complete, outcome.missing.is_empty());
    }
}

#[test]
fn depth_and_time_end_too() {
    let budget = Budget::new(Limits { depth: 1, wall: Duration::from_secs(10), ..Limits::default() }, NOW);
    let lease = budget.lease(Limits::default(), NOW).unwrap();
    assert_eq!(lease.lease(Limits::default(), NOW).unwrap_err(), Exhausted::Depth);
    assert_eq!(lease.spend(tokens(0), Duration::from_secs(10)).unwrap_err(), Exhausted::Wall);
    assert_eq!(budget.lease(Limits::default(), Duration::from_secs(11)).unwrap_err(), Exhausted::Wall);
}
