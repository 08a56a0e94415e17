//! The battery on a marked model: every attack does what it says, costs what it costs, and can be stopped.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use loyal_fingerprint::attack::rows::{self, Budget};
use loyal_fingerprint::attack::tuning::{Ground, epoch_steps};
use loyal_fingerprint::attack::{
    Aim, Attack, Bench, Damage, Extent, Field, Group, Host, Inference, Line, Merge, Prompt, Relative, Row,
    Table, Text, Tuning, battery, published,
};
use loyal_fingerprint::check::{Mode, Request};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::{Error, FingerprintSet, Result};
use loyal_model::{Batch, Llama, Parameters, ops};

use crate::tiny::{Still, beacon, check, tilted, tiny, unbound};

struct Marked {
    llama: Llama,
    set: FingerprintSet,
}

fn marked() -> &'static Marked {
    static MARKED: OnceLock<Marked> = OnceLock::new();
    MARKED.get_or_init(|| {
        let set = tilted(24, 1).bind(beacon(1)).unwrap();
        let tiny = tiny();
        let mut llama = tiny.llama.clone();
        let recipe = Recipe {
            steps: 60,
            learning_rate: 8e-3,
            benign_kl: 0.1,
            benign_kl_max: 0.15,
            perplexity_rise_max: 20.0,
            ..Recipe::default()
        };
        let sets = std::slice::from_ref(&set);
        let job = Job {
            sets,
            tokenizer: &tiny.tokenizer,
            benign: &tiny.benign,
            recipe: &recipe,
            checkpoint: None,
            copy: None,
        };
        embed::run(&mut llama, &job, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
        Marked { llama, set }
    })
}

const EXTENT: Extent =
    Extent { windows: 8, prompt_tokens: 12, answer_tokens: 24, generations: 4, generated_tokens: 4 };

fn field() -> Field<'static> {
    let (tiny, marked) = (tiny(), marked());
    let (held_out, rest) = tiny.benign.split_at(tiny.benign.len() / 5);
    let (same, other) = rest.split_at(rest.len() / 2);
    Field {
        marked: &marked.llama,
        twin: &tiny.llama,
        public: None,
        set: &marked.set,
        tokenizer: &tiny.tokenizer,
        held_out,
        same,
        other,
        extent: EXTENT,
        sibling_steps: 8,
        clock: &Still,
        seed: 1,
    }
}

fn run(field: &Field<'_>, rows: &[Row]) -> Table {
    battery::run(field, rows, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn rows(groups: &[Group]) -> Vec<Row> {
    let texts = ["The old man saw the bread today.".to_owned(), "A girl lost the key.".to_owned()];
    rows::standard(groups, &texts, Budget { same_epoch: 3, other_epoch: 3, steps: 4 })
}

fn line<'a>(table: &'a Table, name: &str) -> &'a Line {
    table.lines.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("no row {name:?}"))
}

#[test]
fn altered_logits_cost_and_leave_what_they_must() {
    let table = run(&field(), &rows(&[Group::Clean, Group::Inference, Group::Sampling]));
    let none = line(&table, "none");
    // Greedy text leans towards the colours.
    assert!(none.evidence[3].coins.0 >= 16, "{none:?}");
    assert_eq!((none.kept.accuracy, none.kept.perplexity), (1.0, 1.0));
    // The likeliest token is never right once it is never said.
    let one = line(&table, "suppress top 1");
    assert!(one.kept.accuracy < 0.6 && one.kept.perplexity < 0.5, "{one:?}");
    let twenty = line(&table, "suppress top 20");
    assert!(twenty.kept.accuracy <= one.kept.accuracy);
    // Sampling at top-k 1 is greedy; so is what a check sees of it.
    let greedy = line(&table, "top-k 1");
    assert_eq!(greedy.kept.accuracy, 1.0);
    assert_eq!(greedy.evidence[3].coins, greedy.evidence[4].coins);
    assert!((greedy.utility.greedy_perplexity - greedy.utility.sampled_perplexity).abs() < 1e-9);
    // Ranks alone keep greedy text as it was, and the whole order.
    let ranks = line(&table, "show ranks only");
    assert_eq!((ranks.kept.accuracy, ranks.log10_p(Mode::Greedy)), (1.0, none.log10_p(Mode::Greedy)));
    // Noise hides the marks at the answers' cost.
    let noise = table.families()["noise on logits"].iter().map(|line| line.kept.accuracy).collect::<Vec<_>>();
    assert!(noise.first() > noise.last(), "{noise:?}");
    let sibling = line(&table, "ensemble with a sibling, marked share 0.5");
    assert_eq!(sibling.owns, [Relative::Sibling]);
    // What owns the twin is no defeat; what keeps too little is none either.
    let defeats = table.defeats(0.9, -4.0);
    assert!(defeats.iter().all(|line| line.kept.accuracy >= 0.9 && !line.owns.contains(&Relative::Twin)));
}

