//! The issuer and its keys, which are fetched when the first JWT arrives.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION};
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::{Host, Url};

use super::{Claims, EmailClaims, Expectations, Grant, Jwt, Refused, VerifiedEmail, crypto};
use crate::aws::Aws;
use crate::clock::Timestamp;
use crate::settings::{OIDC_AUDIENCE, OIDC_CA_BUNDLE, OIDC_CLIENT_IDS, OIDC_ISSUER, Settings};

/// The age at which keys are fetched again, so that a withdrawn key is forgotten.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// The maximum age of keys that can't be fetched again.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// The minimum time between fetches that tokens with unknown keys cause.
const REFETCH: Duration = Duration::from_secs(60);
/// The minimum time between fetches while there are no keys.
const RETRY: Duration = Duration::from_secs(5);
const FETCH_LIMIT: Duration = Duration::from_secs(5);
const MAX_BODY: usize = 256 * 1024;

/// The issuer whose tokens are accepted.
#[derive(Debug)]
pub struct Issuer {
    expectations: Expectations,
    aws: Aws,
    ca_bundle: Option<String>,
    http: OnceLock<SharedHttpConnector>,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    userinfo_endpoint: Option<String>,
    by_id: HashMap<String, Key>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// The members of the metadata that are used (OpenID Connect Discovery section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
}

#[derive(Deserialize)]
struct KeySet {
    /// The keys. Kinds that the library does not know are skipped.
    keys: Vec<serde_json::Value>,
}

/// The reasons why a fetch from the issuer failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailed {
    #[error("it did not answer in time, or not since the last attempt")]
    Late,
    #[error("it can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answered {0}")]
    Status(u16),
    #[error("its response is malformed")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} is not at an https URL without credentials")]
    Insecure(&'static str),
    #[error("its metadata names another issuer")]
    Mixed,
}

impl Issuer {
    /// Returns the configured issuer, or `None` if there is none. Reads only settings.
    pub fn new(settings: &Settings, aws: &Aws) -> Option<Self> {
        let list = settings.get(OIDC_CLIENT_IDS).unwrap_or_default().split(',').map(str::trim);
        let expectations = Expectations {
            issuer: settings.get(OIDC_ISSUER)?.to_owned(),
            audience: settings.get(OIDC_AUDIENCE).map(str::to_owned),
            client_ids: list.filter(|id| !id.is_empty()).map(str::to_owned).collect(),
        };
        Some(Self {
            expectations,
            aws: aws.clone(),
            ca_bundle: settings.get(OIDC_CA_BUNDLE).map(str::to_owned),
            http: OnceLock::new(),
            keys: Mutex::default(),
        })
    }

    pub(crate) async fn verify(&self, jwt: &Jwt, now: Timestamp) -> Result<Grant, Refused> {
        crypto::install();
        let header = jsonwebtoken::decode_header(jwt.as_str())?;
        self.expectations.check_header(&header)?;
        let kid = header.kid.ok_or(Refused::Not("names no key"))?;
        let Key { key, algorithms } = self.key(&kid, now).await?;
        if !algorithms.contains(&header.alg) {
            return Err(Refused::Not("signed with another algorithm than its key's"));
        }
        let validation = self.expectations.validation(header.alg);
        let decoded = jsonwebtoken::decode::<Claims>(jwt.as_str(), &key, &validation)?;
        self.expectations.check_claims(decoded.claims, now)
    }

