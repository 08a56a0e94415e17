//! Steady load for a long time, and the memory of the host minute by minute.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::http::Connection;
use super::measure::{processor, resident};
use super::options::Options;
use super::server;
use super::versus::times;
use super::volley::{Caller, Wish};

const CALLERS: usize = 64;

/// Asks on and on. Here requests are signed as they are sent: nobody signs an hour of them beforehand.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let minutes: u32 = options.number("minutes", 60)?;
    let rate: f64 = options.number("rate", 500.0)?;
    let (mut host, site) = server::start(CALLERS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (start, pause) = (Instant::now(), Duration::from_secs_f64(CALLERS as f64 / rate));
    let end = start + Duration::from_secs(60) * minutes;
    let mut asking = Vec::new();
    for number in 0..CALLERS {
        let mut caller = Caller::new(&site, number, (Wish::Whole, 0));
        let port = site.gated;
        asking.push(runtime.spawn(async move {
            let mut line = Connection::open(port).await?;
            let mut due = start + pause.mul_f64(number as f64 / CALLERS as f64);
            while due < end {
                tokio::time::sleep_until(due.into()).await;
                let reply = line.ask(&caller.wire()).await?;
                ensure!(reply.status == 200 && reply.has_receipt, "status {}", reply.status);
                due += pause;
            }
            Ok(())
        }));
    }
    let mut minute_by_minute = Vec::new();
    for minute in 0..=minutes {
        let at = start + Duration::from_secs(60) * minute;
        let inside = runtime.enter();
        let slept = tokio::time::sleep_until(at.into());
        drop(inside);
        runtime.block_on(slept);
        let (memory, used) = (resident(host.id())?, processor(&[host.id()])?);
        let receipts = times(&mut host)?["counts"]
            .as_array()
            .and_then(|counts| counts.iter().find(|count| count[0] == "receipts")?[1].as_u64());
        let receipts = receipts.unwrap_or(0);
        println!(
            "minute {minute:>3}: {:>7.1} MB, {receipts} receipts, {used:.1} s of processor",
            memory as f64 / 1e6
        );
        minute_by_minute.push(json!({ "minute": minute, "bytes": memory, "receipts": receipts }));
    }
    runtime.block_on(async {
        for one in asking {
            one.await??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    if let Some(path) = options.text("json") {
        std::fs::write(path, serde_json::to_vec_pretty(&minute_by_minute)?)?;
    }
    Ok(())
}
