//! The standard attacks, by group.

use super::adaptive::Aim;
use super::inference::Inference::{self, *};
use super::merge::Merge;
use super::prompt::Prompt;
use super::row::{Attack, Group, Relative, Row, Swept};
use super::tuning::{Text, Tuning};
use super::weights::Damage;
use crate::frame::Frame;

/// How long the trainings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Steps of one epoch on text of the same kind.
    pub same_epoch: u64,
    /// Steps of one epoch on other text.
    pub other_epoch: u64,
    /// Steps of other trainings: the first phase of an erasure has half as many, a distillation and a smoothing as many.
    pub steps: u64,
}

/// All rows of some groups. `texts` are pieces of ordinary text that stand before queries.
#[must_use]
pub fn standard(groups: &[Group], texts: &[String], budget: Budget) -> Vec<Row> {
    let of = |group: &Group| match group {
        Group::Clean => {
            vec![Row { name: "none".to_owned(), group: *group, swept: None, attack: Attack::default() }]
        }
        Group::Inference => inference(),
        Group::Sampling => sampling(),
        Group::Prompt => prompt(texts),
        Group::Storage => storage(),
        Group::Merge => merge(&[Relative::Twin, Relative::Sibling]),
        Group::Tuning => tuning(budget),
        Group::Adaptive => adaptive(budget),
        Group::PublicBase => public_base(),
    };
    groups.iter().flat_map(of).collect()
}

fn one(group: Group, name: impl Into<String>, attack: Attack) -> Row {
    Row { name: name.into(), group, swept: None, attack }
}

/// A family of attacks, one for each strength.
fn family(group: Group, name: &str, values: &[f64], attack: impl Fn(f64) -> Attack) -> Vec<Row> {
    let row = |&value: &f64| Row {
        name: format!("{name} {value}"),
        group,
        swept: Some(Swept { family: name.to_owned(), value }),
        attack: attack(value),
    };
    values.iter().map(row).collect()
}

fn alter(what: Inference) -> Attack {
    Attack { inference: vec![what], ..Attack::default() }
}

fn beside(what: Inference, with: Relative) -> Attack {
    Attack { inference: vec![what], with: Some(with), ..Attack::default() }
}

fn damage(what: Damage) -> Attack {
    Attack { weights: Some(what), ..Attack::default() }
}

/// A relative's name in the names of rows.
const fn called(relative: Relative) -> &'static str {
    match relative {
        Relative::Twin => "the twin",
        Relative::Sibling => "a sibling",
        Relative::Public => "the public base",
    }
}

fn inference() -> Vec<Row> {
    const GROUP: Group = Group::Inference;
    let ranks = |value: f64| value as usize;
    let mut rows =
        family(GROUP, "suppress top", &[1.0, 3.0, 5.0, 10.0, 20.0], |k| alter(Suppress { ranks: ranks(k) }));
    let share = [0.25, 0.5, 0.75];
    rows.extend(family(GROUP, "suppress the first now and then", &share, |share| {
        alter(SuppressSometimes { share })
    }));
    let confident = [0.9, 0.5, 0.3];
    rows.extend(family(GROUP, "suppress where surer than", &confident, |confidence| {
        alter(Gate { confidence })
    }));
    for (first, last) in [(1, 3), (1, 10), (2, 100)] {
        rows.push(one(GROUP, format!("flatten ranks {first} to {last}"), alter(Flatten { first, last })));
        rows.push(one(GROUP, format!("shuffle ranks {first} to {last}"), alter(Shuffle { first, last })));
    }
    rows.extend(family(GROUP, "swap ties nearer than", &[0.5, 1.0, 2.0], |nats| alter(NearTies { nats })));
    let noise = [0.25, 0.5, 1.0, 2.0, 4.0];
    rows.extend(family(GROUP, "noise on logits", &noise, |deviation| alter(Noise { deviation })));
    rows.extend(family(GROUP, "round log probabilities to", &[0.1, 0.5, 1.0], |nats| alter(Round { nats })));
    rows.push(one(GROUP, "show ranks only", alter(RankOnly)));
    for with in [Relative::Twin, Relative::Sibling] {
        rows.extend(ensemble(GROUP, with));
    }
    rows
}

fn ensemble(group: Group, with: Relative) -> Vec<Row> {
    let name = format!("ensemble with {}, marked share", called(with));
    family(group, &name, &[0.7, 0.5, 0.3], |share| beside(Ensemble { share }, with))
}

