//! Puts copies of a traced model together as colluding hosts would, and traces what comes of it:
//! `cargo run --release --example collude -- <secret file> <unmarked folder> <copy folder>...`.

#![allow(clippy::print_stdout, reason = "an example talks to the terminal")]

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, ensure};
use candle_core::Device;
use loyal_fingerprint::attack::{Damage, Merge};
use loyal_fingerprint::check::{self, Case, Mode, Request, Weights};
use loyal_fingerprint::copies::Register;
use loyal_fingerprint::trace::{DELTA, Suspected, Trace};
use loyal_fingerprint::{FingerprintSet, Pool};
use loyal_model::{Llama, Parameters, Tokenizer};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [secret, unmarked, folders @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: collude <secret file> <unmarked folder> <copy folder>...")
    };
    ensure!(!folders.is_empty(), "name the folder of at least one copy");
    let set = FingerprintSet::read(Path::new(secret))?;
    let copies = Register::beside(Path::new(secret), &set).copies()?;
    let base = Llama::load(Path::new(unmarked), &Device::Cpu)?;
    let tokenizer = Tokenizer::read(Path::new(unmarked), &base.config)?;
    let leaked = folders.iter().map(|folder| Ok(Llama::load(Path::new(folder), &Device::Cpu)?.parameters));
    let leaked = leaked.collect::<Result<Vec<_>>>()?;
    let mut suspects = vec![("unmarked".to_owned(), base.parameters.clone())];
    for count in 1..=leaked.len() {
        suspects.push((format!("{count} averaged"), averaged(&leaked[..count])?));
    }
    let all = averaged(&leaked)?;
    let half = Damage::Merge(Merge::Linear { share: 0.5 });
    suspects.push((
        "all averaged, then 1:1 with the twin".to_owned(),
        half.apply(&all, (Some(&base.parameters), None), 0)?,
    ));
    suspects
        .push(("all averaged, int4".to_owned(), Damage::Integers { bits: 4 }.apply(&all, (None, None), 0)?));
    let case = Case { set: &set, tokenizer: &tokenizer, reference: Some(&base) };
    for (name, parameters) in &suspects {
        for mode in [Mode::Logits, Mode::Top(5), Mode::Greedy, Mode::Sampled] {
            let mut trace = Trace::new(&set, &copies, mode)?;
            let mut suspect = Weights::new(&base, parameters, &tokenizer);
            let request = Request::all(&set, mode).of_pool(&set, Pool::Tracing);
            check::run(&mut suspect, &case, &request, &mut |attempt| {
                trace.hear(attempt)?;
                Ok(ControlFlow::Continue(()))
            })?;
            let found = trace.findings(DELTA)?;
            let told = |one: &Suspected| {
                format!("{} 1e{:.1}{}", one.name, one.log10_e, if one.is_named { " NAMED" } else { "" })
            };
            let list: Vec<String> = found.copies.iter().map(told).collect();
            println!(
                "{name:<38} {mode:<8} of {} (1e{:.1}): {}",
                found.asked,
                found.log10_wanted,
                list.join(", "),
                mode = mode.to_string()
            );
        }
    }
    Ok(())
}

/// The mean of several models' weights.
fn averaged(models: &[Parameters]) -> Result<Parameters> {
    let mut sum = models[0].clone();
    for (count, other) in models.iter().enumerate().skip(1) {
        let share = count as f64 / (count + 1) as f64;
        sum = Damage::Merge(Merge::Linear { share }).apply(&sum, (Some(other), None), 0)?;
    }
    Ok(sum)
}
