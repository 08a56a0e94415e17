//! `loyal fingerprint verify-evidence`: a stranger computes a claim again.

use std::path::PathBuf;

use loyal_fingerprint::check::{Bundle, Verdict};
use loyal_model::{Config, Tokenizer};
use serde_json::json;

use crate::output;

/// Arguments of `loyal fingerprint verify-evidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no secret but those that the bundle lays open, and gives the same bits on any machine. It proves that queries \
and rules were committed to before the beacon, that the fingerprints were asked in the order the beacon fixes with \
none left out, and what the answers are worth. Look up the beacon yourself, and where the leaf root was published \
before it. That the suspect gave these answers is the word of whoever wrote the transcript; to be sure, ask it \
yourself.

With --tokenizer it also proves that the text was cut into pieces as the registered tokenizer cuts.")]
pub(crate) struct Args {
    /// The bundle that `loyal fingerprint check --bundle` wrote.
    evidence: PathBuf,
    /// Folder with the registered tokenizer.
    #[arg(long, value_name = "FOLDER")]
    tokenizer: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Computes everything again; a bundle that does not hold is an error that says what does not fit.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let bundle = Bundle::read(&args.evidence)?;
    let tokenizer = args.tokenizer.as_ref();
    let tokenizer = tokenizer.map(|folder| Tokenizer::read(folder, &Config::read(folder)?)).transpose()?;
    let verified = bundle.verify(tokenizer.as_ref())?;
    if args.json {
        let mut value = json!(verified);
        value["leaf_root"] = json!(bundle.commitment().leaf_root);
        value["beacon"] = json!(bundle.commitment().beacon);
        return output::json(&value);
    }
    let totals = &verified.totals;
    let cut = if verified.text_was_cut_again {
        "by the registered tokenizer"
    } else {
        "not verified: name --tokenizer"
    };
    let mut rows = vec![
        ("verdict", verdict(totals.verdict).to_owned()),
        ("model", verified.model.clone()),
        ("suspect", format!("{} ({})", verified.suspect, verified.mode)),
        ("asked", format!("{} fingerprints, {} not answered", totals.asked, totals.refused)),
        ("E", format!("1e{:.2} (1e{:.2} wanted)", totals.log10_e, totals.log10_wanted)),
        ("E without the reference", format!("1e{:.2}", verified.log10_e_without_reference)),
        ("p at most", format!("1e{:.2}", totals.log10_p)),
        (
            "text alone",
            format!(
                "{} of {} coins at {}: {:.3} bits",
                totals.hits, totals.coins, totals.chance_one_in, totals.bits
            ),
        ),
        ("text cut", cut.to_owned()),
        ("leaf root", bundle.commitment().leaf_root.to_string()),
        ("beacon", verified.beacon_source.clone()),
        ("transcript", verified.transcript.to_string()),
    ];
    rows.extend(verified.notes.iter().map(|note| ("note", note.clone())));
    output::pairs(&rows)
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Marked => "MARKED: the suspect runs the marked weights, or weights made from them",
        Verdict::NoEvidence => "no evidence",
    }
}
