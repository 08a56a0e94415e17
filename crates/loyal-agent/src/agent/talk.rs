//! What the loops share: one ask after another within a budget, until an answer passes the checks or something ends it.

use super::budget::{Budget, Exhausted, Spent};
use super::check::Verdict;
use super::run::{Asked, Run};
use super::{Ending, Outcome};
use crate::Result;
use crate::llm::{Ask, Completion, Message};

/// Results kept whole; older ones become one line.
const WHOLE_COUNT: usize = 5;
/// Answers in a row that nobody could read.
const GARBAGE_COUNT_MAX: u32 = 3;

/// A conversation with a model, in one of the ways of acting.
pub(super) trait Talk {
    /// The next ask. To the last one the model must answer with what there is.
    fn ask(&self, run: &Run, is_last: bool) -> Ask;

    /// Does what the model said.
    async fn take(&mut self, work: Work<'_>, completion: Completion, is_last: bool) -> Result<Turn>;

    /// Tells the model why its answer was refused. Nothing is left to try where this is false.
    fn refuse(&mut self, run: &Run, goal: &str, verdict: &Verdict) -> bool;
}

/// Where a conversation acts.
pub(super) struct Work<'a> {
    pub(super) run: &'a mut Run,
    pub(super) node: &'a str,
    pub(super) budget: &'a Budget,
}

/// What came of what a model said.
pub(super) enum Turn {
    /// Something was done; it is to be asked again.
    Acted,
    /// This is its answer.
    Answered(String),
    /// It does the same again and again.
    Stuck(String),
}

/// Goes on until an answer passes, or something ends it.
pub(super) async fn hold(
    mut talk: impl Talk,
    run: &mut Run,
    node: &str,
    budget: &Budget,
    goal: &str,
) -> Result<Outcome> {
    let (mut answer, mut garbage_count) = (String::new(), 0);
    let ending = loop {
        let now = run.log.now();
        if let Err(bound) = budget.spend(Spent { steps: 1, ..Spent::default() }, now) {
            break Ending::Exhausted(bound);
        }
        let is_last = budget.is_nearly_out(run.llm.amount_max(), now);
        let ask = talk.ask(run, is_last);
        let completion = match run.ask(node, budget, &ask).await? {
            Asked::Completion(completion) => completion,
            Asked::Exhausted(bound) => break Ending::Exhausted(bound),
            Asked::Fault(fault) => {
                garbage_count += 1;
                if !fault.is_garbage() || garbage_count >= GARBAGE_COUNT_MAX {
                    break Ending::Model(fault);
                }
                continue;
            }
        };
        garbage_count = 0;
        match talk.take(Work { run, node, budget }, completion, is_last).await? {
            Turn::Acted => continue,
            Turn::Stuck(name) => break Ending::Stuck(name),
            Turn::Answered(text) => text.trim().clone_into(&mut answer),
        }
        let verdict = run.check(node, budget, goal, &answer).await?;
        match &verdict {
            Verdict::Pass if is_last && answer.is_empty() => break Ending::Exhausted(Exhausted::Steps),
            Verdict::Pass => break Ending::Accepted,
            Verdict::Revise(why) | Verdict::Replan(why) => {
                if is_last || !talk.refuse(run, goal, &verdict) {
                    break Ending::Refused(why.clone());
                }
            }
        }
    };
    Ok(Outcome::of(answer, ending))
}

/// Leaves one line of the older `results` among `messages`; `remedy` ends it.
pub(super) fn shorten(messages: &mut [Message], results: &[usize], remedy: &str) {
    for index in results.iter().rev().skip(WHOLE_COUNT) {
        let text = &mut messages[*index].text;
        *text = format!("(an earlier result of {} bytes, left out{remedy})", text.len());
    }
}
