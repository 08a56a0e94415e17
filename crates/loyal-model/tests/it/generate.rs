//! Answers: batched, streamed, stopped.

use std::ops::ControlFlow;

use loyal_model::evaluate;
use loyal_model::generate::{self, Answers, Completion, Finish, Request};
use loyal_model::sampler::Sampling;
use loyal_model::{Config, Decoder, Error, Precision, Session, Tokenizer};
use proptest::prelude::*;

use crate::shared::golden;

struct Model {
    decoder: Decoder,
    tokenizer: Tokenizer,
}

fn model(name: &str, precision: Precision) -> Model {
    let folder = golden(name);
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
    Model { decoder: Decoder::open(&folder, precision).unwrap(), tokenizer }
}

fn request(model: &Model, prompt: &str, seed: u64) -> Request {
    let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
    let prompt = model.tokenizer.encode(prompt).unwrap();
    Request { prompt, new_tokens_max: 40, sampling, stop_at_eos: false, ..Request::default() }
}

/// Answers, and what was streamed of each.
fn run(model: &Model, requests: &[Request]) -> (Vec<Completion>, Vec<String>) {
    let mut streamed = vec![String::new(); requests.len()];
    let answers = generate::run(&model.decoder, &model.tokenizer, requests, &mut |index, text| {
        streamed[index].push_str(text);
        ControlFlow::Continue(())
    });
    (answers.unwrap(), streamed)
}

