//! `loyal court simulate`: what probing catches, and what a host must put up.

use loyal_roles::simulation::{self, BITS, Fate, Party, Probing, bond_factor, hostile_jury};
use loyal_types::Chance;
use serde_json::{Value, json};

use crate::output;

/// Parts of its volume that a host hides.
const HIDDEN: [f64; 3] = [0.05, 0.25, 1.0];
/// Parts of validators' seats that are hostile.
const HOSTILE: [f64; 2] = [0.2, 1.0 / 3.0];
/// A route: what of an invocation's price reaches its host, after the protocol's fee.
const HOST_PART: f64 = 0.975 * 0.25;

/// What `loyal court simulate` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Unless told otherwise it shows the protocol's three cases: 16 probes a day that see greedy text (95 % of coins on the \
owner's side), 16 probes of three sampled coins at 80 %, and the same at 70 %.

Examples:
  loyal court simulate
  loyal court simulate --rate 0.9 --probes 16 --coins 1
  loyal court simulate --price 0.002 --calls 10000     # what a host of that size puts up and earns")]
pub(crate) struct Args {
    /// The chance that a coin of the owner's model is on the owner's side, as a check measures it.
    #[arg(long, value_name = "CHANCE")]
    rate: Option<f64>,
    /// Probes for a hosting and day.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    probes: u32,
    /// Coins that one probe brings.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    coins: u32,
    /// The chance that a coin of an innocent model is on that side: one in this many.
    #[arg(long, value_name = "K", default_value_t = 2)]
    one_in: u32,
    /// Days lived through as each party.
    #[arg(long, value_name = "DAYS", default_value_t = 100_000)]
    epochs: u64,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What a host asks for an invocation: says what it puts up, risks and earns.
    #[arg(long, value_name = "AMOUNT", requires = "calls")]
    price: Option<f64>,
    /// Invocations a day.
    #[arg(long, value_name = "N")]
    calls: Option<f64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Lives through it, and says what came of it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let (Some(price), Some(calls)) = (args.price, args.calls) {
        return reckon(price * calls, args.json);
    }
    let chance = Chance::one_in(args.one_in).map_err(|_| anyhow::anyhow!("--one-in: from 2 to 65,536"))?;
    let of = |rate, coins| Probing { chance, rate, probes: args.probes, coins };
    let cases = match args.rate {
        Some(rate) => {
            anyhow::ensure!((0.0..=1.0).contains(&rate), "--rate {rate}: a chance is between 0 and 1");
            vec![of(rate, args.coins)]
        }
        None => vec![of(0.95, 1), of(0.8, 3), of(0.7, 3)],
    };
    let mut results = Vec::new();
    for probing in cases {
        results.push(case(args, &probing)?);
    }
    if args.json {
        return output::json(&Value::Array(results));
    }
    output::line("\nA jury is lost, where a part of the validators' seats is hostile:")?;
    for part in HOSTILE {
        output::line(&format!(
            "  {:>3.0} % hostile: of 5 with chance {:.3}, of 11 after an appeal {:.3}",
            100.0 * part,
            hostile_jury(5, part),
            hostile_jury(11, part)
        ))?;
    }
    Ok(())
}

fn case(args: &Args, probing: &Probing) -> anyhow::Result<Value> {
    let coins = simulation::expected_coins(probing.chance, probing.rate, BITS);
    let a_day = f64::from(probing.probes * probing.coins);
    let parties =
        HIDDEN.iter().map(|&part| (format!("hides {:.0} %", 100.0 * part), Party::Hides(part))).chain([
            ("hides all, knows a third of the provers".to_owned(), Party::Knows(1.0 / 3.0)),
            ("honest".to_owned(), Party::Honest),
            ("serves another model".to_owned(), Party::Innocent),
            ("honest, all provers make answers up".to_owned(), Party::Framed(1.0)),
            ("honest, 3 of 16 provers told by the owner".to_owned(), Party::Betrayed(3.0 / 16.0)),
        ]);
    let fates: Vec<(String, Fate)> = parties
        .map(|(name, party)| (name, simulation::live(party, probing, args.epochs, args.seed)))
        .collect();
    let hidden = fates.iter().take(HIDDEN.len()).map(|(_, fate)| fate.gain - HIDDEN_LAG * share(fate));
    let worst = hidden.fold(coins / a_day, f64::max);
    let factor = bond_factor(worst);
    if !args.json {
        output::line(&format!(
            "\n{} probes a day of {} coins, {:.0} % on the owner's side: {coins:.1} coins to {BITS} bits, {:.1} days at full hiding; \
             bond of {factor:.1} volumes of a day",
            probing.probes,
            probing.coins,
            100.0 * probing.rate,
            coins / a_day
        ))?;
        output::line(&format!(
            "  {:<42} {:>12} {:>10} {:>10} {:>10} {:>14}",
            "party", "convictions", "mean days", "half by", "95 % by", "hidden volumes"
        ))?;
        for (name, fate) in &fates {
            let days = |value: f64| if value.is_finite() { format!("{value:.1}") } else { "–".to_owned() };
            output::line(&format!(
                "  {name:<42} {:>12} {:>10} {:>10} {:>10} {:>14}",
                fate.convictions,
                days(fate.mean_epochs),
                days(fate.median_epochs),
                days(fate.late_epochs),
                if fate.convictions > 0 { days(fate.gain) } else { "–".to_owned() }
            ))?;
        }
    }
    let parties: Vec<Value> = fates
        .iter()
        .map(|(name, fate)| {
            let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
            json!({
                "party": name, "epochs": fate.epochs, "convictions": fate.convictions,
                "meanDays": number(fate.mean_epochs), "medianDays": number(fate.median_epochs),
                "lateDays": number(fate.late_epochs), "hiddenVolumes": number(fate.gain),
            })
        })
        .collect();
    Ok(json!({
        "rate": probing.rate, "probes": probing.probes, "coins": probing.coins, "expectedCoins": coins,
        "bondFactor": factor, "parties": parties,
    }))
}

/// Days from the last coin to the pause, which the bond's factor adds by itself.
const HIDDEN_LAG: f64 = 4.0;

/// The part of its volume that a party hid.
fn share(fate: &Fate) -> f64 {
    fate.gain / (fate.mean_epochs + HIDDEN_LAG)
}

/// What a host of a volume puts up, risks and earns.
fn reckon(volume: f64, json_wanted: bool) -> anyhow::Result<()> {
    let bond = 36.0 * volume;
    let rows = [
        ("volume of a day", volume),
        ("bond (36 volumes)", bond),
        ("earned a day (24.4 % of the volume)", HOST_PART * volume),
        ("earned a year", 365.0 * HOST_PART * volume),
        ("a receipt left out costs at least (5 %)", 0.05 * bond),
        ("two receipts with one number cost (10 %)", 0.1 * bond),
        ("unreported use costs (50 %, then all)", 0.5 * bond),
        ("a report five hours late costs (1 % an hour)", 0.05 * bond),
    ];
    if json_wanted {
        let object: serde_json::Map<String, Value> =
            rows.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        return output::json(&Value::Object(object));
    }
    output::pairs(&rows.map(|(name, value)| (name, format!("{value:.3}"))))
}
