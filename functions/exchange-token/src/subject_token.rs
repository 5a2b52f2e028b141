//! The checks of an issuer's token, beside its signature.

use std::time::Duration;

use serde_json::{Map, Value};
use shared::clock::Timestamp;
use shared::model::{SubjectToken, TrustTerms};
use shared::oauth::{Header, Jwt, Refused};
use shared::{Error, ErrorCode, Result};

/// The maximum difference between the issuer's clock and this one.
const LEEWAY: Duration = Duration::from_secs(60);
/// The maximum time until a token expires, for which its exchange is remembered. GitLab's tokens are valid as long as a job may
/// run, which is a month at most.
const LONGEST_LIFE: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// The maximum length of a subject. The audit log has it.
const MAX_SUBJECT_CHARS: usize = 1024;

/// Checks that the token is not of a type that is meant for something else, such as an access token.
pub(crate) fn check_type(header: &Header) -> Result<()> {
    match header.typ.as_str() {
        "" | "jwt" | "application/jwt" => Ok(()),
        _ => Err(invalid("The subject token is of another type than 'JWT'")),
    }
}

/// Checks the claims of a token whose signature is valid.
///
/// # Errors
/// Fails with `invalid_grant`. The message names a claim, and never the condition or the value.
pub(crate) fn accepted(
    terms: &TrustTerms,
    jwt: &Jwt,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<SubjectToken> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(terms.issuer.as_str()) {
        return Err(invalid("The subject token is of another issuer than the trust's"));
    }
    check_audience(claims.get("aud"), terms.audience.as_str())?;
    let expires_at = time(claims, "exp")?.ok_or_else(|| invalid("The subject token has no 'exp'"))?;
    let ends_at = expires_at.plus(LEEWAY);
    if now >= ends_at {
        return Err(invalid(format!("The subject token expired at {expires_at}")));
    }
    if expires_at > now.plus(LONGEST_LIFE) {
        return Err(invalid("The subject token is valid for more than 31 days; get one that expires earlier"));
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|start| start > now.plus(LEEWAY)) {
            return Err(invalid(format!("The subject token is not valid yet, by its '{name}'")));
        }
    }
    let subject = text("sub").filter(|subject| (1..=MAX_SUBJECT_CHARS).contains(&subject.chars().count()));
    let subject = subject.ok_or_else(|| invalid("The subject token has no 'sub' that is a string"))?;
    if let Some(name) = terms.claims.unsatisfied(claims) {
        return Err(invalid(format!("The claim '{name}' of the subject token does not satisfy the trust")));
    }
    Ok(SubjectToken { hash: jwt.signed_hash(), subject: subject.to_owned(), ends_at })
}

/// Checks that the token is for one audience, the trust's. A token for several could be exchanged by each of them.
fn check_audience(claim: Option<&Value>, audience: &str) -> Result<()> {
    let is_only_one = match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => matches!(&all[..], [Value::String(one)] if one == audience),
        _ => false,
    };
    match is_only_one {
        true => Ok(()),
        false => Err(invalid("The subject token is not for the trust's audience alone, by its 'aud'")),
    }
}

/// Returns a claim that is a time in seconds since the Unix epoch.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(Timestamp::from_millis((seconds * 1000.0) as i64))),
            None => Err(invalid(format!("The subject token has no number in '{name}'"))),
        },
    }
}

