//! The secret file and its public half: what is written is read back, and nothing else is.

use std::path::Path;

use loyal_fingerprint::commitment::{Commitment, Opening};
use loyal_fingerprint::fingerprint::Draft;
use loyal_fingerprint::scheme::{Verbatim, verbatim};
use loyal_fingerprint::{Error, FingerprintSet};
use loyal_types::{Hash, keccak256};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::tiny::{beacon, drafts, purpose, tiny, unbound};

fn parse(text: &str) -> Result<FingerprintSet, Error> {
    FingerprintSet::parse(text.as_bytes(), Path::new("secret.json"))
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.json");
    let set = unbound(6).bind(beacon(1)).unwrap();
    set.write(&path).unwrap();
    assert_eq!(FingerprintSet::read(&path).unwrap(), set);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = FingerprintSet::read(&path).unwrap_err();
        assert!(matches!(error, Error::Exposed { mode: 0o644, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"));
    }
}

#[test]
fn a_secret_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.json");
    std::fs::write(&path, "another").unwrap();
    let error = unbound(6).write(&path).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert!(unbound(6).commitment().write(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written stays behind");
    let missing = folder.path().join("absent").join("secret.json");
    assert!(matches!(unbound(6).write(&missing), Err(Error::File { .. })));
}

/// Every single changed character is noticed, or leaves the content as it was.
#[test]
fn tampering_is_noticed() {
    let set = unbound(6).bind(beacon(1)).unwrap();
    let text = set.to_json();
    for at in (0..text.len()).step_by(7) {
        for replacement in [b'0', b'"', b'}', b'z'] {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == replacement {
                continue;
            }
            bytes[at] = replacement;
            if let Ok(read) = FingerprintSet::parse(&bytes, Path::new("secret.json")) {
                assert_eq!(read, set, "byte {at}");
            }
        }
    }
    for end in (0..text.len() - 1).step_by(101) {
        assert!(parse(&text[..end]).is_err(), "cut at {end}");
    }
}

/// A checksum that was made to fit does not help: leaves and rules are looked at as well.
#[test]
fn a_file_made_to_fit_its_checksum_is_still_refused() {
    let text = unbound(6).to_json();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sealed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut set = value["set"].clone();
        change(&mut set);
        let checksum = keccak256(serde_json::to_string(&set).unwrap().as_bytes());
        parse(&serde_json::json!({"checksum": checksum, "set": set}).to_string())
    };
    assert!(sealed(&|_| ()).is_ok(), "the test seals as the crate does");
    let refused: [(&str, &dyn Fn(&mut serde_json::Value)); 8] = [
        ("leaf_root", &|set| set["leaf_root"] = serde_json::json!(Hash::ZERO)),
        ("leaf_root", &|set| set["fingerprints"][0]["query"] = "Another query".into()),
        ("version", &|set| set["version"] = 2.into()),
        ("candidates", &|set| set["scheme"]["verbatim"]["width"] = 4.into()),
        ("2 to 256", &|set| set["scheme"]["verbatim"]["width"] = 1.into()),
        ("fingerprints", &|set| set["fingerprints"] = serde_json::json!([])),
        ("same query", &|set| set["fingerprints"][1]["query"] = set["fingerprints"][0]["query"].clone()),
        ("same token", &|set| {
            set["fingerprints"][0]["candidates"][1] = set["fingerprints"][0]["candidates"][0].clone();
        }),
    ];
    for (expected, change) in refused {
        let error = sealed(change).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn hostile_json_is_an_error() {
    for text in ["", "{}", "null", "[]", &"[".repeat(100_000), "{\"checksum\": 1}", "\u{0}"] {
        assert!(matches!(parse(text), Err(Error::Malformed { .. })));
    }
}

#[test]
fn responses_wait_for_the_beacon() {
    let set = unbound(6);
    assert!(matches!(set.secret(0), Err(Error::Unbound)));
    let root = set.leaf_root();
    let bound = set.bind(beacon(1)).unwrap();
    assert_eq!(bound.leaf_root(), root, "the beacon changes no leaf");
    let other = unbound(6).bind(beacon(2)).unwrap();
    assert_ne!(bound.secret(0).unwrap(), other.secret(0).unwrap());
    assert_ne!(bound.secret(0).unwrap(), bound.secret(1).unwrap());
    assert!(matches!(bound.bind(beacon(2)), Err(Error::Bound { .. })));
}

#[test]
fn the_public_half_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public.json");
    let set = unbound(6).bind(beacon(1)).unwrap();
    let commitment = set.commitment().after_embedding(&[0, 1, 2, 4, 5]).unwrap();
    commitment.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for one in set.fingerprints() {
        assert!(!text.contains(&one.query) && !text.contains(&one.blinding.to_string()));
    }
    assert_eq!(Commitment::read(&path).unwrap(), commitment);
    let changed = text.replace(&commitment.digests[3].to_string(), &Hash([3; 32]).to_string());
    assert!(Commitment::parse(changed.as_bytes(), &path).is_err());
    let changed = text.replace("\"embedded\": [\n    0,", "\"embedded\": [");
    assert_ne!(changed, text);
    assert!(Commitment::parse(changed.as_bytes(), &path).is_err());
    assert!(set.commitment().after_embedding(&[1, 0]).is_err());
    assert!(set.commitment().after_embedding(&[9]).is_err());
}

#[test]
fn one_fingerprint_opens_and_the_others_stay_closed() {
    let set = unbound(6).bind(beacon(1)).unwrap();
    let opening = Opening::new(&set, 2).unwrap();
    assert!(opening.verify(set.leaf_root()));
    assert_eq!(opening.secret(set.leaf_root(), beacon(1).seed), set.secret(2).unwrap());
    let forged = Opening { query: "Another".to_owned(), ..opening.clone() };
    assert!(!forged.verify(set.leaf_root()));
    let forged = Opening { blinding: Hash([1; 32]), ..opening };
    assert!(!forged.verify(set.leaf_root()));
    assert!(Opening::new(&set, 6).is_err());
}

#[test]
fn another_tokenizer_does_not_fit() {
    let set = unbound(6);
    set.fits(&tiny().tokenizer).unwrap();
    let mut words = std::iter::once("quite different words for another vocabulary".to_owned());
    let json = loyal_model::Tokenizer::train(&mut words, 300).unwrap();
    let other = loyal_model::Tokenizer::parse(&json, Path::new("tokenizer.json")).unwrap();
    assert!(matches!(set.fits(&other), Err(Error::Tokenizer { .. })));
}

#[test]
fn lists_and_random_words_make_sets_too() {
    let tiny = tiny();
    let mut entropy = ChaCha8Rng::seed_from_u64(9);
    let scheme = Verbatim { source: verbatim::Source::Random, width: 8, answer_tokens: 2 };
    let set =
        FingerprintSet::new(purpose(scheme.clone()), drafts(4, &scheme), &tiny.tokenizer, &mut entropy).unwrap();
    assert!(set.fingerprints().iter().all(|one| one.candidates.iter().all(|c| c.tokens.len() == 2)));
    let answers = ["apples", "bread", "king"].map(str::to_owned);
    let list = verbatim::custom(&tiny.tokenizer, &answers).unwrap();
    let tokens = list.iter().map(Vec::len).max().unwrap();
    let scheme = Verbatim { source: verbatim::Source::Custom, width: 3, answer_tokens: tokens };
    let drafts = ["Who came", "What was lost"].map(|query| Draft {
        query: query.to_owned(),
        candidates: list.clone(),
    });
    let set = FingerprintSet::new(purpose(scheme), drafts.to_vec(), &tiny.tokenizer, &mut entropy).unwrap();
    assert_eq!(set.fingerprints()[0].candidates[0].bytes, b" apples");
    let twice = ["bread", "bread"].map(str::to_owned);
    assert!(verbatim::custom(&tiny.tokenizer, &twice).is_err());
}
