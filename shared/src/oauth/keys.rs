//! The public keys of an issuer, and the signatures that they verify.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Jwt, Refused, crypto};

/// The header of a JWT. It names a key and an asymmetric algorithm, and has no critical headers.
#[derive(Clone, Debug)]
pub struct Header {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    /// The type in lower case, or an empty text if there is none.
    pub typ: String,
}

/// The public keys of an issuer, by their ids.
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<String, Key>);

#[derive(Clone, Debug)]
struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

impl Header {
    /// # Errors
    /// Fails before any key is looked up if no key of an issuer can have signed the token.
    pub fn of(jwt: &Jwt) -> Result<Self, Refused> {
        crypto::install();
        let header = jsonwebtoken::decode_header(jwt.as_str())?;
        if header.alg.family() == AlgorithmFamily::Hmac {
            return Err(Refused::Not("signed with a secret"));
        }
        // A recipient must refuse critical headers that it does not understand (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Refused::Not("has critical headers"));
        }
        let typ = header.typ.unwrap_or_default().to_ascii_lowercase();
        Ok(Self { kid: header.kid.ok_or(Refused::Not("names no key"))?, algorithm: header.alg, typ })
    }
}

impl KeySet {
    /// Reads a JWK set (RFC 7517, section 5). Skips keys of unknown kinds, and keys that verify no signatures.
    ///
    /// # Errors
    /// Fails if the text is no JWK set.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let Jwks { keys } = serde_json::from_slice(json)?;
        Ok(Self(keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?)).collect()))
    }

    pub(super) fn has(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// Verifies a token's signature and returns its claims. Checks no claim.
    ///
    /// # Errors
    /// Fails if the key is unknown, or the signature is not by the key.
    pub fn verify(&self, jwt: &Jwt, header: &Header) -> Result<serde_json::Map<String, serde_json::Value>, Refused> {
        let mut validation = Validation::new(header.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        self.decode(jwt, header, &validation)
    }

    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        jwt: &Jwt,
        header: &Header,
        validation: &Validation,
    ) -> Result<T, Refused> {
        let Key { key, algorithms } = self.0.get(&header.kid).ok_or(Refused::Not("signed with an unknown key"))?;
        if !algorithms.contains(&header.algorithm) {
            return Err(Refused::Not("signed with another algorithm than its key's"));
        }
        Ok(jsonwebtoken::decode(jwt.as_str(), key, validation)?.claims)
    }
}

/// Returns a key that can verify signatures, with its id. A key that names an algorithm is used for that one only.
fn usable(jwk: Jwk) -> Option<(String, Key)> {
    let by_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        _ => return None,
    };
    if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
        return None;
    }
    let algorithms = match jwk.common.key_algorithm {
        None => by_kind,
        Some(named) => by_kind.into_iter().filter(|algorithm| format!("{algorithm:?}") == named.to_string()).collect(),
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id?, Key { key, algorithms }))
}