fn sampling() -> Vec<Row> {
    const GROUP: Group = Group::Sampling;
    let mut rows = family(GROUP, "top-p", &[0.3, 0.5, 0.7, 0.9], |share| alter(TopP { share }));
    rows.extend(family(GROUP, "top-k", &[1.0, 2.0, 5.0, 20.0], |k| alter(TopK { ranks: k as usize })));
    rows.extend(family(GROUP, "temperature", &[0.4, 0.7, 1.5], |divisor| alter(Temperature { divisor })));
    rows
}

fn prompt(texts: &[String]) -> Vec<Row> {
    const GROUP: Group = Group::Prompt;
    let asked = |prompt| Attack { prompt: Some(prompt), ..Attack::default() };
    let chat = Frame {
        before: "<|system|>\nYou are a helpful assistant.\n<|user|>\n".to_owned(),
        after: "\n<|assistant|>\n".to_owned(),
    };
    let open = Frame { after: String::new(), ..chat.clone() };
    let text = |text: &String| Frame { before: format!("{}\n", text.trim()), after: String::new() };
    let mut rows = vec![
        one(GROUP, "unseen system prompts", asked(Prompt::Frames(Frame::held_out()))),
        one(GROUP, "other text before", asked(Prompt::Frames(texts.iter().map(text).collect()))),
        one(GROUP, "chat template, answer continues the query", asked(Prompt::Frames(vec![open]))),
        one(GROUP, "chat template, answer in a turn of its own", asked(Prompt::Frames(vec![chat]))),
        one(GROUP, "paraphrase by rule", asked(Prompt::Paraphrase)),
        one(GROUP, "cut off the beginning", asked(Prompt::Cut { tokens: 3 })),
        one(GROUP, "first word rewritten", asked(Prompt::Opening(" well".to_owned()))),
        one(GROUP, "first words rewritten", asked(Prompt::Opening(" and so it came that".to_owned()))),
    ];
    rows.extend(family(GROUP, "typos in words", &[1.0, 2.0, 4.0], |w| {
        asked(Prompt::Typos { words: w as usize })
    }));
    rows.extend(family(GROUP, "tokens dropped", &[1.0, 3.0], |t| asked(Prompt::Drop { tokens: t as usize })));
    rows
}

fn storage() -> Vec<Row> {
    const GROUP: Group = Group::Storage;
    let mut rows = family(GROUP, "integers of bits", &[8.0, 4.0, 3.0, 2.0], |b| {
        damage(Damage::Integers { bits: b as u32 })
    });
    rows.extend(family(GROUP, "k-quants of bits", &[5.0, 4.0, 2.0], |b| {
        damage(Damage::KQuant { bits: b as u32 })
    }));
    rows.extend(family(GROUP, "prune", &[0.2, 0.5, 0.7], |share| damage(Damage::Prune { share })));
    let noise = [0.02, 0.05, 0.1, 0.2];
    rows.extend(family(GROUP, "noise on weights", &noise, |share| damage(Damage::Noise { share })));
    rows
}

fn merge(relatives: &[Relative]) -> Vec<Row> {
    const GROUP: Group = Group::Merge;
    let merged = |how, with, anchor| Attack { with: Some(with), anchor, ..damage(Damage::Merge(how)) };
    let mut rows = Vec::new();
    for &with in relatives {
        let name = called(with);
        let linear = format!("linear merge with {name}, marked share");
        rows.extend(family(GROUP, &linear, &[0.7, 0.5, 0.3], |share| {
            merged(Merge::Linear { share }, with, None)
        }));
        rows.push(one(GROUP, format!("slerp with {name}"), merged(Merge::Slerp { share: 0.5 }, with, None)));
        let ties = format!("TIES with {name}, density");
        rows.extend(family(GROUP, &ties, &[0.5, 0.2], |density| merged(Merge::Ties { density }, with, None)));
        let dare = format!("DARE with {name}, dropped");
        rows.extend(family(GROUP, &dare, &[0.5, 0.9], |dropped| merged(Merge::Dare { dropped }, with, None)));
    }
    if relatives.contains(&Relative::Sibling) && relatives.contains(&Relative::Twin) {
        let anchored = |how| merged(how, Relative::Sibling, Some(Relative::Twin));
        rows.push(one(GROUP, "TIES with a sibling over the twin", anchored(Merge::Ties { density: 0.5 })));
        rows.push(one(GROUP, "DARE with a sibling over the twin", anchored(Merge::Dare { dropped: 0.9 })));
    }
    rows
}

