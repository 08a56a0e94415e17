//! An agent anyone can call: `cargo run -p loyal --example echo`, then `loyal agent ask http://127.0.0.1:8000 Hello`.

#[tokio::main]
async fn main() -> loyal::Result<()> {
    loyal::serve("echo", |_, query, out| async move { out.respond("ANSWER", query.prompt).await }).await
}
