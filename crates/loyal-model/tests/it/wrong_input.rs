//! Broken and hostile model folders: each error names the file and what to do.

use std::path::Path;

use loyal_model::template::ChatTemplate;
use loyal_model::{Config, Decoder, Precision, Tokenizer};
use serde_json::json;

use crate::shared::golden;

/// A copy of the fixture `name` with one thing changed.
fn broken(name: &str, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    folder
}

fn load(folder: &Path) -> loyal_model::Result<()> {
    let decoder = Decoder::open(folder, Precision::F32)?;
    let tokenizer = Tokenizer::read(folder, decoder.config())?;
    ChatTemplate::read(folder)?;
    decoder.feed(&mut decoder.session(), &tokenizer.encode("a b")?)?;
    Ok(())
}

fn set(folder: &Path, file: &str, changes: &[(&str, serde_json::Value)]) {
    let path = folder.join(file);
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, new) in changes {
        value[*key] = new.clone();
    }
    std::fs::write(path, value.to_string()).unwrap();
}

/// A safetensors file with this header and `data` bytes after it.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn the_fixtures_load() {
    for name in ["llama2", "llama31"] {
        load(&golden(name)).unwrap();
    }
}

/// Writes `content` to `file` of the fixture llama2; the error must have all `words`.
fn check_content(file: &str, content: &[u8], words: &[&str]) {
    let folder = broken("llama2", |folder| std::fs::write(folder.join(file), content).unwrap());
    expect(folder.path(), &[&[file], words].concat());
}

fn expect(folder: &Path, words: &[&str]) {
    let error = load(folder).expect_err("a broken folder is refused").to_string();
    for word in words {
        assert!(error.contains(word), "{error:?} lacks {word:?}");
    }
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let bomb = "[".repeat(1_000_000);
    let wide = format!("{{\"x\": {}1{}}}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        check_content(file, b"", &[]);
        check_content(file, b"not json", &["line 1"]);
        check_content(file, b"\xff\xfe\x00", &[]);
        check_content(file, bomb.as_bytes(), &["recursion"]);
        check_content(file, wide.as_bytes(), &["recursion"]);
    }
    check_content("config.json", b"[]", &["JSON object"]);
    check_content("config.json", b"{}", &["architectures"]);
    check_content("tokenizer.json", b"{}", &["decoder"]);
    check_content("tokenizer.json", br#"{"decoder": {"type": "WordPiece"}}"#, &["WordPiece", "supported"]);
    check_content("chat_template.jinja", b"\xff", &["UTF-8"]);
    let template = broken("llama2", |f| std::fs::write(f.join("chat_template.jinja"), "{% if %}").unwrap());
    expect(template.path(), &["chat template", "line 1"]);
}

#[test]
fn weights_that_are_not_what_they_should_be() {
    let file = "model.safetensors";
    let whole = std::fs::read(golden("llama2").join(file)).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        check_content(file, &whole[..length], &["download"]);
    }
    check_content(file, &u64::MAX.to_le_bytes(), &["download"]);
    check_content(file, &safetensors("{\"a\": 1}", 0), &["download"]);
    check_content(file, &safetensors(&"[".repeat(100_000), 0), &["download"]);
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(
            r#"{{"model.embed_tokens.weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#
        )
    };
    check_content(file, &safetensors(&tensor("F32", "[4294967296,4294967296]", "[0,16]"), 16), &["download"]);
    check_content(file, &safetensors(&tensor("F32", "[2,2]", "[0,999999]"), 16), &["download"]);
    check_content(file, &safetensors(&tensor("I64", "[2,1]", "[0,16]"), 16), &["I64", "F32, BF16, F16"]);
    check_content(
        file,
        &safetensors(&tensor("F32", "[2,2]", "[0,16]"), 16),
        &["embed_tokens", "expected shape"],
    );
}

