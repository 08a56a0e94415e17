//! `loyal owner …`: register models and their versions, agree on who earns what, withdraw what was earned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use loyal_protocol::message;
use loyal_roles::owner::Next;
use loyal_roles::owner::register::{self, Project};
use loyal_roles::owner::registration::{Accepted, Maker, Parent, Registration};
use loyal_roles::owner::revenue::{self, What};
use serde_json::{Value, json};

use crate::site::{self, Actor, Reached, Site};
use crate::{output, time};

mod deliver;
mod issue;
mod publish;
mod tickets;

/// What an owner, or a maker, can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Prepare a registration: a file that says what is registered and who made it.
    Draft(DraftArgs),
    /// Register a model: does what can be done now, says what is next, and goes on when it is run again.
    Register(RegisterArgs),
    /// Register a new version of a model, in the same way.
    Version(VersionArgs),
    /// Sign the agreement of a registration, as one of the makers named in it.
    Agree(AgreeArgs),
    /// Store weights where others find them by their root: in a folder, a bucket of S3's API, or a repository of the Hugging Face hub.
    Publish(publish::Args),
    /// Make a host's own copy of a traced model, publish it, and name it on the chain.
    Deliver(Box<deliver::Args>),
    /// Give somebody a credential, or run a server that gives them to whoever may have one.
    Issue(issue::IssueArgs),
    /// Take credentials back: one, a holder's, an issuer's, or all.
    Revoke(issue::RevokeArgs),
    /// Give tickets to the provers that are drawn, and open the answers to what they lay open.
    Tickets(tickets::Args),
    /// Send an account everything it is owed: as host, builder, trainer, holder of shares, beneficiary of LOYAL.
    Withdraw(WithdrawArgs),
}

/// What `loyal owner draft` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Parts and reserve make 100 %. Documents that have a place of their own on the chain are called terms, training, \
evaluation and policy; others may be added. The file is yours to edit until the makers have signed.

Example:
  loyal fingerprint new MODEL --benign prose.txt --beacon later --out secret.json --public leaves.json
  loyal owner draft dobby.json --name Dobby --symbol DOBBY --leaves leaves.json \\
      --maker 0xAa…=30 --maker 0xBb…=15 --maker 0xCc…=15 --reserve 40 --accept LOYAL=0.001 \\
      --document terms=LICENSE --open-hosting
  loyal owner register dobby.json --key owner.json")]
pub(crate) struct DraftArgs {
    #[command(flatten)]
    site: Site,
    /// The file to write (never overwritten).
    file: PathBuf,
    /// The model's name.
    #[arg(long)]
    name: String,
    /// The symbol of its shares.
    #[arg(long)]
    symbol: String,
    /// The public file of its fingerprints (`loyal fingerprint new --public`).
    #[arg(long, value_name = "FILE")]
    leaves: PathBuf,
    /// The folder of its marked weights, once there are some.
    #[arg(long, value_name = "FOLDER")]
    weights: Option<PathBuf>,
    /// A maker and its part in percent.
    #[arg(long = "maker", value_name = "ACCOUNT=PERCENT")]
    makers: Vec<String>,
    /// The part that the model keeps, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "0")]
    reserve: String,
    /// An asset in which it is paid and the least for an invocation, then for 1,000 tokens.
    #[arg(long = "accept", value_name = "ASSET=AMOUNT[:AMOUNT]")]
    accepts: Vec<String>,
    /// A document and its file.
    #[arg(long = "document", value_name = "NAME=FILE")]
    documents: Vec<String>,
    /// The version that this model was made from.
    #[arg(long, value_name = "MODEL:VERSION")]
    parent: Option<String>,
    /// Where its weights can be had.
    #[arg(long, value_name = "URI", default_value = "")]
    uri: String,
    /// Let anybody with a bond host it.
    #[arg(long)]
    open_hosting: bool,
}

/// What `loyal owner register` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The steps: commit to the fingerprints; wait for the next epoch's seed; bind, train and name the weights; commit to what \
was embedded; let every maker sign (`loyal owner agree`); put up the bond and register; wait seven days, in which others \
may claim the model; activate it; take the bond back. Run the command again after each wait: it knows where you are.")]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The registration (`loyal owner draft`).
    file: PathBuf,
}

/// What `loyal owner version` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where the model was handed to its holders, their votes submit it: the command says when there is something to propose \
(`loyal governance propose --version`), and after that activates what was voted in.")]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The model.
    model: u64,
    /// The registration of its new version (`loyal owner draft`); makers and name stay those of the first.
    file: PathBuf,
}

/// What `loyal owner agree` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
You sign that the parts in the file are right, for the weights, documents and fingerprints whose roots it names. \
Look at them first: --dry-run shows them and signs nothing. The signature is written into the file; send it back to the owner.")]
pub(crate) struct AgreeArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// The registration, with an agreement in it.
    file: PathBuf,
}

/// What `loyal owner withdraw` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct WithdrawArgs {
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    actor: Actor,
    /// Whose; the key's own account unless given. Amounts always go to whom they belong.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<Address>,
    /// Look at these models alone; at all of the chain unless given.
    #[arg(long = "model", value_name = "ID")]
    models: Vec<u64>,
}

