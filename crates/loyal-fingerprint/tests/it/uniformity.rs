//! Innocent models under many secrets, and owners who cheat.

use std::ops::ControlFlow;

use loyal_fingerprint::check::{Answerer, Ask, Mode, Reply, Said, Shown, Weights};
use loyal_fingerprint::innocence::{self, Foreign, Suspect, Trial};
use loyal_fingerprint::{Error, FingerprintSet};
use loyal_model::{Llama, Tokenizer};

use crate::tiny::{beacon, tilted, tiny, unbound};

const MODES: [Mode; 5] = [Mode::Logits, Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled];
const TRIAL: Trial = Trial { secrets: 1_500, grind_log2: 9, seed: 1 };

fn run(set: &FingerprintSet, suspects: &mut [Suspect<'_>], trial: &Trial) -> innocence::Report {
    innocence::run(set, &tiny().tokenizer, suspects, trial, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn innocent_models_pass_in_every_mode() {
    let tiny = tiny();
    let random = Llama::random(tiny.llama.config.clone(), 5, &candle_core::Device::Cpu).unwrap();
    let set = tilted(24, 1);
    let suspect = |name: &str, llama: &'static Llama, reference: Option<&'static Llama>| Suspect {
        name: name.to_owned(),
        answerer: Box::new(Weights::new(llama, &llama.parameters, &tiny.tokenizer)),
        modes: MODES.to_vec(),
        reference: reference.map(|llama| ("reference".to_owned(), llama)),
    };
    let random: &'static Llama = Box::leak(Box::new(random));
    let mut suspects = [
        suspect("itself", &tiny.llama, Some(&tiny.llama)),
        suspect("itself, wrong reference", &tiny.llama, Some(random)),
        suspect("itself, no reference", &tiny.llama, None),
        suspect("unrelated", random, Some(&tiny.llama)),
    ];
    let report = run(&set, &mut suspects, &TRIAL);
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(report.lines.len(), 20);
    // Looked at with weights of its own, a line has many coins; a model held against itself has none but its text.
    let line = |name: &str, mode| report.lines.iter().find(|l| l.suspect == name && l.mode == mode).unwrap();
    assert_eq!(line("itself", Mode::Logits).coins, 24);
    assert!(line("itself, wrong reference", Mode::Logits).coins > 24 * 50);
    for line in &report.lines {
        assert!(
            line.at_most[0] > 0,
            "p-values that are never small would prove nothing about the test: {line:?}"
        );
    }
}

#[test]
fn cheating_gains_the_number_of_tries_and_no_more() {
    let tiny = tiny();
    let set = tilted(24, 1);
    let answerer = Box::new(Weights::new(&tiny.llama, &tiny.llama.parameters, &tiny.tokenizer));
    let mut suspects =
        [Suspect { name: "itself".to_owned(), answerer, modes: vec![Mode::Greedy], reference: None }];
    let forged = run(&set, &mut suspects, &TRIAL).forged.unwrap();
    // 512 tries reach about 1/512.
    assert!((-4.5..-1.5).contains(&forged.known_beacon_log10_p), "{forged:?}");
    assert!(forged.corrected_log10_p > -1.8, "{forged:?}");
    // A beacon drawn after the commitment takes it all back.
    assert!(forged.later_beacon_log10_p > -0.8, "{forged:?}");
    // Twelve coins that agree because the others were left away.
    let (agreeing, all) = forged.agreeing;
    assert_eq!(all, 24);
    let exact = (1.0 - f64::from(agreeing)) * std::f64::consts::LOG10_2;
    assert!((forged.picked_log10_p - exact).abs() < 1e-6, "{forged:?}");
    assert!(forged.whole_log10_p > -1.5 && forged.picked_later_log10_p > -0.8, "{forged:?}");
}

/// A model that says the same word to everything: its coins still are fair.
struct Stubborn;

impl Answerer for Stubborn {
    fn answer(&mut self, prompts: &[String], ask: Ask) -> loyal_fingerprint::Result<Vec<Reply>> {
        let said = Said { token: 300, shown: Shown::Nothing };
        Ok(prompts.iter().map(|_| Reply::Answered(vec![said.clone(); ask.tokens])).collect())
    }
}

#[test]
fn other_models_and_other_tokenizers_are_judged_by_their_text() {
    let tiny = tiny();
    // Another language, another vocabulary.
    let mut text = std::iter::once("zwei drei vier und noch ein Haus am Meer. ".repeat(40));
    let tokenizer =
        Tokenizer::parse(&Tokenizer::train(&mut text, 300).unwrap(), "tokenizer.json".as_ref()).unwrap();
    let mut config = tiny.llama.config.clone();
    config.vocab_size = tokenizer.len();
    let llama = Llama::random(config, 6, &candle_core::Device::Cpu).unwrap();
    let foreign = Foreign { llama: &llama, tokenizer: &tokenizer, registered: &tiny.tokenizer, seed: 1 };
    let modes = vec![Mode::Greedy, Mode::Sampled];
    let mut suspects = [
        Suspect {
            name: "foreign".to_owned(),
            answerer: Box::new(foreign),
            modes: modes.clone(),
            reference: None,
        },
        Suspect { name: "stubborn".to_owned(), answerer: Box::new(Stubborn), modes, reference: None },
    ];
    let report = run(&tilted(24, 1), &mut suspects, &Trial { grind_log2: 0, ..TRIAL });
    assert!(report.is_clean() && report.forged.is_none(), "{report:#?}");
    let mut foreign = Foreign { llama: &llama, tokenizer: &tokenizer, registered: &tiny.tokenizer, seed: 1 };
    let asked = Ask { tokens: 1, mode: Mode::Top(5) };
    assert!(foreign.answer(&["The".to_owned()], asked).is_err(), "its log probabilities are of other tokens");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let set = unbound(4).bind(beacon(1)).unwrap();
    let mut suspects = [Suspect {
        name: "x".to_owned(),
        answerer: Box::new(Stubborn),
        modes: vec![Mode::Greedy],
        reference: None,
    }];
    let go_on = &mut |_: &innocence::Progress<'_>| ControlFlow::Continue(());
    let found = innocence::run(&set, &tiny().tokenizer, &mut suspects, &TRIAL, go_on);
    assert!(found.unwrap_err().to_string().contains("scheme tilt"));
    let stop = &mut |_: &innocence::Progress<'_>| ControlFlow::Break(());
    let found = innocence::run(&tilted(4, 1), &tiny().tokenizer, &mut suspects, &TRIAL, stop);
    assert!(matches!(found, Err(Error::Stopped)));
}
