//! The gated host, the same engine without a gate, and LiteLLM's proxy, in turn.

use std::path::Path;

use serde_json::{Value, json};

use super::driver::{Outcome, Plan};
use super::foreign::{KEY, Proxy};
use super::options::Options;
use super::server::{self, Process};
use super::volley::Site;

/// Requests that are not counted: caches fill, and Python compiles what it needs.
const WARM: usize = 20;

/// Who is asked.
struct Contender {
    name: &'static str,
    port: u16,
    is_gated: bool,
    key: Option<String>,
    processes: Vec<u32>,
    invocations: usize,
    outcomes: Vec<Outcome>,
}

/// The comparison.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let connections = options.number("connections", 64)?.max(1);
    let invocations = options.number("invocations", 60_000)?;
    let rounds = options.number("rounds", 3)?;
    let (mut host, site) = server::start(connections)?;
    let proxy = options
        .text("litellm")
        .map(|program| Proxy::start(Path::new(program), site.open, options.number("workers", 2)?));
    let proxy = proxy.transpose()?;
    let mut contenders = vec![
        contender("ungated", &site, site.open, invocations),
        Contender { is_gated: true, ..contender("gated", &site, site.gated, invocations) },
    ];
    if let Some(proxy) = &proxy {
        contenders.push(Contender {
            key: Some(KEY.to_owned()),
            processes: proxy.processes(),
            ..contender("litellm", &site, proxy.port, invocations / 20)
        });
    }
    let plan = Plan {
        site,
        port: 0,
        is_gated: false,
        key: None,
        is_stream: false,
        connections,
        each: 0,
        made: 0,
        rate: 0.0,
    };
    let mut made = 0;
    for round in 0..=rounds {
        for contender in &mut contenders {
            // The round before the first warms everybody up.
            let each = if round == 0 { WARM } else { contender.invocations.div_ceil(connections) };
            let plan = Plan { each, made, ..contender.plan(&plan) };
            let outcome = plan.run(&contender.processes)?;
            made += if contender.is_gated { each as u64 } else { 0 };
            if round > 0 {
                println!("{}", contender.line(&outcome));
                contender.outcomes.push(outcome);
            }
        }
    }
    let before = times(&mut host)?;
    println!("\nstreams at a steady rate:");
    let rate = options.number("rate", 1_000.0)?;
    let seconds = options.number("seconds", 10.0)?;
    let mut steady = Vec::new();
    for contender in &mut contenders {
        let rate = if contender.key.is_some() { rate / 20.0 } else { rate };
        let each = ((rate * seconds) as usize).div_ceil(connections);
        let plan = Plan { each, made, rate, is_stream: true, ..contender.plan(&plan) };
        let outcome = plan.run(&contender.processes)?;
        println!("{}", contender.line(&outcome));
        steady.push(json!({ "who": contender.name, "rate": rate, "outcome": outcome }));
    }
    let after = times(&mut host)?;
    println!("\nadmission alone, at this rate: {}", within(&before, &after));
    let saturated: Vec<_> =
        contenders.iter().map(|one| json!({ "who": one.name, "rounds": one.outcomes })).collect();
    let report = json!({ "saturated": saturated, "steady": steady, "tally": after });
    if let Some(path) = options.text("json") {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    println!("\n{}", verdict(&contenders));
    Ok(())
}

fn contender(name: &'static str, site: &Site, port: u16, invocations: usize) -> Contender {
    let processes = vec![site.process];
    Contender { name, port, is_gated: false, key: None, processes, invocations, outcomes: Vec::new() }
}

impl Contender {
    fn plan(&self, base: &Plan) -> Plan {
        Plan { port: self.port, is_gated: self.is_gated, key: self.key.clone(), ..base.clone() }
    }

    fn line(&self, outcome: &Outcome) -> String {
        let share = outcome.generator / (outcome.generator + outcome.asked).max(1e-9) * 100.0;
        let failed =
            if outcome.failed.is_empty() { String::new() } else { format!("  FAILED {:?}", outcome.failed) };
        format!(
            "{:<8} {:>8.0} a second  first byte p50 {:>7.3} ms p99 {:>7.3} ms  whole p50 {:>7.3} ms p99 {:>7.3} ms  \
             processor {:.2} s asked, {:.2} s asking ({share:.0} %){failed}",
            self.name,
            outcome.per_second,
            outcome.first_p50_ms,
            outcome.first_p99_ms,
            outcome.whole_p50_ms,
            outcome.whole_p99_ms,
            outcome.asked,
            outcome.generator,
        )
    }

    fn median(&self) -> f64 {
        let mut rates: Vec<_> = self.outcomes.iter().map(|outcome| outcome.per_second).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    }
}

/// What the host counted of its admissions.
pub(crate) fn times(host: &mut Process) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&host.ask("tally")?)?)
}

/// Which part of the admissions between two counts took how long at most.
fn within(before: &Value, after: &Value) -> String {
    let counts = |value: &Value| -> Vec<(f64, u64)> {
        serde_json::from_value(value["buckets"].clone()).unwrap_or_default()
    };
    let (before, after) = (counts(before), counts(after));
    let all = after.iter().zip(&before).map(|(after, before)| after.1 - before.1).max().unwrap_or(0);
    let parts = after.iter().zip(&before).map(|(&(within, after), &(_, before))| {
        format!("≤ {} µs {:.1} %", within * 1e6, (after - before) as f64 / all.max(1) as f64 * 100.0)
    });
    parts.collect::<Vec<_>>().join(" · ")
}

fn verdict(contenders: &[Contender]) -> String {
    let rate = |name: &str| contenders.iter().find(|one| one.name == name).map(Contender::median);
    let gated = rate("gated").unwrap_or_default();
    let ungated = rate("ungated").unwrap_or_default();
    let mut text = format!("gated {gated:.0} a second (median), {:.2} of ungated", gated / ungated.max(1e-9));
    if let Some(foreign) = rate("litellm") {
        text += &format!(", {:.1} times LiteLLM's {foreign:.0}", gated / foreign.max(1e-9));
    }
    text
}
