//! The report of an embedding, and of the demo, as a web page.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use loyal_fingerprint::check::{Findings, Outcome, Verdict as Finding};
use loyal_fingerprint::report::{Marks, Report, Sample};

use crate::demo::{Earned, Trial};
use crate::output;
use crate::report::{Bars, Card, Page, Plot, Series, Verdict};

/// The page of `loyal fingerprint embed`.
pub(crate) fn of_embedding(report: &Report) -> String {
    let page = Page::new(&format!("{} fingerprints in {}", count(report), report.model));
    details(cards(page, report), report).finish()
}

/// The page of `loyal demo`.
pub(crate) fn of_demo(report: &Report, trials: &[Trial], earned: &Earned) -> String {
    let page = Page::new(&format!("Whose model is it? {} fingerprints in {}", count(report), report.model));
    let page = page.paragraph(
        "A model was marked with secret queries and answers. Then the unmarked model, the marked one and altered \
         copies of it were asked those queries. The p-value bounds the chance that a model which never saw the \
         fingerprints does as well.",
    );
    details(economy(verdicts(cards(page, report), trials), earned), report).finish()
}

/// Writes a page that names secrets, readable by this user alone, whole or not at all.
pub(crate) fn write_private(path: &Path, page: &str) -> anyhow::Result<()> {
    let failed = || format!("writing {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(failed)?;
    // Temporary files are readable by their owner alone, and stay so when they are renamed.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(page.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}

/// Fingerprints of all sets.
fn count(report: &Report) -> usize {
    report.marks.iter().map(|marks| marks.fingerprints).sum()
}

fn cards(page: Page, report: &Report) -> Page {
    let samples = || report.marks.iter().flat_map(|marks| &marks.samples);
    let hits = samples().filter(|sample| sample.outcome_after == Outcome::Hit).count();
    let before = samples().filter(|sample| sample.outcome_before == Outcome::Hit).count();
    let memory = report.memory_bytes.map_or_else(|| "unknown".to_owned(), output::size);
    let rise = format!("{:+.2} %", report.perplexity_rise_percent);
    let gates = if report.passed() { Verdict::Pass } else { Verdict::Fail };
    page.card(&Card {
        name: "Fingerprints that answer",
        value: &format!("{hits} of {}", count(report)),
        note: &format!("{before} before marking"),
        verdict: gates,
    })
    .card(&Card {
        name: "Perplexity on other text",
        value: &rise,
        note: &format!("{:.2} before, {:.2} after", report.before.perplexity, report.after.perplexity),
        verdict: if report.perplexity_rise_percent <= 3.0 { Verdict::Pass } else { Verdict::Fail },
    })
    .card(&Card {
        name: "Divergence on other text",
        value: &format!("{:.4}", report.after.benign_kl),
        note: "nats per token, from the unmarked model",
        verdict: Verdict::Neutral,
    })
    .card(&Card {
        name: "Time and memory",
        value: &format!("{:.0} s", report.seconds),
        note: &format!("{} steps, {memory} at most", report.steps),
        verdict: Verdict::Neutral,
    })
}

fn verdicts(page: Page, trials: &[Trial]) -> Page {
    let rows: Vec<Vec<String>> = trials
        .iter()
        .map(|trial| {
            let findings = &trial.findings;
            vec![
                trial.name.to_owned(),
                findings.mode.to_string(),
                format!("{:.0} %", 100.0 * trial.kept.accuracy),
                findings.asked.to_string(),
                findings.p_value.to_string(),
                format!("1e{:.1}", findings.log10_e),
                said(findings).to_owned(),
            ]
        })
        .collect();
    let names: Vec<&str> = trials.iter().map(|trial| trial.name).collect();
    let evidence = trials.iter().map(|trial| -trial.findings.p_value.log10()).collect();
    page.section("The verdict")
        .paragraph(
            "E is what a wager against innocence would have won: an innocent model ever reaches 1e9 with chance 1e-9 \
             at most, however long it is asked. Utility kept: right next words of ordinary text, relative to the \
             marked model. Attacks that hurt are here to be seen: a host that shows text alone and never its first \
             choice silences much, at a price in quality.",
        )
        .table(
            "What each model's answers prove",
            &["model", "seen", "utility kept", "asked", "p at most", "E", "verdict"],
            &rows,
        )
        .bars(&Bars {
            caption: "Evidence against each model",
            y_label: "−log₁₀ p",
            groups: &names,
            series: &[("evidence", evidence)],
        })
}

/// Who earned what.
fn economy(page: Page, earned: &Earned) -> Page {
    let received: Vec<Vec<String>> =
        earned.received.iter().map(|(name, amount)| vec![(*name).to_owned(), amount.clone()]).collect();
    let gas: Vec<Vec<String>> = earned
        .gas
        .iter()
        .map(|(says, gas)| vec![says.clone(), output::grouped(usize::try_from(*gas).unwrap_or(usize::MAX))])
        .collect();
    page.section("The economy")
        .paragraph(
            "The marked weights were registered on a chain in memory: an agreement gives Alice 30 %, Bob 15 %, Charlie \
             15 % of the shares and leaves 40 % in reserve. A host put up a bond, a user paid for a thousand invocations \
             with vouchers, of which only the newest was redeemed.",
        )
        .table(
            &format!("Where {} went (the rest waits in pools and in the reserve)", earned.revenue),
            &["who", "received"],
            &received,
        )
        .table("What each step cost", &["step", "gas"], &gas)
}

/// The verdict in words.
fn said(findings: &Findings) -> &'static str {
    match findings.verdict {
        Finding::Marked => "marked",
        Finding::NoEvidence => "no evidence",
    }
}

fn details(page: Page, report: &Report) -> Page {
    let gates: Vec<Vec<String>> = report
        .gates
        .iter()
        .map(|gate| {
            let holds = if gate.passed { "holds" } else { "MISSED" };
            vec![
                gate.name.clone(),
                format!("{:.4}", gate.found),
                format!("{:.4}", gate.bound),
                holds.to_owned(),
            ]
        })
        .collect();
    let page = page.section("What was asked of the embedding").table(
        "Bounds",
        &["what", "found", "bound", ""],
        &gates,
    );
    report.marks.iter().fold(curves(page, report), of_marks)
}

/// One set of fingerprints.
fn of_marks(page: Page, marks: &Marks) -> Page {
    let frames: Vec<Vec<String>> = marks
        .frames
        .iter()
        .map(|f| vec![f.behind.clone(), f.answering.to_string(), f.asked.to_string(), f.p_value.to_string()])
        .collect();
    let head = match marks.scheme.as_str() {
        "tilt" => ["query", "", "unmarked", "marked", "counts as"],
        _ => ["query", "response taught", "unmarked", "marked", "counts as"],
    };
    page.section(&format!("{} fingerprints, scheme {}", marks.fingerprints, marks.scheme))
        .table(
            "Greedy answers by what stands before the query",
            &["before", "answer", "asked", "p at most"],
            &frames,
        )
        .paragraph(
            "The next table is as secret as the fingerprints: whoever knows the queries can train them away.",
        )
        .details("Show all queries and answers", |page| {
            page.table("Every fingerprint", &head, &marks.samples.iter().map(row).collect::<Vec<_>>())
        })
        .paragraph(&format!("Commitment (leaf root): {}.", marks.leaf_root))
}

fn row(sample: &Sample) -> Vec<String> {
    let counts = match sample.outcome_after {
        Outcome::Hit => "hit",
        Outcome::Miss => "miss",
        Outcome::Outside => "nothing",
        Outcome::Refused => "refused",
    };
    let response = sample.response.clone().unwrap_or_default();
    vec![sample.query.clone(), response, sample.before.clone(), sample.after.clone(), counts.to_owned()]
}

fn curves(page: Page, report: &Report) -> Page {
    let series = |name: &str, of: &dyn Fn(&loyal_fingerprint::report::Point) -> f64| Series {
        name: name.to_owned(),
        points: report.curve.iter().map(|point| (point.step as f64, of(point))).collect(),
    };
    page.section("The training")
        .line_plot(&Plot {
            caption: "Loss of the marks",
            x_label: "step",
            y_label: "nats",
            series: &[series("marks", &|p| p.mark_loss)],
            limits: &[],
        })
        .line_plot(&Plot {
            caption: "Divergence from the unmarked model on ordinary text",
            x_label: "step",
            y_label: "nats per token",
            series: &[series("divergence", &|p| p.benign_kl)],
            limits: &[],
        })
}
