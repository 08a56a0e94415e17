//! A user asks an agent, which asks another agent, which asks a hosted model that is paid; so does the first agent with what it heard. A
//! chain inside of this program divides what both paid, and each agent gets the part of whoever brought its invocation. The model is
//! the small one that comes with Loyal: the amounts are what is worth reading, not its words.
//!
//! `cargo run --release -p loyal --example pass-on`
#![allow(clippy::print_stdout, reason = "an example talks")]

#[path = "../../../loyal-protocol/examples/economy/market.rs"]
#[allow(dead_code, reason = "the example that it comes from uses all of it")]
mod market;
mod story;
mod town;

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::U256;
use loyal_model::template::ChatTemplate;
use loyal_model::{Config, Decoder, Precision, Tokenizer};
use loyal_roles::host::Model;
use loyal_roles::host::gateway::Source;
use town::Town;

const QUESTION: &str = "Where does the river go?";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/loyal-5m");
    let model = Model {
        name: "loyal-5m".to_owned(),
        tokenizer: Tokenizer::read(&folder, &Config::read(&folder)?)?,
        template: ChatTemplate::read(&folder)?,
        decoder: Decoder::open(&folder, Precision::F32)?,
    };
    let source = Source::Model(Box::new(model));
    let town = Arc::new(tokio::task::spawn_blocking(move || Town::open(source)).await??);
    println!("a user asks the agent in front: {QUESTION}\n");
    let told = story::run(town.clone(), QUESTION, 24).await?;
    println!("the agent behind answers: {}", told.behind.trim());
    println!("the agent in front answers: {}\n", told.answer.trim());
    for payment in &told.paid {
        let amount = town.asset.text(U256::from(payment.amount));
        println!("invocation {} cost {amount}", payment.invocation);
    }
    println!("\n{}", told.table(&town)?);
    tokio::task::spawn_blocking(move || Arc::into_inner(town).map_or(Ok(()), |mut town| town.close())).await?
}
