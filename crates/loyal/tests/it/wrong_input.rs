//! Wrong input, row by row: each ends with the right code, names the file and the remedy, and leaves nothing behind.

use std::ffi::{OsStr, OsString};
use std::fs;

use crate::command::Place;
use crate::model::{self, Shape};

/// One wrong thing.
struct Case<'a> {
    /// The command line behind `loyal model`.
    arguments: &'a [&'a str],
    /// Makes the model in `tiny` wrong.
    spoil: fn(&Place),
    code: i32,
    /// What must be said.
    says: &'a [&'a str],
}

const GENERATE: &[&str] = &["generate", "tiny", "the cat"];
const fn nothing(_: &Place) {}

#[track_caller]
fn check(cases: &[Case<'_>]) {
    for case in cases {
        let place = Place::new();
        model::write(&place.path("tiny"), Shape::default());
        (case.spoil)(&place);
        let before = place.files();
        let run = place.run(&[&["model"], case.arguments].concat());
        run.bad(case.code, case.says);
        assert_eq!(run.stdout, "", "{:?}", case.arguments);
        assert_eq!(place.files(), before, "{:?} left something", case.arguments);
    }
}

fn replace(place: &Place, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(place.path(name)).unwrap();
    assert!(text.contains(from), "{text}");
    place.write(name, text.replace(from, to));
}

#[test]
fn folders() {
    let case = |arguments, spoil, says| Case { arguments, spoil, code: 1, says };
    let missing: &[&str] = &["./none: no such folder", "loyal model pull"];
    let file: &[&str] = &["tiny/config.json: not a folder", "give the folder itself"];
    check(&[
        case(&["info", "./none"], nothing, missing),
        case(&["generate", "./none", "the cat"], nothing, missing),
        case(&["chat", "./none"], nothing, missing),
        case(&["evaluate", "./none", "tiny/config.json"], nothing, missing),
        case(&["info", "tiny/config.json"], nothing, file),
        case(&["info", "."], nothing, &["./config.json", "check the path"]),
    ]);
}

#[test]
fn files_of_a_model() {
    let case = |spoil, says| {
        [
            Case { arguments: GENERATE, spoil, code: 1, says },
            Case { arguments: &["info", "tiny"], spoil, code: 1, says },
        ]
    };
    let truncate: fn(&Place) = |place| {
        let weights = fs::read(place.path("tiny/model.safetensors")).unwrap();
        place.write("tiny/model.safetensors", &weights[..weights.len() / 2]);
    };
    let header: fn(&Place) = |place| place.write("tiny/model.safetensors", u64::MAX.to_le_bytes());
    let architecture: fn(&Place) =
        |place| replace(place, "tiny/config.json", "LlamaForCausalLM", "GPT2LMHeadModel");
    let no_json: fn(&Place) = |place| place.write("tiny/config.json", "{\"hidden_size\":");
    let size: fn(&Place) =
        |place| replace(place, "tiny/config.json", "\"hidden_size\":16", "\"hidden_size\":-16");
    let shape: fn(&Place) =
        |place| replace(place, "tiny/config.json", "\"intermediate_size\":32", "\"intermediate_size\":48");
    let tokenizer: fn(&Place) = |place| {
        fs::create_dir(place.path("bigger")).unwrap();
        model::write(&place.path("bigger"), Shape { vocabulary: 280, ..Shape::default() });
        fs::rename(place.path("bigger/tokenizer.json"), place.path("tiny/tokenizer.json")).unwrap();
    };
    let no_tokenizer: fn(&Place) = |place| fs::remove_file(place.path("tiny/tokenizer.json")).unwrap();
    let torn_tokenizer: fn(&Place) = |place| place.write("tiny/tokenizer.json", "{\"model\":");
    let no_weights: fn(&Place) = |place| fs::remove_file(place.path("tiny/model.safetensors")).unwrap();
    for cases in [
        case(truncate, &["tiny/model.safetensors", "truncated", "download the file again"]),
        case(header, &["tiny/model.safetensors", "download the file again"]),
        case(architecture, &["tiny/config.json", "GPT2LMHeadModel is not supported", "LlamaForCausalLM"]),
        case(no_json, &["tiny/config.json", "must be a JSON object"]),
        case(size, &["tiny/config.json", "hidden_size is -16", "must be a whole number"]),
        case(shape, &["tiny/model.safetensors", "mlp", "expected shape [48, 16]", "found shape [32, 16]"]),
        case(tokenizer, &["tiny/tokenizer.json", "vocab_size", "take both files from the same model"]),
        case(no_tokenizer, &["tiny/tokenizer.json", "check the path"]),
        case(torn_tokenizer, &["tiny/tokenizer.json", "download tokenizer.json again"]),
        case(no_weights, &["tiny/model.safetensors", "check the path"]),
    ] {
        check(&cases);
    }
    let template: fn(&Place) = |place| place.write("tiny/chat_template.jinja", "{% if %}");
    check(&[Case { arguments: &["info", "tiny"], spoil: template, code: 1, says: &["chat template"] }]);
}

#[test]
fn prompts() {
    let long = "river ".repeat(200);
    let long_file: fn(&Place) = |place| place.write("long.txt", "river ".repeat(200));
    let latin: fn(&Place) = |place| place.write("latin.txt", b"caf\xe9 noir");
    let case = |arguments, spoil, says| Case { arguments, spoil, code: 1, says };
    let overflow: &[&str] = &["context holds 64", "shorten the prompt"];
    check(&[
        case(&["generate", "tiny", &long], nothing, overflow),
        case(&["generate", "tiny", "--prompt-file", "long.txt"], long_file, overflow),
        case(&["generate", "tiny", "the", "--max-tokens", "100"], nothing, overflow),
        case(&["generate", "tiny", "--prompt-file", "none.txt"], nothing, &["none.txt", "check the path"]),
        case(
            &["generate", "tiny", "--prompt-file", "latin.txt"],
            latin,
            &["latin.txt: not UTF-8 text from byte 3 on", "save it as UTF-8"],
        ),
    ]);
    let both = ["generate", "tiny", "the", "--prompt-file", "latin.txt"];
    check(&[Case { arguments: &both, spoil: latin, code: 2, says: &["give the prompt once"] }]);
}

#[test]
fn prompts_through_a_pipe() {
    let place = Place::new();
    model::write(&place.path("tiny"), Shape::default());
    let bad: &[&str] = &["standard input: not UTF-8 text from byte 1 on"];
    place.run_with_input(&["model", "generate", "tiny"], b"a\xff").bad(1, bad);
    place.run_with_input(&["model", "chat", "tiny"], b"a\xff\n").bad(1, bad);
    let long = "river ".repeat(200) + "\n";
    place.run_with_input(&["model", "chat", "tiny"], long.as_bytes()).bad(1, &["context holds 64"]);
}

#[cfg(unix)]
#[test]
fn a_prompt_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    model::write(&place.path("tiny"), Shape::default());
    let words: Vec<OsString> = ["model", "generate", "tiny"].iter().map(OsString::from).collect();
    let prompt = OsStr::from_bytes(b"caf\xe9").to_owned();
    place.run(&[&words[..], &[prompt]].concat()).bad(2, &["not UTF-8", "--prompt-file"]);
}

