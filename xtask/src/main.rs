//! Chores of the repository: `cargo xtask <name>`.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("no chore yet")
}
