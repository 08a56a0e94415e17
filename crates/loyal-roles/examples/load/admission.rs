//! Admission alone, one request after the other, in this process: headers and a body in, a verdict out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use hyper::HeaderMap;
use loyal_access::gate::{Outcome, Reply};
use loyal_protocol::devnet::Store;

use super::measure::{Watch, millis, percentile};
use super::options::Options;
use super::server::site;
use super::town::Town;
use super::volley::{Caller, Wish};

/// Measures it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let invocations = options.number("invocations", 5_000_usize)?;
    let town = Town::open(Store::in_memory()?, 1, Arc::new(Watch::new()))?;
    town.fund(0)?;
    let folder = tempfile::tempdir()?;
    let gate = town.gate(folder.path(), "http://127.0.0.1:1/v1")?;
    let mut caller = Caller::new(&site(&town, 0, 0)?, 0, (Wish::Whole, 0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut admission, mut settling) = (Vec::new(), Vec::new());
    let body = Wish::Whole.body().as_bytes();
    for _ in 0..invocations {
        let mut headers = HeaderMap::new();
        for (name, value) in caller.next() {
            headers.insert(name, value.parse()?);
        }
        gate.follow()?;
        let start = Instant::now();
        let outcome = runtime.block_on(gate.admit(&headers, body));
        admission.push(start.elapsed());
        let Outcome::Admitted(admitted) = outcome else { bail!("not admitted: {outcome:?}") };
        let start = Instant::now();
        runtime.block_on(admitted.settle(Reply { text: "Nothing.", tokens_in: 10, tokens_out: 2 }))?;
        settling.push(start.elapsed());
    }
    let show = |what: &str, times: &mut Vec<Duration>| {
        times.sort_unstable();
        let [half, most, all] = [0.5, 0.99, 1.0].map(|part| millis(percentile(times, part)));
        println!("{what}: p50 {half} ms, p99 {most} ms, longest {all} ms");
    };
    show("admission", &mut admission);
    show("settling until durable", &mut settling);
    Ok(())
}
