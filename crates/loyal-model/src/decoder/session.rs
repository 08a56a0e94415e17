//! What a decoder remembers of one sequence: keys and values of every position.

use crate::config::Config;

/// The KV cache of one sequence. It grows with what is fed; a clone continues from the same prefix.
#[derive(Debug, Clone)]
pub struct Session {
    /// One per layer and key-value head, layers outermost.
    pub(super) heads: Vec<Head>,
    pub(super) length: usize,
    head_size: usize,
}

/// Keys and values of one head, position after position.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Session {
    pub(super) fn new(config: &Config) -> Self {
        let heads = vec![Head::default(); config.layer_count * config.kv_head_count];
        Self { heads, length: 0, head_size: config.head_size }
    }

    /// Tokens fed so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was fed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets all but the first `length` tokens; does nothing where there are fewer.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        for head in &mut self.heads {
            head.keys.truncate(self.length * self.head_size);
            head.values.truncate(self.length * self.head_size);
        }
    }

    /// Whether it belongs to a model of this shape.
    pub(super) fn fits(&self, config: &Config) -> bool {
        self.head_size == config.head_size && self.heads.len() == config.layer_count * config.kv_head_count
    }
}
