//! The report of an embedding, and of the demo, as a web page.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use loyal::story::town::Town;
use loyal_fingerprint::check::{Findings, Outcome, Verdict as Finding};
use loyal_fingerprint::report::{Marks, Report, Sample};

use crate::demo::{Told, Trial};
use crate::output;
use crate::report::{Bars, Card, Page, Plot, Series, Verdict};

/// The page of `loyal fingerprint embed`.
pub(crate) fn of_embedding(report: &Report) -> String {
    let page = Page::new(&format!("{} fingerprints in {}", count(report), report.model));
    details(cards(page, report), report).finish()
}

/// The page of `loyal demo`.
pub(crate) fn of_demo(told: &Told, town: &Town) -> String {
    let report = &told.report;
    let page = Page::new(&format!(
        "Whose model is it, and who serves it? {} fingerprints in {}",
        count(report),
        report.model
    ));
    let page = page.paragraph(
        "A model was marked with secret queries and answers, registered on a chain, and served by two hosts: one that \
         keeps the rules, and one that took the gate away and reported that nobody came. Users paid, provers asked as users do, and \
         the contracts decided. Every message was signed, every answer came over HTTP, every amount was read from the \
         chain; only the days passed at once.",
    );
    let page = days(cards(page, report), told);
    let page = judgement(page, told, town);
    let page = verdicts(money(page, told, town), &told.trials);
    costs(details(page, report), told).finish()
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
    page.section("What attacks leave")
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

/// The days until the evidence sufficed.
fn days(page: Page, told: &Told) -> Page {
    let rows: Vec<Vec<String>> = told
        .days
        .iter()
        .map(|day| {
            vec![
                day.epoch.to_string(),
                day.paid.to_string(),
                day.hidden.to_string(),
                day.probes.to_string(),
                day.reported.to_string(),
                day.opened.to_string(),
                format!("{:.1}", day.bits.0),
                format!("{:.1}", day.bits.1),
                day.provers.to_string(),
            ]
        })
        .collect();
    let points = |of: &dyn Fn(&loyal::story::Day) -> f64| {
        let first = told.days.first().map_or(0, |day| day.epoch);
        let begun = (f64::from(first) - 1.0, 0.0);
        let later = told.days.iter().map(|day| (f64::from(day.epoch), of(day)));
        std::iter::once(begun).chain(later).collect()
    };
    let series = [
        Series { name: "the cheat".to_owned(), points: points(&|day| day.bits.1) },
        Series { name: "the honest host".to_owned(), points: points(&|day| day.bits.0) },
    ];
    page.section("Days")
        .paragraph(
            "Provers are drawn by lot and ask like anybody else. What stands in a host's report stays closed: its queries \
             remain secret. What is missing there is laid open, the owner opens the answers, and the contract counts their colours: \
             an innocent model reaches 22 bits with a chance of one in four million, however long it is asked.",
        )
        .line_plot(&Plot {
            caption: "Evidence against each host",
            x_label: "day",
            y_label: "bits",
            series: &series,
            limits: &[("enough to convict", 22.0)],
        })
        .table(
            "What each day brought",
            &["day", "paid", "hidden", "probes", "in the report", "laid open", "bits, honest", "bits, cheat", "provers"],
            &rows,
        )
}

/// What the court made of it.
fn judgement(page: Page, told: &Told, town: &Town) -> Page {
    let (slander, conviction, weight) = (&told.slander, &told.conviction, &told.weight);
    let text = |amount: u128| town.short(amount);
    let rewards: u128 = conviction.rewards.iter().map(|(_, amount)| amount).sum();
    let lost = conviction.bond.0 - conviction.bond.1;
    page.section("The court")
        .paragraph(&format!(
            "A user swore that the honest host had left its receipt out of the report. The host's own keeper answered with the \
             leaf and its proof; the claim was {}. The liar lost {}, of which the host got {}. The host's bond of {} is whole.",
            slander.claim.outcome,
            text(slander.lost),
            text(slander.gained),
            text(slander.bond)
        ))
        .paragraph(&format!(
            "{} of {} coins in the answers to {} probes were the model's colours: {:.1} bits, by {} provers. One of them \
             filed the claim. The cheat had no receipt to show and was silent; after {} days it lost {} of its {}: {} to \
             the provers, {} burnt, the rest to the holders of the model.",
            weight.hits,
            weight.coins,
            weight.probes,
            weight.bits,
            weight.provers,
            conviction.days,
            text(lost),
            text(conviction.bond.0),
            text(rewards),
            text(conviction.burnt)
        ))
        .table(
            "What a stranger verifies, without a network",
            &["file", "what it shows", "command"],
            &[
                ["case.json", "the probes, their tickets, answers and openings; the evidence is computed again", "loyal verify case.json"],
                ["inclusion.json", "that the honest host's report counts the receipt it was accused of leaving out", "loyal verify inclusion.json --contracts contracts.json"],
                ["wallets/user-1", "every receipt that a user was given", "loyal verify wallets/user-1"],
                ["registration.json", "that everybody named agreed to their parts of the model with these fingerprints", "loyal verify registration.json --contracts contracts.json"],
                ["commitment.json", "the leaves that were committed to before the seed of their answers was drawn", "loyal verify commitment.json"],
            ]
            .map(|row| row.map(str::to_owned).to_vec()),
        )
}

/// Who got what, and who decides.
fn money(page: Page, told: &Told, town: &Town) -> Page {
    let received: Vec<Vec<String>> =
        told.received.iter().map(|(name, amount)| vec![name.clone(), town.short(*amount)]).collect();
    let names: Vec<&str> = told.received.iter().map(|(name, _)| name.as_str()).collect();
    let in_loyal = |amount: u128| amount as f64 / 1e18;
    let amounts = told.received.iter().map(|(_, amount)| in_loyal(*amount)).collect();
    let shares: Vec<Vec<String>> = told
        .upgrade
        .shares
        .iter()
        .map(|(name, amount)| {
            let whole = usize::try_from(amount / 10_u128.pow(18)).unwrap_or(usize::MAX);
            vec![name.clone(), output::grouped(whole)]
        })
        .collect();
    page.section("Who got what")
        .bars(&Bars {
            caption: "What everybody took, LOYAL",
            y_label: "LOYAL",
            groups: &names,
            series: &[("received", amounts)],
        })
        .table("Out of what users paid, and of the slash", &["who", "received"], &received)
        .paragraph(&format!(
            "David trained the model further. The holders voted his weights in as version {}, and paid him out of the reserve.",
            told.upgrade.version
        ))
        .table("Shares after the vote, of 1,000,000", &["who", "shares"], &shares)
}

/// What it cost.
fn costs(page: Page, told: &Told) -> Page {
    let gas: Vec<Vec<String>> = told
        .gas
        .iter()
        .map(|(kind, gas, count)| {
            let gas = output::grouped(usize::try_from(*gas).unwrap_or(usize::MAX));
            vec![kind.clone(), gas, count.to_string()]
        })
        .collect();
    let steps: Vec<Vec<String>> =
        told.steps.iter().map(|(name, seconds)| vec![(*name).to_owned(), format!("{seconds:.1}")]).collect();
    page.section("What it cost")
        .table("Seconds of each step on this machine", &["step", "seconds"], &steps)
        .details("Show what each kind of transaction costs", |page| {
            page.table("Gas", &["transaction", "gas each", "how many"], &gas)
        })
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
