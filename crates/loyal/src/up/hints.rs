//! What can be typed next, so that it can be copied.

use std::path::Path;

use loyal_roles::host::status::Hint;

use crate::env;

const FOLDER: &str = "loyal-chain";

/// Where things answer.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The folder of the chain.
    pub(super) folder: &'a Path,
    /// Another chain's address, where there is one.
    pub(super) chain: Option<&'a str>,
    /// The issuer.
    pub(super) issuer: &'a str,
    /// The number of the user's account.
    pub(super) user: usize,
    /// The number of the owner's.
    pub(super) owner: usize,
}

/// Commands that use the model, and what they do.
pub(super) fn of(places: &Places<'_>) -> Vec<Hint> {
    let program = program();
    let chain = places.chain.map(|url| format!(" --chain {}", quoted(url))).unwrap_or_default();
    let folder = if places.folder == Path::new(FOLDER) {
        String::new()
    } else {
        format!(" --folder {}", quoted(&places.folder.display().to_string()))
    };
    let (user, owner, issuer) = (places.user, places.owner, places.issuer);
    let hint = |what: &str, text: String| Hint { what: what.to_owned(), text };
    vec![
        hint("Get a credential", format!("{program} access request {issuer} --key {user}{folder}")),
        hint(
            "Ask, pay, keep the receipt",
            format!("{program} access ask \"Once upon a time\" --key {user}{folder}"),
        ),
        hint("Let any program of OpenAI's API pay", format!("{program} access proxy --key {user}{folder}")),
        hint("Then point it there", "OPENAI_BASE_URL=http://127.0.0.1:8090/v1 OPENAI_API_KEY=any".to_owned()),
        hint("Verify the receipts, offline", format!("{program} verify loyal-wallet")),
        hint(
            "Withdraw what the owner earned",
            format!("{program} owner withdraw --key {owner}{folder}{chain}"),
        ),
    ]
}

/// This program, as a shell finds it.
fn program() -> String {
    let Some(path) = env::program() else { return "loyal".to_owned() };
    if env::is_found(&path) { "loyal".to_owned() } else { quoted(&path.display().to_string()) }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_words_back() {
        for (text, word) in [("/a/b-c.d", "/a/b-c.d"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''")] {
            assert_eq!(quoted(text), word);
        }
    }

    #[test]
    fn another_folder_and_chain_are_named() {
        let mut places = Places {
            folder: Path::new("loyal-chain"),
            chain: None,
            issuer: "http://127.0.0.1:8070",
            user: 2,
            owner: 0,
        };
        let text =
            |places: &Places<'_>| of(places).into_iter().map(|hint| hint.text + "\n").collect::<String>();
        assert!(text(&places).contains("access request http://127.0.0.1:8070 --key 2\n"));
        (places.folder, places.chain) = (Path::new("my chain"), Some("http://127.0.0.1:8545"));
        let all = text(&places);
        assert!(all.contains("--key 2 --folder 'my chain'\n"), "{all}");
        assert!(
            all.contains("owner withdraw --key 0 --folder 'my chain' --chain http://127.0.0.1:8545\n"),
            "{all}"
        );
    }
}
