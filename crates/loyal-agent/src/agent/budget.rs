//! What a run may spend: steps, time, model tokens, tool calls, pages, money; leased downwards, never overdrawn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loyal_access::document::decimal;
use serde::{Deserialize, Serialize};

/// Bounds of a run, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Rounds of a loop.
    pub steps: u64,
    /// Time.
    pub wall: Duration,
    /// Tokens of asks and answers.
    pub model_tokens: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Money, in the smallest unit of its currency.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// Levels of subtasks.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 24,
            wall: Duration::from_secs(300),
            model_tokens: 200_000,
            tool_calls: 64,
            amount: 0,
            depth: 3,
        }
    }
}

/// What was spent, or is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Rounds of a loop.
    pub steps: u64,
    /// Tokens of asks and answers.
    pub model_tokens: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Money, in the smallest unit of its currency.
    #[serde(with = "decimal")]
    pub amount: u128,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// Rounds.
    #[error("no steps are left")]
    Steps,
    /// Time.
    #[error("no time is left")]
    Wall,
    /// Tokens.
    #[error("no model tokens are left")]
    ModelTokens,
    /// Calls of tools.
    #[error("no calls of tools are left")]
    ToolCalls,
    /// Money.
    #[error("no money is left")]
    Amount,
    /// Levels.
    #[error("subtasks are nested too deeply")]
    Depth,
}

impl Spent {
    /// Whether nothing was spent.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_add(other.steps),
            model_tokens: self.model_tokens.saturating_add(other.model_tokens),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            amount: self.amount.saturating_add(other.amount),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_sub(other.steps),
            model_tokens: self.model_tokens.saturating_sub(other.model_tokens),
            tool_calls: self.tool_calls.saturating_sub(other.tool_calls),
            amount: self.amount.saturating_sub(other.amount),
        }
    }

    /// The first bound this passes.
    const fn passes(&self, limits: &Limits) -> Option<Exhausted> {
        if self.steps > limits.steps {
            Some(Exhausted::Steps)
        } else if self.model_tokens > limits.model_tokens {
            Some(Exhausted::ModelTokens)
        } else if self.tool_calls > limits.tool_calls {
            Some(Exhausted::ToolCalls)
        } else if self.amount > limits.amount {
            Some(Exhausted::Amount)
        } else {
            None
        }
    }
}

/// A part of what a run may spend. Clones are the same part.
///
/// All parts of a run stand in one book behind one lock, so that no two of them can wait for each other.
#[derive(Debug, Clone)]
pub struct Budget {
    book: Arc<Mutex<Vec<Account>>>,
    index: usize,
}

#[derive(Debug)]
struct Account {
    parent: Option<usize>,
    limits: Limits,
    /// When its time began, on the run's clock.
    began: Duration,
    spent: Spent,
    reserved: Spent,
}

impl Budget {
    /// The whole of a run that begins at this time.
    #[must_use]
    pub fn new(limits: Limits, now: Duration) -> Self {
        let account =
            Account { parent: None, limits, began: now, spent: Spent::default(), reserved: Spent::default() };
        Self { book: Arc::new(Mutex::new(vec![account])), index: 0 }
    }

    /// A part for a subtask, of at most what is left here. What it spends is spent here too; what it leaves is left here.
    ///
    /// # Errors
    /// [`Exhausted::Depth`], or [`Exhausted::Wall`].
    pub fn lease(&self, part: Limits, now: Duration) -> Result<Self, Exhausted> {
        let Some(below) = self.left(now).depth.checked_sub(1) else { return Err(Exhausted::Depth) };
        self.lend(Limits { depth: part.depth.min(below), ..part }, now)
    }

    /// The same for what is no subtask, such as the call of a tool: at the last level too.
    ///
    /// # Errors
    /// [`Exhausted::Wall`].
    pub(crate) fn lend(&self, part: Limits, now: Duration) -> Result<Self, Exhausted> {
        let left = self.left(now);
        if left.wall.is_zero() {
            return Err(Exhausted::Wall);
        }
        let limits = Limits {
            steps: part.steps.min(left.steps),
            wall: part.wall.min(left.wall),
            model_tokens: part.model_tokens.min(left.model_tokens),
            tool_calls: part.tool_calls.min(left.tool_calls),
            amount: part.amount.min(left.amount),
            depth: part.depth.min(left.depth),
        };
        let mut book = self.lock();
        let parent = Some(self.index);
        let (spent, reserved) = (Spent::default(), Spent::default());
        book.push(Account { parent, limits, began: now, spent, reserved });
        Ok(Self { book: self.book.clone(), index: book.len() - 1 })
    }

