//! The fingerprints of one model: queries, candidates, blindings, and the beacon that fixes the responses.

use std::io::{Read as _, Write as _};
use std::path::Path;

use loyal_model::Tokenizer;
use loyal_types::{Hash, keccak256};
use rand::RngCore;
use serde::{Deserialize, Serialize};

use crate::commitment::{self, Commitment};
use crate::error::{Error, Result};
use crate::scheme::Scheme;
use crate::scheme::verbatim::{Candidate, Verbatim};

const FORMAT: &str = "loyal-fingerprints-secret";
const VERSION: u32 = 1;
/// 65,536 fingerprints of 256 candidates would take more; nobody embeds those.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most fingerprints in a set.
pub const COUNT_MAX: usize = 65_536;
/// Longest query, bytes.
pub const QUERY_BYTES_MAX: usize = 4096;
const REMEDY: &str = "restore it from a backup: what was changed cannot be told from what was committed";

/// A secret query, and what may answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The query, UTF-8.
    pub query: String,
    /// 32 random bytes that hide the answer inside its leaf (the design's r).
    pub blinding: Hash,
    /// The answers among which the beacon chooses, in the order committed to; none with scheme tilt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// A query with its candidates' tokens (none with scheme tilt), not yet blinded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The query.
    pub query: String,
    /// Tokens of each candidate.
    pub candidates: Vec<Vec<u32>>,
}

impl From<String> for Draft {
    /// A query without candidates, as tilt needs.
    fn from(query: String) -> Self {
        Self { query, candidates: Vec::new() }
    }
}

/// A public random number drawn after the commitment. Whoever could choose queries knowing it could accuse
/// any model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beacon {
    /// The number.
    pub seed: Hash,
    /// Where it can be looked up: a block, a drand round; or that it was drawn locally, which convinces
    /// nobody but the one who drew it.
    pub source: String,
}

/// What a set is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct Purpose {
    /// Name of the model the fingerprints are for.
    pub model: String,
    /// How the answers are marked.
    pub scheme: Scheme,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
}

/// The fingerprints of one model. Holding it is holding the secret.
#[derive(Debug, Clone, PartialEq)]
pub struct FingerprintSet {
    body: Body,
}

/// The file without its checksum, in the order it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    format: String,
    version: u32,
    created_at: u64,
    model: String,
    tokenizer: Hash,
    scheme: Scheme,
    leaf_root: Hash,
    beacon: Option<Beacon>,
    fingerprints: Vec<Fingerprint>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checksum: Hash,
    set: Body,
}

impl FingerprintSet {
    /// Blinds `drafts` with `entropy` (which must be fit for secrets) and fixes their order.
    ///
    /// # Errors
    /// A query or a candidate is not fit for a set, or there is none at all.
    pub fn new(
        purpose: Purpose,
        drafts: Vec<Draft>,
        tokenizer: &Tokenizer,
        entropy: &mut dyn RngCore,
    ) -> Result<Self> {
        let mut fingerprints = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut blinding = Hash::ZERO;
            entropy.fill_bytes(&mut blinding.0);
            let candidates = draft.candidates.into_iter().map(|tokens| candidate(tokens, tokenizer));
            let candidates = candidates.collect::<Result<_>>()?;
            fingerprints.push(Fingerprint { query: draft.query, blinding, candidates });
        }
        let mut body = Body {
            format: FORMAT.to_owned(),
            version: VERSION,
            created_at: purpose.created_at,
            model: purpose.model,
            tokenizer: digest_of(tokenizer),
            scheme: purpose.scheme,
            leaf_root: Hash::ZERO,
            beacon: None,
            fingerprints,
        };
        body.check().map_err(|problem| {
            Error::argument("fingerprints", problem, "write the queries and answers again")
        })?;
        body.leaf_root = commitment::root_of(&body.digests());
        Ok(Self { body })
    }

    /// Reads a secret file, and recomputes its checksum and its leaf root.
    ///
    /// # Errors
    /// The file cannot be read, is open to others, was changed, or holds what no set may hold.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |source| Error::file(path, "reading", source);
        let file = std::fs::File::open(path).map_err(failed)?;
        refuse_exposed(path, &file.metadata().map_err(failed)?)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(&bytes, path)
    }

    /// Reads the bytes of a secret file; `path` is named in errors.
    ///
    /// # Errors
    /// As [`FingerprintSet::read`], but for the file's permissions.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::malformed(path, "more than 256 MiB", "it is no fingerprint file"));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|source| {
            Error::malformed(
                path,
                source.to_string(),
                "it must be a file that loyal fingerprint new has written",
            )
        })?;
        let body = file.set;
        if body.format != FORMAT || body.version != VERSION {
            let found = format!("format {:?}, version {}", body.format, body.version);
            return Err(Error::malformed(
                path,
                found,
                format!("this program reads {FORMAT} version {VERSION}"),
            ));
        }
        if body.checksum() != file.checksum {
            return Err(Error::malformed(path, "the checksum does not fit the content", REMEDY));
        }
        body.check().map_err(|problem| Error::malformed(path, problem, REMEDY))?;
        if commitment::root_of(&body.digests()) != body.leaf_root {
            return Err(Error::malformed(path, "leaf_root does not fit the fingerprints", REMEDY));
        }
        Ok(Self { body })
    }

    /// Writes the secret file, for its owner's eyes only (mode 0600), whole or not at all.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_json();
        write_new(path, text.as_bytes())
    }

    /// The content of the secret file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = File { checksum: self.body.checksum(), set: self.body.clone() };
        let mut text = serde_json::to_string_pretty(&file).expect("a set has only string keys");
        text.push('\n');
        text
    }

    /// The set with its responses fixed by `beacon`. Its leaves stay what they were.
    ///
    /// # Errors
    /// The set is bound already.
    pub fn bind(mut self, beacon: Beacon) -> Result<Self> {
        if let Some(beacon) = &self.body.beacon {
            return Err(Error::Bound { seed: beacon.seed });
        }
        self.body.beacon = Some(beacon);
        Ok(self)
    }

    /// Refuses a tokenizer other than the one the fingerprints were written with.
    ///
    /// # Errors
    /// The digests differ.
    pub fn fits(&self, tokenizer: &Tokenizer) -> Result<()> {
        let found = digest_of(tokenizer);
        if found == self.body.tokenizer {
            return Ok(());
        }
        Err(Error::Tokenizer { expected: self.body.tokenizer, found })
    }

    /// The secret of fingerprint `index`, from which its response follows.
    ///
    /// # Errors
    /// The set is not bound to a beacon.
    pub fn secret(&self, index: usize) -> Result<Hash> {
        let beacon = self.body.beacon.as_ref().ok_or(Error::Unbound)?;
        let blinding = self.body.fingerprints[index].blinding;
        let index = u32::try_from(index).expect("a set holds at most 65,536 fingerprints");
        Ok(commitment::secret(blinding, self.body.leaf_root, beacon.seed, index))
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> &Scheme {
        &self.body.scheme
    }

    /// The fingerprints in leaf order.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.body.fingerprints
    }

    /// Name of the model they are for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.body.model
    }

    /// Digest of the tokenizer they are for.
    #[must_use]
    pub const fn tokenizer(&self) -> Hash {
        self.body.tokenizer
    }

    /// Seconds since the Unix epoch when they were written.
    #[must_use]
    pub const fn created_at(&self) -> u64 {
        self.body.created_at
    }

    /// Root over all leaves, committed to before the beacon.
    #[must_use]
    pub const fn leaf_root(&self) -> Hash {
        self.body.leaf_root
    }

    /// The beacon in force.
    #[must_use]
    pub const fn beacon(&self) -> Option<&Beacon> {
        self.body.beacon.as_ref()
    }

    /// What may be published: digests, roots and the beacon; no query and no answer.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        Commitment::new(self.body.model.clone(), self.scheme(), self.body.digests(), self.body.beacon.clone())
    }
}

