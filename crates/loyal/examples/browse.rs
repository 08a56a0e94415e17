//! An agent with a browser, on a model at `http://127.0.0.1:8080/v1`: `cargo run -p loyal --example browse`.
#![allow(clippy::print_stdout, reason = "an example answers on the terminal")]

#[tokio::main]
async fn main() -> loyal::Result<()> {
    let goal = "play the demo video on https://media.example";
    loyal::browse("http://127.0.0.1:8080/v1", goal).await.map(|answer| println!("{answer}"))
}
