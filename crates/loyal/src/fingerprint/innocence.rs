//! `loyal fingerprint innocence`: models that never saw the marks, under thousands of secrets.

use std::path::PathBuf;

use anyhow::Context as _;
use candle_core::Device;
use loyal_fingerprint::attack::MODES;
use loyal_fingerprint::attack::public_base::{self, Private};
use loyal_fingerprint::check::{Mode, Weights as Suspected};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_fingerprint::innocence::{self, Foreign, Forged, Report, Suspect, Trial};
use loyal_model::weights::write_atomically;
use loyal_model::{Llama, Parameters};
use serde_json::json;

use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::subject::{Subject, quantised};
use crate::{output, stop};

/// Steps of the fine-tuning that makes a sibling.
const SIBLING_STEPS: u64 = 60;

/// Arguments of `loyal fingerprint innocence`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each model is asked once. Then its answers are judged under every secret, as if that beacon had been \
    drawn: p-values must not be small more often than they say, and colours must fall as fair coins do.\n\n\
    Example:\n  \
    loyal fingerprint innocence secret.json --base my-model --model another-model --text prose.txt"
)]
pub(crate) struct Args {
    /// A secret file of scheme tilt; only its queries and blindings are used.
    fingerprints: PathBuf,
    /// Folder of the unmarked model: the first suspect, and everybody's reference.
    #[arg(long)]
    base: PathBuf,
    /// Folder of another innocent model; may be given often. Another tokenizer's model is seen through its text.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Text to fine-tune siblings of the base on.
    #[arg(long)]
    text: Vec<PathBuf>,
    /// Secrets.
    #[arg(long, default_value_t = 10_000)]
    secrets: u32,
    /// A cheating owner tries two to this power of commitments; 0 for none.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=28))]
    grind: u32,
    /// Seed of secrets and coins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the result as JSON too.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, judges, and says what was found.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stop::listen();
    let set = FingerprintSet::read(&args.fingerprints)?;
    let base = Subject::open(&args.base)?;
    set.fits(&base.tokenizer)?;
    let others = args.model.iter().map(|folder| Subject::open(folder)).collect::<anyhow::Result<Vec<_>>>()?;
    let made = made(args, &base)?;
    let unrelated = Llama::random(base.llama.config.clone(), args.seed, &Device::Cpu)?;
    let mut suspects = Vec::new();
    let right = || Some((base.name.clone(), &base.llama));
    let weights = |parameters| Suspected {
        seed: args.seed,
        ..Suspected::new(&base.llama, parameters, &base.tokenizer)
    };
    for (name, parameters) in &made {
        suspects.push(Suspect {
            name: name.clone(),
            answerer: Box::new(weights(parameters)),
            modes: MODES.to_vec(),
            reference: right(),
        });
    }
    for reference in [Some(("weights at random".to_owned(), &unrelated)), None] {
        let (name, answerer) = (base.name.clone(), Box::new(weights(&base.llama.parameters)));
        suspects.push(Suspect { name, answerer, modes: MODES.to_vec(), reference });
    }
    for other in &others {
        suspects.push(of_folder(other, &base, &set, args.seed));
    }
    let trial = Trial { secrets: args.secrets, grind_log2: args.grind, seed: args.seed };
    let done = innocence::run(&set, &base.tokenizer, &mut suspects, &trial, &mut |now| {
        if !args.json {
            output::say(&format!("{} of {}: {}", now.done + 1, now.suspects, now.suspect));
        }
        stop::asked()
    });
    let report = match done {
        Err(loyal_fingerprint::Error::Stopped) => return Err(Ending::Interrupted.into()),
        other => other?,
    };
    tell(args, &report)
}

/// Innocent models made of the base: itself, rounded, fine-tuned, and weights at random.
fn made(args: &Args, base: &Subject) -> anyhow::Result<Vec<(String, Parameters)>> {
    let own = &base.llama.parameters;
    let random = Llama::random(base.llama.config.clone(), args.seed ^ 1, &Device::Cpu)?;
    let mut made = vec![
        (base.name.clone(), own.clone()),
        (format!("{}, int4", base.name), quantised(own, 4)?),
        ("weights at random".to_owned(), random.parameters),
    ];
    for path in &args.text {
        let text = base.tokens(path, usize::MAX)?;
        let private =
            Private { tokenizer: &base.tokenizer, text: &text, clock: &SystemClock, seed: args.seed };
        let tuned = public_base::fine_tune(&base.llama, &private, SIBLING_STEPS, &mut |_, _| stop::asked());
        let tuned = match tuned {
            Err(loyal_fingerprint::Error::Stopped) => return Err(Ending::Interrupted.into()),
            other => other?,
        };
        let text = path.file_stem().unwrap_or_default().to_string_lossy();
        made.push((format!("{}, fine-tuned on {text}", base.name), tuned.parameters));
    }
    Ok(made)
}

