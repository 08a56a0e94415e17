//! A question that is passed on: from a user to an agent in front, from there to one behind it, from there to a hosted model.

use std::fmt::Write as _;
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use anyhow::{Result, bail, ensure};
use loyal_agent::agent::{Thinker, agent};
use loyal_agent::client::{self, Reach, Reply};
use loyal_agent::llm::{Paid, Payment};
use loyal_agent::serve::{self, Limits};
use loyal_agent::session::Request;
use loyal_agent::tool::{Known, Tool, call_agent};
use loyal_agent::{Agent, Error, Query, Session, Ulid};
use loyal_protocol::contracts::RevenueRouter;
use serde_json::json;
use tokio::net::TcpListener;

use super::town::{BACK, FRONT, PRICE, Town, key};

/// What the question came to.
pub(crate) struct Told {
    /// What the agent behind said.
    pub(crate) behind: String,
    /// What the agent in front made of it.
    pub(crate) answer: String,
    /// What both paid, the agent behind first.
    pub(crate) paid: Vec<Payment>,
    /// Each builder, and how what its agent paid was divided.
    pub(crate) divided: Vec<(Address, RevenueRouter::Allocated)>,
    /// Who got how much of it, as their balances on the chain say.
    pub(crate) received: Vec<(String, U256)>,
}

/// Asks, pays, redeems, divides, and holds every amount against the others.
pub(crate) async fn run(town: Arc<Town>, question: &str, answer_tokens_max: u32) -> Result<Told> {
    // The agent behind thinks with the hosted model, and pays for it.
    let behind = thinker(&town, BACK, answer_tokens_max).await?;
    let behind_url = serve(&town, behind).await?;
    // The agent in front passes the question on, and makes one thought of its own of what comes back.
    let known = vec![Known { name: "behind".to_owned(), url: behind_url }];
    let ask_behind = call_agent(known, Reach::Local, town.clock.clone(), [3; 32]);
    let front = front(ask_behind, Arc::new(thinker(&town, FRONT, answer_tokens_max).await?));
    let front_url = serve(&town, front).await?;

    let query = Query { id: Ulid::new(1, 3), prompt: question.to_owned() };
    let session = Session::new("user", Ulid::new(1, 1), Ulid::new(1, 2), Vec::new());
    let limits = client::Limits { reach: Reach::Local, ..client::Limits::default() };
    let request = Request { query, session: Some(session) };
    let reply = Reply::read(client::run(&front_url, &request, limits).await?).await?;
    let failed: Vec<_> = reply.faults().map(|fault| fault.message.clone()).collect();
    ensure!(failed.is_empty(), "the agents failed: {failed:?}");
    let heard = reply.events.iter().find(|event| event.name == "BEHIND");
    let behind = heard.and_then(|event| event.text()).unwrap_or_default().to_owned();
    let answer = reply.answer();
    tokio::task::spawn_blocking(move || settle(&town, behind, answer)).await?
}

async fn thinker(town: &Town, account: usize, answer_tokens_max: u32) -> Result<Thinker> {
    let paid = Paid::open(town.caller(account)?).await?;
    let name = if account == FRONT { "front" } else { "behind" };
    let seed = [u8::try_from(account)?; 32];
    let mut thinker = Thinker::new(name, Arc::new(paid), town.clock.clone(), seed);
    thinker.answer_tokens_max = answer_tokens_max;
    // One run may spend 0.01 LOYAL, of which an ask may take a fifth.
    thinker.limits.amount = 5 * PRICE;
    Ok(thinker)
}

async fn serve(town: &Town, agent: impl Agent + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve::run(listener, agent, Limits::default(), town.clock.clone(), [5; 32]));
    Ok(url)
}

/// Passes a question on. Its own thought has no tools: whatever the other agent says, it can be talked into nothing but words.
fn front(ask_behind: Arc<dyn Tool>, thinker: Arc<Thinker>) -> impl Agent {
    agent("front", move |session, query: Query, out| {
        let (ask_behind, thinker) = (ask_behind.clone(), thinker.clone());
        async move {
            let arguments = json!({ "agent": "behind", "question": query.prompt });
            let heard = ask_behind.call(arguments).await.map_err(Error::failed)?;
            out.emit_text_block("BEHIND", heard.text.as_str()).await?;
            let prompt = format!("What is this about? {}", heard.text);
            thinker.assist(session, Query { prompt, ..query }, out).await
        }
    })
}