impl Body {
    /// keccak256 of the body's compact JSON, which has one spelling.
    fn checksum(&self) -> Hash {
        keccak256(&serde_json::to_vec(self).expect("a set has only string keys"))
    }

    fn digests(&self) -> Vec<Hash> {
        self.fingerprints.iter().map(|one| commitment::digest(&self.scheme, one)).collect()
    }

    /// What every set must satisfy, said in words where it does not.
    fn check(&self) -> Result<(), String> {
        self.scheme.check().map_err(|error| error.to_string())?;
        if self.fingerprints.is_empty() || self.fingerprints.len() > COUNT_MAX {
            return Err(format!("{} fingerprints; a set holds 1 to {COUNT_MAX}", self.fingerprints.len()));
        }
        let mut queries = std::collections::HashSet::new();
        for (index, one) in self.fingerprints.iter().enumerate() {
            let at = |problem: String| Err(format!("fingerprint {index}: {problem}"));
            if one.query.is_empty() || one.query.len() > QUERY_BYTES_MAX {
                return at(format!(
                    "a query of {} bytes; it must have 1 to {QUERY_BYTES_MAX}",
                    one.query.len()
                ));
            }
            if !queries.insert(&one.query) {
                return at("the same query as an earlier one".to_owned());
            }
            match &self.scheme {
                Scheme::Verbatim(scheme) => check_candidates(one, scheme).or_else(at)?,
                Scheme::Tilt(_) if one.candidates.is_empty() => {}
                Scheme::Tilt(_) => return at("candidates, which scheme tilt does not have".to_owned()),
            }
        }
        Ok(())
    }
}

fn check_candidates(one: &Fingerprint, scheme: &Verbatim) -> Result<(), String> {
    if one.candidates.len() != scheme.width {
        return Err(format!("{} candidates; the scheme says {}", one.candidates.len(), scheme.width));
    }
    let mut first = std::collections::HashSet::new();
    for candidate in &one.candidates {
        let Some(token) = candidate.tokens.first() else {
            return Err("an empty candidate".to_owned());
        };
        if candidate.tokens.len() > scheme.answer_tokens || candidate.bytes.is_empty() {
            return Err(format!("a candidate of {} tokens", candidate.tokens.len()));
        }
        if !first.insert(token) {
            return Err("two candidates begin with the same token".to_owned());
        }
    }
    Ok(())
}

fn candidate(tokens: Vec<u32>, tokenizer: &Tokenizer) -> Result<Candidate> {
    let pieces = tokens.iter().map(|&token| {
        tokenizer.piece(token).ok_or_else(|| {
            Error::argument("answers", format!("token {token}"), "use tokens of the model's vocabulary")
        })
    });
    let bytes = pieces.collect::<Result<Vec<Vec<u8>>>>()?.concat();
    Ok(Candidate { tokens, bytes })
}

/// keccak256 over every token's length and bytes: the same vocabulary gives the same digest, whatever its file.
#[must_use]
pub fn digest_of(tokenizer: &Tokenizer) -> Hash {
    let mut bytes = Vec::new();
    for token in 0..u32::try_from(tokenizer.len()).unwrap_or(u32::MAX) {
        let piece = tokenizer.piece(token).unwrap_or_default();
        bytes.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&piece);
    }
    keccak256(&bytes)
}

/// Writes a file that must not exist yet, mode 0600, so that it appears whole or not at all.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source: std::io::Error| Error::file(path, "writing", source);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    // A temporary file is made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _metadata: &std::fs::Metadata) -> Result<()> {
    Ok(())
}