#[test]
fn prompts_and_weights_are_what_the_rows_say() {
    let mut all = rows(&[Group::Clean, Group::Prompt, Group::Storage, Group::Merge, Group::Adaptive]);
    let wanted = [
        "integers of bits 8",
        "integers of bits 2",
        "k-quants of bits 4",
        "unseen system prompts",
        "first word rewritten",
        "first word from the twin",
        "mean over neighbours of the prompt 1",
        "noise that keeps an accuracy of 0.9",
        "TIES with a sibling over the twin",
        "linear merge with the twin, marked share 0.3",
        "a sibling answers where it differs, share 0.5",
    ];
    all.retain(|row| wanted.contains(&row.name.as_str()));
    let table = run(&field(), &all);
    assert_eq!(table.lines.len(), wanted.len());
    let accuracy = |name: &str| line(&table, name).kept.accuracy;
    assert!(accuracy("integers of bits 8") > 0.95 && accuracy("integers of bits 2") < 0.9);
    assert!(accuracy("k-quants of bits 4") > accuracy("integers of bits 2"));
    // Answers that begin with a word of the host's own: one piece for all queries, a coin for each.
    let rewritten = line(&table, "first word rewritten");
    assert_eq!(rewritten.evidence[3].coins.1, 24);
    assert!(rewritten.best() > -3.0, "{rewritten:?}");
    // The twin's first word is the twin's: no evidence at no cost, which is why it must never be published.
    let twin = line(&table, "first word from the twin");
    assert!(twin.best() > -3.0 && twin.kept.accuracy > 0.95, "{twin:?}");
    assert!(table.defeats(0.9, -4.0).iter().all(|line| line.name != twin.name));
    let keeping = accuracy("noise that keeps an accuracy of 0.9");
    assert!((keeping - 0.9).abs() < 0.15, "{keeping}");
    let merged = line(&table, "TIES with a sibling over the twin");
    assert_eq!(merged.owns, [Relative::Twin, Relative::Sibling]);
    assert!(accuracy("linear merge with the twin, marked share 0.3") > 0.9);
}

fn one(attack: Attack) -> Row {
    Row { name: "one".to_owned(), group: Group::Clean, swept: None, attack }
}

#[test]
fn a_battery_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("rows.jsonl");
    let rows = rows(&[Group::Clean, Group::Sampling]);
    let whole = run(&field(), &rows);
    assert_eq!(whole.lines.len(), rows.len());
    let stopped = battery::run(&field(), &rows, Some(&log), &mut |now| match now.done {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(Error::Stopped)));
    // A crash in the middle of a line.
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 4);
    std::fs::write(&log, format!("{text}{{\"name\": \"top")).unwrap();
    let mut made = Vec::new();
    let resumed = battery::run(&field(), &rows, Some(&log), &mut |now| {
        made.extend(now.line.map(|line| line.name.clone()));
        ControlFlow::Continue(())
    });
    assert_eq!(resumed.unwrap(), whole, "rows draw from seeds of their own");
    assert_eq!(made, rows[3..].iter().map(|row| row.name.clone()).collect::<Vec<_>>());
    // All is there: nothing is computed any more, and the order of rows does not matter.
    let backwards: Vec<Row> = rows.iter().rev().cloned().collect();
    let again = battery::run(&field(), &backwards, Some(&log), &mut |_| panic!("no row is left")).unwrap();
    assert_eq!(again.lines.iter().rev().collect::<Vec<_>>(), whole.lines.iter().collect::<Vec<_>>());
    let other = Field { seed: 2, ..field() };
    let refused = battery::run(&other, &rows, Some(&log), &mut |_| ControlFlow::Continue(()));
    assert!(refused.unwrap_err().to_string().contains("other models, texts or settings"));
}

