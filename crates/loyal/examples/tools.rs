//! An agent with tools, on a model at `http://127.0.0.1:8080/v1`: `cargo run -p loyal --example tools`.
#![allow(clippy::print_stdout, reason = "an example answers on the terminal")]

#[tokio::main]
async fn main() -> loyal::Result<()> {
    let tools = [loyal::calculate(), loyal::read_page(&loyal::Web::public())];
    loyal::ask("http://127.0.0.1:8080/v1", "What is 2^200?", tools).await.map(|answer| println!("{answer}"))
}
