//! AWS Signature, version 4, for whole requests without a query ("Authenticating Requests: Using the Authorization Header").

use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const BLOCK_BYTES: usize = 64;
/// The digest of no body.
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who signs.
#[derive(Clone)]
pub(super) struct Account {
    /// Its id.
    pub(super) id: String,
    /// Its secret.
    pub(super) secret: String,
    /// The session it is good for, where it is a short one.
    pub(super) session: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is signed.
#[derive(Debug)]
pub(super) struct Signing<'a> {
    /// `GET`, `PUT` …
    pub(super) method: &'a str,
    /// The path, encoded as it is sent.
    pub(super) path: &'a str,
    /// Every header that counts, names in lower case and in order.
    pub(super) headers: &'a [(&'a str, String)],
    /// SHA-256 of the body, in hexadecimal digits.
    pub(super) body: &'a str,
    /// When: `20130524T000000Z`.
    pub(super) time: &'a str,
    /// Where.
    pub(super) region: &'a str,
}

/// The header `authorization`.
pub(super) fn authorization(account: &Account, signing: &Signing<'_>) -> String {
    let names: Vec<&str> = signing.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String =
        signing.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("{}\n{}\n\n{lines}\n{names}\n{}", signing.method, signing.path, signing.body);
    let day = signing.time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/s3/aws4_request", signing.region);
    let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", signing.time, hex::encode(Sha256::digest(canonical)));
    let mut key = hmac(format!("AWS4{}", account.secret).as_bytes(), day.as_bytes());
    for part in [signing.region, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex::encode(hmac(&key, text.as_bytes()));
    format!("{ALGORITHM} Credential={}/{scope},SignedHeaders={names},Signature={signature}", account.id)
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(data).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, cases 1, 2 and 6.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (key, data, code) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex::encode(hmac(key, data)), code);
        }
    }

    /// The examples "GET Object" and "PUT Object" of the documentation of S3's API.
    #[test]
    fn signatures_are_those_of_the_documentation() {
        let account = Account {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
        };
        let time = "20130524T000000Z";
        let host = ("host", "examplebucket.s3.amazonaws.com".to_owned());
        let get = [
            host.clone(),
            ("range", "bytes=0-9".to_owned()),
            ("x-amz-content-sha256", EMPTY.to_owned()),
            ("x-amz-date", time.to_owned()),
        ];
        let signing = Signing {
            method: "GET",
            path: "/test.txt",
            headers: &get,
            body: EMPTY,
            time,
            region: "us-east-1",
        };
        let header = authorization(&account, &signing);
        assert!(
            header.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{header}"
        );
        let body = hex::encode(Sha256::digest(b"Welcome to Amazon S3."));
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            host,
            ("x-amz-content-sha256", body.clone()),
            ("x-amz-date", time.to_owned()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ];
        let path = "/test%24file.text";
        let signing = Signing { method: "PUT", path, headers: &put, body: &body, time, region: "us-east-1" };
        let header = authorization(&account, &signing);
        assert!(
            header.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
            "{header}"
        );
        assert!(!format!("{account:?}").contains("wJalr"));
    }
}
