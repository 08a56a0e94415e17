//! Hostile bytes for every parser of ours: `cargo xtask fuzz [target] [--seconds N]`.

fn main() {}