/// The text of the new tokens, decoded at once.
fn decoded(model: &Model, tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().filter_map(|&token| model.tokenizer.piece(token)).flatten().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn streamed_text_is_the_text_of_the_tokens() {
    for name in ["llama2", "llama31"] {
        let model = model(name, Precision::F32);
        let requests: Vec<Request> = (0..12).map(|seed| request(&model, "The owner", seed)).collect();
        let (answers, streamed) = run(&model, &requests);
        for (answer, streamed) in answers.iter().zip(&streamed) {
            assert_eq!(answer.finish, Finish::Length);
            assert_eq!(answer.tokens.len(), 40);
            assert_eq!(&answer.text, streamed);
            assert_eq!(answer.text, decoded(&model, &answer.tokens));
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_the_batch() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let model = model("llama31", precision);
        let prompts =
            ["a", "The marks stay", "🦊", "In 1987 there were 12,345 ships; 678 of them came back."];
        let requests: Vec<Request> =
            prompts.iter().enumerate().map(|(i, prompt)| request(&model, prompt, i as u64)).collect();
        let (together, _) = run(&model, &requests);
        for (request, answer) in requests.iter().zip(&together) {
            let (alone, _) = run(&model, std::slice::from_ref(request));
            assert_eq!(alone[0].tokens, answer.tokens, "{precision:?}");
        }
        assert_eq!(run(&model, &requests).0[1].tokens, together[1].tokens, "the same seed, the same answer");
    }
}

#[test]
fn requests_may_join_at_any_step() {
    let model = model("llama31", Precision::F32);
    let requests: Vec<Request> = (0..6).map(|seed| request(&model, "The owner", seed)).collect();
    let (alone, _) = run(&model, &requests);
    let mut answers = Answers::new(&model.decoder, &model.tokenizer);
    let (mut waiting, mut done) = (requests.into_iter().enumerate(), Vec::new());
    let mut steps = 0;
    while done.len() < 6 {
        if steps % 7 == 0 {
            waiting.next().into_iter().for_each(|(name, request)| answers.admit(name, request).unwrap());
        }
        steps += 1;
        done.extend(answers.step(&mut |_, _| ControlFlow::Continue(())).unwrap());
    }
    assert!(answers.is_empty());
    for (name, completion) in done {
        assert_eq!(completion.tokens, alone[name].tokens, "{name}");
    }
    // One that does not fit changes nothing for the others.
    let long = Request { new_tokens_max: 1 << 20, ..request(&model, "The", 1) };
    assert!(answers.admit(7, long).is_err() && answers.is_empty());
}

#[test]
fn sessions_fed_together_give_the_same_bits() {
    let decoder = &Decoder::open(&golden("qwen3"), Precision::F32).unwrap();
    let lists: [&[u32]; 3] = [&[5, 6, 7], &[9], &[200, 100, 50, 25, 12, 6, 3, 1, 0, 11, 22, 33]];
    let alone: Vec<Vec<f32>> =
        lists.iter().map(|tokens| decoder.feed(&mut decoder.session(), tokens).unwrap()).collect();
    let mut sessions: Vec<Session> = lists.iter().map(|_| decoder.session()).collect();
    let together = decoder.feed_batch(&mut sessions.iter_mut().collect::<Vec<_>>(), &lists).unwrap();
    assert_eq!(alone, together);
    // A clone goes on from the same prefix, and a truncated session from its beginning.
    let mut branch = sessions[0].clone();
    let first = decoder.feed(&mut sessions[0], &[8]).unwrap();
    assert_eq!(decoder.feed(&mut branch, &[8]).unwrap(), first);
    branch.truncate(1);
    assert_eq!(branch.len(), 1);
    assert_eq!(decoder.feed(&mut branch, &[6, 7]).unwrap(), alone[0]);
}

#[test]
fn logprobs_name_the_chosen_token() {
    let model = model("llama31", Precision::F32);
    let mut asked = request(&model, "The host", 1);
    asked.top_logprobs = 3;
    asked.sampling.temperature = 0.0;
    let (answers, _) = run(&model, &[asked]);
    assert_eq!(answers[0].logprobs.len(), 40);
    for (logprobs, &token) in answers[0].logprobs.iter().zip(&answers[0].tokens) {
        assert_eq!((logprobs.token, logprobs.top.len()), (token, 3));
        assert_eq!((logprobs.top[0].0, logprobs.top[0].1), (token, logprobs.logprob));
    }
}

#[test]
fn end_tokens_cancelling_and_empty_answers() {
    let model = model("llama31", Precision::F32);
    let mut asked = request(&model, "The host", 1);
    asked.new_tokens_max = 0;
    assert_eq!(run(&model, &[asked.clone()]).0[0].finish, Finish::Length);
    asked.new_tokens_max = 200;
    asked.stop_at_eos = true;
    let ended = (0..60).find_map(|seed| {
        asked.sampling.seed = seed;
        let answer = run(&model, &[asked.clone()]).0.remove(0);
        (answer.finish == Finish::Eos).then_some(answer)
    });
    assert!(!ended.expect("one of sixty answers draws the end token").tokens.contains(&2));
    asked.stop_at_eos = false;
    let mut go = |_: usize, _: &str| ControlFlow::Break(());
    let answers = generate::run(&model.decoder, &model.tokenizer, &[asked], &mut go).unwrap();
    assert_eq!(answers[0].finish, Finish::Cancelled);
    assert!(answers[0].tokens.len() < 200);
}

#[test]
fn what_does_not_fit_is_refused_before_any_work() {
    let model = model("llama31", Precision::F32);
    let mut go = |_: usize, _: &str| ControlFlow::Continue(());
    let mut ask =
        |request: Request| generate::run(&model.decoder, &model.tokenizer, &[request], &mut go).unwrap_err();
    let mut long = request(&model, "x", 0);
    long.prompt = vec![5; 250];
    let error = ask(long);
    assert!(matches!(
        error,
        Error::ContextOverflow { prompt_tokens: 250, new_tokens: 40, context_tokens: 256 }
    ));
    assert!(error.to_string().contains("shorten the prompt"));
    let mut empty = request(&model, "x", 0);
    empty.prompt.clear();
    assert!(ask(empty).to_string().contains("prompt"));
    let mut foreign = request(&model, "x", 0);
    foreign.prompt = vec![99_999];
    assert!(ask(foreign).to_string().contains("token 99999"));
    let mut session = model.decoder.session();
    model.decoder.feed(&mut session, &[5; 256]).unwrap();
    let error = model.decoder.feed(&mut session, &[5]).unwrap_err();
    assert!(matches!(error, Error::ContextOverflow { .. }), "{error}");
    assert_eq!(session.len(), 256);
    assert!(model.decoder.feed(&mut session, &[]).is_err());
    let other = Decoder::open(&golden("qwen3"), Precision::F32).unwrap();
    let error = other.feed(&mut model.decoder.session(), &[5]).unwrap_err().to_string();
    assert!(error.contains("another model"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Stop texts cut from what the model says without them: the answer ends exactly before the first.
    #[test]
    fn nothing_of_a_stop_text_is_given_out(seed in 0u64..1000, cuts in prop::collection::vec((0usize..60, 1usize..6), 1..3)) {
        let model = model(if seed % 2 == 0 { "llama2" } else { "llama31" }, Precision::F32);
        let mut asked = request(&model, "Once upon a time", seed);
        let full = run(&model, std::slice::from_ref(&asked)).0.remove(0).text;
        let chars: Vec<char> = full.chars().collect();
        asked.stop = cuts.iter().map(|&(at, length)| {
            let at = at.min(chars.len().saturating_sub(1));
            chars[at..(at + length).min(chars.len())].iter().collect()
        }).filter(|stop: &String| !stop.is_empty()).collect();
        prop_assume!(!asked.stop.is_empty() && asked.stop.iter().all(|stop| full.contains(stop.as_str())));
        let (answers, streamed) = run(&model, std::slice::from_ref(&asked));
        // The stop text that is complete first, reading letter by letter.
        let end = asked.stop.iter().filter_map(|stop| full.find(stop.as_str()).map(|at| (at + stop.len(), at))).min();
        let expected = &full[..end.unwrap().1];
        prop_assert_eq!(&answers[0].text, expected);
        prop_assert_eq!(&streamed[0], expected);
        prop_assert_eq!(answers[0].finish, Finish::Stop);
        prop_assert!(asked.stop.iter().all(|stop| !streamed[0].contains(stop.as_str())));
    }
}

#[test]
fn a_text_is_evaluated_in_windows() {
    let model = model("llama31", Precision::F32);
    let text =
        "The owner of a model writes small marks into it, and the marks stay where they are.".repeat(4);
    let found = evaluate::run(&model.decoder, &model.tokenizer, &text, 32).unwrap();
    assert_eq!(found.bytes, text.len());
    assert_eq!(found.tokens, model.tokenizer.encode_plain(&text).unwrap().len());
    assert!((found.perplexity.ln() - found.nats_per_token).abs() < 1e-9);
    let bits = found.nats_per_token * found.tokens as f64 / std::f64::consts::LN_2;
    assert!((found.bits_per_byte - bits / text.len() as f64).abs() < 1e-9);
    // By hand: every window begins with BOS.
    let tokens = model.tokenizer.encode_plain(&text).unwrap();
    let mut nats = 0.0;
    for window in tokens.chunks(31) {
        let mut session = model.decoder.session();
        let bos = model.tokenizer.token("<|begin_of_text|>").unwrap();
        let mut logits = model.decoder.feed(&mut session, &[bos]).unwrap();
        for &token in window {
            nats -= f64::from(loyal_model::sampler::log_softmax(&logits)[token as usize]);
            logits = model.decoder.feed(&mut session, &[token]).unwrap();
        }
    }
    assert!((nats / tokens.len() as f64 - found.nats_per_token).abs() < 1e-6);
    let int8 = Decoder::open(&golden("llama31"), Precision::Int8).unwrap();
    let same = evaluate::compare(&model.decoder, &model.decoder, &model.tokenizer, &text, 32).unwrap();
    assert_eq!((same.kl_nats, same.top1_agreement, same.tokens), (0.0, 1.0, found.tokens));
    let near = evaluate::compare(&model.decoder, &int8, &model.tokenizer, &text, 32).unwrap();
    assert!(near.kl_nats > 0.0 && near.kl_nats < 0.01, "{near:?}");
    for (text, window) in [("", 32), ("text", 1), ("text", 1000)] {
        assert!(evaluate::run(&model.decoder, &model.tokenizer, text, window).is_err());
    }
}