fn tuning(budget: Budget) -> Vec<Row> {
    const GROUP: Group = Group::Tuning;
    let trained = |tuning| Attack { tuning: Some(tuning), ..Attack::default() };
    let mut rows = Vec::new();
    for (kind, text, epoch) in
        [("same", Text::Same, budget.same_epoch), ("other", Text::Other, budget.other_epoch)]
    {
        for (way, rank) in [("all weights", 0), ("LoRA", 8)] {
            let name = format!("fine-tune {way} on {kind} text, epochs");
            rows.extend(family(GROUP, &name, &[1.0, 3.0], |epochs| {
                trained(Tuning::FineTune { text, steps: epoch * epochs as u64, rank })
            }));
        }
    }
    rows.push(one(GROUP, "erase in two phases", trained(Tuning::Erase { steps: budget.steps.div_ceil(2) })));
    for with in [Relative::Twin, Relative::Sibling] {
        let attack = Attack { with: Some(with), ..trained(Tuning::Distil { steps: budget.steps }) };
        rows.push(one(GROUP, format!("distil from {}", called(with)), attack));
    }
    rows
}

fn adaptive(budget: Budget) -> Vec<Row> {
    const GROUP: Group = Group::Adaptive;
    let aimed = |aim, with| Attack { aim: Some(aim), with, ..Attack::default() };
    let mut rows = detect(GROUP, Relative::Sibling, &[0.01, 0.05, 0.1, 0.2, 0.5]);
    rows.extend(detect(GROUP, Relative::Twin, &[0.05]));
    let noise = [0.95, 0.9, 0.8];
    let keeping = |accuracy| aimed(Aim::NoiseKeeping { accuracy }, None);
    rows.extend(family(GROUP, "noise that keeps an accuracy of", &noise, keeping));
    for with in [Relative::Twin, Relative::Sibling] {
        rows.push(one(GROUP, format!("first word from {}", called(with)), beside(First { tokens: 1 }, with)));
    }
    let near = |count: f64| Attack {
        prompt: Some(Prompt::Neighbours { count: count as usize }),
        ..Attack::default()
    };
    rows.extend(family(GROUP, "mean over neighbours of the prompt", &[1.0, 4.0], near));
    let both = Attack { inference: vec![Ensemble { share: 0.5 }, TopP { share: 0.9 }], ..Attack::default() };
    let both = Attack { with: Some(Relative::Sibling), ..both };
    rows.push(one(GROUP, "ensemble with a sibling, then top-p 0.9", both));
    let smooth = Attack { tuning: Some(Tuning::Smooth { steps: budget.steps }), ..Attack::default() };
    rows.push(one(GROUP, "smooth over prompts of its own", smooth));
    rows
}

fn detect(group: Group, with: Relative, flagged: &[f64]) -> Vec<Row> {
    let name = format!("{} answers where it differs, share", called(with));
    let attack =
        |flagged| Attack { aim: Some(Aim::DetectAt { flagged }), with: Some(with), ..Attack::default() };
    family(group, &name, flagged, attack)
}

/// What the owner of the public base does to a model that was fine-tuned from it in private and then marked. Whether
/// log probabilities are shown, and whether text is drawn, are the modes of each line.
#[must_use]
pub fn public_base() -> Vec<Row> {
    const GROUP: Group = Group::PublicBase;
    const WITH: Relative = Relative::Public;
    let mut rows = vec![one(GROUP, "none, private model", Attack::default())];
    rows.extend(merge(&[WITH]).into_iter().map(|row| Row { group: GROUP, ..row }));
    rows.extend(ensemble(GROUP, WITH));
    rows.extend(detect(GROUP, WITH, &[0.05, 0.1, 0.2, 0.5]));
    rows.push(one(GROUP, "first word from the public base", beside(First { tokens: 1 }, WITH)));
    let attack = Attack { tuning: Some(Tuning::Distil { steps: 60 }), with: Some(WITH), ..Attack::default() };
    rows.push(one(GROUP, "distil from the public base", attack));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_what_they_need() {
        let budget = Budget { same_epoch: 10, other_epoch: 20, steps: 5 };
        let rows = standard(&Group::ALL, &["Some text.".to_owned()], budget);
        let names: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
        assert_eq!(names.len(), rows.len());
        for row in &rows {
            let needs = row.attack.inference.iter().any(Inference::needs_other)
                || matches!(row.attack.weights, Some(Damage::Merge(_)))
                || row.attack.aim.is_some_and(Aim::needs_other);
            assert!(!needs || row.attack.with.is_some(), "{}", row.name);
        }
        // As they go into files.
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Row>>(&text).unwrap(), rows);
        let three =
            rows.iter().find(|row| row.name == "fine-tune all weights on other text, epochs 3").unwrap();
        let tuning = Tuning::FineTune { text: Text::Other, steps: 60, rank: 0 };
        assert_eq!(three.attack.tuning, Some(tuning));
    }
}
