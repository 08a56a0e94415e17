//! What a model folder holds besides weights: its shape, its tokenizer, its chat template.

use std::collections::BTreeMap;

use loyal_model::template::{ChatTemplate, Date, Message};
use loyal_model::{Config, Tokenizer};

use super::{FOLDER, HELD_BYTES_BASE, Target, file, nowhere};

pub(super) const CONFIG_JSON: Target = Target {
    name: "config_json",
    run: config_json,
    dictionary: CONFIG_WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const TOKENIZER_JSON: Target = Target {
    name: "tokenizer_json",
    run: tokenizer_json,
    dictionary: TOKENIZER_WORDS,
    mend: None,
    make: None,
    held_bytes_base: HELD_BYTES_BASE,
};

pub(super) const TOKENIZER_CONFIG: Target = Target {
    name: "tokenizer_config",
    run: tokenizer_config,
    dictionary: TEMPLATE_WORDS,
    mend: None,
    make: None,
    held_bytes_base: TEMPLATE_BYTES_BASE,
};

pub(super) const CHAT_TEMPLATE: Target = Target {
    name: "chat_template",
    run: chat_template,
    dictionary: TEMPLATE_WORDS,
    mend: None,
    make: None,
    held_bytes_base: TEMPLATE_BYTES_BASE,
};

/// The template engine bounds its steps and the length of a repeated string (100 MB), not what it holds in all.
const TEMPLATE_BYTES_BASE: usize = 512 << 20;

const CONFIG_WORDS: &[&str] = &[
    "\"architectures\"",
    "\"LlamaForCausalLM\"",
    "\"Qwen2ForCausalLM\"",
    "\"Qwen3ForCausalLM\"",
    "\"hidden_size\"",
    "\"intermediate_size\"",
    "\"num_hidden_layers\"",
    "\"num_attention_heads\"",
    "\"num_key_value_heads\"",
    "\"head_dim\"",
    "\"vocab_size\"",
    "\"max_position_embeddings\"",
    "\"rope_theta\"",
    "\"rope_scaling\"",
    "\"rope_type\"",
    "\"llama3\"",
    "\"linear\"",
    "\"factor\"",
    "\"eos_token_id\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
];

const TOKENIZER_WORDS: &[&str] = &[
    "\"model\"",
    "\"type\"",
    "\"BPE\"",
    "\"Unigram\"",
    "\"WordPiece\"",
    "\"vocab\"",
    "\"merges\"",
    "\"added_tokens\"",
    "\"normalizer\"",
    "\"pre_tokenizer\"",
    "\"post_processor\"",
    "\"decoder\"",
    "\"ByteLevel\"",
    "\"Metaspace\"",
    "\"ByteFallback\"",
    "\"Replace\"",
    "\"Split\"",
    "\"Regex\"",
    "\"(a+)+$\"",
    "\"Sequence\"",
    "\"special\"",
    "\"byte_fallback\"",
    "\"continuing_subword_prefix\":\"##\"",
    "\"unk_token\"",
    "null",
    "true",
];

const TEMPLATE_WORDS: &[&str] = &[
    "{% for message in messages %}",
    "{% for i in range(999999999) %}",
    "{% endfor %}",
    "{% if add_generation_prompt %}",
    "{% else %}",
    "{% endif %}",
    "{% set ns = namespace(found=false) %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% generation %}",
    "{{ messages }}",
    "{{ message['content'] | trim }}",
    "{{ messages | tojson(indent=999999999) }}",
    "{{ 'x'.join(messages) }}",
    "{{ 'ab' | replace('a', 'bbbb') }}",
    "{{ strftime_now('%d %b %Y') }}",
    "{{ raise_exception('no') }}",
    "{{ range(10) | list }}",
    "[-1:]",
    "\"chat_template\"",
    "\"bos_token\"",
    "\"content\"",
    " ~ ",
    " ** 999",
];

/// `config.json`, and what a reader of it derives: the list of tensors and the rotary frequencies.
fn config_json(bytes: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let config = Config::parse(&value, nowhere()).map_err(|error| error.to_string())?;
    std::hint::black_box((config.parameter_count(), config.rope_frequencies()));
    let written = config.to_json("float32");
    let again =
        Config::parse(&written, nowhere()).map_err(|error| format!("written but not read: {error}"))?;
    assert_eq!(config, again, "a configuration must survive being written and read");
    Ok(())
}

/// `tokenizer.json`, and a text there and back through the tokenizer it makes.
fn tokenizer_json(bytes: &[u8]) -> Result<(), String> {
    let tokenizer = Tokenizer::parse(bytes, nowhere()).map_err(|error| error.to_string())?;
    let tokens =
        tokenizer.encode("Once upon a time, there was a café.").map_err(|error| error.to_string())?;
    tokenizer.decode(&tokens).map_err(|error| error.to_string())?;
    Ok(())
}

/// `tokenizer_config.json`, as far as it holds a template.
fn tokenizer_config(bytes: &[u8]) -> Result<(), String> {
    file("tokenizer_config.json", bytes)?;
    let template = ChatTemplate::read(FOLDER.path()).map_err(|error| error.to_string())?;
    render(template.ok_or("no template")?)
}

/// A chat template, and a conversation rendered with it.
fn chat_template(bytes: &[u8]) -> Result<(), String> {
    let source = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    render(ChatTemplate::new(source, special).map_err(|error| error.to_string())?)
}

fn render(template: ChatTemplate) -> Result<(), String> {
    let said = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let messages =
        [said("system", "Be kind."), said("user", "Hello?"), said("assistant", " Hi. "), said("user", "Né?")];
    let template = template.on(Date { year: 2024, month: 2, day: 29 });
    template.render(&messages, true).map_err(|error| error.to_string())?;
    Ok(())
}
