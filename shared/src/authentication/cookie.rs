//! The cookie of a session, and the origin of the requests that may use it.
//!
//! # Invariant: no other site acts in a session
//!
//! A browser adds a site's cookies to requests that another site caused. The cookie is `SameSite=Strict`, and the API takes it
//! only if the browser says that the request comes from the API's own origin, whatever the method: `Sec-Fetch-Site`, which no
//! script can set, or in older browsers `Origin`.

use http::header::{COOKIE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::caller::unauthorized;
use crate::error::{ErrorCode, Result};
use crate::token::SessionSecret;

/// The name of the cookie. Browsers take a name with this prefix only over https, for this host and for the path `/`.
const NAME: &str = "__Host-session";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// The seconds for which a browser keeps the cookie: as long as a session can last.
const MAX_AGE: u64 = crate::model::SESSION_LIFE.as_secs();
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origin of a request, as the browser tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// The API's own origin.
    Own,
    /// Another origin, or the address bar.
    Other,
    /// No browser tells it.
    Untold,
}

impl Site {
    /// Returns the origin of a request to the API at `own`, a URL without a path.
    pub(super) fn of(headers: &HeaderMap, own: &str) -> Self {
        let told = |name: &HeaderName, expected: &str| {
            let mut values = headers.get_all(name).iter();
            let is_own = |value: &HeaderValue| value.as_bytes() == expected.as_bytes();
            values.next().map(|first| is_own(first) && values.all(is_own))
        };
        match told(&SEC_FETCH_SITE, "same-origin").or_else(|| told(&ORIGIN, own)) {
            Some(true) => Self::Own,
            Some(false) => Self::Other,
            None => Self::Untold,
        }
    }
}

/// Returns the secret in the cookie, if a request of the API's own origin has the cookie.
///
/// # Errors
/// Fails with `invalid_token` if the cookie is malformed, or if there are several.
pub(super) fn session_secret(headers: &HeaderMap, own: &str) -> Option<Result<SessionSecret>> {
    if Site::of(headers, own) != Site::Own {
        return None;
    }
    let malformed = || unauthorized(ErrorCode::InvalidToken, "The session's cookie is malformed; sign in again");
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let mut secrets = cookies.filter(|(name, _)| *name == NAME).map(|(_, secret)| secret);
    let first = secrets.next()?;
    Some(match secrets.next() {
        None => first.parse().map_err(|error| malformed().because(error)),
        Some(_) => Err(malformed()),
    })
}

/// Returns the value of `Set-Cookie` that gives a browser the session.
pub(super) fn set(secret: &SessionSecret) -> HeaderValue {
    let cookie = format!("{NAME}={}; {ATTRIBUTES}; Max-Age={MAX_AGE}", secret.reveal());
    let mut value = HeaderValue::try_from(cookie).expect("secrets are ASCII");
    value.set_sensitive(true);
    value
}

/// Returns the value of `Set-Cookie` that takes the session from the browser.
pub fn clear_session_cookie() -> HeaderValue {
    HeaderValue::try_from(format!("{NAME}=; {ATTRIBUTES}; Max-Age=0")).expect("names are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://api.example.com";

    fn site(headers: &[(&'static str, &'static str)]) -> Site {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            map.append(name, value);
        }
        Site::of(&map, OWN)
    }

    #[test]
    fn a_browser_tells_the_origin_by_sec_fetch_site_or_else_by_origin() {
        assert_eq!(site(&[]), Site::Untold);
        assert_eq!(site(&[("sec-fetch-site", "same-origin")]), Site::Own);
        assert_eq!(site(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")]), Site::Own);
        assert_eq!(site(&[("origin", OWN)]), Site::Own);
        for value in ["cross-site", "same-site", "none", "", "Same-Origin", "same-origin, same-origin"] {
            assert_eq!(site(&[("sec-fetch-site", value), ("origin", OWN)]), Site::Other, "{value}");
        }
        assert_eq!(site(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]), Site::Other);
        for value in [
            "null",
            "",
            "http://api.example.com",
            "https://api.example.com:444",
            "https://api.example.com/",
            "https://api.example.com.evil.example",
            "https://evil.example",
        ] {
            assert_eq!(site(&[("origin", value)]), Site::Other, "{value}");
        }
    }
}