    /// Returns the verified email address of the token's user. Asks the userinfo endpoint if the token has none,
    /// because access tokens seldom have one.
    ///
    /// # Errors
    /// Fails if the issuer does not answer. A missing verified address is no error: it returns `None`.
    pub(crate) async fn verified_email(&self, jwt: &Jwt, grant: &Grant) -> Result<Option<VerifiedEmail>, FetchFailed> {
        if grant.email.is_some() {
            return Ok(grant.email.clone());
        }
        let Some(endpoint) = self.keys.lock().await.userinfo_endpoint.clone() else { return Ok(None) };
        #[derive(Deserialize)]
        struct UserInfo {
            sub: String,
            #[serde(flatten)]
            email: EmailClaims,
        }
        match self.get::<UserInfo>("userinfo", &endpoint, Some(jwt)).await {
            // The subject must match (OpenID Connect Core section 5.3.2).
            Ok(info) if info.sub == grant.subject => Ok(info.email.verified()),
            Ok(_) | Err(FetchFailed::Status(401 | 403)) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn key(&self, kid: &str, now: Timestamp) -> Result<Key, Refused> {
        // The lock is held over the fetch, so that concurrent requests wait for it and don't fetch too.
        let mut keys = self.keys.lock().await;
        let younger_than = |age: Duration, keys: &Keys| keys.fetched_at.is_some_and(|at| now.since(at) < age);
        if younger_than(FRESH, &keys)
            && let Some(key) = keys.by_id.get(kid)
        {
            return Ok(key.clone());
        }
        let pause = if keys.fetched_at.is_some() { REFETCH } else { RETRY };
        let mut failed = FetchFailed::Late;
        if keys.tried_at.is_none_or(|at| now.since(at) >= pause) {
            keys.tried_at = Some(now);
            match self.fetch().await {
                Ok((userinfo_endpoint, by_id)) => {
                    *keys = Keys { userinfo_endpoint, by_id, fetched_at: Some(now), tried_at: Some(now) };
                }
                Err(error) => failed = error,
            }
        }
        match keys.by_id.get(kid) {
            _ if !younger_than(USABLE, &keys) => Err(Refused::Unavailable(failed)),
            Some(key) => Ok(key.clone()),
            None => Err(Refused::Not("signed with an unknown key")),
        }
    }

    async fn fetch(&self) -> Result<(Option<String>, HashMap<String, Key>), FetchFailed> {
        let issuer = self.expectations.issuer.trim_end_matches('/');
        let address = format!("{issuer}/.well-known/openid-configuration");
        let metadata: Metadata = self.get("the issuer", &address, None).await?;
        if metadata.issuer != self.expectations.issuer {
            return Err(FetchFailed::Mixed);
        }
        let set: KeySet = self.get("jwks_uri", &metadata.jwks_uri, None).await?;
        let keys = set.keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?)).collect();
        Ok((metadata.userinfo_endpoint, keys))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        url: &str,
        bearer: Option<&Jwt>,
    ) -> Result<T, FetchFailed> {
        let url = secure(url).ok_or(FetchFailed::Insecure(what))?;
        let mut request = http::Request::get(url.as_str()).header(ACCEPT, "application/json");
        if let Some(jwt) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", jwt.as_str()));
        }
        let request = request.body(SdkBody::empty()).map_err(|error| FetchFailed::Unreachable(error.into()))?;
        let request = request
            .try_into()
            .map_err(|error: aws_smithy_runtime_api::http::HttpError| FetchFailed::Unreachable(error.into()))?;
        let exchange = async {
            let response = self.http()?.call(request).await;
            let response = response.map_err(|error| FetchFailed::Unreachable(error.into()))?;
            let status = response.status().as_u16();
            if status != StatusCode::OK.as_u16() {
                return Err(FetchFailed::Status(status));
            }
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(FetchFailed::Answer)?;
            serde_json::from_slice(&body.to_bytes()).map_err(|error| FetchFailed::Answer(error.into()))
        };
        tokio::time::timeout(FETCH_LIMIT, exchange).await.unwrap_or(Err(FetchFailed::Late))
    }

    fn http(&self) -> Result<&SharedHttpConnector, FetchFailed> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let connector = match &self.ca_bundle {
            Some(path) => self.aws.connector_trusting(path).map_err(|error| FetchFailed::Unreachable(error.into()))?,
            None => self.aws.connector(),
        };
        Ok(self.http.get_or_init(|| SharedHttpConnector::new(connector)))
    }
}

/// Parses a URL from which answers can be trusted: `https`, or `http` on this machine. Returns `None` for any other. Hosts are
/// compared as they are connected to, after parsing.
fn secure(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_trusted = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    (is_trusted && !has_credentials).then_some(url)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_secure() {
        for text in [
            "https://login.example.com",
            "HTTPS://login.example.com/keys?kind=rsa",
            "https://login.example.com:8443/",
            "http://127.0.0.1:8080/keys",
            "http://localhost:8080",
            "http://LOCALHOST/keys",
            "http://[::1]:8080/keys",
        ] {
            assert!(secure(text).is_some(), "{text}");
        }
        for text in [
            "",
            "login.example.com",
            "http://login.example.com/keys",
            "http://localhost:x@evil.example/",
            "http://localhost:8080@evil.example/",
            "http://127.0.0.1:8080@evil.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://10.0.0.1:8080/",
            "http://[::ffff:10.0.0.1]/",
            "https://user:password@login.example.com/",
            "https://user@login.example.com/",
            "ftp://localhost/",
            "file:///etc/passwd",
        ] {
            assert!(secure(text).is_none(), "{text}");
        }
    }
}
