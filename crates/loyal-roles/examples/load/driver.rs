//! The process that asks: it signs all requests, waits for a word, and sends them as fast as they are answered, or at a rate.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::http::{Connection, Reply};
use super::measure::{millis, percentile, processor};
use super::options::Options;
use super::server::Process;
use super::volley::{Caller, Site, Wish, wire};

/// What a run came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) answered: usize,
    pub(crate) failed: BTreeMap<String, usize>,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) first_p50_ms: f64,
    pub(crate) first_p99_ms: f64,
    pub(crate) whole_p50_ms: f64,
    pub(crate) whole_p99_ms: f64,
    /// Processor seconds of the load generator.
    pub(crate) generator: f64,
    /// Processor seconds of what was asked.
    #[serde(default)]
    pub(crate) asked: f64,
}

/// What to ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) site: Site,
    pub(crate) port: u16,
    /// Whether requests are signed invocations; else they carry this key.
    pub(crate) is_gated: bool,
    pub(crate) key: Option<String>,
    pub(crate) is_stream: bool,
    pub(crate) connections: usize,
    /// Requests of each connection.
    pub(crate) each: usize,
    /// Invocations that each caller made before.
    pub(crate) made: u64,
    /// Requests a second, all together; as fast as they are answered where zero.
    pub(crate) rate: f64,
}

impl Plan {
    /// Carries it out from a process of its own, and weighs the processes that are asked.
    pub(crate) fn run(&self, asked: &[u32]) -> anyhow::Result<Outcome> {
        let plan = serde_json::to_string(self)?;
        let mut process = Process::start(&["drive".to_owned(), "--plan".to_owned(), plan])?;
        process.hear()?;
        let before = (processor(asked)?, processor(&[process.id()])?);
        let text = process.ask("go")?;
        let mut outcome: Outcome = serde_json::from_str(&text)?;
        outcome.asked = processor(asked)? - before.0;
        outcome.generator = processor(&[process.id()])? - before.1;
        Ok(outcome)
    }
}

/// The process.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_str(options.text("plan").context("--plan")?)?;
    let volleys = sign(&plan);
    println!("ready");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    // One thread, so that the other core is left to who is asked.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(drive(&plan, volleys))?;
    println!("{}", serde_json::to_string(&outcome)?);
    // Its processor time is read before it ends.
    std::io::stdout().flush()?;
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

type Volley = Vec<Arc<[u8]>>;

fn sign(plan: &Plan) -> Vec<Volley> {
    let wish = if plan.is_stream { Wish::Stream } else { Wish::Whole };
    if !plan.is_gated {
        let key = plan.key.iter().map(|key| ("authorization".to_owned(), format!("Bearer {key}")));
        let request: Arc<[u8]> = wire(wish, &key.collect::<Vec<_>>()).into();
        return vec![vec![request; plan.each]; plan.connections];
    }
    let numbers: Vec<usize> = (0..plan.connections).collect();
    let one = |&number: &usize| -> Volley {
        let mut caller = Caller::new(&plan.site, number, (wish, plan.made));
        (0..plan.each).map(|_| caller.wire().into()).collect()
    };
    let (left, right) = numbers.split_at(numbers.len() / 2);
    std::thread::scope(|scope| {
        let left = scope.spawn(|| left.iter().map(one).collect::<Vec<_>>());
        let right: Vec<_> = right.iter().map(one).collect();
        left.join().expect("signing does not panic").into_iter().chain(right).collect()
    })
}

async fn drive(plan: &Plan, volleys: Vec<Volley>) -> anyhow::Result<Outcome> {
    let mut lines = Vec::new();
    for volley in volleys {
        lines.push((Connection::open(plan.port).await?, volley));
    }
    let pause = if plan.rate > 0.0 { plan.connections as f64 / plan.rate } else { 0.0 };
    let pause = Duration::from_secs_f64(pause);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for (number, (mut connection, volley)) in lines.into_iter().enumerate() {
        let offset = pause.mul_f64(number as f64 / plan.connections as f64);
        tasks.push(tokio::spawn(async move {
            let mut replies = Vec::with_capacity(volley.len());
            for (turn, request) in volley.iter().enumerate() {
                if !pause.is_zero() {
                    let due = start + offset + pause * u32::try_from(turn).unwrap_or(u32::MAX);
                    tokio::time::sleep_until(due.into()).await;
                }
                let reply = connection.ask(request).await.map_err(|error| error.kind().to_string());
                let is_over = reply.is_err();
                replies.push(reply);
                if is_over {
                    break;
                }
            }
            replies
        }));
    }
    let mut replies = Vec::new();
    for task in tasks {
        replies.extend(task.await?);
    }
    Ok(summary(plan, &replies, start.elapsed()))
}

fn summary(plan: &Plan, replies: &[Result<Reply, String>], took: Duration) -> Outcome {
    let mut failed = BTreeMap::<String, usize>::new();
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for reply in replies {
        match reply {
            Ok(reply) if reply.status == 200 && reply.has_receipt == plan.is_gated => {
                first.push(reply.first);
                whole.push(reply.whole);
            }
            Ok(reply) if reply.status == 200 => *failed.entry("no receipt".to_owned()).or_default() += 1,
            Ok(reply) => *failed.entry(reply.status.to_string()).or_default() += 1,
            Err(why) => *failed.entry(why.clone()).or_default() += 1,
        }
    }
    first.sort_unstable();
    whole.sort_unstable();
    Outcome {
        answered: whole.len(),
        failed,
        seconds: took.as_secs_f64(),
        per_second: whole.len() as f64 / took.as_secs_f64(),
        first_p50_ms: millis(percentile(&first, 0.5)),
        first_p99_ms: millis(percentile(&first, 0.99)),
        whole_p50_ms: millis(percentile(&whole, 0.5)),
        whole_p99_ms: millis(percentile(&whole, 0.99)),
        generator: 0.0,
        asked: 0.0,
    }
}
