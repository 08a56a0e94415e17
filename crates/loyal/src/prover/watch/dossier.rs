//! A dossier: a folder that a stranger can judge. It appears whole or not at all, and holds no query that was not answered.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use loyal_fingerprint::check::transcript::Record;
use loyal_fingerprint::check::{Bundle, Findings, Ledger, Verdict};
use loyal_fingerprint::trace::Traced;
use loyal_fingerprint::watch::{Cause, Inquiry};
use loyal_types::Clock as _;
use serde_json::json;

use super::Watch;
use super::list::Entry;
use super::summary::Summary;
use crate::clock::SystemClock;
use crate::output;
use crate::subject::copy_tokenizer;

/// Longest part of a folder's name that says who was asked, bytes.
const NAME_BYTES_MAX: usize = 80;

impl Watch<'_> {
    /// What an inquiry found so far. If it is done with what it was for and nobody was told yet, its dossier is written.
    ///
    /// # Errors
    /// Its transcript cannot be read; the dossier cannot be written.
    pub(super) fn finish(&self, inquiry: &Inquiry) -> anyhow::Result<Findings> {
        let findings = inquiry.findings(&self.set, &self.transcripts)?;
        let is_done = match inquiry.matter.cause {
            Cause::Traced(_) => findings.asked == inquiry.size(&self.set),
            _ => findings.verdict == Verdict::Marked,
        };
        if is_done && self.diary().told(inquiry.number).is_none() {
            let folder = self.write_dossier(inquiry, None)?;
            self.diary().tell(inquiry.number, &folder.display().to_string(), SystemClock.unix_seconds())?;
        }
        Ok(findings)
    }

    /// Writes the dossiers that the command line asks for, whatever the evidence.
    pub(super) fn write_dossiers(&self, entries: &[Entry]) -> anyhow::Result<()> {
        for url in &self.args.dossier {
            let plain = |url: &str| url.trim_end_matches('/').to_owned();
            let entry = entries.iter().find(|entry| plain(&entry.url) == plain(url));
            let entry =
                entry.with_context(|| format!("--dossier {url}: it is none of the endpoints watched"))?;
            let name = entry.name(&self.client(entry, 0)?);
            let main = self.diary().inquiries(&name).filter(|one| !one.is_trace()).last().cloned();
            let main = main.with_context(|| format!("{name}: it was not asked yet"))?;
            let asked = main.findings(&self.set, &self.transcripts)?.asked;
            ensure!(asked > 0, "{name}: no fingerprint was asked yet");
            let folder = self.write_dossier(&main, Some(asked))?;
            if self.args.site.json {
                output::json(&json!({"endpoint": name, "dossier": folder}))?;
            } else {
                output::line(&format!("{name}  dossier {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// Writes the dossier of an inquiry, or finds it written. `after` so many fingerprints, where it is not done.
    fn write_dossier(&self, inquiry: &Inquiry, after: Option<usize>) -> anyhow::Result<PathBuf> {
        let main = match inquiry.matter.cause {
            Cause::Traced(number) => {
                let diary = self.diary();
                let found =
                    diary.inquiries(&inquiry.matter.endpoint).find(|one| one.number == number).cloned();
                found.with_context(|| format!("the diary has no inquiry {number}"))?
            }
            _ => inquiry.clone(),
        };
        let record = main.record(&self.transcripts)?.context("its transcript is not there")?;
        let ending = match (inquiry.is_trace(), after) {
            (true, _) => "-traced".to_owned(),
            (false, Some(asked)) => format!("-after-{asked}"),
            (false, None) => String::new(),
        };
        let folder =
            self.dossiers.join(format!("{:03}-{}{ending}", main.number, plain(&main.matter.suspect)));
        if folder.exists() {
            // Killed after it was written and before that was written down.
            let same = Bundle::read(&folder.join("evidence.json"))?.transcript().len() == record.lines.len();
            ensure!(same, "{}: another dossier lies there; move it away", folder.display());
            return Ok(folder);
        }
        let bundle = Bundle::new(&self.set, &record)?;
        // What a stranger would find is found here first.
        let verified = bundle.verify(Some(&self.tokenizer))?;
        let trace = if self.copies.is_empty() { None } else { self.traced(&main) };
        let traced = trace.map(|trace| self.trace(&trace)).transpose()?.flatten();
        let summary = Summary {
            watch: self,
            inquiry: &main,
            record: &record,
            findings: main.findings(&self.set, &self.transcripts)?,
            verified,
            traced: traced.as_ref(),
        };
        let opened = bundle.opened();
        Ledger::beside(&self.args.fingerprints, &self.set)
            .open_leaves(&opened, SystemClock.unix_seconds())?;
        self.write_whole(&folder, &|inside| {
            bundle.write(&inside.join("evidence.json"))?;
            self.fill(inside, &summary, (&record, traced.as_ref()))
        })?;
        Ok(folder)
    }

    fn fill(
        &self,
        inside: &Path,
        summary: &Summary<'_>,
        (record, traced): (&Record, Option<&Traced>),
    ) -> anyhow::Result<()> {
        let document = summary.document()?;
        write(&inside.join("README.md"), document.markdown().as_bytes())?;
        write(&inside.join("index.html"), document.html().as_bytes())?;
        let lines: Vec<String> = record.lines.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        write(&inside.join("transcript.jsonl"), format!("{}\n", lines.join("\n")).as_bytes())?;
        self.set.commitment().write(&inside.join("commitment.json"))?;
        write(&inside.join("facts.json"), pretty(&summary.facts())?.as_bytes())?;
        if let Some(traced) = traced {
            write(&inside.join("trace.json"), pretty(&json!(traced))?.as_bytes())?;
        }
        let tokenizer = inside.join("tokenizer");
        fs::create_dir(&tokenizer)?;
        copy_tokenizer(&self.tokenizer_folder, &tokenizer)?;
        let config = self.tokenizer_folder.join("config.json");
        let bytes = fs::read(&config).with_context(|| config.display().to_string())?;
        write(&tokenizer.join("config.json"), &bytes)
    }

    /// Makes a folder, readable by this user alone, that is there only when everything is in it.
    fn write_whole(&self, folder: &Path, fill: &dyn Fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let failed = || format!("writing {}", folder.display());
        fs::create_dir_all(&self.dossiers).with_context(failed)?;
        let unfinished = tempfile::Builder::new()
            .prefix(".unfinished-")
            .tempdir_in(&self.dossiers)
            .with_context(failed)?;
        fill(unfinished.path()).with_context(failed)?;
        // A folder of this name that is not empty stays what it is.
        fs::rename(unfinished.path(), folder).with_context(failed)?;
        drop(unfinished.keep());
        if cfg!(unix) {
            fs::File::open(&self.dossiers).and_then(|parent| parent.sync_all()).with_context(failed)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = fs::File::create_new(path).with_context(|| path.display().to_string())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| path.display().to_string())
}

fn pretty(value: &serde_json::Value) -> anyhow::Result<String> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(format!("{text}\n")),
        Err(error) => bail!("facts that cannot be written: {error}"),
    }
}

/// `https://host.example/v1#some/model` as a part of a file's name.
fn plain(suspect: &str) -> String {
    let bare = suspect.trim_start_matches("https://").trim_start_matches("http://");
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = bare.chars().map(plain).take(NAME_BYTES_MAX).collect();
    name.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_are_named_after_the_suspect() {
        assert_eq!(super::plain("https://a.example:80/v1#some/model 7"), "a.example-80-v1-some-model-7");
        assert_eq!(super::plain("http://../../x"), "..-..-x");
    }
}
