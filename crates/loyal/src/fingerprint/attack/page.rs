//! The battery as a web page: evidence against what is left of the answers.

use std::collections::BTreeMap;

use loyal_fingerprint::attack::{Group, Line, MODES, Relative, Table};
use loyal_fingerprint::check::Mode;

use super::Tables;
use crate::report::{Card, Page, Plot, Series, Verdict};

/// Share of the accuracy an attack must keep to be worth it for a host.
const KEPT: f64 = 0.9;
/// Evidence that is asked for then, log₁₀ p.
const WANTED: f64 = -9.0;

/// The whole page.
pub(super) fn of(model: &str, all: &Tables) -> String {
    let count: usize = all.marked.iter().map(|table| table.lines.len()).sum();
    let mut page = Page::new(&format!("What {count} attacks leave of the marks in {model}")).paragraph(
        "Each attack was made on the marked model, then the checker asked every fingerprint and the answers were \
         measured. Evidence is −log₁₀ of a bound on the chance that an innocent model does as well. Utility kept is the \
         accuracy on text nobody trained on, relative to the marked model without an attack.",
    );
    if let Some(table) = &all.marked {
        page = cards(page, table);
        page = scatters(page.section("Evidence against utility"), table);
        page = families(page.section("Attacks of growing strength"), table);
        page = ends(page.section("Where it ends"), table);
    }
    if !all.private.is_empty() {
        page = private(page.section("The attacker who owns the public base"), all);
    }
    if !all.baselines.is_empty() {
        page = baselines(page.section("The published recipe under the same attacks"), all);
    }
    page = page.section("All figures");
    if let Some(table) = &all.marked {
        page = whole(page, "Every attack", table);
    }
    for (name, table) in &all.baselines {
        page = whole(page, &format!("Published recipe, {name}"), table);
    }
    for (size, table) in &all.private {
        page = whole(page, &format!("Private model, {} change", size.name()), table);
    }
    page.finish()
}

fn cards(page: Page, table: &Table) -> Page {
    let defeats = table.defeats(KEPT, WANTED).len();
    let cheap = table.lines.iter().filter(|line| line.kept.accuracy >= KEPT);
    let cheap = cheap.filter(|line| !line.owns.contains(&Relative::Twin)).count();
    let clean = table.lines.iter().find(|line| line.group == Group::Clean);
    let figure =
        |mode| clean.map_or_else(|| "\u{2013}".to_owned(), |line| format!("{:.0}", line.log10_p(mode)));
    page.card(&Card {
        name: "Attacks worth it that leave less than 10\u{207b}\u{2079}",
        value: &format!("{defeats} of {cheap}"),
        note: "at 90 % of the accuracy, without the exact twin, in the best mode",
        verdict: if defeats == 0 { Verdict::Pass } else { Verdict::Fail },
    })
    .card(&Card {
        name: "Without an attack, five log probabilities",
        value: &figure(Mode::Top(5)),
        note: "log\u{2081}\u{2080} p",
        verdict: Verdict::Neutral,
    })
    .card(&Card {
        name: "Without an attack, greedy text",
        value: &figure(Mode::Greedy),
        note: &format!("log\u{2081}\u{2080} p of {} fingerprints", table.header.fingerprints),
        verdict: Verdict::Neutral,
    })
}

fn point(line: &Line, mode: Mode) -> (f64, f64) {
    (line.kept.accuracy, -line.log10_p(mode))
}

fn scatters(mut page: Page, table: &Table) -> Page {
    for (mode, caption) in [
        (Mode::Top(5), "With the five likeliest log probabilities"),
        (Mode::Greedy, "With greedy text"),
        (Mode::Sampled, "With text drawn at temperature 1, four draws"),
        (Mode::Logits, "With all log probabilities"),
    ] {
        let mut groups: BTreeMap<Group, Vec<(f64, f64)>> = BTreeMap::new();
        for line in &table.lines {
            groups.entry(line.group).or_default().push(point(line, mode));
        }
        let series =
            groups.into_iter().map(|(group, points)| Series { name: group.name().to_owned(), points });
        page = page.scatter(&Plot {
            caption,
            x_label: "accuracy kept",
            y_label: "−log₁₀ p",
            series: &series.collect::<Vec<_>>(),
            limits: &[("10⁻⁹", -WANTED)],
        });
    }
    page
}

