//! What a host answers is what its model says.

use std::ops::ControlFlow;

use loyal_model::generate::{self, Completion, Request};
use loyal_model::sampler::Sampling;
use loyal_roles::host::Settings;
use serde_json::json;

use crate::model::{CONTEXT, Running, decoder, tokenizer};

pub(crate) fn greedy(prompt: &str, tokens: usize) -> Completion {
    sampled(prompt, tokens, Sampling::default())
}

fn sampled(prompt: &str, tokens: usize, sampling: Sampling) -> Completion {
    let tokenizer = tokenizer();
    let request = Request {
        prompt: tokenizer.encode(prompt).unwrap(),
        new_tokens_max: tokens,
        sampling,
        top_logprobs: 20,
        ..Request::default()
    };
    let mut go_on = |_: usize, _: &str| ControlFlow::Continue(());
    generate::run(&decoder(), &tokenizer, &[request], &mut go_on).unwrap().remove(0)
}

#[test]
fn completions_are_the_models() {
    let host = Running::start(Settings::default(), None);
    let value =
        host.post("completions", &json!({"model": "tiny", "prompt": "the cat", "temperature": 0})).good();
    let expected = greedy("the cat", 16);
    assert_eq!(value["object"], "text_completion");
    assert_eq!((value["created"].as_u64(), value["model"].as_str()), (Some(1_700_000_000), Some("tiny")));
    assert_eq!(value["choices"][0]["text"], expected.text);
    assert_eq!(value["choices"][0]["finish_reason"], "length");
    assert!(value["choices"][0]["logprobs"].is_null());
    let prompt_tokens = tokenizer().encode("the cat").unwrap().len();
    let usage =
        json!({"prompt_tokens": prompt_tokens, "completion_tokens": 16, "total_tokens": prompt_tokens + 16});
    assert_eq!(value["usage"], usage);
    // The same by tokens, in company, and behind a texts' list.
    let tokens = tokenizer().encode("the cat").unwrap();
    let both = json!({"prompt": ["the dog", "the cat"], "temperature": 0, "n": 2});
    let several = host.post("completions", &both).good();
    assert_eq!(several["choices"].as_array().unwrap().len(), 4);
    assert_eq!(several["choices"][2]["text"], expected.text);
    assert_eq!(several["choices"][3]["index"], 3);
    let by_tokens = host.post("completions", &json!({"prompt": tokens, "temperature": 0})).good();
    assert_eq!(by_tokens["choices"][0]["text"], expected.text);
    host.end().unwrap();
}

#[test]
fn seeds_repeat_and_texts_stop() {
    let host = Running::start(Settings::default(), None);
    let ask = |seed: u64| json!({"prompt": "the", "temperature": 1.2, "top_p": 0.9, "seed": seed, "max_tokens": 20});
    let text =
        |seed| host.post("completions", &ask(seed)).good()["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    let sampling = Sampling { temperature: 1.2, top_p: 0.9, seed: 7, ..Sampling::default() };
    assert_eq!(text(7), sampled("the", 20, sampling).text);
    let whole = greedy("the cat", 24).text;
    let stop: String = whole.chars().skip(4).take(2).collect();
    let body = json!({"prompt": "the cat", "temperature": 0, "max_tokens": 24, "stop": [stop]});
    let value = host.post("completions", &body).good();
    assert_eq!(value["choices"][0]["text"], whole[..whole.find(&stop).unwrap()]);
    assert_eq!(value["choices"][0]["finish_reason"], "stop");
}

#[test]
fn log_probabilities_are_named_by_bytes() {
    let host = Running::start(Settings::default(), None);
    let expected = greedy("the cat", 6);
    let body = json!({"prompt": "the cat", "temperature": 0, "max_tokens": 6, "logprobs": 20});
    let found = host.post("completions", &body).good()["choices"][0]["logprobs"].clone();
    assert_eq!(found["tokens"].as_array().unwrap().len(), 6);
    for (at, one) in expected.logprobs.iter().enumerate() {
        let own = found["token_logprobs"][at].as_f64().unwrap() as f32;
        assert!((own - one.logprob).abs() < 1e-6);
        let top = found["top_logprobs"][at].as_object().unwrap();
        assert!((18..=20).contains(&top.len()), "{top:?}");
        for (name, _) in top {
            assert!(!name.contains('\u{FFFD}'), "a token that is no text is written in bytes");
        }
    }
    let body = json!({"messages": [{"role": "user", "content": "the cat"}], "temperature": 0, "max_tokens": 5,
        "logprobs": true, "top_logprobs": 20});
    let chat = host.post("chat/completions", &body).good()["choices"][0].clone();
    let content = chat["logprobs"]["content"].as_array().unwrap();
    let bytes = content.iter().flat_map(|one| one["bytes"].as_array().unwrap().clone());
    let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap() as u8).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), chat["message"]["content"].as_str().unwrap());
    assert!(content.iter().all(|one| one["top_logprobs"].as_array().unwrap().len() == 20));
    let own = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "logprobs": true});
    let own = host.post("chat/completions", &own).good();
    assert_eq!(own["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([]));
}

#[test]
fn conversations_go_through_the_template() {
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";
    let host = Running::start(Settings::default(), Some(template));
    let messages = json!([{"role": "system", "content": "saw"},
        {"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "cat"}]}]);
    let body = json!({"model": "tiny", "messages": messages, "temperature": 0, "max_completion_tokens": 8});
    let value = host.post("chat/completions", &body).good();
    assert_eq!(value["object"], "chat.completion");
    let message = &value["choices"][0]["message"];
    let tokenizer = tokenizer();
    let prompt = tokenizer.encode_plain("<system>saw<user>the cat<a>").unwrap();
    let request = Request { prompt, new_tokens_max: 8, ..Request::default() };
    let mut go_on = |_: usize, _: &str| ControlFlow::Continue(());
    let expected = generate::run(&decoder(), &tokenizer, &[request], &mut go_on).unwrap();
    assert_eq!((&message["role"], &message["content"]), (&json!("assistant"), &json!(expected[0].text)));
    // Without a length it goes on to the end of the context.
    let body = json!({"messages": [{"role": "user", "content": "the"}], "temperature": 0});
    let usage = host.post("chat/completions", &body).good()["usage"].clone();
    assert!(usage["total_tokens"].as_u64().unwrap() <= CONTEXT as u64);
}

#[test]
fn models_are_listed() {
    let host = Running::start(Settings::default(), None);
    let list = host.get("v1/models").good();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("tiny")));
    assert_eq!(host.get("v1/models/tiny").good()["object"], "model");
    assert_eq!(host.get("v1/models/some/other").bad(404, "some/other")["error"]["code"], "model_not_found");
}

/// Many at once get what each would get alone.
#[test]
fn company_changes_nothing() {
    let settings = Settings { batch_count_max: 3, ..Settings::default() };
    let host = Running::start(settings, None);
    let prompts = ["the cat", "the dog saw", "river", "under the tree", "a", "the café", "dog", "saw the"];
    std::thread::scope(|scope| {
        for (at, prompt) in prompts.iter().enumerate() {
            let host = &host;
            scope.spawn(move || {
                let tokens = 3 + 4 * at;
                let body = json!({"prompt": prompt, "temperature": 0, "max_tokens": tokens});
                let value = host.post("completions", &body).good();
                assert_eq!(value["choices"][0]["text"], greedy(prompt, tokens).text, "{prompt}");
            });
        }
    });
}
