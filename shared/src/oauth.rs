//! OAuth2 access tokens: JWTs of one issuer, which the settings name.
//!
//! | | RFC 9068 | Amazon Cognito |
//! |---|---|---|
//! | when | `OIDC_AUDIENCE` is set | it is not |
//! | kind of token | `typ` is `at+jwt` | `token_use` is `access` |
//! | meant for this API | `aud` has the audience | `client_id` is one of `OIDC_CLIENT_IDS`, or a registered application |
//! | a scope | `repositories:read` | `git-api/repositories:read`, of the resource server `git-api` |
//!
//! In both cases the issuer, the signature, `exp`, `iat` and `nbf` are checked. The signature must be asymmetric and by
//! the issuer's key that `kid` names. The times have a minute of leeway. A token whose subject is its client acts for
//! an application. Without an issuer no JWT is accepted.

mod code;
mod crypto;
mod issuer;
mod keys;
mod published;

use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

pub(crate) use code::ExchangeFailed;
pub use code::{AuthorizationCode, PublicClient, SignInPage};
pub use issuer::Issuer;
pub use keys::{Header, KeySet};
pub use published::{FetchFailed, MAX_PUBLISHED_BYTES, Metadata, Published, Remembered};

use crate::clock::Timestamp;
use crate::name::{ClientId, Email, EmailDomain, InvalidEmail};
use crate::scope::Scope;
use crate::token::TokenHash;

/// The maximum difference between the issuer's clock and this one.
const LEEWAY: Duration = Duration::from_secs(60);
/// The time for which an access token proves that its holder has the client's secret.
pub const PROOF_LIFE: Duration = Duration::from_secs(10 * 60);
/// The identifier of the resource server whose scopes are this API's, in a Cognito user pool, with its separator.
pub const RESOURCE_SERVER: &str = "git-api/";
/// The maximum length of a token. Users' tokens are shorter; Lambda's events have room for ten times as much.
const MAX_CHARS: usize = 16 * 1024;

/// A JSON Web Token: three parts separated by dots.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiI3bDhxMm4zYzR2NWI2bTdrOGo5aDBnMWYyZCJ9.c2lnbmF0dXJl"))]
pub struct Jwt(SecretString);

impl Jwt {
    pub(crate) fn as_str(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the hash of the part that the issuer signed: the header and the claims. It is the same for each signature of it.
    pub fn signed_hash(&self) -> TokenHash {
        TokenHash::of(self.as_str().rsplit_once('.').map_or("", |(signed, _)| signed))
    }
}

/// The error for a text that is not a JWT.
#[derive(Debug, thiserror::Error)]
#[error("must be a JWT: three parts in base64url, separated by dots")]
pub struct MalformedJwt;

impl FromStr for Jwt {
    type Err = MalformedJwt;

    fn from_str(text: &str) -> Result<Self, MalformedJwt> {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let parts = text.split('.').filter(|part| is_part(part)).count();
        if parts == 3 && text.matches('.').count() == 2 && text.len() <= MAX_CHARS {
            Ok(Self(text.into()))
        } else {
            Err(MalformedJwt)
        }
    }
}

impl TryFrom<String> for Jwt {
    type Error = MalformedJwt;

    fn try_from(text: String) -> Result<Self, MalformedJwt> {
        text.parse()
    }
}

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The issuer's URL, as in `iss`.
    pub issuer: String,
    /// The issuer's name for the user or the application, as in `sub`.
    pub subject: String,
    pub(crate) client_id: ClientId,
    /// The granted scopes of this API.
    pub scopes: Vec<Scope>,
    /// The time in `iat`.
    pub(crate) issued_at: Timestamp,
    /// The time in `exp`, after which the leeway begins.
    pub expires_at: Timestamp,
    /// The email address, if the token has one that the issuer has verified.
    pub email: Option<VerifiedEmail>,
}

impl Grant {
    /// Returns whether the token shows that its holder has the client's secret: the client got it by client credentials, not
    /// long ago.
    pub(crate) fn proves_possession_of(&self, client: &ClientId, now: Timestamp) -> bool {
        self.is_of_an_application() && self.client_id == *client && now.since(self.issued_at) < PROOF_LIFE
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at.plus(LEEWAY)
    }

    /// Returns whether the token came by client credentials, without a user.
    pub(crate) fn is_of_an_application(&self) -> bool {
        self.subject == self.client_id.as_str()
    }
}

