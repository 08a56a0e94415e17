//! Many streams at once: all begin, stand still, and end whole.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::http::Connection;
use super::measure::{millis, percentile, resident};
use super::options::Options;
use super::server;
use super::volley::{Caller, Wish};

/// Opens them, weighs them, ends them.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let count: usize = options.number("count", 1_000)?;
    let (mut host, site) = server::start(count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The first of each caller fills caches, so that what is weighed is the stream.
    let mut callers: Vec<_> = (0..count).map(|number| Caller::new(&site, number, (Wish::Whole, 0))).collect();
    runtime.block_on(async {
        let mut line = Connection::open(site.gated).await?;
        for caller in &mut callers {
            let reply = line.ask(&caller.wire()).await?;
            ensure!(reply.status == 200 && reply.has_receipt, "status {}", reply.status);
        }
        Ok(())
    })?;
    let requests: Vec<_> =
        (0..count).map(|number| Caller::new(&site, number, (Wish::Waiting, 1)).wire()).collect();
    let before = resident(host.id())?;
    let start = Instant::now();
    let (lines, mut firsts) = runtime.block_on(begin(site.gated, &requests))?;
    let begun = start.elapsed();
    while host.ask("held")? != count.to_string() {
        ensure!(start.elapsed() < Duration::from_secs(120), "not all streams stand");
        std::thread::sleep(Duration::from_millis(20));
    }
    let held = resident(host.id())?;
    host.ask("release")?;
    let whole = runtime.block_on(finish(lines))?;
    ensure!(whole == count, "{} of {count} streams ended without a receipt", count - whole);
    let after = resident(host.id())?;
    firsts.sort_unstable();
    let each = held.saturating_sub(before) as f64 / count as f64 / 1_024.0;
    let (half, most) = (millis(percentile(&firsts, 0.5)), millis(percentile(&firsts, 0.99)));
    println!(
        "{count} streams at once, {whole} whole with a receipt, 0 errors; begun in {:.2} s (first byte p50 {half} ms, p99 \
         {most} ms)\nmemory of the host: {:.1} MB before, {:.1} MB while all stand, {:.1} MB after: {each:.1} KiB a stream",
        begun.as_secs_f64(),
        before as f64 / 1e6,
        held as f64 / 1e6,
        after as f64 / 1e6,
    );
    if let Some(path) = options.text("json") {
        let report = json!({
            "streams": count, "whole": whole, "kib_each": each, "before": before, "held": held, "after": after,
            "first_p50_ms": half, "first_p99_ms": most,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn begin(
    port: u16,
    requests: &[Vec<u8>],
) -> anyhow::Result<(Vec<(Connection, Instant)>, Vec<Duration>)> {
    let mut tasks = Vec::new();
    for request in requests {
        let request = request.clone();
        tasks.push(tokio::spawn(async move {
            let mut line = Connection::open(port).await?;
            let start = Instant::now();
            let first = line.begin(&request, start).await?;
            Ok::<_, std::io::Error>(((line, start), first))
        }));
    }
    let (mut lines, mut firsts) = (Vec::new(), Vec::new());
    for task in tasks {
        let (line, first) = task.await??;
        lines.push(line);
        firsts.push(first);
    }
    Ok((lines, firsts))
}

async fn finish(lines: Vec<(Connection, Instant)>) -> anyhow::Result<usize> {
    let mut whole = 0;
    for (mut line, start) in lines {
        let reply = line.finish(start, Duration::ZERO).await?;
        whole += usize::from(reply.status == 200 && reply.has_receipt);
    }
    Ok(whole)
}
