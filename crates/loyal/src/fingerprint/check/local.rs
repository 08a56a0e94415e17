//! A check of weights at hand.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use loyal_fingerprint::FingerprintSet;
use loyal_fingerprint::check::cut::Recut;
use loyal_fingerprint::check::transcript::Route;
use loyal_fingerprint::check::{Books, Case, Hearing, Mode, Weights, hearing};
use serde_json::json;

use super::{Args, Bar, Outcomes, refuse};
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::stop;
use crate::subject::{Subject, quantised};

/// What is for weights at hand alone.
#[derive(Debug, clap::Args)]
pub(super) struct LocalArgs {
    /// Round the suspect's matrices to 8 or 4 bits first (folders).
    #[arg(long, value_parser = ["8", "4"])]
    quantise: Option<String>,
}

impl LocalArgs {
    pub(super) fn given(&self) -> [(&'static str, bool); 1] {
        [("--quantise", self.quantise.is_some())]
    }
}

/// Asks weights. They tell nobody, so nothing is spent.
pub(super) fn run(args: &Args, set: &FingerprintSet) -> anyhow::Result<()> {
    refuse(&args.endpoint.given(), "endpoints")?;
    let subject = Subject::open(Path::new(&args.suspect))?;
    set.fits(&subject.tokenizer)?;
    let parameters = match args.local.quantise.as_deref() {
        Some(bits) => quantised(&subject.llama.parameters, bits.parse()?)?,
        None => subject.llama.parameters.clone(),
    };
    let reference = args.reference(set)?;
    let mut suspect = Recut {
        suspect: Weights::new(&subject.llama, &parameters, &subject.tokenizer),
        tokenizer: &subject.tokenizer,
    };
    let hearing = Hearing {
        case: Case {
            set,
            tokenizer: &subject.tokenizer,
            reference: reference.as_ref().map(|(subject, _)| &subject.llama),
        },
        request: args.request(set, args.mode.unwrap_or(Mode::Logits)),
        suspect: &subject.name,
        route: Route::Weights,
        registrations: args.registrations,
        reference: reference.as_ref().map(|(_, digest)| *digest),
        limit: args.limit.unwrap_or(usize::MAX),
    };
    // A bundle is made of a transcript, if only of one for the moment.
    let folder = tempfile::tempdir()?;
    let moment = args.bundle.as_ref().map(|_| folder.path().join("transcript"));
    let transcript: Option<PathBuf> = args.transcript.clone().or(moment);
    let mut books = Books::new(&SystemClock);
    if let Some(path) = &transcript {
        books = books.with_transcript(path);
    }
    stop::listen();
    let bar = Bar::new(set.fingerprints().len(), args.json);
    let mut interrupted = false;
    let findings = hearing::run(&mut suspect, &hearing, &mut books, &mut |progress| {
        bar.show(progress);
        interrupted = stop::asked().is_break();
        if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    drop((bar, books));
    if interrupted {
        return Err(Ending::Interrupted.into());
    }
    let outcomes =
        Outcomes { args, set, findings, suspect: &subject.name, transcript: transcript.as_deref() };
    outcomes.tell(&json!({"route": Route::Weights}))
}
