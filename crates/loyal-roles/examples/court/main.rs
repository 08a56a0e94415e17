//! The court in five stories, on a chain inside of this program: a version that is voted in, a receipt that was left out, an honest
//! host that is accused, one that hides use, and a liar. Every amount is checked; what is printed was found on the chain.
//!
//! `cargo run --release -p loyal-roles --example court`
#![allow(clippy::print_stdout, reason = "an example talks")]

mod probe;
mod story;
mod town;

/// A story: its name, and what it does.
type Story = (&'static str, fn() -> anyhow::Result<String>);

const STORIES: [Story; 5] = [
    ("David's fine-tune is voted in", story::upgrade),
    ("A receipt that was left out", story::omission),
    ("An honest host is accused", story::clearing),
    ("A host that hides use", story::hiding),
    ("A liar before a jury", story::slander),
];

fn main() -> anyhow::Result<()> {
    for (name, story) in STORIES {
        println!("{name}.\n{}\n", story()?);
    }
    Ok(())
}
