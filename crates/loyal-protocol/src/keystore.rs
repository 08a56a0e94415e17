//! Keys in encrypted files: the Web3 Secret Storage Definition, version 3, as every wallet of Ethereum reads and writes it.

use std::{io::Write as _, path::Path};

use aes::Aes128;
use alloy_primitives::{Address, B256, keccak256};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use serde::{Deserialize, Serialize};

use crate::{Failure, Key, Outcome};

/// Bits of scrypt's cost for files written here: 2¹⁷ rounds of 1 KiB, about half a second (what geth calls standard is 2¹⁸).
const COST_BITS: u8 = 17;
const BLOCK_SIZE: u32 = 8;
/// The most memory that a file may ask scrypt for.
const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// The most scrypt computations in a row that a file may ask for.
const PARALLEL_MAX: u32 = 8;
const FILE_BYTES_MAX: u64 = 64 << 10;
const DERIVED_BYTES: usize = 32;

/// Randomness for one file. Passed in: nothing here draws its own.
#[derive(Clone, Copy)]
pub struct Salt {
    /// Salt of the password.
    pub password: B256,
    /// The cipher's first counter.
    pub counter: [u8; 16],
    /// The file's id.
    pub id: [u8; 16],
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(default)]
    id: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParameters,
    ciphertext: String,
    kdf: String,
    kdfparams: serde_json::Value,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParameters {
    iv: String,
}

/// Parameters of scrypt, by the standard's names.
#[derive(Serialize, Deserialize)]
struct Scrypt {
    n: u64,
    r: u32,
    p: u32,
    dklen: usize,
    salt: String,
}

impl Key {
    /// Opens a key file with its password.
    ///
    /// # Errors
    /// [`Failure::Key`] where the file is something else, asks for too much memory, or has another password.
    pub fn open(path: &Path, password: &str) -> Outcome<Self> {
        let file = read(path)?;
        decrypt(&file, password).map_err(|why| fault(path, why))
    }

    /// Writes the key to a new file that only its password opens, readable by the owner alone.
    ///
    /// # Errors
    /// [`Failure::Key`] where there is a file already, or it cannot be written.
    pub fn save(&self, path: &Path, password: &str, salt: &Salt) -> Outcome<()> {
        if path.exists() {
            return Err(fault(path, "there is a file of this name; a key is never written over another"));
        }
        let file = encrypt(self, password, salt).map_err(|why| fault(path, why))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            // A temporary file is made for the owner alone, and keeps that when it gets its name.
            let mut made = tempfile::NamedTempFile::new_in(folder)?;
            made.write_all(serde_json::to_string_pretty(&file)?.as_bytes())?;
            made.as_file().sync_all()?;
            made.persist_noclobber(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| fault(path, error))
    }
}

/// The account that a key file says it is of, without its password.
///
/// # Errors
/// [`Failure::Key`] where the file is something else or names no account.
pub fn address_of(path: &Path) -> Outcome<Address> {
    let file = read(path)?;
    let address = file.address.and_then(|text| bytes_of::<20>(&text));
    address.map(Address::from).ok_or_else(|| fault(path, "the file does not say of which account it is"))
}