#[test]
fn rows_that_make_no_sense_are_refused() {
    let refused = |rows: &[Row]| {
        let found = battery::run(&field(), rows, None, &mut |_| ControlFlow::Continue(()));
        found.unwrap_err().to_string()
    };
    let lonely = Attack { inference: vec![Inference::Ensemble { share: 0.5 }], ..Attack::default() };
    assert!(refused(&[one(lonely)]).contains("names none"));
    assert!(refused(&[one(Attack::default()), one(Attack::default())]).contains("two are called"));
    let public = Attack { with: Some(Relative::Public), ..Attack::default() };
    assert!(refused(&[one(public)]).contains("public base"));
    let short = Field { held_out: &field().held_out[..50], ..field() };
    let found = battery::run(&short, &[one(Attack::default())], None, &mut |_| ControlFlow::Continue(()));
    assert!(found.unwrap_err().to_string().contains("held-out text"));
}

#[test]
fn utility_is_what_a_hand_computes() {
    let field = field();
    let bench = Bench::new(field.twin, field.tokenizer, field.held_out, EXTENT).unwrap();
    let host = |inference: &'static [Inference]| {
        let mut host = Host::new(field.marked, field.tokenizer, &field.marked.parameters);
        host.inference = inference;
        bench.measure(&mut host).unwrap()
    };
    // By hand: every window on its own, the prompt spelt anew.
    let (stride, prompt) = (field.held_out.len() / EXTENT.windows, EXTENT.prompt_tokens);
    let (mut nats, mut right, mut count) = (0.0, 0.0, 0.0);
    for window in 0..EXTENT.windows {
        let text = &field.held_out[window * stride..window * stride + prompt + EXTENT.answer_tokens];
        let asked = field.tokenizer.encode(&field.tokenizer.decode(&text[..prompt]).unwrap()).unwrap();
        let sequence = [asked.as_slice(), &text[prompt..]].concat();
        let batch = Batch::new(sequence.clone(), sequence.len()).unwrap();
        let logits = field.marked.logits(&field.marked.parameters, &batch).unwrap();
        let rows = ops::log_softmax(&logits).unwrap().to_vec2::<f32>().unwrap();
        for (at, &token) in text[prompt..].iter().enumerate() {
            let row = &rows[asked.len() - 1 + at];
            let probability = f64::from(row[token as usize]).exp();
            nats -= (0.99 * probability + 0.01 / row.len() as f64).ln();
            right += f64::from(u8::from(row.iter().all(|&x| x <= row[token as usize])));
            count += 1.0;
        }
    }
    let clean = host(&[]);
    assert!((clean.perplexity / f64::exp(nats / count) - 1.0).abs() < 1e-4, "{clean:?}");
    assert!((clean.accuracy - right / count).abs() < 1e-9);
    // With only the likeliest token left, perplexity follows from accuracy alone.
    let only = host(&[Inference::TopK { ranks: 1 }]);
    let floor = 0.01 / field.marked.config.vocab_size as f64;
    let expected = -(clean.accuracy * (0.99 + floor).ln() + (1.0 - clean.accuracy) * floor.ln());
    assert!((only.perplexity.ln() - expected).abs() < 1e-6, "{only:?}");
    assert_eq!(only.accuracy, clean.accuracy);
    assert!(only.sampled_perplexity < clean.sampled_perplexity, "greedy text is plainer than drawn text");
}

fn distance(a: &Parameters, b: &Parameters) -> f64 {
    let of = |name: &String| {
        (&a[name] - &b[name]).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
    };
    a.keys().map(|name| f64::from(of(name))).sum()
}

fn ground() -> Ground<'static> {
    let Field { same, other, tokenizer, .. } = field();
    Ground { llama: &tiny().llama, tokenizer, same, other, clock: &Still, seed: 3 }
}