/// What the wallets say, what the chain divides, and whether that agrees.
fn settle(town: &Town, behind: String, answer: String) -> Result<Told> {
    let paid = [BACK, FRONT].map(|agent| payments(town, agent)).into_iter().collect::<Result<Vec<_>>>()?;
    let paid: Vec<Payment> = paid.into_iter().flatten().collect();
    let divided = town.redeem()?;
    let sum = |parts: &RevenueRouter::Allocated| {
        let parts = &parts.parts;
        let users = parts.shares + parts.trainers + parts.host + parts.builder;
        parts.fee + users + parts.contributors + parts.provers + parts.validators
    };
    let all = divided.iter().fold(U256::ZERO, |all, (_, parts)| all + sum(parts));
    let spent = paid.iter().fold(U256::ZERO, |all, payment| all + U256::from(payment.amount));
    ensure!(all == spent, "{all} was divided and {spent} was paid");
    let mut received = Vec::new();
    for (name, account) in [("the builder in front", FRONT), ("the builder behind", BACK)] {
        let account = key(account)?.address();
        let due = divided.iter().filter(|(builder, _)| *builder == account);
        let due = due.fold(U256::ZERO, |due, (_, parts)| due + parts.parts.builder);
        let amount = town.withdraw(account)?;
        ensure!(amount == due, "{name} was to get {due} and got {amount}");
        received.push((name.to_owned(), amount));
    }
    for (name, account) in town.people() {
        received.push((name.to_owned(), town.withdraw(account)?));
    }
    let out = received.iter().fold(U256::ZERO, |out, (_, amount)| out + *amount);
    ensure!(out <= spent, "more went out than came in");
    received.push(("pools and the reserve".to_owned(), spent - out));
    Ok(Told { behind, answer, paid, divided, received })
}

/// The receipts of an agent's wallet.
fn payments(town: &Town, agent: usize) -> Result<Vec<Payment>> {
    let mut found = Vec::new();
    loyal_access::Wallet::receipts(&town.wallet(agent), |record| {
        let receipt = &record.receipt.receipt.receipt;
        found.push(Payment {
            invocation: receipt.invocationId.to_string(),
            host: record.host.clone(),
            asset: record.asset.to_string(),
            amount: receipt.amount,
        });
        Ok(())
    })?;
    Ok(found)
}

impl Told {
    /// The split as a table: a column for each builder, then what everybody got.
    pub(crate) fn table(&self, town: &Town) -> Result<String> {
        let mut text = String::new();
        let names = self.divided.iter().map(|(builder, _)| {
            let is_front = *builder == key(FRONT)?.address();
            Ok(if is_front { "asked in front" } else { "asked behind" })
        });
        let names = names.collect::<Result<Vec<_>>>()?;
        let amount = |units: U256| town.asset.text(units);
        let [one, other] = names[..] else { bail!("two builders brought invocations, not {}", names.len()) };
        writeln!(text, "{:<22} {one:>28} {other:>28}", "")?;
        type Part = fn(&RevenueRouter::Allocated) -> U256;
        let rows: [(&str, Part); 8] = [
            ("protocol", |all| all.parts.fee),
            ("shares", |all| all.parts.shares),
            ("trainers", |all| all.parts.trainers),
            ("host", |all| all.parts.host),
            ("contributors", |all| all.parts.contributors),
            ("provers", |all| all.parts.provers),
            ("validators", |all| all.parts.validators),
            ("builder", |all| all.parts.builder),
        ];
        for (name, part) in rows {
            let of = |index: usize| amount(part(&self.divided[index].1));
            writeln!(text, "{name:<22} {:>28} {:>28}", of(0), of(1))?;
        }
        writeln!(text, "\n{:<22} {:>28}", "on the chain", "received")?;
        for (name, units) in &self.received {
            writeln!(text, "{name:<22} {:>28}", amount(*units))?;
        }
        Ok(text)
    }
}
