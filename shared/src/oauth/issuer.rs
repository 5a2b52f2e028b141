//! The issuer and its keys, which are fetched when the first JWT arrives.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use axum::body::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::{Host, Url, form_urlencoded};

use super::{Claims, EmailClaims, Expectations, Grant, Jwt, RESOURCE_SERVER, Refused, VerifiedEmail, crypto};
use crate::aws::Aws;
use crate::clock::Timestamp;
use crate::name::ClientId;
use crate::scope::Scope;
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
    published: Mutex<Published>,
}

/// The issuer's metadata and keys, and the times of their fetches.
#[derive(Debug, Default)]
struct Published {
    endpoints: Endpoints,
    keys: HashMap<String, Key>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

/// The issuer's endpoints. An issuer that nobody signs in at lacks some.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Endpoints {
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
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
    #[serde(flatten)]
    endpoints: Endpoints,
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
    #[error("its metadata has no {0}")]
    Missing(&'static str),
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
            published: Mutex::default(),
        })
    }

    /// Returns the issuer's URL, as in the claim `iss`.
    pub(crate) fn url(&self) -> &str {
        &self.expectations.issuer
    }

    /// Returns whether the issuer's tokens are those of an Amazon Cognito user pool.
    pub(super) fn is_cognito(&self) -> bool {
        self.expectations.audience.is_none()
    }

    /// Returns the name of a scope of the API in the issuer's tokens.
    pub(super) fn scope(&self, scope: Scope) -> String {
        let prefix = if self.is_cognito() { RESOURCE_SERVER } else { "" };
        format!("{prefix}{}", scope.as_str())
    }

    pub(crate) async fn verify(&self, jwt: &Jwt, now: Timestamp) -> Result<Grant, Refused> {
        self.verify_for(jwt, None, now).await
    }

    /// Verifies a token that a client has asked for, or one of the clients in the settings.
    pub(super) async fn verify_for(
        &self,
        jwt: &Jwt,
        asked: Option<&ClientId>,
        now: Timestamp,
    ) -> Result<Grant, Refused> {
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
        self.expectations.check_claims(decoded.claims, asked, now)
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
        let Some(endpoint) = self.published.lock().await.endpoints.userinfo_endpoint.clone() else { return Ok(None) };
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
        let key = self.published(now, |published| published.keys.get(kid).cloned()).await;
        key.map_err(Refused::Unavailable)?.ok_or(Refused::Not("signed with an unknown key"))
    }

    /// Returns the issuer's endpoints.
    pub(super) async fn endpoints(&self, now: Timestamp) -> Result<Endpoints, FetchFailed> {
        let found = self.published(now, |published| Some(published.endpoints.clone())).await?;
        Ok(found.unwrap_or_default())
    }

    /// Returns what `find` finds among the metadata and the keys. Fetches them if they are old, or if it finds nothing.
    async fn published<T>(
        &self,
        now: Timestamp,
        find: impl Fn(&Published) -> Option<T>,
    ) -> Result<Option<T>, FetchFailed> {
        // The lock is held over the fetch, so that concurrent requests wait for it and don't fetch too.
        let mut published = self.published.lock().await;
        let younger_than =
            |age: Duration, published: &Published| published.fetched_at.is_some_and(|at| now.since(at) < age);
        if younger_than(FRESH, &published)
            && let Some(found) = find(&published)
        {
            return Ok(Some(found));
        }
        let pause = if published.fetched_at.is_some() { REFETCH } else { RETRY };
        let mut failed = FetchFailed::Late;
        if published.tried_at.is_none_or(|at| now.since(at) >= pause) {
            published.tried_at = Some(now);
            match self.fetch().await {
                Ok((endpoints, keys)) => {
                    *published = Published { endpoints, keys, fetched_at: Some(now), tried_at: Some(now) };
                }
                Err(error) => failed = error,
            }
        }
        if younger_than(USABLE, &published) { Ok(find(&published)) } else { Err(failed) }
    }

    async fn fetch(&self) -> Result<(Endpoints, HashMap<String, Key>), FetchFailed> {
        let issuer = self.expectations.issuer.trim_end_matches('/');
        let address = format!("{issuer}/.well-known/openid-configuration");
        let metadata: Metadata = self.get("the issuer", &address, None).await?;
        if metadata.issuer != self.expectations.issuer {
            return Err(FetchFailed::Mixed);
        }
        let set: KeySet = self.get("jwks_uri", &metadata.jwks_uri, None).await?;
        let keys = set.keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?)).collect();
        Ok((metadata.endpoints, keys))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        url: &str,
        bearer: Option<&Jwt>,
    ) -> Result<T, FetchFailed> {
        let url = secure(url).ok_or(FetchFailed::Insecure(what))?;
        let mut request = http::Request::get(url.as_str());
        if let Some(jwt) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", jwt.as_str()));
        }
        match self.send(request, SdkBody::empty()).await? {
            (StatusCode::OK, body) => parse(&body),
            (status, _) => Err(FetchFailed::Status(status.as_u16())),
        }
    }

    /// Posts a form. Returns the status and the body of the answer.
    pub(super) async fn post_form(
        &self,
        what: &'static str,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<(StatusCode, Bytes), FetchFailed> {
        let url = secure(url).ok_or(FetchFailed::Insecure(what))?;
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = http::Request::post(url.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, SdkBody::from(form)).await
    }

    async fn send(&self, request: Builder, body: SdkBody) -> Result<(StatusCode, Bytes), FetchFailed> {
        let request = request.header(ACCEPT, "application/json").body(body);
        let request = request.map_err(|error| FetchFailed::Unreachable(error.into()))?;
        let request = request
            .try_into()
            .map_err(|error: aws_smithy_runtime_api::http::HttpError| FetchFailed::Unreachable(error.into()))?;
        let exchange = async {
            let response = self.http()?.call(request).await;
            let response = response.map_err(|error| FetchFailed::Unreachable(error.into()))?;
            let status = StatusCode::from_u16(response.status().as_u16());
            let status = status.map_err(|error| FetchFailed::Answer(error.into()))?;
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(FetchFailed::Answer)?;
            Ok((status, body.to_bytes()))
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

/// Parses the JSON of an answer.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, FetchFailed> {
    serde_json::from_slice(body).map_err(|error| FetchFailed::Answer(error.into()))
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
