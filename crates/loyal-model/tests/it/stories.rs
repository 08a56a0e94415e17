//! The real model stories260K answers what it answers in `transformers`.

use std::ops::ControlFlow;

use loyal_model::generate::{self, Finish, Request};
use loyal_model::{Config, Decoder, Precision, Tokenizer};

use crate::shared::{json, stories, tokens};

#[test]
fn greedy_text_is_golden() {
    let Some(folder) = stories() else { return };
    let golden = json(&folder.join("golden.json"));
    let tokenizer = Tokenizer::read(&folder, &Config::read(&folder).unwrap()).unwrap();
    for threads in [1, 2] {
        let decoder = Decoder::open(&folder, Precision::F32).unwrap().with_threads(threads);
        let cases = golden["cases"].as_array().unwrap();
        let mut requests = Vec::new();
        for case in cases {
            let prompt = tokenizer.encode(case["prompt"].as_str().unwrap()).unwrap();
            assert_eq!(prompt, tokens(&case["prompt_ids"]));
            requests.push(Request { prompt, new_tokens_max: 200, top_logprobs: 10, ..Request::default() });
        }
        let answers =
            generate::run(&decoder, &tokenizer, &requests, &mut |_, _| ControlFlow::Continue(())).unwrap();
        for (case, answer) in cases.iter().zip(&answers) {
            // The golden text ends before <s> (1) and </s> (2); only the second is an end token of the model.
            let expected = tokens(&case["new_ids"]);
            let end = answer.tokens.iter().position(|&token| token == 1).unwrap_or(answer.tokens.len());
            assert_eq!(answer.tokens[..end], expected, "{}", case["prompt"]);
            if end == answer.tokens.len() {
                let text = format!("{}{}", case["prompt"].as_str().unwrap(), answer.text);
                assert_eq!(text, case["text"].as_str().unwrap());
                assert_eq!(answer.finish == Finish::Length, answer.tokens.len() == 200);
            }
            for (found, golden) in
                answer.logprobs[0].top.iter().zip(case["first_step_top10"].as_array().unwrap())
            {
                assert_eq!(u64::from(found.0), golden[0].as_u64().unwrap());
                assert!((f64::from(found.1) - golden[2].as_f64().unwrap()).abs() < 1e-4);
            }
        }
    }
}
