//! Sign-in of people by authorization code with PKCE (RFC 6749, section 4.1, and RFC 7636). The page asks the issuer for a code,
//! and the API exchanges it. The issuer's token never leaves the API.
//!
//! The exchange is one form and one answer. The kept crates for it, `oauth2` and `openidconnect`, would link `chrono` and second
//! implementations of the signatures that `jsonwebtoken` checks, into the functions of sign-in.

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::issuer::parse;
use super::{FetchFailed, Grant, Issuer, Jwt, Refused};
use crate::clock::Timestamp;
use crate::name::ClientId;
use crate::scope::Scope;

/// The scope of OpenID Connect, with which the issuer tells the person's address.
const OPENID: &str = "openid";
/// The scope of the address, which an issuer other than Amazon Cognito needs.
const EMAIL: &str = "email";

/// An OAuth2 client without a secret, with the only place to which the issuer may send people back.
#[derive(Clone, Debug)]
pub struct PublicClient {
    /// The client's identifier.
    pub id: ClientId,
    /// The redirect URI that is registered with the issuer.
    pub redirect_uri: String,
}

/// The parameters of an authorization request, without those that each request makes up: state, nonce and code challenge.
#[derive(Clone, Debug)]
pub struct SignInPage {
    /// The issuer's URL.
    pub issuer: String,
    /// The URL to which the browser goes.
    pub authorization_endpoint: String,
    /// The scopes to ask for, as the issuer names them.
    pub scopes: Vec<String>,
}

/// An authorization code with the secret that proves who asked for it.
#[derive(Debug)]
pub struct AuthorizationCode {
    /// The code.
    pub code: SecretString,
    /// The verifier of the code challenge.
    pub code_verifier: SecretString,
}

/// The reasons why a code gives no grant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeFailed {
    /// The issuer refuses the code: it is wrong, used or expired, or the verifier or the redirect URI is another one.
    #[error("the issuer refuses the code")]
    Code,
    #[error("the issuer can't be asked")]
    Unavailable(#[source] FetchFailed),
    #[error("the issuer refuses the client: {0}")]
    Client(String),
    #[error("the token is not one for this API")]
    Token(#[source] Refused),
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: Jwt,
}

/// The error of RFC 6749, section 5.2.
#[derive(Deserialize)]
struct TokenError {
    error: String,
}

impl Issuer {
    /// Returns the page on which people sign in.
    pub(crate) async fn sign_in_page(&self, now: Timestamp) -> Result<SignInPage, FetchFailed> {
        const ENDPOINT: &str = "authorization_endpoint";
        let endpoint = self.metadata(now).await?.authorization_endpoint.ok_or(FetchFailed::Missing(ENDPOINT))?;
        let of_address = if self.is_cognito() { None } else { Some(EMAIL.to_owned()) };
        let scopes = [OPENID.to_owned()].into_iter().chain(of_address);
        let scopes = scopes.chain(Scope::ALL.map(|scope| self.scope(scope))).collect();
        Ok(SignInPage { issuer: self.url().to_owned(), authorization_endpoint: endpoint, scopes })
    }

    /// Exchanges a code for a token. Returns the token with its claims, which are those of a person.
    pub(crate) async fn exchange(
        &self,
        client: &PublicClient,
        code: &AuthorizationCode,
        now: Timestamp,
    ) -> Result<(Jwt, Grant), ExchangeFailed> {
        const ENDPOINT: &str = "token_endpoint";
        let metadata = self.metadata(now).await.map_err(ExchangeFailed::Unavailable)?;
        let missing = || ExchangeFailed::Unavailable(FetchFailed::Missing(ENDPOINT));
        let endpoint = metadata.token_endpoint.ok_or_else(missing)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client.id.as_str()),
            ("code", code.code.expose_secret()),
            ("code_verifier", code.code_verifier.expose_secret()),
            ("redirect_uri", client.redirect_uri.as_str()),
        ];
        let (status, body) = self.post_form(ENDPOINT, &endpoint, &form).await.map_err(ExchangeFailed::Unavailable)?;
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                let TokenError { error } = parse(&body).map_err(ExchangeFailed::Unavailable)?;
                return Err(match error.as_str() {
                    "invalid_grant" | "invalid_request" => ExchangeFailed::Code,
                    _ => ExchangeFailed::Client(error),
                });
            }
            status => return Err(ExchangeFailed::Unavailable(FetchFailed::Status(status.as_u16()))),
        }
        let TokenResponse { access_token } = parse(&body).map_err(ExchangeFailed::Unavailable)?;
        let grant = self.verify_for(&access_token, Some(&client.id), now).await.map_err(ExchangeFailed::Token)?;
        if grant.client_id != client.id || grant.is_of_an_application() {
            return Err(ExchangeFailed::Token(Refused::Not("of another client")));
        }
        Ok((access_token, grant))
    }
}
