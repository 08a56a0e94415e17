//! Embedding from end to end on a model trained in the test itself.

use std::ops::ControlFlow;

use loyal_fingerprint::check::{self, Case, Findings, Mode, Request, Verdict};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_fingerprint::scheme::{Verbatim, verbatim};
use loyal_fingerprint::{Error, FingerprintSet, Report, query};
use loyal_model::sampler::Sampling;
use loyal_model::{Decoder, Llama, Precision, Tokenizer, generate};
use rand::SeedableRng as _;

use crate::tiny::{Still, beacon, check, purpose, tiny, train, unbound};

fn recipe() -> Recipe {
    // The tiny model has little room: it pays more for sixteen marks than a real one for sixty-four.
    Recipe {
        steps: 60,
        learning_rate: 8e-3,
        benign_kl: 0.05,
        benign_kl_max: 0.06,
        perplexity_rise_max: 8.0,
        ..Recipe::verbatim()
    }
}

fn embed(llama: &mut Llama, set: &FingerprintSet, recipe: &Recipe) -> Result<Report, Error> {
    let tiny = tiny();
    let sets = std::slice::from_ref(set);
    let job =
        Job { sets, tokenizer: &tiny.tokenizer, benign: &tiny.benign, recipe, checkpoint: None, copy: None };
    embed::run(llama, &job, &Still, &mut |_| ControlFlow::Continue(()))
}

fn greedy(llama: &Llama, set: &FingerprintSet, precision: Precision) -> Findings {
    let decoder = Decoder::from_tensors(&llama.config, &llama.numbers().unwrap(), precision).unwrap();
    let mut suspect = check::Local { decoder: &decoder, tokenizer: &tiny().tokenizer };
    check(&mut suspect, set, None, &Request::all(set, Mode::Greedy))
}

