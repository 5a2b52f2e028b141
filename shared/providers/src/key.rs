//! The private keys of GitHub Apps.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::clock::Timestamp;

/// A key of 4,096 bits has 3,300 characters.
const MAX_CHARS: usize = 16 * 1024;
/// The difference between the clocks that GitHub recommends to allow for.
const DRIFT: Duration = Duration::from_secs(60);
/// The time until a signed token expires. GitHub refuses those that expire after more than ten minutes.
const LIFE: Duration = Duration::from_secs(9 * 60);

/// The private key of a GitHub App: an RSA key of 2,048 to 4,096 bits as PEM.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, max_length = 16384, examples("-----BEGIN RSA PRIVATE KEY-----\n…\n-----END RSA PRIVATE KEY-----\n"))]
pub struct AppKey(Arc<Parsed>);

struct Parsed {
    pem: SecretString,
    pair: RsaKeyPair,
}

/// The error for a text that is not the private key of a GitHub App.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be an RSA private key of 2048 to 4096 bits in PEM, as GitHub generates it, from '-----BEGIN RSA PRIVATE KEY-----' to its end"
)]
pub struct InvalidAppKey;

impl AppKey {
    /// Returns the key as PEM, to be sealed.
    pub fn reveal(&self) -> &str {
        self.0.pem.expose_secret()
    }

    /// Signs a token with which an app authenticates itself to GitHub (RS256).
    pub(crate) fn sign(&self, app_id: u64, now: Timestamp) -> SecretString {
        let encoded = |value: serde_json::Value| BASE64.encode(value.to_string());
        let claims = json!({
            "iat": now.as_seconds() - DRIFT.as_secs() as i64,
            "exp": now.plus(LIFE).as_seconds(),
            // GitHub Enterprise takes only a number.
            "iss": app_id,
        });
        let signed = format!("{}.{}", encoded(json!({"alg": "RS256", "typ": "JWT"})), encoded(claims));
        let pair = &self.0.pair;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the operating system gives random bytes, and the signature has the modulus's length");
        format!("{signed}.{}", BASE64.encode(signature)).into()
    }
}

impl FromStr for AppKey {
    type Err = InvalidAppKey;

    fn from_str(text: &str) -> Result<Self, InvalidAppKey> {
        if text.len() > MAX_CHARS {
            return Err(InvalidAppKey);
        }
        let pair = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(InvalidAppKey),
        };
        let pair = pair.map_err(|_| InvalidAppKey)?;
        Ok(Self(Arc::new(Parsed { pem: text.into(), pair })))
    }
}

impl TryFrom<String> for AppKey {
    type Error = InvalidAppKey;

    fn try_from(text: String) -> Result<Self, InvalidAppKey> {
        text.parse()
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey").finish_non_exhaustive()
    }
}