fn families(mut page: Page, table: &Table) -> Page {
    for (name, lines) in table.families().into_iter().filter(|(_, lines)| lines.len() > 1) {
        let series = [Mode::Top(20), Mode::Top(5), Mode::Greedy, Mode::Sampled].map(|mode| Series {
            name: mode.to_string(),
            points: lines.iter().map(|line| point(line, mode)).collect(),
        });
        let strengths: Vec<String> =
            lines.iter().filter_map(|line| Some(line.swept.as_ref()?.value.to_string())).collect();
        page = page.line_plot(&Plot {
            caption: &format!("{name}: {}", strengths.join(", ")),
            x_label: "accuracy kept",
            y_label: "−log₁₀ p",
            series: &series,
            limits: &[],
        });
    }
    page
}

fn ends(page: Page, table: &Table) -> Page {
    let defeats = table.defeats(KEPT, WANTED);
    if defeats.is_empty() {
        return page.paragraph(
            "No attack here that keeps nine tenths of the accuracy, without owning the exact unmarked model, brings the \
             best evidence above 10⁻⁹.",
        );
    }
    let rows: Vec<Vec<String>> = defeats.iter().map(|line| cells(line)).collect();
    page.table("Attacks that keep nine tenths of the accuracy and leave less than 10⁻⁹", &head(), &rows)
}

fn private(page: Page, all: &Tables) -> Page {
    let mut page = page.paragraph(
        "A public model was fine-tuned in private, then marked with the same fingerprints; the attacker owns the public \
         model. Evidence is what is left when log probabilities are shown, and when only text is.",
    );
    for (mode, caption) in [
        (Mode::Top(5), "Five log probabilities are shown"),
        (Mode::Greedy, "Only greedy text is shown"),
        (Mode::Sampled, "Only drawn text is shown"),
    ] {
        let series = all.private.iter().map(|(size, table)| Series {
            name: format!("{} change", size.name()),
            points: table.lines.iter().map(|line| point(line, mode)).collect(),
        });
        page = page.scatter(&Plot {
            caption,
            x_label: "accuracy kept",
            y_label: "−log₁₀ p",
            series: &series.collect::<Vec<_>>(),
            limits: &[("10⁻⁹", -WANTED)],
        });
    }
    page
}

fn baselines(page: Page, all: &Tables) -> Page {
    let Some(marked) = &all.marked else { return page };
    let mut head = vec!["attack".to_owned(), format!("{}, greedy", marked.header.scheme)];
    head.extend(all.baselines.iter().map(|(name, _)| format!("published, {name}")));
    head.push("accuracy kept".to_owned());
    head.extend(all.baselines.iter().map(|(name, _)| format!("kept, {name}")));
    let of = |table: &Table, name: &str, figure: &dyn Fn(&Line) -> String| {
        table.lines.iter().find(|line| line.name == name).map_or_else(|| "\u{2013}".to_owned(), figure)
    };
    let evidence = |line: &Line| format!("{:.1}", line.log10_p(Mode::Greedy));
    let kept = |line: &Line| format!("{:.3}", line.kept.accuracy);
    let row = |line: &Line| {
        let mut row = vec![line.name.clone(), evidence(line)];
        row.extend(all.baselines.iter().map(|(_, table)| of(table, &line.name, &evidence)));
        row.push(kept(line));
        row.extend(all.baselines.iter().map(|(_, table)| of(table, &line.name, &kept)));
        row
    };
    let rows: Vec<Vec<String>> = marked.lines.iter().map(row).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    page.table("log₁₀ p from greedy text", &head, &rows)
}

fn whole(page: Page, caption: &str, table: &Table) -> Page {
    let rows: Vec<Vec<String>> = table.lines.iter().map(cells).collect();
    page.details(caption, |page| page.table("log₁₀ p by mode, and utility", &head(), &rows))
}

fn head() -> Vec<&'static str> {
    vec![
        "attack",
        "group",
        "owns",
        "all logits",
        "top-20",
        "top-5",
        "greedy",
        "sampled",
        "accuracy kept",
        "perplexity",
        "greedy text",
        "drawn text",
    ]
}

fn cells(line: &Line) -> Vec<String> {
    let owned = |relative: &Relative| match relative {
        Relative::Twin => "twin",
        Relative::Sibling => "sibling",
        Relative::Public => "public base",
    };
    let owns = line.owns.iter().map(owned).collect::<Vec<_>>().join(", ");
    let mut row = vec![line.name.clone(), line.group.name().to_owned(), owns];
    row.extend(MODES.map(|mode| format!("{:.1}", line.log10_p(mode))));
    row.push(format!("{:.3}", line.kept.accuracy));
    let utility = &line.utility;
    let figures = [utility.perplexity, utility.greedy_perplexity, utility.sampled_perplexity];
    row.extend(figures.map(|perplexity| format!("{perplexity:.1}")));
    row
}
