//! A calculator with units: exact where numbers are, and stopped where it would go on for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Tool, ToolFault, tool};

const EXPRESSION_BYTES_MAX: usize = 2_000;
/// How often the calculator may ask whether to stop: a bound on work that is the same on every machine.
const STEP_COUNT_MAX: u64 = 20_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to compute, such as `2^64 / 3`, `5 feet 3 inches to cm` or `date "2024-03-01" - 1 day`.
    expression: String,
}

/// The tool `calculate`.
#[must_use]
pub fn calculate() -> Arc<dyn Tool> {
    let what = "Computes with numbers of any size, units and dates; exact where possible. Use it for every number that counts.";
    Arc::new(tool("calculate", what, |arguments: Arguments| async move {
        let stop = Stop::default();
        let interrupt = stop.0.clone();
        let work = tokio::task::spawn_blocking(move || evaluate(&arguments.expression, &interrupt));
        let result = work.await.map_err(|_| ToolFault::new("the calculator failed on this expression"))?;
        drop(stop);
        result
    }))
}

/// The value of an expression.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn value_of(expression: &str) -> Result<String, ToolFault> {
    evaluate(expression, &Interrupt::default())
}

fn evaluate(expression: &str, interrupt: &Interrupt) -> Result<String, ToolFault> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(ToolFault::new(format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes")));
    }
    let mut context = fend_core::Context::new();
    // No clock, no randomness and no exchange rates are set: the same expression gives the same value everywhere.
    let result = fend_core::evaluate_with_interrupt(expression, &mut context, interrupt);
    result.map(|result| result.get_main_result().to_owned()).map_err(ToolFault::new)
}

#[derive(Default)]
struct Interrupt {
    asked: AtomicBool,
    steps: AtomicU64,
}

impl fend_core::Interrupt for Interrupt {
    fn should_interrupt(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.steps.fetch_add(1, Ordering::Relaxed) > STEP_COUNT_MAX
    }
}

/// Whoever stops waiting stops the calculator.
#[derive(Default)]
struct Stop(Arc<Interrupt>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }
}