/// Does it.
pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Draft(args) => draft(&args),
        Verb::Register(args) => register(&args.site, &args.actor, &args.file, None),
        Verb::Version(args) => register(&args.site, &args.actor, &args.file, Some(args.model)),
        Verb::Agree(args) => agree(&args),
        Verb::Publish(args) => publish::run(&args),
        Verb::Deliver(args) => deliver::run(&args),
        Verb::Issue(args) => issue::issue(&args),
        Verb::Revoke(args) => issue::revoke(&args),
        Verb::Tickets(args) => tickets::run(&args),
        Verb::Withdraw(args) => withdraw(&args),
    }
}

fn draft(args: &DraftArgs) -> anyhow::Result<()> {
    ensure!(!args.file.exists(), "{} exists; choose another name", args.file.display());
    let mut made = Registration::new(&args.name, &args.symbol, &args.leaves);
    made.weights.clone_from(&args.weights);
    made.uri.clone_from(&args.uri);
    made.open_hosting = args.open_hosting;
    made.reserve_bps = percent(&args.reserve).context("--reserve")?;
    for text in &args.makers {
        let (account, part) = pair(text, "--maker")?;
        let account = account.parse().with_context(|| {
            format!("--maker {text}: {account:?} is no account, which is 0x and 40 hexadecimal digits")
        })?;
        made.makers.push(Maker { account, bps: percent(part).with_context(|| format!("--maker {text}"))? });
    }
    for text in &args.documents {
        let (name, file) = pair(text, "--document")?;
        ensure!(Path::new(file).is_file(), "--document {text}: there is no file {file}");
        made.documents.insert(name.to_owned(), file.into());
    }
    if let Some(text) = &args.parent {
        let parsed = text.split_once(':').and_then(|(model, version)| {
            Some(Parent { model: model.parse().ok()?, version: version.parse().ok()? })
        });
        made.parent =
            Some(parsed.with_context(|| format!("--parent {text}: write a model and a version, like 3:1"))?);
    }
    if !args.accepts.is_empty() {
        let reached = args.site.reach()?;
        made.accepts =
            args.accepts.iter().map(|text| accepted(&reached, text)).collect::<anyhow::Result<_>>()?;
    }
    made.check().map_err(anyhow::Error::msg)?;
    made.commitment(&args.file).context("--leaves")?;
    made.write(&args.file)?;
    if args.site.json {
        return output::json(&json!({ "file": args.file }));
    }
    output::line(&args.file.display().to_string())
}

fn pair<'a>(text: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    text.split_once('=').with_context(|| format!("{option} {text}: an equals sign is missing"))
}

/// Percent, with up to two digits after the point, in hundredths of a percent.
fn percent(text: &str) -> anyhow::Result<u16> {
    let wrong = || format!("{text:?} is no part of 100 %; write 30 or 12.5");
    let (whole, part) = text
        .trim()
        .trim_end_matches('%')
        .trim()
        .split_once('.')
        .unwrap_or((text.trim().trim_end_matches('%').trim(), ""));
    ensure!(part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit()), wrong());
    let bps: u16 = format!("{whole}{part:0<2}").parse().with_context(wrong)?;
    ensure!(bps <= 10_000, wrong());
    Ok(bps)
}

fn accepted(reached: &Reached, text: &str) -> anyhow::Result<Accepted> {
    let (named, amounts) = pair(text, "--accept")?;
    let asset = site::asset_of(reached, named)?;
    let (per_call, per_thousand) = amounts.split_once(':').unwrap_or((amounts, "0"));
    Ok(Accepted {
        asset: asset.address,
        per_call: asset.parse(per_call)?,
        per_thousand: asset.parse(per_thousand)?,
    })
}

fn register(site: &Site, actor: &Actor, file: &Path, model: Option<u64>) -> anyhow::Result<()> {
    let mut registration = Registration::read(file)?;
    let reached = site.reach()?;
    let key = site.actor(actor)?;
    let (next, taken) = site::walk(&reached.client, &key, (actor.dry_run, site.json), |walk| {
        let mut project = Project { registration: &mut registration, path: file, model };
        Ok(register::run(walk, &reached.at, &mut project)?)
    })?;
    let now = reached.client.time()?;
    if site.json {
        return output::json(&json!({ "steps": site::steps_json(&taken), "next": next_json(&next) }));
    }
    output::line(&next_text(&next, file, now))
}