/// The reasons to refuse a token. The client learns only of an expiry; the log has the others.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The settings name no issuer.
    #[error("no issuer is configured")]
    NoIssuer,
    /// The library could not decode or verify the token.
    #[error("the header, the signature or a claim is wrong")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// The token is not one for this API. The text completes "The token is".
    #[error("{0}")]
    Not(&'static str),
    /// The token expired at this time, more than the leeway ago.
    #[error("expired")]
    Expired(Timestamp),
    /// The issuer does not answer, so the token can't be checked.
    #[error("the issuer's keys can't be read")]
    Unavailable(#[source] FetchFailed),
}

/// The stack's expectations of tokens, beside the issuer.
#[derive(Clone, Debug)]
struct Expectations {
    issuer: String,
    audience: Option<String>,
    client_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    client_id: ClientId,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    scope: Option<String>,
    token_use: Option<String>,
    #[serde(flatten)]
    email: EmailClaims,
}

/// The claims of OpenID Connect Core section 5.1.
#[derive(Deserialize)]
struct EmailClaims {
    email: Option<String>,
    email_verified: Option<Flag>,
}

/// An email address that the issuer has verified as its user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VerifiedEmail(Email);

impl VerifiedEmail {
    /// Returns the address in the issuer's spelling.
    pub fn address(&self) -> &Email {
        &self.0
    }

    /// Returns the domain of the address in lower case.
    pub fn domain(&self) -> String {
        self.0.to_string().rsplit('@').next().unwrap_or_default().to_ascii_lowercase()
    }

    pub(crate) fn is_at(&self, domain: &EmailDomain) -> bool {
        self.domain() == domain.as_str()
    }
}

impl FromStr for VerifiedEmail {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        text.parse().map(Self)
    }
}

/// Accepts `"true"`, which Cognito's userinfo endpoint writes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(bool),
    Text(String),
}

impl EmailClaims {
    /// Returns the address if it is verified.
    fn verified(self) -> Option<VerifiedEmail> {
        let is_verified = match self.email_verified? {
            Flag::Boolean(flag) => flag,
            Flag::Text(text) => text == "true",
        };
        self.email.filter(|_| is_verified)?.parse().ok()
    }
}

impl Expectations {
    /// Checks the type of token, if it has to be in the header.
    fn check_type(&self, header: &Header) -> Result<(), Refused> {
        let is_access_token = ["at+jwt", "application/at+jwt"].contains(&header.typ.as_str());
        match self.audience.is_some() && !is_access_token {
            true => Err(Refused::Not("no access token by its type")),
            false => Ok(()),
        }
    }