fn read(path: &Path) -> Outcome<File> {
    let size = std::fs::metadata(path).map_err(|error| fault(path, error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fault(path, format!("{size} bytes are no key file; one has less than a thousand")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(path, error))?;
    let file: File =
        serde_json::from_str(&text).map_err(|error| fault(path, format!("not a key file: {error}")))?;
    if file.version != 3 {
        return Err(fault(path, format!("a key file of version {}; this reads version 3", file.version)));
    }
    Ok(file)
}

fn decrypt(file: &File, password: &str) -> Result<Key, String> {
    let crypto = &file.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(format!("the cipher {} is not aes-128-ctr", crypto.cipher));
    }
    if crypto.kdf != "scrypt" {
        return Err(format!(
            "the key derivation {} is not scrypt; write the file anew with a wallet",
            crypto.kdf
        ));
    }
    let parameters: Scrypt = serde_json::from_value(crypto.kdfparams.clone())
        .map_err(|error| format!("parameters of scrypt: {error}"))?;
    let derived = derive(password, &parameters)?;
    let mut secret: [u8; 32] = bytes_of(&crypto.ciphertext).ok_or("ciphertext is not 32 bytes")?;
    let mac: [u8; 32] = bytes_of(&crypto.mac).ok_or("mac is not 32 bytes")?;
    if mac != mac_of(&derived, &secret).0 {
        return Err("the password is another one".to_owned());
    }
    apply(&derived, bytes_of(&crypto.cipherparams.iv).ok_or("iv is not 16 bytes")?, &mut secret);
    let key = Key::of(secret.into()).ok_or("what it holds is no key of the curve")?;
    let said = file.address.as_deref().and_then(bytes_of::<20>).map(Address::from);
    match said {
        Some(said) if said != key.address() => {
            Err(format!("it says it is of {said}, and holds the key of {}", key.address()))
        }
        _ => Ok(key),
    }
}

fn encrypt(key: &Key, password: &str, salt: &Salt) -> Result<File, String> {
    let parameters = Scrypt {
        n: 1 << COST_BITS,
        r: BLOCK_SIZE,
        p: 1,
        dklen: DERIVED_BYTES,
        salt: alloy_primitives::hex::encode(salt.password),
    };
    let derived = derive(password, &parameters)?;
    let mut secret = key.secret_bytes().0;
    apply(&derived, salt.counter, &mut secret);
    Ok(File {
        version: 3,
        id: id_text(salt.id),
        address: Some(alloy_primitives::hex::encode(key.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParameters { iv: alloy_primitives::hex::encode(salt.counter) },
            ciphertext: alloy_primitives::hex::encode(secret),
            kdf: "scrypt".to_owned(),
            mac: alloy_primitives::hex::encode(mac_of(&derived, &secret)),
            kdfparams: serde_json::to_value(parameters).map_err(|error| error.to_string())?,
        },
    })
}

/// scrypt (RFC 7914), within bounds: a file from outside may not make us allocate what it likes.
fn derive(password: &str, parameters: &Scrypt) -> Result<[u8; DERIVED_BYTES], String> {
    let Scrypt { n, r, p, dklen, .. } = *parameters;
    let memory = n.saturating_mul(128).saturating_mul(r.into());
    if !n.is_power_of_two()
        || n < 2
        || memory > MEMORY_BYTES_MAX
        || p > PARALLEL_MAX
        || dklen != DERIVED_BYTES
    {
        return Err(format!("scrypt with n {n}, r {r}, p {p} and {dklen} bytes is not one a wallet writes"));
    }
    let salt = alloy_primitives::hex::decode(&parameters.salt).map_err(|error| format!("salt: {error}"))?;
    let cost_bits = u8::try_from(n.trailing_zeros()).map_err(|error| error.to_string())?;
    let settings = scrypt::Params::new(cost_bits, r, p, dklen).map_err(|error| format!("scrypt: {error}"))?;
    let mut derived = [0; DERIVED_BYTES];
    scrypt::scrypt(password.as_bytes(), &salt, &settings, &mut derived)
        .map_err(|error| format!("scrypt: {error}"))?;
    Ok(derived)
}

fn apply(derived: &[u8; DERIVED_BYTES], counter: [u8; 16], bytes: &mut [u8]) {
    let mut key = [0; 16];
    key.copy_from_slice(&derived[..16]);
    Ctr128BE::<Aes128>::new(&key.into(), &counter.into()).apply_keystream(bytes);
}

fn mac_of(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> B256 {
    keccak256([&derived[16..], ciphertext].concat())
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    alloy_primitives::hex::decode(text).ok()?.try_into().ok()
}

/// A random id in the form of a UUID of version 4 (RFC 9562).
fn id_text(mut id: [u8; 16]) -> String {
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let text = alloy_primitives::hex::encode(id);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[allow(clippy::needless_pass_by_value, reason = "callers are done with what they found")]
fn fault(path: &Path, why: impl ToString) -> Failure {
    Failure::Key { path: path.display().to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(path: &Path) -> Key {
        let key = Key::of(B256::repeat_byte(7)).unwrap();
        let salt = Salt { password: B256::repeat_byte(1), counter: [2; 16], id: [3; 16] };
        key.save(path, "word", &salt).unwrap();
        key
    }

    #[test]
    fn a_saved_key_opens_again_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        let key = saved(&path);
        assert_eq!(Key::open(&path, "word").unwrap().address(), key.address());
        assert_eq!(address_of(&path).unwrap(), key.address());
        assert!(!std::fs::read_to_string(&path).unwrap().contains("0707"), "the secret is not in the file");
        let wrong = Key::open(&path, "Word").unwrap_err().to_string();
        assert!(wrong.contains("key.json: the password is another one"), "{wrong}");
        let salt = Salt { password: B256::ZERO, counter: [0; 16], id: [0; 16] };
        assert!(key.save(&path, "word", &salt).unwrap_err().to_string().contains("never written over"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn hostile_files_are_refused_before_they_cost_anything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        saved(&path);
        let good = std::fs::read_to_string(&path).unwrap();
        for (from, to, says) in [
            ("131072", "4294967296", "not one a wallet writes"),
            ("131072", "3", "not one a wallet writes"),
            (r#""p": 1"#, r#""p": 4000000000"#, "not one a wallet writes"),
            (r#""dklen": 32"#, r#""dklen": 16"#, "not one a wallet writes"),
            ("aes-128-ctr", "rot13", "rot13 is not aes-128-ctr"),
            (r#""scrypt""#, r#""pbkdf2""#, "is not scrypt"),
            (r#""version": 3"#, r#""version": 1"#, "version 1"),
            (r#""ciphertext": ""#, r#""ciphertext": "zz"#, "ciphertext is not 32 bytes"),
            ("{", "[", "not a key file"),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let failure = Key::open(&path, "word").unwrap_err().to_string();
            assert!(failure.contains(says), "{to}: {failure}");
        }
    }
}
