//! How an agent thinks: its loop, its bounds, its checks, its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use loyal_agent::agent::budget::{Budget, Exhausted, Limits};
use loyal_agent::agent::check::{Candidate, Check, Form, Recomputation, Support, Verdict};
use loyal_agent::agent::log::{self, Log, Memory};
use loyal_agent::agent::{self, Ending, Outcome, Price, Run, Style};
use loyal_agent::llm::{Ask, LlmFault, Reply, Role, Scripted, Usage};
use loyal_agent::tool::{Effect, ToolFault, Toolbox, calculate, tool};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::kit::{SEED, Still};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Word {
    /// Any word.
    pub(crate) word: String,
}

fn upper() -> impl loyal_agent::tool::Tool {
    tool("upper", "Writes a word in capitals.", |at: Word| async move { Ok(at.word.to_uppercase()) })
}

pub(crate) fn new(llm: &Arc<Scripted>, limits: Limits) -> (Run, Memory) {
    let (log, memory) = Log::in_memory(Arc::new(Still));
    (Run::new(llm.clone(), Budget::new(limits, Duration::ZERO), log, SEED), memory)
}

async fn outcome(llm: &Arc<Scripted>, tools: Toolbox) -> Outcome {
    let (run, _) = new(llm, Limits::default());
    agent::run("the goal", Style::React, &mut run.with_tools(tools)).await.unwrap()
}

fn last_result(ask: &Ask) -> &str {
    &ask.messages.iter().rev().find(|message| message.role == Role::Tool).unwrap().text
}

#[tokio::test]
async fn an_answer_without_tools_is_one_ask() {
    let llm = Arc::new(Scripted::new([Reply::text("forty-two")]));
    let outcome = outcome(&llm, Toolbox::new()).await;
    assert_eq!(
        (outcome.answer.as_str(), outcome.complete, outcome.ending),
        ("forty-two", true, Ending::Accepted)
    );
    assert_eq!((llm.asks().len(), outcome.spent.steps), (1, 1));
}

