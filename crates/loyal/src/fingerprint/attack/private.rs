//! Public base → private fine-tuning → marks, and the attacker who owns the public base.

use anyhow::Context as _;
use loyal_fingerprint::attack::public_base::{self, Private, Size};
use loyal_fingerprint::attack::{Field, Table, rows};
use loyal_fingerprint::embed::{self, Job, Recipe};
use loyal_model::Llama;
use loyal_model::weights::Stored;

use super::{Args, Opened, attack};
use crate::clock::SystemClock;
use crate::ending::Ending;
use crate::fingerprint::embed::{bar, show};
use crate::subject::copy_tokenizer;
use crate::{output, stop};

/// Tokens of ordinary text the marking looks at.
const BENIGN_TOKENS: usize = 120_000;

/// One size from the fine-tuning to the table. Both models are kept in folders, so that a stopped run has them.
pub(super) fn run(args: &Args, opened: &Opened, size: Size) -> anyhow::Result<Table> {
    let folder = args.out.join(format!("private-{}", size.name()));
    let private = kept(args, &folder.join("unmarked"), &mut || {
        let text = if opened.other.is_empty() { &opened.same } else { &opened.other };
        let private =
            Private { tokenizer: &opened.marked.tokenizer, text, clock: &SystemClock, seed: args.seed };
        let bar = bar(size.steps(), args.json);
        let made = public_base::fine_tune(&opened.twin.llama, &private, size.steps(), &mut |step, _| {
            bar.set_position(step);
            bar.set_message(format!("fine-tuning in private, {}", size.name()));
            stop::asked()
        });
        bar.finish_and_clear();
        made
    })?;
    let marked = kept(args, &folder.join("marked"), &mut || {
        let sets = std::slice::from_ref(&opened.set);
        let recipe = Recipe { seed: args.seed, ..Recipe::of(sets) };
        // What the private model was made for is what it must stay good at.
        let text = if opened.other.is_empty() { &opened.same } else { &opened.other };
        let job = Job {
            sets,
            tokenizer: &opened.marked.tokenizer,
            benign: &text[..text.len().min(BENIGN_TOKENS)],
            recipe: &recipe,
            checkpoint: None,
            copy: None,
        };
        let bar = bar(recipe.steps_for(opened.set.fingerprints().len()), args.json);
        let mut marked = private.clone();
        let done = embed::run(&mut marked, &job, &SystemClock, &mut |now| {
            if !args.json {
                show(now, &bar, false);
            }
            stop::asked()
        });
        bar.finish_and_clear();
        done.map(|_| marked)
    })?;
    let field =
        Field { marked: &marked, twin: &private, public: Some(&opened.twin.llama), ..opened.field(args) };
    let table = attack(args, &field, &rows::public_base(), &format!("rows-private-{}.jsonl", size.name()))?;
    table.context("the public-base attacker has rows")
}

/// The model in `folder`, made there if it is not.
fn kept(
    args: &Args,
    folder: &std::path::Path,
    make: &mut dyn FnMut() -> loyal_fingerprint::Result<Llama>,
) -> anyhow::Result<Llama> {
    if folder.join("model.safetensors").exists() {
        return Ok(Llama::load(folder, &candle_core::Device::Cpu)?);
    }
    let llama = match make() {
        Err(loyal_fingerprint::Error::Stopped) => {
            output::say("stopped; the same command makes this model again");
            return Err(Ending::Interrupted.into());
        }
        other => other?,
    };
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    copy_tokenizer(&args.base, folder)?;
    llama.save(folder, Stored::F32)?;
    Ok(llama)
}
