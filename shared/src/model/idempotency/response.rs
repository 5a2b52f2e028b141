//! The response of a request with an idempotency key, as it is kept for the request's repetitions.
//!
//! # Invariant: the table can't tell what a response says
//!
//! A response may have a secret that nobody can read afterwards: that of a new token or of a hook. So each response is sealed
//! with a key that is derived from the secret with which its request came, of which the table has only a hash.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::{Deserialize, Serialize};

/// The parts of a response that are the same each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptResponse {
    pub(crate) status: u16,
    /// Names and values of headers.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl KeptResponse {
    /// Seals the response. `claim` is a text that no other response is sealed with.
    pub(super) fn seal(&self, claim: &str, credential: &[u8]) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("a response is plain data");
        let sealed = key(claim, credential).seal_in_place_append_tag(nonce(), Aad::empty(), &mut text);
        sealed.expect("a response is shorter than AES-GCM's limit");
        text
    }

    /// Opens what [`seal`](Self::seal) returned for the same claim and credential.
    pub(super) fn open(mut sealed: Vec<u8>, claim: &str, credential: &[u8]) -> Option<Self> {
        let text = key(claim, credential).open_in_place(nonce(), Aad::empty(), &mut sealed).ok()?;
        serde_json::from_slice(text).ok()
    }
}

fn key(claim: &str, credential: &[u8]) -> LessSafeKey {
    let salt = Salt::new(HKDF_SHA256, claim.as_bytes());
    let secret = salt.extract(credential);
    let derived = secret.expand(&[b"response of a request with an idempotency key"], &AES_256_GCM);
    LessSafeKey::new(UnboundKey::from(derived.expect("the key is shorter than HKDF's limit")))
}

/// Returns the nonce of the only message that a key seals.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_opens_only_with_its_credential_and_claim() {
        let response = KeptResponse {
            status: 201,
            headers: vec![("location".to_owned(), "/v1/tokens/token_1".to_owned())],
            body: r#"{"token": "dgp_secret"}"#.to_owned(),
        };
        let sealed = response.seal("claim", b"dgp_mine");
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(KeptResponse::open(sealed.clone(), "claim", b"dgp_mine"), Some(response.clone()));
        assert_eq!(KeptResponse::open(sealed.clone(), "claim", b"dgp_other"), None);
        assert_eq!(KeptResponse::open(sealed.clone(), "another claim", b"dgp_mine"), None);
        let mut changed = sealed;
        changed[3] ^= 1;
        assert_eq!(KeptResponse::open(changed, "claim", b"dgp_mine"), None);
    }
}