#[tokio::test]
async fn results_go_back_as_data() {
    let llm = Arc::new(Scripted::new([Reply::call("upper", r#"{"word":"abc"}"#), Reply::text("done")]));
    let outcome = outcome(&llm, Toolbox::new().with(upper())).await;
    assert!(outcome.complete);
    let asks = llm.asks();
    let shown = last_result(&asks[1]);
    assert!(shown.starts_with("<data ") && shown.contains("from=\"tool upper\">\nABC\n</data "), "{shown}");
    assert_eq!(asks[0].tools[0].input["properties"]["word"]["description"], "Any word.");
}

#[tokio::test]
async fn what_a_model_gets_wrong_it_is_told() {
    for (name, arguments, told) in [
        ("uper", r#"{"word":"a"}"#, "there is no tool \"uper\"; there are: upper"),
        ("upper", "{", "the arguments are no JSON"),
        ("upper", r#"{"word":5}"#, "the argument .word must be of type string"),
        ("upper", "{}", "lack \"word\""),
        ("upper", "[]", "must be of type object"),
    ] {
        let llm = Arc::new(Scripted::new([Reply::call(name, arguments), Reply::text("done")]));
        outcome(&llm, Toolbox::new().with(upper())).await;
        let asks = llm.asks();
        assert!(last_result(&asks[1]).contains(told), "{name} {arguments}: {}", last_result(&asks[1]));
    }
}

#[tokio::test]
async fn a_tool_that_hangs_fails_or_says_too_much_is_bounded() {
    let tools = Toolbox::new()
        .with(
            tool("hang", "Hangs.", |_: Word| std::future::pending::<Result<String, ToolFault>>())
                .with_timeout(Duration::from_millis(20)),
        )
        .with(
            tool("long", "Says much.", |_: Word| async { Ok("x".repeat(100_000) + "end") })
                .with_output_bytes_max(1000),
        )
        .with(tool("fail", "Fails.", |_: Word| async { Err::<String, _>(ToolFault("no luck".to_owned())) }));
    for (name, told) in [("hang", "gave no result within"), ("long", "bytes left out"), ("fail", "no luck")] {
        let llm = Arc::new(Scripted::new([Reply::call(name, r#"{"word":""}"#), Reply::text("done")]));
        outcome(&llm, tools.clone()).await;
        let asks = llm.asks();
        let shown = last_result(&asks[1]);
        assert!(shown.contains(told) && shown.len() < 1300, "{name}: {shown}");
    }
}

#[tokio::test]
async fn the_same_call_again_is_answered_from_memory_and_a_third_time_is_stuck() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let count = tool("count", "Counts.", move |_: Word| {
        let counted = counted.clone();
        async move { Ok(counted.fetch_add(1, Ordering::SeqCst).to_string()) }
    });
    let llm = Arc::new(Scripted::new([Reply::call("count", r#"{"word":""}"#)]));
    let outcome = outcome(&llm, Toolbox::new().with(count)).await;
    assert_eq!(outcome.ending, Ending::Stuck("count".to_owned()));
    assert_eq!((calls.load(Ordering::SeqCst), llm.asks().len()), (1, 3));
    let asks = llm.asks();
    assert!(last_result(&asks[2]).contains("You made this very call before"));
}

#[tokio::test]
async fn a_model_that_answers_garbage_ends_in_words() {
    let garbage = || Reply::Fault(LlmFault::Garbage { why: "what?".to_owned() });
    let llm = Arc::new(Scripted::new([garbage(), garbage(), Reply::text("at last")]));
    assert!(outcome(&llm, Toolbox::new()).await.complete);
    let llm = Arc::new(Scripted::new([garbage()]));
    let outcome_ = outcome(&llm, Toolbox::new()).await;
    assert!(
        matches!(&outcome_.ending, Ending::Model(LlmFault::Garbage { why }) if why == "what?"),
        "{outcome_:?}"
    );
    assert!(!outcome_.complete && !outcome_.missing.is_empty());
    let refusing = LlmFault::Refused { status: 401, detail: "no".to_owned() };
    let llm = Arc::new(Scripted::new([Reply::Fault(refusing)]));
    assert_eq!(outcome(&llm, Toolbox::new()).await.spent.steps, 1, "a refusal is not tried again");
}

#[tokio::test]
async fn a_model_that_hangs_costs_its_time_and_no_more() {
    let llm = Arc::new(Scripted::new([Reply::Hang]));
    let (mut run, _) = new(&llm, Limits { wall: Duration::from_millis(30), ..Limits::default() });
    let outcome = agent::run("x", Style::React, &mut run).await.unwrap();
    assert_eq!(outcome.ending, Ending::Exhausted(Exhausted::Wall));
}

#[tokio::test]
async fn the_last_step_must_answer() {
    let llm = Arc::new(Scripted::default().with_rule(|ask| {
        Some(if ask.tools.is_empty() {
            Reply::text("what I have")
        } else {
            Reply::call("upper", json!({ "word": ask.messages.len().to_string() }).to_string())
        })
    }));
    let (run, _) = new(&llm, Limits { steps: 5, ..Limits::default() });
    let outcome =
        agent::run("x", Style::React, &mut run.with_tools(Toolbox::new().with(upper()))).await.unwrap();
    assert_eq!((outcome.answer.as_str(), outcome.spent.steps), ("what I have", 5));
    let asks = llm.asks();
    assert!(asks.last().unwrap().messages.last().unwrap().text.contains("Answer now"));
}

struct Never;

impl Check for Never {
    fn name(&self) -> &str {
        "never"
    }

    fn check(&self, candidate: Candidate<'_>) -> Verdict {
        if candidate.answer.contains("replan") {
            Verdict::Replan("a wrong way".to_owned())
        } else {
            Verdict::Revise("not good".to_owned())
        }
    }
}

#[tokio::test]
async fn a_gate_that_never_opens_is_not_passed() {
    for (answer, asks) in [("x", 3), ("replan", 3)] {
        for style in [Style::React, Style::Recursive] {
            let llm = Arc::new(Scripted::default().with_rule(move |ask| {
                let plans = ask.messages[0].text.starts_with("You plan");
                Some(Reply::text(if plans { "{\"atomic\":true}" } else { answer }))
            }));
            let (run, _) = new(&llm, Limits::default());
            let outcome = agent::run("goal", style, &mut run.with_check(Never)).await.unwrap();
            assert!(!outcome.complete && matches!(outcome.ending, Ending::Refused(_)), "{outcome:?}");
            let planning = usize::from(style == Style::Recursive);
            assert_eq!(llm.asks().len(), asks + planning, "{answer} {style:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_answer_is_mended() {
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    let replies = [Reply::text("five"), Reply::text(r#"{"n":"5"}"#), Reply::text(r#"{"n":5}"#)];
    let llm = Arc::new(Scripted::new(replies));
    let (run, _) = new(&llm, Limits::default());
    let outcome = agent::run("goal", Style::React, &mut run.with_check(Form::json(schema))).await.unwrap();
    assert_eq!((outcome.answer.as_str(), outcome.complete), (r#"{"n":5}"#, true));
}

#[test]
fn checks_find_what_is_wrong() {
    let source = loyal_agent::tool::Output {
        text: "The tower is 330 metres high, and was built in 1889.".to_owned(),
        provenance: loyal_agent::provenance::Provenance::Page("https://a.example".to_owned()),
    };
    let verdict = |check: &dyn Check, answer: &str| {
        check.check(Candidate { goal: "g", answer, sources: std::slice::from_ref(&source) })
    };
    for (answer, passes) in [
        ("12 * 7 = 84", true),
        ("so 12 * 7 = 85.", false),
        ("1/3 = 0.33 roughly", true),
        ("1/3 = 0.34", false),
        ("2^10 = 1,024 bytes", true),
        ("x = 5, a = b, 7 = 8", true),
        ("", true),
    ] {
        assert_eq!(verdict(&Recomputation, answer) == Verdict::Pass, passes, "{answer}");
    }
    for (answer, passes) in [
        ("It says \"the tower is 330   metres high\".", true),
        ("It says “The tower is 331 metres high”.", false),
        ("The \"tower\" is high.", true),
    ] {
        assert_eq!(verdict(&Support::default(), answer) == Verdict::Pass, passes, "{answer}");
    }
    assert!(matches!(verdict(&Form::text(), " "), Verdict::Revise(_)));
}

#[tokio::test]
async fn a_judge_that_cannot_look_does_not_pass() {
    for (judged, complete) in
        [("PASS fine", true), ("REVISE no", false), ("hmm", false), ("REPLAN no", false)]
    {
        let llm = Arc::new(Scripted::default().with_rule(move |ask| {
            let judges = ask.messages[0].text.starts_with("You judge");
            Some(Reply::text(if judges { judged } else { "answer" }))
        }));
        let (run, _) = new(&llm, Limits::default());
        let outcome = agent::run("goal", Style::React, &mut run.with_judge()).await.unwrap();
        assert_eq!(outcome.complete, complete, "{judged}");
    }
}

#[tokio::test]
async fn money_and_tokens_are_reserved_before_they_are_spent() {
    let llm = Arc::new(
        Scripted::default()
            .with_rule(|ask| {
                Some(Reply::call("upper", json!({ "word": ask.messages.len().to_string() }).to_string()))
            })
            .with_usage(Usage { prompt_tokens: 300, completion_tokens: 100 }),
    );
    let price = Price { prompt_per_million: 1_000_000, completion_per_million: 2_000_000 };
    let (run, _) = new(&llm, Limits { amount: 7000, steps: 1000, tool_calls: 1000, ..Limits::default() });
    let mut run = run.with_price(price).with_tools(Toolbox::new().with(upper()));
    let outcome = agent::run("x", Style::React, &mut run).await.unwrap();
    assert_eq!(outcome.ending, Ending::Exhausted(Exhausted::Amount));
    assert!(outcome.spent.amount <= 7000 && outcome.spent.amount > 0, "{:?}", outcome.spent);
}

#[tokio::test]
async fn a_goal_is_cut_into_parts_and_put_together() {
    let llm = Arc::new(Scripted::default().with_rule(|ask| {
        let (system, user) = (&ask.messages[0].text, &ask.messages[1].text);
        Some(Reply::text(if system.starts_with("You plan") {
            if user == "the goal" {
                r#"{"subtasks":[{"goal":"one"},{"goal":"two","needs":[0,5,1]},{"goal":"three","needs":[0,1]}]}"#
            } else {
                r#"{"atomic":true}"#
            }
        } else if system.starts_with("Answer the goal from") {
            assert!(user.contains("did one") && user.contains("did three"));
            "together"
        } else if user.starts_with("one") {
            "did one"
        } else if user.starts_with("two") {
            assert!(user.contains("did one"), "it has what it needs: {user}");
            "did two"
        } else {
            assert!(user.contains("did two"));
            "did three"
        }))
    }));
    let (mut run, memory) = new(&llm, Limits { steps: 100, ..Limits::default() });
    let outcome = agent::run("the goal", Style::Recursive, &mut run).await.unwrap();
    assert_eq!((outcome.answer.as_str(), outcome.complete), ("together", true), "{outcome:?}");
    let text = String::from_utf8(memory.bytes()).unwrap();
    assert!(text.contains("1 needs 5") && text.contains("1 needs 1"), "what was dropped stands in the log");
}

#[tokio::test]
async fn a_failed_part_is_a_gap_and_not_a_wait() {
    let llm = Arc::new(Scripted::default().with_rule(|ask| {
        let (system, user) = (&ask.messages[0].text, &ask.messages[1].text);
        Some(if system.starts_with("You plan") {
            Reply::text(if user == "the goal" {
                r#"{"subtasks":[{"goal":"broken"},{"goal":"fine","needs":[0]}]}"#
            } else {
                r#"{"atomic":true}"#
            })
        } else if user.starts_with("broken") {
            Reply::Fault(LlmFault::Unreachable { why: "gone".to_owned() })
        } else {
            Reply::text("answer")
        })
    }));
    let (mut run, _) = new(&llm, Limits { steps: 100, ..Limits::default() });
    let outcome = agent::run("the goal", Style::Recursive, &mut run).await.unwrap();
    assert_eq!(outcome.answer, "answer");
    assert!(!outcome.complete && outcome.missing.iter().any(|gap| gap.contains("broken")), "{outcome:?}");
}

/// A run of every kind of step, for the log.
async fn eventful(earlier: Option<&[u8]>, live: &Arc<AtomicU32>) -> (Outcome, Vec<u8>) {
    let asked = live.clone();
    let llm = Arc::new(Scripted::default().with_rule(move |ask| {
        asked.fetch_add(1, Ordering::SeqCst);
        Some(match ask.messages.iter().filter(|message| message.role == Role::Tool).count() {
            0 => Reply::Calls(vec![
                ("upper".to_owned(), r#"{"word":"a"}"#.to_owned()),
                ("calculate".to_owned(), r#"{"expression":"2^64"}"#.to_owned()),
            ]),
            2 => Reply::call("note", r#"{"word":"x"}"#),
            3 => Reply::call("nothing", "{}"),
            _ if ask.messages.last().unwrap().text.contains("refused") => Reply::text("2 * 3 = 6"),
            _ => Reply::text("2 * 3 = 7"),
        })
    }));
    let noted = live.clone();
    let note = tool("note", "Notes.", move |_: Word| {
        let noted = noted.clone();
        async move {
            noted.fetch_add(100, Ordering::SeqCst);
            Ok("noted")
        }
    });
    let tools = Toolbox::new().with(upper()).with(calculate()).with(note.with_effect(Effect::Write));
    let (log, memory) = Log::in_memory(Arc::new(Still));
    let log = match earlier {
        Some(earlier) => log.resuming(earlier).unwrap(),
        None => log,
    };
    let llm: Arc<dyn loyal_agent::llm::Llm> = llm;
    let run = Run::new(llm, Budget::new(Limits::default(), Duration::ZERO), log, SEED);
    let mut run = run.with_tools(tools).with_check(Recomputation);
    let outcome = agent::run("goal", Style::React, &mut run).await.unwrap();
    (outcome, memory.bytes())
}

#[tokio::test]
async fn a_run_is_replayed_byte_for_byte_without_doing_anything() {
    let live = Arc::new(AtomicU32::new(0));
    let (outcome, bytes) = eventful(None, &live).await;
    assert!(outcome.complete && live.load(Ordering::SeqCst) > 100);
    assert_eq!(log::read(&bytes).unwrap().last().map(|line| line.kind), Some(log::Kind::End));
    let live = Arc::new(AtomicU32::new(0));
    let (again, same) = eventful(Some(&bytes), &live).await;
    assert_eq!((again, String::from_utf8(same)), (outcome, String::from_utf8(bytes)));
    assert_eq!(live.load(Ordering::SeqCst), 0, "nothing was asked or called");
}

/// Killed after any line, a run ends as it would have; what it had changed it does not change twice.
#[tokio::test]
async fn a_run_goes_on_from_every_line() {
    let whole = Arc::new(AtomicU32::new(0));
    let (outcome, bytes) = eventful(None, &whole).await;
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for count in 0..lines.len() {
        let mut earlier = lines[..count].concat();
        earlier.push_str(&lines[count][..lines[count].len() / 2]);
        let live = Arc::new(AtomicU32::new(0));
        let (resumed, log) = eventful(Some(earlier.as_bytes()), &live).await;
        assert_eq!(resumed.answer, outcome.answer, "after line {count}");
        let broke_in_note = lines[..count]
            .last()
            .is_some_and(|line| line.contains(r#""kind":"call""#) && line.contains(r#""name":"note""#));
        if broke_in_note {
            assert!(String::from_utf8(log).unwrap().contains("whether it took effect is not known"));
            assert!(live.load(Ordering::SeqCst) < 100, "it was not done again");
        } else {
            assert_eq!(log, text.as_bytes(), "after line {count}");
        }
    }
}

#[tokio::test]
async fn a_log_that_was_changed_is_refused() {
    let live = Arc::new(AtomicU32::new(0));
    let (_, bytes) = eventful(None, &live).await;
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    assert!(log::read(lines[1..].concat().as_bytes()).is_err(), "its beginning is missing");
    assert!(log::read([lines[0], lines[2]].concat().as_bytes()).is_err(), "a line is missing");
    let changed = text.replacen("\"goal\":\"goal\"", "\"goal\":\"other\"", 1);
    assert!(log::read(changed.as_bytes()).is_err(), "a line was changed");
    assert_eq!(
        log::read(&text.as_bytes()[..text.len() - 3]).unwrap().len(),
        lines.len() - 1,
        "half a line at the end"
    );
}