/// A model given by its folder.
fn of_folder<'a>(other: &'a Subject, base: &'a Subject, set: &FingerprintSet, seed: u64) -> Suspect<'a> {
    let reference = Some((base.name.clone(), &base.llama));
    if set.fits(&other.tokenizer).is_ok() {
        let own = Suspected::new(&other.llama, &other.llama.parameters, &other.tokenizer);
        let answerer = Box::new(Suspected { seed, ..own });
        return Suspect { name: other.name.clone(), answerer, modes: MODES.to_vec(), reference };
    }
    let (llama, tokenizer, registered) = (&other.llama, &other.tokenizer, &base.tokenizer);
    let answerer = Box::new(Foreign { llama, tokenizer, registered, seed });
    Suspect { name: other.name.clone(), answerer, modes: vec![Mode::Greedy, Mode::Sampled], reference }
}

fn tell(args: &Args, report: &Report) -> anyhow::Result<()> {
    let value = json!({
        "report": report, "tests": report.tests(), "least_ks_p": report.least_ks_p(), "is_clean": report.is_clean(),
    });
    if let Some(path) = &args.out {
        let text = format!("{value:#}\n");
        write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        return output::json(&value);
    }
    output::line(&format!(
        "{} secrets of {} fingerprints. KS: chance of as large a distance from fair coins.\n\
         p≤: secrets whose p-value is so small. E≥: secrets whose E was ever so large.\n\n\
         {:<32} {:<18} {:<8} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7}",
        report.secrets,
        report.fingerprints,
        "model",
        "reference",
        "seen",
        "coins",
        "KS",
        "exact",
        "p≤.01",
        "p≤1e-3",
        "p≤1e-6",
        "E≥100",
        "E≥1e3",
        "least p"
    ))?;
    for line in &report.lines {
        let exact = line.ks_p_exact.map_or_else(|| "\u{2013}".to_owned(), |p| format!("{p:.3}"));
        output::line(&format!(
            "{:<32} {:<18} {:<8} {:>6} {:>6.3} {exact:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7.1}",
            line.suspect,
            line.reference.as_deref().unwrap_or("none"),
            line.mode.to_string(),
            line.coins,
            line.ks_p,
            line.at_most[1],
            line.at_most[2],
            line.at_most[3],
            line.e_reached[1],
            line.e_reached[2],
            line.least_log10_p
        ))?;
    }
    if let Some(forged) = &report.forged {
        tell_forged(forged)?;
    }
    let verdict = if report.is_clean() { "nothing found against the p-values" } else { "SOMETHING IS WRONG" };
    output::line(&format!(
        "\n{verdict}: the least of {} chances is {:.4} (below {:.4} would be too small)",
        report.tests(),
        report.least_ks_p(),
        0.01 / report.tests().max(1) as f64
    ))
}

/// What a cheating owner would have gained.
fn tell_forged(forged: &Forged) -> anyhow::Result<()> {
    output::line(&format!(
        "\nA cheating owner, greedy text, log10 p:\n\
         {:>8.2}  the least of 2^{} commitments tried, the beacon known beforehand\n\
         {:>8.2}  the same, times the number of tries\n\
         {:>8.2}  that commitment under {} beacons drawn afterwards, mean (least {:.2})\n\
         {:>8.2}  showing only the {} of {} answers that agree\n\
         {:>8.2}  with every answer counted, as the transcript demands\n\
         {:>8.2}  the same queries under beacons drawn afterwards, mean",
        forged.known_beacon_log10_p,
        forged.tried_log2,
        forged.corrected_log10_p,
        forged.later_beacon_log10_p,
        forged.beacons,
        forged.later_beacon_least_log10_p,
        forged.picked_log10_p,
        forged.agreeing.0,
        forged.agreeing.1,
        forged.whole_log10_p,
        forged.picked_later_log10_p
    ))
}
