//! The token endpoint (RFC 6749, section 3.2) and the userinfo endpoint (OpenID Connect Core, section 5.3).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use shared::clock::Timestamp;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::Provider;
use super::authorize::Authorization;
use super::directory::{Client, OPENID, User};
use super::parameters::Parameters;
use super::refusal::{Code, Refusal};

/// The time for which tokens are valid.
const TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);

/// Exchanges client credentials or a code for tokens.
pub(super) async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let parameters = Parameters::of_form(&headers, &body)?;
    let client = provider.client(&headers, &parameters)?;
    match (parameters.required("grant_type")?, client) {
        ("client_credentials", Client::Machines) => provider.by_client_credentials(&parameters).map(Json),
        ("authorization_code", client) if client.has_people() => provider.by_code(client, &parameters).map(Json),
        ("client_credentials" | "authorization_code", _) => {
            let advice =
                "the client can't use this grant; people uses authorization_code, and machines client_credentials";
            Err(Refusal::new(Code::UnauthorizedClient, advice))
        }
        _ => {
            let advice = "grant_type must be authorization_code or client_credentials";
            Err(Refusal::new(Code::UnsupportedGrantType, advice))
        }
    }
}

/// Returns the address of a token's user, as Cognito writes it.
pub(super) async fn userinfo(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = bearer.and_then(|token| provider.key.verify(token));
    let is_valid = |claims: &Value| {
        claims["token_use"] == "access" && claims["exp"].as_i64() > Some(provider.clock.now().as_seconds())
    };
    let refused =
        || Refusal::new(Code::InvalidToken, "an access token of this issuer is needed, which has not expired");
    let claims = claims.filter(is_valid).ok_or_else(refused)?;
    if !claims["scope"].as_str().unwrap_or_default().split(' ').any(|scope| scope == OPENID) {
        return Err(Refusal::new(Code::InsufficientScope, "the token lacks the scope openid"));
    }
    let user = claims["sub"].as_str().and_then(User::of_subject).ok_or_else(refused)?;
    let subject = user.subject;
    Ok(Json(json!({"sub": subject, "username": subject, "email": user.email, "email_verified": "true"})))
}

impl Provider {
    /// Authenticates the client by HTTP Basic or by parameters (RFC 6749, section 2.3.1).
    fn client(&self, headers: &HeaderMap, parameters: &Parameters) -> Result<Client, Refusal> {
        let refuse = |description| Refusal::new(Code::InvalidClient, description);
        let (id, secret) = match headers.get(AUTHORIZATION) {
            Some(header) => {
                let basic = header.to_str().ok().and_then(basic);
                let (id, secret) = basic.ok_or_else(|| refuse("the Authorization header is not HTTP Basic"))?;
                if parameters.get("client_secret").is_some() || parameters.get("client_id").is_some_and(|it| it != id) {
                    return Err(Refusal::invalid("the client is named twice; use HTTP Basic or parameters"));
                }
                (id, Some(secret).filter(|secret| !secret.is_empty()))
            }
            None => {
                let id = parameters.get("client_id").ok_or_else(|| refuse("the request names no client"))?;
                (id.to_owned(), parameters.get("client_secret").map(str::to_owned))
            }
        };
        let client = Client::of_id(&id).ok_or_else(|| refuse("the client is unknown; use people or machines"))?;
        match (client, secret) {
            (Client::People | Client::Dashboard, None) => Ok(client),
            (Client::People | Client::Dashboard, Some(_)) => Err(refuse("the client has no secret; send none")),
            (Client::Machines, Some(secret)) if secret.as_bytes().ct_eq(self.client_secret.as_bytes()).into() => {
                Ok(client)
            }
            (Client::Machines, _) => {
                Err(refuse("the secret of the client machines is missing or wrong; cargo local prints it"))
            }
        }
    }

    fn by_client_credentials(&self, parameters: &Parameters) -> Result<Value, Refusal> {
        let client = Client::Machines;
        let scopes = client.grant(parameters.get("scope"))?;
        let now = self.clock.now();
        Ok(self.response(self.access_token(client, client.id(), &scopes, now, now), &scopes))
    }

    fn by_code(&self, client: Client, parameters: &Parameters) -> Result<Value, Refusal> {
        let refuse = |description| Refusal::new(Code::InvalidGrant, description);
        let redirect_uri = parameters.required("redirect_uri")?;
        let verifier = parameters.required("code_verifier")?;
        let now = self.clock.now();
        let found = self.codes.take(parameters.required("code")?, now);
        let found = found.ok_or_else(|| refuse("the code is unknown, used or expired; sign in again"))?;
        if found.client != client {
            return Err(refuse("the code was issued to another client; sign in again"));
        }
        if found.redirect_uri != redirect_uri {
            return Err(refuse("redirect_uri is not that of the authorization request; sign in again"));
        }
        if BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != found.challenge {
            return Err(refuse("code_verifier does not match code_challenge; sign in again"));
        }
        let access_token = self.access_token(client, found.user.subject, &found.scopes, found.at, now);
        let mut response = self.response(access_token, &found.scopes);
        if found.scopes.iter().any(|scope| scope == OPENID) {
            response["id_token"] = self.id_token(client, &found, now).into();
        }
        Ok(response)
    }

    fn response(&self, access_token: String, scopes: &[String]) -> Value {
        json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": TOKEN_LIFE.as_secs(),
            "scope": scopes.join(" "),
        })
    }

    /// Signs an access token with the claims of Cognito's.
    fn access_token(
        &self,
        client: Client,
        subject: &str,
        scopes: &[String],
        signed_in_at: Timestamp,
        now: Timestamp,
    ) -> String {
        let mut claims = self.claims(subject, signed_in_at, now);
        claims["token_use"] = "access".into();
        claims["client_id"] = client.id().into();
        claims["scope"] = scopes.join(" ").into();
        claims["version"] = 2.into();
        if client.has_people() {
            claims["username"] = subject.into();
        }
        self.sign(&claims)
    }

    /// Signs an ID token with the claims of Cognito's.
    fn id_token(&self, client: Client, authorization: &Authorization, now: Timestamp) -> String {
        let User { subject, email, .. } = authorization.user;
        let mut claims = self.claims(subject, authorization.at, now);
        claims["token_use"] = "id".into();
        claims["aud"] = client.id().into();
        claims["email"] = (*email).into();
        claims["email_verified"] = true.into();
        claims["cognito:username"] = (*subject).into();
        if let Some(nonce) = &authorization.nonce {
            claims["nonce"] = nonce.as_str().into();
        }
        self.sign(&claims)
    }

    fn claims(&self, subject: &str, signed_in_at: Timestamp, now: Timestamp) -> Value {
        json!({
            "iss": self.url, "sub": subject, "auth_time": signed_in_at.as_seconds(), "iat": now.as_seconds(),
            "exp": now.plus(TOKEN_LIFE).as_seconds(), "jti": Uuid::new_v4().to_string(),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "kid": self.key.thumbprint()}), claims)
    }
}

/// Returns the id and the secret of HTTP Basic credentials.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials =
        BASE64_STANDARD.decode(credentials.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (id, secret) = str::from_utf8(&credentials).ok()?.split_once(':')?;
    let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    Some((decode(id)?, decode(secret)?))
}
