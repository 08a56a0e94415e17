//! The table of targets: one for each parser of bytes that come from outside.

use std::path::Path;

mod model;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Its name, on the command line and of its folder in `corpus/`.
    pub(crate) name: &'static str,
    /// Gives it bytes: `Ok` when it accepts them, and the words of its refusal otherwise.
    pub(crate) run: fn(&[u8]) -> Result<(), String>,
    /// Words of its format.
    pub(crate) dictionary: &'static [&'static str],
    /// Makes a mutated input plausible again (a length, a checksum), so that what lies behind is reached too.
    pub(crate) mend: Option<fn(&mut [u8])>,
}

/// Every target. Add one line here and one valid file in `corpus/<name>/`.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "config_json", run: model::config_json, dictionary: model::CONFIG_WORDS, mend: None },
    Target {
        name: "safetensors",
        run: model::safetensors,
        dictionary: model::SAFETENSORS_WORDS,
        mend: Some(model::mend_safetensors),
    },
    Target {
        name: "safetensors_index",
        run: model::safetensors_index,
        dictionary: model::INDEX_WORDS,
        mend: None,
    },
    Target {
        name: "tokenizer_json",
        run: model::tokenizer_json,
        dictionary: model::TOKENIZER_WORDS,
        mend: None,
    },
];

/// The target of a name.
pub(crate) fn named(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// What errors call a file that exists in memory only.
fn nowhere() -> &'static Path {
    Path::new("input")
}