fn next_text(next: &Next, file: &Path, now: u64) -> String {
    let file = file.display();
    match next {
        Next::Wait { until, what } => {
            format!("next: run this again {}, when {what}", time::text(*until, now))
        }
        Next::Train { seed, epoch, weak } => format!(
            "next: the seed of epoch {epoch} is {seed}{}\n\
             bind the answers to it, embed them, and name the weights in {file}:\n  \
             loyal fingerprint bind secret.json --beacon {seed} --source \"Loyal beacon, epoch {epoch}\" --out bound.json\n  \
             loyal fingerprint embed MODEL --fingerprints bound.json --benign prose.txt --out marked\n  \
             loyal fingerprint commit bound.json --embedded --out embedded.json   (then \"leaves\": \"embedded.json\")",
            if *weak { " (weak: no validator had a part in it)" } else { "" }
        ),
        Next::Sign { accounts, until } => {
            let accounts: Vec<_> = accounts.iter().map(|account| format!("  {account}")).collect();
            format!(
                "next: these makers sign {file} with `loyal owner agree`, until {}:\n{}",
                time::text(*until, now),
                accounts.join("\n")
            )
        }
        Next::Propose { model } => format!(
            "next: the holders of model {model} decide; who has the shares for it proposes:\n  \
             loyal governance propose \"…\" --model {model} --version {file}\n\
             once that is executed, run this again"
        ),
        Next::Claimed => "next: somebody claims this model; the court decides first".to_owned(),
        Next::Done { model, version } => {
            format!(
                "done: version {version} of model {model} is registered; `loyal model show {model}` tells more"
            )
        }
        Next::Rehearsed => "next: what follows depends on these".to_owned(),
    }
}

fn next_json(next: &Next) -> Value {
    match next {
        Next::Wait { until, what } => json!({ "what": "wait", "until": until, "for": what }),
        Next::Train { seed, epoch, weak } => {
            json!({ "what": "train", "seed": seed.to_string(), "epoch": epoch, "weak": weak })
        }
        Next::Sign { accounts, until } => {
            let accounts: Vec<_> = accounts.iter().map(ToString::to_string).collect();
            json!({ "what": "sign", "accounts": accounts, "until": until })
        }
        Next::Propose { model } => json!({ "what": "propose", "model": model }),
        Next::Claimed => json!({ "what": "claimed" }),
        Next::Done { model, version } => json!({ "what": "done", "model": model, "version": version }),
        Next::Rehearsed => json!({ "what": "rehearsed" }),
    }
}

fn agree(args: &AgreeArgs) -> anyhow::Result<()> {
    let mut registration = Registration::read(&args.file)?;
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let domain = message::domain(reached.client.chain_id(), reached.at.registry);
    registration.sign(&key, &domain)?;
    let Some(signed) = &registration.agreement else { bail!("{}: no agreement", args.file.display()) };
    let missing = registration.unsigned();
    if !args.actor.dry_run {
        registration.write(&args.file)?;
    }
    if args.site.json {
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        return output::json(
            &json!({ "account": key.address().to_string(), "signed": !args.actor.dry_run, "missing": missing }),
        );
    }
    let share = |bps: u16| format!("{} %", f64::from(bps) / 100.0);
    let mut rows = vec![("model", format!("{} ({})", registration.name, registration.symbol))];
    let makers: Vec<_> =
        registration.makers.iter().map(|maker| format!("{}  {}", maker.account, share(maker.bps))).collect();
    rows.push(("makers", makers.join("\n")));
    rows.push(("the model keeps", share(registration.reserve_bps)));
    rows.push(("weights", signed.weights_root.to_string()));
    rows.push(("documents", signed.manifest_root.to_string()));
    rows.push(("fingerprints", signed.fingerprint_root.to_string()));
    rows.push(("good until", time::text(signed.expires_at, reached.client.time()?)));
    output::pairs(&rows)?;
    output::say(&match (args.actor.dry_run, missing.len()) {
        (true, _) => format!("nothing was signed; without --dry-run {} signs this", key.address()),
        (false, 0) => "signed; everybody has: the owner can go on with `loyal owner register`".to_owned(),
        (false, count) => format!("signed; {count} others have not yet"),
    });
    Ok(())
}

fn withdraw(args: &WithdrawArgs) -> anyhow::Result<()> {
    let reached = args.site.reach()?;
    let key = args.site.actor(&args.actor)?;
    let account = args.account.unwrap_or(key.address());
    let (found, taken) = site::walk(&reached.client, &key, (args.actor.dry_run, args.site.json), |walk| {
        Ok(revenue::withdraw(walk, &reached.at, account, &args.models)?)
    })?;
    let mut sums: BTreeMap<Address, (U256, String)> = BTreeMap::new();
    for due in &found {
        let sum = sums.entry(due.asset.address).or_default();
        sum.0 += due.amount;
        sum.1 = due.asset.text(sum.0);
    }
    if args.site.json {
        let each = found.iter().map(|due| {
            let (what, model) = match due.what {
                What::Owed => ("owed", None),
                What::Trained { model, .. } => ("trained", Some(model)),
                What::Held { model, .. } => ("held", Some(model)),
                What::Vested { .. } => ("vested", None),
            };
            json!({ "what": what, "model": model, "asset": due.asset.address.to_string(), "amount": due.amount.to_string() })
        });
        let each: Vec<Value> = each.collect();
        return output::json(
            &json!({ "account": account.to_string(), "due": each, "steps": site::steps_json(&taken) }),
        );
    }
    if sums.is_empty() {
        return output::line(&format!("nothing is owed to {account}"));
    }
    let sent = if args.actor.dry_run { "would be sent" } else { "sent" };
    for (_, text) in sums.values() {
        output::line(&format!("{text} {sent} to {account}"))?;
    }
    Ok(())
}