/// Returns the refusal of a token that could not be verified. The log has the exact reason.
pub(crate) fn refused(why: Refused) -> Error {
    match why {
        Refused::Unavailable(_) => {
            let message = "The issuer of the trust did not answer as it should; try again in a minute";
            Error::new(ErrorCode::RemoteUnavailable, message).because(why)
        }
        why => invalid("The subject token is not signed by the issuer of the trust").because(why),
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::InvalidGrant, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn terms() -> TrustTerms {
        let terms = json!({
            "issuer": "https://ci.example", "audience": "https://api.git.dev", "claims": {"repository": "acme/app"},
            "scopes": ["deployments:write"], "repository_id": null, "environments": null,
        });
        serde_json::from_value(terms).unwrap()
    }

    /// Returns the refusal of good claims with one other claim, or `None` if they are accepted.
    fn refusal(name: &str, value: Value) -> Option<String> {
        let mut claims = json!({
            "iss": "https://ci.example", "aud": "https://api.git.dev", "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app", "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        });
        claims[name] = value;
        let claims = claims.as_object_mut().unwrap();
        claims.retain(|_, value| *value != json!("absent"));
        let refused = accepted(&terms(), &"a.b.c".parse().unwrap(), claims, Timestamp::from_millis(NOW * 1000)).err();
        refused.map(|error| {
            assert_eq!(error.code(), ErrorCode::InvalidGrant);
            error.message().to_owned()
        })
    }

    #[test]
    fn times_have_a_minute_of_leeway() {
        for (name, value) in [
            ("exp", json!(NOW - 59)),
            ("exp", json!(NOW as f64 + 0.5)),
            ("exp", json!(NOW + 31 * 24 * 60 * 60)),
            ("iat", json!(NOW + 60)),
            ("nbf", json!(NOW + 60)),
            ("iat", json!("absent")),
            ("nbf", json!("absent")),
        ] {
            assert_eq!(refusal(name, value.clone()), None, "{name} {value}");
        }
        for (name, value, why) in [
            ("exp", json!(NOW - 60), "expired at"),
            ("exp", json!(0), "expired at"),
            ("exp", json!(-1e300), "expired at"),
            ("exp", json!("absent"), "has no 'exp'"),
            ("exp", json!((NOW + 300).to_string()), "has no number in 'exp'"),
            ("exp", json!([NOW + 300]), "has no number in 'exp'"),
            ("exp", Value::Null, "has no number in 'exp'"),
            ("exp", json!(NOW + 31 * 24 * 60 * 60 + 1), "more than 31 days"),
            ("exp", json!(1e300), "more than 31 days"),
            ("iat", json!(NOW + 61), "not valid yet, by its 'iat'"),
            ("nbf", json!(NOW + 61), "not valid yet, by its 'nbf'"),
            ("nbf", json!(true), "has no number in 'nbf'"),
        ] {
            let refused = refusal(name, value.clone()).unwrap_or_default();
            assert!(refused.contains(why), "{name} {value}: {refused}");
        }
    }

    #[test]
    fn the_audience_is_one() {
        for value in [json!("https://api.git.dev"), json!(["https://api.git.dev"])] {
            assert_eq!(refusal("aud", value.clone()), None, "{value}");
        }
        for value in [
            json!("absent"),
            json!("https://api.git.dev/"),
            json!("https://api.git.dev.evil.example"),
            json!(["https://other.example"]),
            json!(["https://api.git.dev", "https://other.example"]),
            json!([["https://api.git.dev"]]),
            json!([]),
            json!({"https://api.git.dev": true}),
            json!(true),
        ] {
            let refused = refusal("aud", value.clone()).unwrap_or_default();
            assert!(refused.contains("'aud'"), "{value}: {refused}");
        }
    }

    #[test]
    fn issuer_and_subject_are_exact_strings() {
        for value in
            [json!("https://ci.example/"), json!("https://CI.example"), json!(["https://ci.example"]), json!("absent")]
        {
            assert!(refusal("iss", value.clone()).is_some_and(|why| why.contains("another issuer")), "{value}");
        }
        for value in [json!(""), json!("absent"), json!(1), json!(["x"]), json!("x".repeat(1025))] {
            assert!(refusal("sub", value.clone()).is_some_and(|why| why.contains("'sub'")), "{value}");
        }
        let refused = refusal("repository", json!("acme/app-evil")).unwrap();
        assert_eq!(refused, "The claim 'repository' of the subject token does not satisfy the trust");
    }
}