    /// Sets aside what an action may cost at most, here and in every part this one is of.
    ///
    /// # Errors
    /// Which bound it would pass; nothing is set aside then.
    pub fn reserve(&self, cost: Spent, now: Duration) -> Result<Reserved, Exhausted> {
        let mut book = self.lock();
        for index in line(&book, self.index) {
            let account = &book[index];
            if now.saturating_sub(account.began) >= account.limits.wall {
                return Err(Exhausted::Wall);
            }
            let then = account.spent.plus(account.reserved).plus(cost);
            if let Some(exhausted) = then.passes(&account.limits) {
                return Err(exhausted);
            }
        }
        for index in line(&book, self.index) {
            book[index].reserved = book[index].reserved.plus(cost);
        }
        drop(book);
        Ok(Reserved { budget: self.clone(), cost, open: true })
    }

    /// Spends what is known beforehand.
    ///
    /// # Errors
    /// Which bound it would pass; nothing is spent then.
    pub fn spend(&self, cost: Spent, now: Duration) -> Result<(), Exhausted> {
        self.reserve(cost, now)?.settle(cost);
        Ok(())
    }

    /// What is left here, and in every part this one is of.
    #[must_use]
    pub fn left(&self, now: Duration) -> Limits {
        let book = self.lock();
        let mut left = book[self.index].limits;
        for index in line(&book, self.index) {
            let account = &book[index];
            let used = account.spent.plus(account.reserved);
            let wall = account.limits.wall.saturating_sub(now.saturating_sub(account.began));
            left = Limits {
                steps: left.steps.min(account.limits.steps.saturating_sub(used.steps)),
                wall: left.wall.min(wall),
                model_tokens: left
                    .model_tokens
                    .min(account.limits.model_tokens.saturating_sub(used.model_tokens)),
                tool_calls: left.tool_calls.min(account.limits.tool_calls.saturating_sub(used.tool_calls)),
                amount: left.amount.min(account.limits.amount.saturating_sub(used.amount)),
                depth: left.depth,
            };
        }
        left
    }

    /// What each of so many parts may spend of what is left, if as much is kept for what comes after them.
    pub(crate) fn even_part(&self, parts: u64, now: Duration) -> Limits {
        let (left, count) = (self.left(now), parts + 1);
        Limits {
            steps: (left.steps / count).max(1),
            wall: left.wall / u32::try_from(count).unwrap_or(u32::MAX),
            model_tokens: left.model_tokens / count,
            tool_calls: left.tool_calls / count,
            amount: left.amount / u128::from(count),
            depth: left.depth,
        }
    }

    /// Counts what was spent before, as a log tells: whatever the bounds, it is gone.
    pub(crate) fn charge(&self, cost: Spent) {
        let mut book = self.lock();
        for index in line(&book, self.index) {
            book[index].spent = book[index].spent.plus(cost);
        }
    }

    /// What was spent here, parts included.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.lock()[self.index].spent
    }

    /// Whether no further step, less than a tenth of time, tokens or money, or no more than one ask of `ask_amount_max` is
    /// left: time for a last word.
    #[must_use]
    pub fn is_nearly_out(&self, ask_amount_max: u128, now: Duration) -> bool {
        let limits = self.lock()[self.index].limits;
        let left = self.left(now);
        left.steps == 0
            || left.wall < limits.wall / 10
            || left.model_tokens < limits.model_tokens / 10
            || limits.amount > 0 && left.amount < limits.amount / 10
            || ask_amount_max > 0 && left.amount < ask_amount_max.saturating_mul(2)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Account>> {
        // Nothing panics while it holds the lock.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account and those above it.
fn line(book: &[Account], index: usize) -> Vec<usize> {
    std::iter::successors(Some(index), |index| book[*index].parent).collect()
}

/// What was set aside. Dropped without being settled, it counts as spent: an ask that was sent may be paid for.
#[derive(Debug)]
#[must_use]
pub struct Reserved {
    budget: Budget,
    cost: Spent,
    open: bool,
}

impl Reserved {
    /// Says what it really cost.
    pub fn settle(mut self, cost: Spent) {
        self.close(cost);
    }

    fn close(&mut self, cost: Spent) {
        self.open = false;
        let mut book = self.budget.lock();
        for index in line(&book, self.budget.index) {
            let account = &mut book[index];
            account.reserved = account.reserved.minus(self.cost);
            account.spent = account.spent.plus(cost);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.open {
            self.close(self.cost);
        }
    }
}