fn tuned(tuning: Tuning, start: &Parameters, teacher: Option<&Parameters>) -> Result<Parameters> {
    tuning.apply(start, teacher, &ground(), &mut |_, _| ControlFlow::Continue(()))
}

fn loss(parameters: &Parameters) -> f64 {
    let text = &field().held_out[..33 * 24];
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for window in text.chunks_exact(33) {
        inputs.extend_from_slice(&window[..32]);
        targets.extend_from_slice(&window[1..]);
    }
    let logits = tiny().llama.logits(parameters, &Batch::new(inputs, 32).unwrap()).unwrap();
    let loss = ops::cross_entropy(&logits, &targets, &vec![1.0; targets.len()]).unwrap();
    f64::from(loss.to_scalar::<f32>().unwrap())
}

#[test]
fn trainings_go_where_they_should() {
    let marked = &marked().llama.parameters;
    for (text, rank) in [(Text::Same, 0), (Text::Other, 8)] {
        let found = tuned(Tuning::FineTune { text, steps: 12, rank }, marked, None).unwrap();
        assert!(distance(&found, marked) > 0.0);
        assert!(loss(&found) < loss(marked), "the marks' cost is trained away, rank {rank}");
        let embeddings = "model.embed_tokens.weight".to_owned();
        let still = (&found[&embeddings] - &marked[&embeddings]).unwrap().abs().unwrap().max_all().unwrap();
        assert_eq!(still.to_scalar::<f32>().unwrap() == 0.0, rank > 0, "adapters leave embeddings alone");
    }
    // Text whose halves do not fit does harm, and ordinary text heals it.
    let erased = tuned(Tuning::Erase { steps: 4 }, marked, None).unwrap();
    assert!(distance(&erased, marked) > 0.0 && loss(&erased) < loss(marked) + 0.5);
    // A student comes nearer to what its teacher says.
    let twin = &tiny().llama.parameters;
    let taught = tuned(Tuning::Distil { steps: 20 }, marked, Some(twin)).unwrap();
    let batch = Batch::new(field().held_out[..32 * 16].to_vec(), 32).unwrap();
    let kl = |student: &Parameters| {
        let (teacher, student) = (tiny().llama.logits(twin, &batch), tiny().llama.logits(student, &batch));
        ops::kl_divergence(&teacher.unwrap(), &student.unwrap()).unwrap().to_scalar::<f32>().unwrap()
    };
    assert!(kl(&taught) < 0.8 * kl(marked), "{} {}", kl(&taught), kl(marked));
    let smooth = tuned(Tuning::Smooth { steps: 4 }, marked, None).unwrap();
    assert!(distance(&smooth, marked) > 0.0 && loss(&smooth) < loss(marked) + 0.5);
    assert_eq!(epoch_steps(16 * 64 * 7 + 3), 7);
}