#[test]
fn options() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--temperature", "-1"], &["--temperature", "0 or a positive number"]),
        (&["--temperature", "hot"], &["--temperature", "0 or a positive number"]),
        (&["--temperature", "inf"], &["--temperature"]),
        (&["--temperature", "NaN"], &["--temperature"]),
        (&["--top-p", "0"], &["--top-p", "above 0 and at most 1"]),
        (&["--top-p", "1.5"], &["--top-p", "above 0 and at most 1"]),
        (&["--min-p", "2"], &["--min-p", "from 0 to 1"]),
        (&["--top-k", "-3"], &["--top-k"]),
        (&["--count", "0"], &["--count", "1..=1024"]),
        (&["--max-tokens", "many"], &["--max-tokens"]),
        (&["--precision", "int3"], &["--precision", "int4", "int8"]),
        (&["--colour"], &["--colour", "Usage"]),
    ];
    for (options, says) in cases {
        // `--top-k -3` would be two options; written so, it is a value.
        let options = if options.len() == 2 {
            vec![format!("{}={}", options[0], options[1])]
        } else {
            vec![options[0].to_owned()]
        };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let arguments = [GENERATE, &options[..]].concat();
        check(&[Case { arguments: &arguments, spoil: nothing, code: 2, says }]);
    }
    check(&[
        Case { arguments: &["frobnicate"], spoil: nothing, code: 2, says: &["frobnicate", "Usage"] },
        Case { arguments: &["evaluate"], spoil: nothing, code: 2, says: &["TEXT", "Usage"] },
        Case {
            arguments: &["chat", "tiny", "--max-tokens", "0"],
            spoil: nothing,
            code: 2,
            says: &["--max-tokens"],
        },
    ]);
}

#[test]
fn texts_to_measure() {
    let case = |arguments, spoil, says| Case { arguments, spoil, code: 1, says };
    let text: fn(&Place) = |place| place.write("text.txt", "the cat saw the dog");
    let empty: fn(&Place) = |place| place.write("text.txt", " \n");
    let latin: fn(&Place) = |place| place.write("text.txt", b"\xe9t\xe9");
    let other: fn(&Place) = |place| {
        place.write("text.txt", "the cat saw the dog");
        model::write(&place.path("other"), Shape { vocabulary: 257, ..Shape::default() });
    };
    let plain: &[&str] = &["evaluate", "tiny", "text.txt"];
    check(&[
        case(plain, nothing, &["text.txt", "check the path"]),
        case(plain, empty, &["text.txt", "give a longer one"]),
        case(plain, latin, &["text.txt: not UTF-8 text from byte 0 on"]),
        case(
            &["evaluate", "tiny", "text.txt", "--window", "65"],
            text,
            &["window of 65 tokens", "from 2 to 64"],
        ),
        case(&["evaluate", "tiny", "text.txt", "--window", "1"], text, &["from 2 to 64"]),
        case(
            &["evaluate", "tiny", "text.txt", "--against", "other"],
            other,
            &["different tokens", "same tokenizer"],
        ),
        case(&["evaluate", "tiny", "text.txt", "--against", "none"], text, &["none: no such folder"]),
    ]);
}
