//! `loyal access proxy`: a server on this machine that pays.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use loyal_access::sidecar::{Limits, Sidecar};
use serde_json::json;
use tokio::net::TcpListener;

use super::Opening;
use crate::output;

/// Arguments of `loyal access proxy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Point any program of OpenAI's API at it; the key it wants may be anything. It answers POST /v1/chat/completions, \
/v1/completions and /v1/embeddings, and GET /v1/models. Each answer is paid and its receipt kept before the program has all of \
it. Bound what programs may spend with `loyal access cap`.

Example:
  loyal access proxy --key me.json
  OPENAI_BASE_URL=http://127.0.0.1:8090/v1 OPENAI_API_KEY=anything python program.py")]
pub(crate) struct Args {
    #[command(flatten)]
    opening: Opening,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// A file with a secret that programs must send as the API's key; needed beyond this machine.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How many invocations run at a time, each on a channel with a deposit of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    channels: u32,
    /// How many invocations a deposit is for.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    deposit: u32,
}

/// Serves until Ctrl-C.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let secret = args.secret_file.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let secret = text.trim().to_owned();
        ensure!(!secret.is_empty(), "{}: an empty secret protects nothing", path.display());
        Ok(secret)
    });
    let (caller, _client) = args.opening.caller(|settings| {
        settings.channel_count_max = args.channels;
        settings.deposit_factor = args.deposit;
    })?;
    let sidecar = Arc::new(Sidecar::new(caller, Limits::default(), secret.transpose()?));
    super::runtime()?.block_on(async {
        let listener = TcpListener::bind(args.listen).await.with_context(|| args.listen.to_string())?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        if args.opening.site.json {
            output::json(&json!({ "url": url }))?;
        } else {
            output::line(&url)?;
        }
        output::say("Ctrl-C ends it");
        let asked = sidecar.clone();
        ctrlc::set_handler(move || asked.stop()).context("Ctrl-C cannot be noticed")?;
        Ok(sidecar.run(listener).await?)
    })
}