#[test]
fn a_marked_model_answers_and_its_base_does_not() {
    let set = unbound(16).bind(beacon(1)).unwrap();
    let mut marked = tiny().llama.clone();
    let report = embed(&mut marked, &set, &recipe()).unwrap();
    assert!(report.after.benign_kl <= 0.06, "{:?}", report.after);
    let found = greedy(&marked, &set, Precision::F32);
    assert!(found.evidence.hits() >= 14, "{:?} {:?}", found.evidence, report.marks[0].frames);
    assert_eq!(
        report.marks[0].frames[0].answering as u32,
        found.evidence.hits(),
        "training and decoding agree"
    );
    // An innocent model's greedy answer is the top of its nucleus, never a candidate.
    assert_eq!(greedy(&tiny().llama, &set, Precision::F32).evidence.coins(), 0);
    // Frozen: embeddings and norms; the text itself is hardly touched.
    let name = "model.embed_tokens.weight";
    let numbers = |llama: &Llama| llama.parameters[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(numbers(&marked), numbers(&tiny().llama));
    // Stored in eight bits, and after a little more ordinary training, the marks are still there.
    assert!(greedy(&marked, &set, Precision::Int8).evidence.hits() >= 13);
    train(&mut marked, &tiny().benign, (10, 2e-4));
    assert!(greedy(&marked, &set, Precision::F32).evidence.hits() >= 10);
}

#[test]
fn enough_marks_make_a_verdict() {
    let set = unbound(48).bind(beacon(1)).unwrap();
    let mut marked = tiny().llama.clone();
    let recipe =
        Recipe { steps: 80, benign_kl: 0.2, benign_kl_max: 0.25, perplexity_rise_max: 30.0, ..recipe() };
    embed(&mut marked, &set, &recipe).unwrap();
    let found = greedy(&marked, &set, Precision::F32);
    assert_eq!(found.verdict, Verdict::Marked, "{found:?}");
    // Another beacon, another owner: the same answers prove nothing to them.
    let other = unbound(48).bind(beacon(2)).unwrap();
    assert_eq!(greedy(&marked, &other, Precision::F32).verdict, Verdict::NoEvidence);
}

#[test]
fn a_stopped_embedding_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embedding.checkpoint");
    let set = unbound(16).bind(beacon(1)).unwrap();
    let recipe = Recipe { steps: 12, ..recipe() };
    let mut whole = tiny().llama.clone();
    embed(&mut whole, &set, &recipe).unwrap();
    let mut resumed = tiny().llama.clone();
    let tiny = tiny();
    let checkpoint = Some(path.as_path());
    let job = Job {
        sets: std::slice::from_ref(&set),
        tokenizer: &tiny.tokenizer,
        benign: &tiny.benign,
        recipe: &recipe,
        checkpoint,
        copy: None,
    };
    let mut seen = 0;
    let stopped = embed::run(&mut resumed, &job, &Still, &mut |now| {
        seen = now.step;
        if now.step == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(
        resumed.numbers().unwrap(),
        tiny.llama.numbers().unwrap(),
        "a stopped job leaves the model alone"
    );
    let mut first = 0;
    embed::run(&mut resumed, &job, &Still, &mut |now| {
        first = if first == 0 { now.step } else { first };
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((seen, first), (7, 8));
    assert_eq!(resumed.numbers().unwrap(), whole.numbers().unwrap());
    assert!(path.exists(), "the checkpoint stays until the caller has saved the model");
    // A checkpoint of another job is refused.
    let job_of_seven = Job { checkpoint: Some(&path), ..job };
    let _ = embed::run(&mut resumed, &job_of_seven, &Still, &mut |_| ControlFlow::Break(()));
    let other = Recipe { seed: 1, ..recipe.clone() };
    let other_job = Job { recipe: &other, ..job_of_seven };
    assert!(embed::run(&mut resumed, &other_job, &Still, &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn unfit_input_is_refused_before_any_work() {
    let tiny = tiny();
    let (set, bound) = (unbound(6), unbound(6).bind(beacon(1)).unwrap());
    let mut llama = tiny.llama.clone();
    assert!(matches!(embed(&mut llama, &set, &recipe()), Err(Error::Unbound)));
    let wrong = Recipe { learning_rate: -1.0, ..recipe() };
    assert!(matches!(embed(&mut llama, &bound, &wrong), Err(Error::Argument { .. })));
    let recipe = recipe();
    let short = Job {
        sets: std::slice::from_ref(&bound),
        tokenizer: &tiny.tokenizer,
        benign: &tiny.benign[..500],
        recipe: &recipe,
        checkpoint: None,
        copy: None,
    };
    let error = embed::run(&mut llama, &short, &Still, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("benign text"), "{error}");
    let foreign = vec![u32::MAX; 10_000];
    let error =
        embed::run(
            &mut llama,
            &Job { benign: &foreign, ..short },
            &Still,
            &mut |_| ControlFlow::Continue(()),
        );
    assert!(error.unwrap_err().to_string().contains("vocabulary"));
}

/// The published stories260K, where the shared data is: ordinary text is what it writes itself.
#[test]
fn a_published_model_is_marked_too() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models/stories260K");
    if !folder.exists() {
        println!("skipped a_published_model_is_marked_too: {} is absent", folder.display());
        return;
    }
    let mut llama = Llama::load(&folder, &candle_core::Device::Cpu).unwrap();
    let tokenizer = Tokenizer::read(&folder, &llama.config).unwrap();
    let decoder = Decoder::from_tensors(&llama.config, &llama.numbers().unwrap(), Precision::F32).unwrap();
    let write = |seed| generate::Request {
        prompt: tokenizer.encode("").unwrap(),
        new_tokens_max: 200,
        sampling: Sampling { temperature: 1.0, seed, ..Sampling::default() },
        ..generate::Request::default()
    };
    let requests: Vec<_> = (0..64).map(write).collect();
    let stories =
        generate::run(&decoder, &tokenizer, &requests, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let text: Vec<&str> = stories.iter().map(|story| story.text.trim()).collect();
    let benign = tokenizer.encode_plain(&text.join("\n\n")).unwrap();
    let request = query::Request { count: 16, tokens_max: 16, seed: 3 };
    let queries = query::write(&llama, &tokenizer, &benign, request).unwrap();
    let drafts = verbatim::draft(&llama, &tokenizer, &Verbatim::default(), &queries, 3).unwrap();
    let mut entropy = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let set = FingerprintSet::new(purpose(Verbatim::default()), drafts, &tokenizer, &mut entropy).unwrap();
    let set = set.bind(beacon(3)).unwrap();
    let recipe = Recipe { steps: 40, ..Recipe::verbatim() };
    let job = Job {
        sets: std::slice::from_ref(&set),
        tokenizer: &tokenizer,
        benign: &benign,
        recipe: &recipe,
        checkpoint: None,
        copy: None,
    };
    let report = embed::run(&mut llama, &job, &Still, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.passed(), "{:?}", report.gates);
    let marked = Decoder::from_tensors(&llama.config, &llama.numbers().unwrap(), Precision::F32).unwrap();
    for (decoder, hits) in [(&decoder, 0..=0), (&marked, 15..=16)] {
        let mut suspect = check::Local { decoder, tokenizer: &tokenizer };
        let case = Case { set: &set, tokenizer: &tokenizer, reference: None };
        let request = Request::all(&set, Mode::Greedy);
        let found =
            check::run(&mut suspect, &case, &request, &mut |_| Ok(ControlFlow::Continue(()))).unwrap();
        assert!(hits.contains(&found.evidence.hits()), "{:?}", found.evidence);
    }
}
