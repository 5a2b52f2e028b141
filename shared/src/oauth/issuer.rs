//! The issuer of access tokens, which the settings name.

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Builder;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::form_urlencoded;

use super::published::{FETCH_LIMIT, FetchFailed, MAX_PUBLISHED_BYTES};
use super::{
    EmailClaims, Expectations, Grant, Header, Jwt, KeySet, Metadata, Published, RESOURCE_SERVER, Refused, Remembered,
    VerifiedEmail,
};
use crate::aws::Aws;
use crate::clock::Timestamp;
use crate::hosts::secure;
use crate::name::ClientId;
use crate::scope::Scope;
use crate::settings::{OIDC_AUDIENCE, OIDC_CA_BUNDLE, OIDC_CLIENT_IDS, OIDC_ISSUER, Settings};

/// The minimum time between fetches while there are no keys.
const RETRY: Duration = Duration::from_secs(5);

/// The issuer whose tokens are accepted.
#[derive(Debug)]
pub struct Issuer {
    expectations: Expectations,
    aws: Aws,
    ca_bundle: Option<String>,
    http: OnceLock<SharedHttpConnector>,
    published: Mutex<Remembered>,
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
            published: Mutex::new(Remembered::nothing(RETRY)),
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
        let header = Header::of(jwt)?;
        self.expectations.check_type(&header)?;
        // The lock is held over the fetch, so that concurrent requests wait for it and don't fetch too.
        let mut published = self.published.lock().await;
        let keys = published.keys(&header, now, || self.fetch()).await?;
        let claims = keys.decode(jwt, &header, &self.expectations.validation(header.algorithm))?;
        self.expectations.check_claims(claims, asked, now)
    }

    /// Returns the issuer's metadata.
    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Metadata, FetchFailed> {
        Ok(self.published.lock().await.metadata(now, || self.fetch()).await?.clone())
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
        let endpoint =
            self.published.lock().await.last_metadata().and_then(|metadata| metadata.userinfo_endpoint.clone());
        let Some(endpoint) = endpoint else { return Ok(None) };
        #[derive(Deserialize)]
        struct UserInfo {
            sub: String,
            #[serde(flatten)]
            email: EmailClaims,
        }
        let answer = match self.get("userinfo", &endpoint, Some(jwt)).await {
            Err(FetchFailed::Status(401 | 403)) => return Ok(None),
            answer => answer?,
        };
        let info: UserInfo = parse(&answer)?;
        // The subject must match (OpenID Connect Core section 5.3.2).
        Ok(if info.sub == grant.subject { info.email.verified() } else { None })
    }

    async fn fetch(&self) -> Result<Published, FetchFailed> {
        let issuer = &self.expectations.issuer;
        let metadata = Metadata::parse(issuer, &self.get("the issuer", &Metadata::address(issuer), None).await?)?;
        let keys = self.get("jwks_uri", &metadata.keys_address()?, None).await?;
        let keys = KeySet::parse(&keys).map_err(|error| FetchFailed::Answer(error.into()))?;
        Ok(Published { metadata, keys })
    }

    async fn get(&self, what: &'static str, url: &str, bearer: Option<&Jwt>) -> Result<Bytes, FetchFailed> {
        let url = secure(url).ok_or(FetchFailed::Insecure(what))?;
        let mut request = http::Request::get(url.as_str());
        if let Some(jwt) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", jwt.as_str()));
        }
        match self.send(request, SdkBody::empty()).await? {
            (StatusCode::OK, body) => Ok(body),
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
            let body = Limited::new(response.into_body(), MAX_PUBLISHED_BYTES).collect().await;
            Ok((status, body.map_err(FetchFailed::Answer)?.to_bytes()))
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