    /// Returns the library's checks. They exclude the times, because the library would read the system's clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_issuer(&[&self.issuer]);
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
            }
            None => {
                validation.validate_aud = false;
                validation.set_required_spec_claims(&["exp", "iss", "sub"]);
            }
        }
        validation
    }

    /// Checks the claims. The token may be of the client that asked for it, too.
    fn check_claims(&self, claims: Claims, asked: Option<&ClientId>, now: Timestamp) -> Result<Grant, Refused> {
        let time = |seconds: f64| Timestamp::from_millis((seconds * 1000.0) as i64);
        if claims.iss != self.issuer {
            return Err(Refused::Not("of another issuer"));
        }
        if self.audience.is_none() && claims.token_use.as_deref() != Some("access") {
            return Err(Refused::Not("no access token by its use"));
        }
        if claims.nbf.into_iter().chain([claims.iat]).any(|start| time(start) > now.plus(LEEWAY)) {
            return Err(Refused::Not("not valid yet"));
        }
        let prefix = if self.audience.is_some() { "" } else { RESOURCE_SERVER };
        let names =
            claims.scope.iter().flat_map(|scopes| scopes.split(' ')).filter_map(|name| name.strip_prefix(prefix));
        let names: Vec<_> = names.collect();
        let grant = Grant {
            scopes: Scope::ALL.into_iter().filter(|scope| names.contains(&scope.as_str())).collect(),
            issuer: claims.iss,
            subject: claims.sub,
            client_id: claims.client_id,
            issued_at: time(claims.iat),
            expires_at: time(claims.exp),
            email: claims.email.verified(),
        };
        // An application's client is not in the list, because its registration names it.
        let names_clients = self.audience.is_none() || !self.client_ids.is_empty();
        if names_clients
            && !grant.is_of_an_application()
            && !self.client_ids.iter().any(|id| id == grant.client_id.as_str())
            && asked != Some(&grant.client_id)
        {
            return Err(Refused::Not("of a client that is not this API's"));
        }
        if grant.has_expired(now) {
            return Err(Refused::Expired(grant.expires_at));
        }
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(change: impl FnOnce(&mut serde_json::Value)) -> Option<Claims> {
        let mut claims = serde_json::json!({
            "iss": "https://issuer.example", "sub": "ada", "client_id": "web", "exp": 2000, "iat": 1000,
            "scope": "openid repositories:read git-api/deployments:read other/tokens:read", "token_use": "access",
        });
        change(&mut claims);
        serde_json::from_value(claims).ok()
    }

    fn expectations(audience: Option<&str>, client_ids: &[&str]) -> Expectations {
        Expectations {
            issuer: "https://issuer.example".to_owned(),
            audience: audience.map(str::to_owned),
            client_ids: client_ids.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn time_has_a_minute_of_leeway() {
        let expectations = expectations(Some("api"), &[]);
        let at = |seconds: i64| {
            expectations.check_claims(claims(|_| ()).unwrap(), None, Timestamp::from_millis(seconds * 1000)).is_ok()
        };
        assert_eq!([939, 940, 2059, 2060].map(at), [false, true, true, false]);
        let now = Timestamp::from_millis(1_000_000);
        let not_before = |nbf: i64| claims(|claims| claims["nbf"] = nbf.into()).unwrap();
        assert!(expectations.check_claims(not_before(1060), None, now).is_ok());
        assert!(expectations.check_claims(not_before(1061), None, now).is_err());
    }

    #[test]
    fn times_that_are_no_numbers_are_refused() {
        for name in ["exp", "iat", "nbf"] {
            for value in [serde_json::json!("2000"), serde_json::json!([2000]), serde_json::json!({})] {
                assert!(claims(|claims| claims[name] = value).is_none(), "{name}");
            }
        }
        assert!(claims(|claims| drop(claims.as_object_mut().unwrap().remove("exp"))).is_none());
    }

    #[test]
    fn each_kind_of_issuer_has_its_names_of_scopes_and_its_check_of_clients() {
        let now = Timestamp::from_millis(1_500_000);
        let check = |audience: Option<&str>, client_ids: &[&str], change: fn(&mut serde_json::Value)| {
            expectations(audience, client_ids).check_claims(claims(change).unwrap(), None, now)
        };
        assert_eq!(check(Some("api"), &[], |_| ()).unwrap().scopes, [Scope::RepositoriesRead]);
        assert!(check(Some("api"), &["other"], |_| ()).is_err());
        assert_eq!(check(None, &["web"], |_| ()).unwrap().scopes, [Scope::DeploymentsRead]);
        assert!(check(None, &[], |_| ()).is_err(), "some client of the pool");
        let asked = |client: &str| {
            expectations(None, &[]).check_claims(claims(|_| ()).unwrap(), Some(&client.parse().unwrap()), now).is_ok()
        };
        assert!(asked("web") && !asked("other"), "a client that asked for the token");
        assert!(check(None, &["web"], |claims| claims["token_use"] = "id".into()).is_err());
        let of_application = check(None, &[], |claims| claims["sub"] = "web".into()).unwrap();
        assert!(of_application.is_of_an_application());
    }

    #[test]
    fn only_a_verified_address_is_one() {
        let email = |json: &str| {
            serde_json::from_str::<EmailClaims>(json).unwrap().verified().map(|it| it.address().to_string())
        };
        let ada = Some("ada@acme.example".to_owned());
        assert_eq!(email(r#"{"email": "ada@acme.example", "email_verified": true}"#), ada);
        assert_eq!(email(r#"{"email": "ada@acme.example", "email_verified": "true"}"#), ada);
        for unverified in ["false", "\"false\"", "\"\"", "null"] {
            let json = format!(r#"{{"email": "ada@acme.example", "email_verified": {unverified}}}"#);
            assert_eq!(email(&json), None, "{json}");
        }
        assert_eq!(email(r#"{"email": "ada@acme.example"}"#), None);
        assert_eq!(email(r#"{"email_verified": true}"#), None);
        assert_eq!(email(r#"{"email": "ada@acme.example@evil.example", "email_verified": true}"#), None);
    }

    #[test]
    fn a_jwt_has_three_parts_and_is_not_shown() {
        for text in [
            "",
            "a",
            "a.b",
            "a.b.",
            ".b.c",
            "a..c",
            "a.b.c.d",
            "a.b.c ",
            "a.b=.c",
            &format!("a.b.{}", "c".repeat(20_000)),
        ] {
            assert!(text.parse::<Jwt>().is_err(), "{text}");
        }
        let shown = format!("{:?}", "a.b.c".parse::<Jwt>().unwrap());
        assert!(!shown.contains("a.b.c"), "{shown}");
    }

    #[test]
    fn an_address_is_of_its_own_domain_only() {
        let domain: EmailDomain = "example.com".parse().unwrap();
        let has = |text: &str| text.parse::<VerifiedEmail>().unwrap().is_at(&domain);
        assert!(has("ada@example.com") && has("ada@EXAMPLE.com"));
        assert!(!has("ada@sub.example.com") && !has("ada@example.com.evil.example") && !has("ada@notexample.com"));
    }
}
