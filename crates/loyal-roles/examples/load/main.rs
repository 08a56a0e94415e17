//! What a gate costs: invocations that were signed beforehand, driven from a process of their own against one host with its
//! gate, the same host without it, and LiteLLM's proxy, in turn.
//!
//! `cargo run --release -p loyal-roles --example load -- [compare|streams|soak] [--name value …]`; see `docs/benchmarks.md`.
#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod admission;
mod driver;
mod engine;
mod foreign;
mod http;
mod measure;
mod options;
mod server;
mod soak;
mod streams;
mod town;
mod versus;
mod volley;

use options::Options;

const HELP: &str = "\
load compare [--seconds 10] [--connections 64] [--invocations 60000] [--rounds 3] [--litellm PATH] [--workers 2] [--json FILE]
    invocations a second of the gated host, of the same engine ungated, and of LiteLLM's proxy, in turn; then, at a steady
    rate, the time before the first byte
load admission [--invocations 5000]
    admission alone, one after the other
load streams [--count 1000] [--json FILE]
    that many streams at once, and the memory of each
load soak [--minutes 60] [--rate 500] [--json FILE]
    memory of the host under steady load, minute by minute";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_else(|| "compare".to_owned());
    let options = Options::read(arguments)?;
    match verb.as_str() {
        "compare" => versus::run(&options),
        "admission" => admission::run(&options),
        "streams" => streams::run(&options),
        "soak" => soak::run(&options),
        // The two processes that the others start.
        "serve" => server::run(&options),
        "drive" => driver::run(&options),
        _ => {
            println!("{HELP}");
            Ok(())
        }
    }
}