#[test]
fn shards_that_are_not_what_they_should_be() {
    let index = "model.safetensors.index.json";
    let with =
        |map: serde_json::Value| broken("llama31", |folder| set(folder, index, &[("weight_map", map)]));
    expect(with(json!({"a": "../../etc/passwd"})).path(), &[index, "same folder"]);
    expect(with(json!({"a": "/etc/shadow.safetensors"})).path(), &[index, "same folder"]);
    expect(with(json!({"a": 7})).path(), &[index]);
    expect(with(json!({"a": "gone.safetensors"})).path(), &["gone.safetensors", "check the path"]);
    let half = broken("llama31", |folder| {
        std::fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    });
    expect(half.path(), &["model-00002-of-00002.safetensors", "check the path"]);
}

#[test]
fn configurations_that_do_not_fit() {
    let with = |changes: &[(&str, serde_json::Value)]| {
        broken("llama2", |folder| set(folder, "config.json", changes))
    };
    for (key, value, words) in [
        ("architectures", json!(["MambaForCausalLM"]), vec!["MambaForCausalLM", "supported"]),
        ("hidden_act", json!("gelu"), vec!["gelu", "silu"]),
        ("hidden_size", json!(-1), vec!["hidden_size", "whole number"]),
        ("hidden_size", json!(1u64 << 40), vec!["hidden_size", "whole number"]),
        ("num_hidden_layers", json!("two"), vec!["num_hidden_layers"]),
        ("num_key_value_heads", json!(3), vec!["num_key_value_heads", "divide"]),
        ("head_dim", json!(5), vec!["head_dim", "even"]),
        ("rms_norm_eps", json!(0), vec!["rms_norm_eps"]),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": 4}), vec!["yarn", "supported"]),
        ("rope_parameters", json!({"rope_type": "linear", "factor": 0}), vec!["factor", "positive"]),
        ("eos_token_id", json!("</s>"), vec!["eos_token_id", "token id"]),
        ("mlp_bias", json!(true), vec!["mlp_bias"]),
    ] {
        expect(with(&[(key, value)]).path(), &[&["config.json"], words.as_slice()].concat());
    }
    expect(with(&[("hidden_size", json!(32))]).path(), &["model.safetensors", "expected shape", "found"]);
    expect(with(&[("num_hidden_layers", json!(3))]).path(), &["model.layers.2", "no such tensor"]);
    // A tokenizer of another model: more tokens than the model has.
    let other = broken("linear", |folder| {
        std::fs::copy(golden("llama31").join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    });
    expect(other.path(), &["tokenizer.json", "vocab_size 256", "same model"]);
}

#[test]
fn files_that_are_missing_or_closed() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = broken("llama2", |folder| std::fs::remove_file(folder.join(file)).unwrap());
        expect(folder.path(), &[file, "check the path"]);
        let folder = broken("llama2", |folder| {
            std::fs::remove_file(folder.join(file)).unwrap();
            std::fs::create_dir(folder.join(file)).unwrap();
        });
        expect(folder.path(), &[file, "failed"]);
    }
    let nowhere = Path::new("/nowhere/at/all");
    expect(nowhere, &["/nowhere/at/all", "check the path"]);
    assert!(Config::read(nowhere).is_err());
}

/// Root reads everything, so permissions can only be tested as somebody else.
#[cfg(unix)]
#[test]
fn permission_denied_names_the_remedy() {
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let error =
        loyal_model::Error::File { path: "model.safetensors".into(), doing: "opening", source: denied };
    assert!(error.to_string().contains("give this user access"), "{error}");
}

#[test]
fn a_tokenizer_with_any_byte_changed_never_panics() {
    let bytes = std::fs::read(golden("llama2").join("tokenizer.json")).unwrap();
    let mut state = 7u32;
    for _ in 0..400 {
        let mut hurt = bytes.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = state as usize % hurt.len();
            hurt[at] = (state >> 24) as u8;
        }
        if let Ok(tokenizer) = Tokenizer::parse(&hurt, Path::new("tokenizer.json"))
            && let Ok(tokens) = tokenizer.encode("Once upon a time, 日本")
        {
            // Tokens may be wrong now; decoding answers or refuses.
            drop(tokenizer.decode(&tokens));
        }
    }
}
