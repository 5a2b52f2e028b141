//! The URLs of issuers that accounts trust.

use crate::hosts::{Hosts, secure};

name! {
    /// The URL of an OpenID Connect issuer, exactly as in the claim `iss` of its tokens: `https`, without credentials, query and
    /// fragment.
    IssuerUrl: 9 to 512 characters,
    pattern "^https?://[!-~]+$",
    example "https://token.actions.githubusercontent.com",
    else InvalidIssuerUrl
        "must be an https URL of 9 to 512 ASCII characters, without credentials, query and fragment",
    |text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain && secure(text).is_some_and(|url| url.query().is_none() && url.fragment().is_none())
    }
}

impl IssuerUrl {
    /// Returns the URL as in the claim `iss`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the issuer may be asked for its keys, as far as the URL tells. The addresses of its host are checked
    /// later, by the resolver of each connection.
    pub fn is_allowed_by(&self, hosts: Hosts) -> bool {
        secure(&self.0).is_some_and(|url| hosts.may_name(&url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_of_a_public_host() {
        let allowed = |text: &str, hosts| text.parse::<IssuerUrl>().ok().map(|url| url.is_allowed_by(hosts));
        for text in [
            "https://token.actions.githubusercontent.com",
            "https://gitlab.example.com:8443/-/ci/",
            "https://oidc.circleci.com/org/0b6e7d2c-1f0a-4c1e-9d4b-5b6f0c1d2e3f",
        ] {
            assert_eq!(allowed(text, Hosts::PublicHttps), Some(true), "{text}");
        }
        for text in ["http://127.0.0.1:8080", "http://localhost:3003", "https://[::1]/ci"] {
            assert_eq!(allowed(text, Hosts::AlsoLocal), Some(true), "{text}");
        }
        for text in ["http://127.0.0.1:8080", "http://localhost", "https://10.0.0.1", "https://169.254.169.254/latest"]
        {
            assert_eq!(allowed(text, Hosts::PublicHttps), Some(false), "{text}");
        }
        assert_eq!(allowed("https://10.0.0.1", Hosts::AlsoLocal), Some(false));
        for text in [
            "",
            "https://",
            "http://gitlab.example.com",
            "ftp://gitlab.example.com",
            "gitlab.example.com",
            " https://gitlab.example.com",
            "https://gitlab.example.com\n",
            "https://git\tlab.example.com",
            "https://user@gitlab.example.com",
            "https://gitlab.example.com/?a=b",
            "https://gitlab.example.com/#a",
            "https://gitläb.example.com",
        ] {
            assert_eq!(allowed(text, Hosts::AlsoLocal), None, "{text:?}");
        }
    }
}
