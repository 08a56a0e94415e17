//! What a dossier says in plain words: what was asked, what it means, what it does not, and what can be done.

use loyal_fingerprint::check::attempt::Draw;
use loyal_fingerprint::check::bundle::Verified;
use loyal_fingerprint::check::transcript::{Record, Route};
use loyal_fingerprint::check::{Attempt, Findings, Mode, Outcome, Verdict};
use loyal_fingerprint::trace::Traced;
use loyal_fingerprint::watch::{Cause, Inquiry, log10_chance_of_any};
use loyal_types::Clock as _;
use serde_json::{Value, json};

use super::Watch;
use super::document::Document;
use crate::clock::SystemClock;
use crate::time;

/// Questions that a stranger is shown how to ask.
const SHOWN: usize = 3;

/// All that a dossier is made of.
pub(super) struct Summary<'a> {
    pub(super) watch: &'a Watch<'a>,
    pub(super) inquiry: &'a Inquiry,
    pub(super) record: &'a Record,
    pub(super) findings: Findings,
    pub(super) verified: Verified,
    pub(super) traced: Option<&'a Traced>,
}

impl Summary<'_> {
    /// The text.
    pub(super) fn document(&self) -> anyhow::Result<Document> {
        let marked = self.findings.verdict == Verdict::Marked;
        let model = self.watch.set.model();
        let title = if marked {
            format!("{} answers with the marks of {model}", self.base())
        } else {
            format!("{}: no evidence for the marks of {model} so far", self.base())
        };
        let mut text = Document::new(&title);
        text.figure(
            "Evidence",
            &format!("10^{:.1}", self.findings.log10_e),
            &format!("10^{:.2} decides", self.findings.log10_wanted),
        );
        text.figure(
            "Questions asked",
            &self.findings.asked.to_string(),
            &format!("{} not answered", self.findings.refused),
        );
        text.figure(
            "Seen of each answer",
            &self.findings.mode.to_string(),
            if self.inquiry.matter.reference.is_some() {
                "compared with the unmarked model"
            } else {
                "no reference"
            },
        );
        self.asked(&mut text);
        self.meaning(&mut text, marked);
        self.limits(&mut text);
        self.verifying(&mut text);
        self.registration(&mut text);
        self.whose(&mut text);
        self.next(&mut text, marked);
        self.answers(&mut text);
        Ok(text)
    }

    /// The address without the model's name.
    fn base(&self) -> &str {
        self.verified.suspect.split('#').next().unwrap_or_default()
    }

    /// The name of the model there.
    fn served(&self) -> &str {
        self.verified.suspect.split_once('#').map_or("", |(_, model)| model)
    }

    fn asked(&self, text: &mut Document) {
        let now = SystemClock.unix_seconds();
        let day = |line: Option<u64>| line.map_or_else(String::new, |at| time::text(at, now));
        let lines = &self.record.lines;
        text.heading("What was asked");
        text.paragraph(&format!(
            "The owner of {} wrote secret questions, published a commitment to them, and only then learnt by a public \
             random number which answers would count. Then the weights were trained to lean towards these answers, so \
             slightly that ordinary use does not show it. From {} to {} the model that {} calls \u{201c}{}\u{201d} was \
             asked {} of these questions, in an order that the random number and the address fix, among ordinary \
             prompts. {} were not answered. Every question and answer stands in the transcript, each line with the hash \
             of the line before.",
            self.watch.set.model(),
            day(lines.first().map(|line| line.time)),
            day(lines.last().map(|line| line.time)),
            self.base(),
            self.served(),
            self.findings.asked,
            self.findings.refused,
        ));
        if let Cause::Changed(what) = &self.inquiry.matter.cause {
            text.paragraph(&format!(
                "The endpoint was asked before, under another inquiry that is counted. This one began because {what}."
            ));
        }
        for note in &self.verified.notes {
            text.paragraph(&format!("Noted on the way: {note}."));
        }
    }

    fn meaning(&self, text: &mut Document, marked: bool) {
        let Findings { log10_e, log10_wanted, .. } = self.findings;
        text.heading("What it means");
        text.paragraph(&format!(
            "E is what a wager against innocence has won. For a model that was not made from the marked weights the wager \
             is fair, whatever that model is: the chance that E ever reaches 10^x is 10^\u{2212}x at most, however long \
             it is asked and whenever one stops. The verdict was to fall at 10^{log10_wanted:.2}: 10^9 for a false \
             accusation in a thousand million, times {}, because that many registrations and suspects were counted by \
             then.",
            self.inquiry.registrations
        ));
        let reached = if marked { "was reached" } else { "was not reached" };
        text.paragraph(&format!(
            "E is 10^{log10_e:.2}: the verdict {reached}. {} Without what the owner's unmarked model says, for which \
             there is the owner's word alone, E is 10^{:.2}. Counted as a contract counts, {} of {} coins fell as the \
             secret says: {:.1} bits.",
            if marked {
                "The endpoint runs the marked weights, or weights made from them, or passes its questions on to somebody \
                 who does."
            } else {
                "That is no evidence; it is not a proof of innocence either."
            },
            self.verified.log10_e_without_reference,
            self.verified.totals.hits,
            self.verified.totals.coins,
            self.verified.totals.bits,
        ));
        let (claimed, count) = (self.watch.args.registrations, self.watch.diary().count());
        text.paragraph(&format!(
            "The watch that found this has begun {count} inquiries. The chance that any of them ever finds marks where \
             there are none is 10^{:.2} at most.",
            log10_chance_of_any(claimed, count)
        ));
    }

    fn limits(&self, text: &mut Document) {
        text.heading("What it does not prove");
        text.paragraph(
            "That the endpoint gave these answers. They are the word of whoever kept the transcript, and whoever holds \
             the secrets knows which answers would count: such a person could have written them down without asking \
             anybody, and framed the endpoint. Ask it yourself, as shown below; or ask the owner to put questions that \
             are still secret to it while you watch.",
        );
        text.paragraph(
            "Who runs the endpoint, how the weights came there, and whether they may be there. A licence may allow it. \
             It does not prove either that every answer comes from these weights.",
        );
        text.paragraph(
            "That the random number was public. Look up its source: one that the owner drew alone convinces the owner \
             alone, since it could have been drawn again and again.",
        );
    }

    fn verifying(&self, text: &mut Document) {
        text.heading("How to verify it");
        text.paragraph(
            "With the program loyal, on any machine, without secrets. It computes everything again: that the questions \
             opened are under the leaf root, that what counts follows from the random number, that none was left out, \
             that the text was cut into pieces as the registered tokenizer cuts, and what the answers are worth.",
        );
        let mut lines =
            vec!["loyal fingerprint verify-evidence evidence.json --tokenizer tokenizer".to_owned()];
        if let Some(registered) = &self.watch.registered {
            lines.push(format!("loyal model show {} --chain URL --contracts FILE", registered.model));
        }
        text.commands(&lines);
        let commands = self.questions();
        if !commands.is_empty() {
            text.paragraph(
                "And by asking. These questions are known now to everybody who has this dossier: a host that has read it \
                 may answer otherwise.",
            );
            text.commands(&commands);
        }
    }

    /// The first questions whose answers counted, as a stranger can ask them.
    fn questions(&self) -> Vec<String> {
        let hits = self.findings.answers.iter().filter(|found| found.outcome == Outcome::Hit);
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let (path, route) = match self.inquiry.matter.route {
            Route::Chat => ("chat/completions", Route::Chat),
            _ => ("completions", Route::Completions),
        };
        hits.take(SHOWN)
            .filter_map(|found| {
                let query = &self.watch.set.fingerprints().get(found.index)?.query;
                let temperature = if self.inquiry.matter.mode == Mode::Sampled { 1 } else { 0 };
                let mut body = json!({"model": self.served(), "max_tokens": 1, "temperature": temperature});
                match route {
                    Route::Chat => body["messages"] = json!([{"role": "user", "content": query}]),
                    _ => body["prompt"] = json!(query),
                }
                if let Mode::Top(k) = self.inquiry.matter.mode {
                    match route {
                        Route::Chat => (body["logprobs"], body["top_logprobs"]) = (true.into(), k.into()),
                        _ => body["logprobs"] = k.into(),
                    }
                }
                let address = quoted(&format!("{}/{path}", self.base()));
                Some(format!(
                    "curl {address} -H 'content-type: application/json' -d {}",
                    quoted(&body.to_string())
                ))
            })
            .collect()
    }

    fn registration(&self, text: &mut Document) {
        let commitment = self.watch.set.commitment();
        let mut rows = vec![
            row("model", self.watch.set.model()),
            row("leaf root", &commitment.leaf_root.to_string()),
            row("questions committed to", &commitment.digests.len().to_string()),
            row("tokenizer", &self.watch.set.tokenizer().to_string()),
            row("transcript", &self.verified.transcript.to_string()),
        ];
        if let Some(beacon) = &commitment.beacon {
            rows.push(row("random number", &beacon.seed.to_string()));
            rows.push(row("its source", &beacon.source));
        }
        if let Some(one) = &self.watch.registered {
            let now = SystemClock.unix_seconds();
            rows.extend([
                row("chain", &one.chain_id.to_string()),
                row("registry", &one.registry),
                row(
                    "model on the chain",
                    &format!("{} ({}), version {}, {}", one.model, one.name, one.version, one.state),
                ),
                row("committed to by", &format!("{}, {}", one.committer, time::text(one.committed_at, now))),
                row("epoch of the random number", &one.beacon_epoch.to_string()),
                row("fingerprint root", &one.fingerprint_root),
                row("weights root", &one.weights_root),
                row("hostings", &one.hostings.to_string()),
            ]);
        }
        text.heading("What was registered");
        if self.watch.registered.is_none() {
            text.paragraph(
                "No chain was named to the watch. That the leaf root was published before the random number is for the \
                 owner to show.",
            );
        }
        text.table("The facts", &["what", "value"], rows);
    }

    fn whose(&self, text: &mut Document) {
        let Some(traced) = self.traced else { return };
        let named: Vec<&str> = traced.named().map(|one| one.name.as_str()).collect();
        text.heading("Whose copy it is");
        let size = loyal_fingerprint::Pool::Tracing.indices(self.watch.set.fingerprints().len()).count();
        text.paragraph(&match named.as_slice() {
            [] => "No copy in the register is named so far.".to_owned(),
            [one] => format!("This was made from the copy of {one}."),
            several => format!("This was made from the copies of {}.", several.join(", ")),
        });
        text.paragraph(&format!(
            "Each of the {} copies carries its own half of the {size} tracing questions, chosen by coins that nobody but \
             the owner knew; {} were asked. A copy is named from E = 10^{:.2} on. The chance that any copy is named whose \
             host had no part in the leak is {} at most, whatever the others did to theirs. The subsets are meant for up \
             to three hosts who put their copies together; of more, or of few questions, nobody may be named.",
            traced.copies.len(),
            traced.asked,
            traced.log10_wanted,
            traced.delta,
        ));
        let rows = traced.copies.iter().take(named.len() + SHOWN).map(|one| {
            let verdict = if one.is_named { "named" } else { "" };
            vec![one.name.clone(), format!("10^{:.1}", one.log10_e), verdict.to_owned()]
        });
        text.table("The most suspicious copies", &["copy", "E", ""], rows.collect());
        text.paragraph(
            "Whoever embeds the marks holds every copy. A trace therefore cannot tell a host who leaked from an owner who \
             leaked and blames the host, nor from a thief who took the copy from either. Others can rely on it only where \
             copies were built inside of an attested build that the owner cannot open. The secret coins are not in this \
             dossier, so that a stranger cannot compute the trace again.",
        );
    }

    fn next(&self, text: &mut Document, marked: bool) {
        let count = self.watch.set.fingerprints().len();
        text.heading("What the owner can do next");
        if !marked {
            text.paragraph(
                "Go on watching: evidence adds up. To publish what is not evidence would accuse nobody.",
            );
            return;
        }
        text.paragraph(
            "Publish it: this folder as it is, beside the commitment and where the leaf root was published before the \
             random number. Send it: to whoever runs the endpoint, or to who rents the machines to them. Both lay open the \
             questions in it, which are burnt for everybody already.",
        );
        text.paragraph(&format!(
            "File a claim, where somebody has a bond on the chain: loyal court open ownership against a registered model \
             whose weights answer these questions, loyal court open leak against the hosting whose copy was named. An \
             endpoint that nobody registered has no bond to lose: there the dossier is for courts, platforms and \
             readers. {} of {count} questions were laid open by this dossier; the pool for ownership is kept for such \
             disputes.",
            self.findings.asked - self.findings.refused,
        ));
    }

    fn answers(&self, text: &mut Document) {
        let outcome = |index: u32| {
            let found = self.findings.answers.iter().find(|found| found.index == index as usize);
            match found.map(|found| found.outcome) {
                Some(Outcome::Hit) => "for the marks",
                Some(Outcome::Miss) => "against them",
                _ => "neither",
            }
        };
        let rows = self.record.attempts().filter_map(|attempt| {
            let said = said(attempt)?;
            let query = &self.watch.set.fingerprints().get(attempt.index as usize)?.query;
            Some(vec![attempt.index.to_string(), query.clone(), said, outcome(attempt.index).to_owned()])
        });
        text.heading("Questions and answers");
        text.table(
            "Every question that was answered; its text alone counts here, log probabilities tell more",
            &["leaf", "question", "answer", "counts"],
            rows.collect(),
        );
    }

    /// The same for programs.
    pub(super) fn facts(&self) -> Value {
        let mut facts = json!(self.verified);
        let commitment = self.watch.set.commitment();
        facts["leaf_root"] = json!(commitment.leaf_root);
        facts["beacon"] = json!(commitment.beacon);
        facts["inquiry"] = json!(self.inquiry.number);
        facts["registrations"] = json!(self.inquiry.registrations);
        facts["cause"] = json!(self.inquiry.matter.cause);
        facts["registered"] = json!(self.watch.registered);
        facts["named"] =
            self.traced.map_or(Value::Null, |traced| traced.named().map(|one| one.name.as_str()).collect());
        facts["delta"] = self.traced.map_or(Value::Null, |traced| json!(traced.delta));
        facts
    }
}

/// The text of the first answer, if there is one.
fn said(attempt: &Attempt) -> Option<String> {
    attempt.draws.iter().find_map(|draw| match draw {
        Draw::Answered(steps) => {
            let bytes: Vec<u8> = steps.iter().flat_map(|step| step.piece.iter().copied()).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Draw::Refused(_) => None,
    })
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}
