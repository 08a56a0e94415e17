//! Who is asked in the demo: the unmarked model, the marked one, and hosts who change or hide it.

use std::ops::ControlFlow;

use anyhow::Context as _;
use loyal_fingerprint::attack::{Bench, Damage, Extent, Host, Inference, Kept, Merge, Utility};
use loyal_fingerprint::check::{self, Case, Findings, Mode, Request, Verdict};
use loyal_fingerprint::fingerprint::FingerprintSet;
use loyal_model::{Llama, Parameters, Tokenizer};

use crate::output;
use crate::stop;

/// How much ordinary text shows what an attack costs.
const EXTENT: Extent =
    Extent { windows: 32, prompt_tokens: 24, answer_tokens: 32, generations: 8, generated_tokens: 4 };
/// The marked model's share of a merge.
const MERGED: f64 = 0.5;

/// A model that was asked, and what its answers prove.
pub(crate) struct Trial {
    /// Which model.
    pub(crate) name: &'static str,
    /// Whether it carries the marks.
    pub(crate) is_marked: bool,
    /// What is left of the marked model's utility.
    pub(crate) kept: Kept,
    /// What was found.
    pub(crate) findings: Findings,
}

impl Trial {
    /// Whether its answers suffice.
    pub(crate) fn is_told(&self) -> bool {
        self.findings.verdict == Verdict::Marked
    }
}

/// Somebody who answers.
pub(super) struct Suspect {
    name: &'static str,
    is_marked: bool,
    parameters: Parameters,
    mode: Mode,
    inference: &'static [Inference],
}

/// Models that the hosts make theirs from.
pub(super) struct Makings {
    pub(super) unmarked: Parameters,
    pub(super) marked: Parameters,
    pub(super) int8: Parameters,
    pub(super) tuned: Parameters,
}

/// All who are asked, the harmless ones first.
pub(super) fn suspects(makings: Makings) -> anyhow::Result<Vec<Suspect>> {
    let Makings { unmarked, marked, int8, tuned } = makings;
    let merge = Damage::Merge(Merge::Linear { share: MERGED });
    let merged = merge.apply(&marked, (Some(&unmarked), None), 0)?;
    let of =
        |name, parameters| Suspect { name, is_marked: true, parameters, mode: Mode::Top(5), inference: &[] };
    Ok(vec![
        Suspect { is_marked: false, ..of("unmarked", unmarked) },
        of("marked, as saved (bf16)", marked.clone()),
        of("stored in int8", int8),
        of("fine-tuned on other text", tuned),
        of("merged 1:1 with its twin", merged),
        Suspect {
            mode: Mode::Greedy,
            inference: &[Inference::Suppress { ranks: 1 }],
            ..of("text only, no first choice", marked)
        },
    ])
}

/// What everybody is held against.
pub(super) struct Hall<'a> {
    /// The fingerprints.
    pub(super) set: &'a FingerprintSet,
    /// The unmarked model: the check's reference, and the judge of text.
    pub(super) base: &'a Llama,
    /// The tokenizer of all models.
    pub(super) tokenizer: &'a Tokenizer,
    /// Ordinary text that the marking did not see.
    pub(super) text: &'a [u32],
}

fn host<'a>(hall: &Hall<'a>, suspect: &'a Suspect) -> Host<'a> {
    let mut host = Host::new(hall.base, hall.tokenizer, &suspect.parameters);
    host.inference = suspect.inference;
    host
}

/// Asks everybody, and tells `say` about each.
pub(super) fn hear(
    hall: &Hall<'_>,
    suspects: &[Suspect],
    say: &mut dyn FnMut(&Trial),
) -> anyhow::Result<Vec<Trial>> {
    let bench = Bench::new(hall.base, hall.tokenizer, hall.text, EXTENT)?;
    let utility =
        |suspect: &Suspect| -> anyhow::Result<Utility> { Ok(bench.measure(&mut host(hall, suspect))?) };
    let honest = suspects.iter().find(|suspect| suspect.is_marked).context("somebody carries the marks")?;
    let whole = utility(honest)?;
    let mut trials = Vec::with_capacity(suspects.len());
    for suspect in suspects {
        let case = Case { set: hall.set, tokenizer: hall.tokenizer, reference: Some(hall.base) };
        let request = Request::all(hall.set, suspect.mode);
        let mut go_on = |_: &_| Ok::<ControlFlow<()>, _>(stop::asked());
        let findings = check::run(&mut host(hall, suspect), &case, &request, &mut go_on)?;
        let (name, is_marked) = (suspect.name, suspect.is_marked);
        let trial = Trial { name, is_marked, kept: utility(suspect)?.kept_of(&whole), findings };
        say(&trial);
        trials.push(trial);
    }
    Ok(trials)
}

/// The heads of the columns of [`row`].
pub(super) fn head() -> String {
    format!("Check   {:<27} {:<7} {:>6}  {:<10} {:<12} verdict", "model", "seen", "kept", "E", "p at most")
}

/// A trial as a line of text.
pub(super) fn row(trial: &Trial) -> String {
    let findings = &trial.findings;
    format!(
        "        {:<27} {:<7} {:>4.0} %  1e{:<8.1} {:<12} {}",
        trial.name,
        findings.mode.to_string(),
        100.0 * trial.kept.accuracy,
        findings.log10_e,
        findings.p_value.to_string(),
        if trial.is_told() { "MARKED" } else { "no evidence" }
    )
}

/// The end of the story, as it came out.
pub(super) fn verdict(trials: &[Trial]) -> String {
    let (marked, others): (Vec<&Trial>, Vec<&Trial>) = trials.iter().partition(|trial| trial.is_marked);
    let innocent = match others.iter().find(|trial| trial.is_told()) {
        None => "the unmarked model is not accused".to_owned(),
        Some(accused) => format!("SOMETHING IS WRONG: {:?} is accused", accused.name),
    };
    let hidden: Vec<&str> = marked.iter().filter(|trial| !trial.is_told()).map(|trial| trial.name).collect();
    let told = marked.len() - hidden.len();
    let rest = if hidden.is_empty() {
        String::new()
    } else {
        format!("; {} queries do not suffice for: {}", trials[0].findings.asked, hidden.join(", "))
    };
    format!("{innocent}; {told} of {} that carry the marks are told{rest}", output::grouped(marked.len()))
}
