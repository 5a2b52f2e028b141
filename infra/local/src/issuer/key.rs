//! Keys that sign JWTs with ES256.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// A key for ES256.
pub struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    /// Generates a key, as PKCS #8.
    ///
    /// # Panics
    /// Panics if the operating system gives no random bytes.
    #[must_use]
    pub fn random_pkcs8() -> Vec<u8> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        pkcs8.expect("the operating system gives random bytes").as_ref().to_vec()
    }

    /// Generates a key.
    ///
    /// # Panics
    /// Panics if the operating system gives no random bytes.
    #[must_use]
    pub fn random() -> Self {
        Self::from_pkcs8(&Self::random_pkcs8()).expect("a generated key is valid")
    }

    /// Reads a key from PKCS #8.
    ///
    /// # Errors
    /// Fails if the bytes are not a private key on the curve P-256.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyRejected> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).map(Self)
    }

    /// Returns the public key as an uncompressed point.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// Returns the public key as a JWK.
    #[must_use]
    pub fn jwk(&self, kid: &str) -> Value {
        let (x, y) = self.coordinates();
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    /// Returns the thumbprint of the public key (RFC 7638), which serves as its id.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64.encode(digest(&SHA256, members.as_bytes()))
    }

    /// Signs a JWT with this header and these claims.
    ///
    /// # Panics
    /// Panics if the operating system gives no random bytes.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes());
        format!("{message}.{}", BASE64.encode(signature.expect("the operating system gives random bytes")))
    }

    /// Returns the claims of a JWT that this key has signed, and `None` for any other text.
    #[must_use]
    pub fn verify(&self, jwt: &str) -> Option<Value> {
        let (message, signature) = jwt.rsplit_once('.')?;
        let signature = BASE64.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.public());
        public.verify(message.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&BASE64.decode(message.split_once('.')?.1).ok()?).ok()
    }

    fn coordinates(&self) -> (String, String) {
        let (x, y) = self.public()[1..].split_at(32);
        (BASE64.encode(x), BASE64.encode(y))
    }
}

/// Encodes the header and the claims of a JWT, without a signature.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}