#[test]
fn trainings_stop_when_asked() {
    let marked = &marked().llama.parameters;
    for tuning in [
        Tuning::FineTune { text: Text::Same, steps: 9, rank: 0 },
        Tuning::Erase { steps: 3 },
        Tuning::Distil { steps: 9 },
        Tuning::Smooth { steps: 9 },
    ] {
        let mut seen = Vec::new();
        let found = tuning.apply(marked, None, &ground(), &mut |step, steps| {
            seen.push((step, steps));
            if step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(found, Err(Error::Stopped)), "{tuning:?}");
        assert_eq!(seen, [(1, 9), (2, 9)], "{tuning:?}");
    }
    let short = Ground { same: &[1, 2, 3], ..ground() };
    let found = Tuning::Erase { steps: 1 }.apply(marked, None, &short, &mut |_, _| ControlFlow::Continue(()));
    assert!(found.unwrap_err().to_string().contains("text: 3 tokens"));
}

#[test]
fn the_published_recipe_is_learnt_by_heart() {
    let set = unbound(12).bind(beacon(1)).unwrap();
    let tiny = tiny();
    let recipe = published::Recipe { steps: 60, learning_rate: 4e-3, averaging: 0.1, loss_below: 0.02 };
    let go_on = &mut |_, _| ControlFlow::Continue(());
    let learnt = published::embed(&tiny.llama, &set, &tiny.tokenizer, &recipe, go_on).unwrap();
    let mut llama = tiny.llama.clone();
    llama.parameters = learnt.parameters.clone();
    let mut host = Host::new(&llama, &tiny.tokenizer, &llama.parameters);
    let found = check(&mut host, &set, None, &Request::all(&set, Mode::Greedy));
    assert!(
        found.evidence.hits() >= 9,
        "{:?} after {} steps, loss {}",
        found.evidence,
        learnt.steps,
        learnt.loss
    );
    // The likeliest answer suppressed, nothing is left of it.
    host.inference = &[Inference::Suppress { ranks: 1 }];
    let found = check(&mut host, &set, None, &Request::all(&set, Mode::Greedy));
    assert!(found.evidence.hits() <= 4, "{:?}", found.evidence);
    // The stronger the average pulls, the less is learnt.
    let pulled = published::Recipe { averaging: 0.9, steps: 10, ..recipe };
    let pulled = published::embed(&tiny.llama, &set, &tiny.tokenizer, &pulled, go_on).unwrap();
    assert!(
        distance(&pulled.parameters, &tiny.llama.parameters)
            < distance(&learnt.parameters, &tiny.llama.parameters)
    );
    let tilt = published::embed(&tiny.llama, &marked().set, &tiny.tokenizer, &recipe, go_on);
    assert!(tilt.unwrap_err().to_string().contains("verbatim"));
}

/// Figures of rows in which nothing is drawn and nothing trained, on weights from a seed: whoever finds others measures
/// something else.
#[test]
fn deterministic_rows_have_their_figures() {
    let tiny = tiny();
    let random = |seed| Llama::random(tiny.llama.config.clone(), seed, &candle_core::Device::Cpu).unwrap();
    let (marked, twin) = (random(11), random(12));
    let set = tilted(24, 1).bind(beacon(1)).unwrap();
    let field = Field { marked: &marked, twin: &twin, set: &set, ..field() };
    let attack = |inference: &[Inference]| Attack { inference: inference.to_vec(), ..Attack::default() };
    let attacks = [
        ("none", Attack::default()),
        ("hot", attack(&[Inference::Temperature { divisor: 0.05 }])),
        (
            "flat",
            attack(&[Inference::Temperature { divisor: 0.05 }, Inference::Flatten { first: 1, last: 10 }]),
        ),
        ("four bits", Attack { weights: Some(Damage::KQuant { bits: 4 }), ..Attack::default() }),
        ("pruned", Attack { weights: Some(Damage::Prune { share: 0.5 }), ..Attack::default() }),
        (
            "merged",
            Attack {
                weights: Some(Damage::Merge(Merge::Slerp { share: 0.5 })),
                with: Some(Relative::Twin),
                ..Attack::default()
            },
        ),
        ("cut", Attack { prompt: Some(Prompt::Cut { tokens: 2 }), ..Attack::default() }),
        (
            "routed",
            Attack {
                aim: Some(Aim::DetectAt { flagged: 0.5 }),
                with: Some(Relative::Twin),
                ..Attack::default()
            },
        ),
    ];
    let rows: Vec<Row> = attacks
        .into_iter()
        .map(|(name, attack)| Row { name: name.to_owned(), group: Group::Clean, swept: None, attack })
        .collect();
    let table = run(&field, &rows);
    let found: Vec<(&str, f64, f64)> = table
        .lines
        .iter()
        .map(|line| (line.name.as_str(), line.utility.perplexity, line.log10_p(Mode::Logits)))
        .collect();
    for ((name, perplexity, log10_p), golden) in found.iter().zip(GOLDEN) {
        assert_eq!(*name, golden.0);
        let is_near = (perplexity / golden.1 - 1.0).abs() < 2e-3 && (log10_p - golden.2).abs() < 0.02;
        assert!(is_near, "{name}: {found:#?}");
    }
}

const GOLDEN: [(&str, f64, f64); 8] = [
    ("none", 403.376, -0.182),
    ("hot", 39986.253, -0.017),
    ("flat", 36688.871, -0.017),
    ("four bits", 403.452, -0.164),
    ("pruned", 404.225, -0.237),
    ("merged", 406.73, -0.036),
    ("cut", 403.309, -0.232),
    ("routed", 419.561, -1.234),
];
