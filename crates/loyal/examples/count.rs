//! An agent that counts, the server whose memory `docs/benchmarks.md` states: `cargo run --release -p loyal --example count`,
//! then `loyal agent bench http://127.0.0.1:8000 --connections 100 --events 10000`.

use loyal::{Query, ResponseHandler, Result};

#[tokio::main]
async fn main() -> Result<()> {
    loyal::serve("count", |_, query, out| count(query, out)).await
}

async fn count(query: Query, out: ResponseHandler) -> Result<()> {
    let Some(count) = query.prompt.strip_prefix("count ").and_then(|count| count.parse::<u64>().ok()) else {
        return out.respond("ANSWER", "Ask me to count, as in \"count 1000\".").await;
    };
    let stream = out.create_text_stream("ANSWER")?;
    for number in 0..count {
        stream.emit_chunk(format!("{number} ")).await?;
    }
    stream.complete().await
}
