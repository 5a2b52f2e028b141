//! The URLs that events are sent to.

use crate::error::{Error, Result};
use crate::hosts::{Hosts, secure};

name! {
    /// The URL that events are posted to: `https`, without credentials and fragment. A local stack also takes `http` URLs of its own
    /// machine.
    WebhookUrl: 9 to 2048 characters,
    pattern "^https?://[!-~]+$",
    example "https://ops.example.com/deployments",
    else InvalidWebhookUrl
        "must be an https URL of 9 to 2,048 ASCII characters, without credentials and fragment",
    |text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain && secure(text).is_some_and(|url| url.fragment().is_none() && url.port() != Some(0))
    }
}

impl WebhookUrl {
    /// Returns the URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether events may be sent to the URL, as far as it tells. The addresses of its host are checked later, by the
    /// resolver of each connection.
    pub fn is_allowed_by(&self, hosts: Hosts) -> bool {
        secure(&self.0).is_some_and(|url| hosts.may_name(&url))
    }

    /// # Errors
    /// Fails with `invalid_request` on `url` if events may not be sent to the URL.
    pub fn check(&self, hosts: Hosts) -> Result<()> {
        if self.is_allowed_by(hosts) {
            return Ok(());
        }
        Err(Error::invalid("url", "must be an https URL of a host on the public internet"))
    }

    /// Returns the URL without its path and query, which may be a secret.
    pub fn origin(&self) -> String {
        secure(&self.0).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_at_an_https_url_of_a_public_host() {
        let allowed = |text: &str, hosts| text.parse::<WebhookUrl>().ok().map(|url| url.is_allowed_by(hosts));
        for text in ["https://ops.example.com", "https://hooks.example.com:8443/a/b?sig=c&d=e"] {
            assert_eq!(allowed(text, Hosts::PublicHttps), Some(true), "{text}");
        }
        for text in ["http://127.0.0.1:8080/", "http://localhost:3003", "https://[::1]/in"] {
            assert_eq!(allowed(text, Hosts::AlsoLocal), Some(true), "{text}");
        }
        for text in ["http://127.0.0.1:8080", "http://localhost", "https://10.0.0.1", "https://169.254.169.254/latest"]
        {
            assert_eq!(allowed(text, Hosts::PublicHttps), Some(false), "{text}");
        }
        for text in
            ["", "http://ops.example.com", "https://a@ops.example.com", "https://ops.example.com/#a", "ops.example.com"]
        {
            assert_eq!(allowed(text, Hosts::AlsoLocal), None, "{text:?}");
        }
    }

    #[test]
    fn an_origin_has_no_part_that_may_be_a_secret() {
        let url: WebhookUrl = "https://hooks.example.com/services/T0/B0/secret?sig=secret".parse().unwrap();
        assert_eq!(url.origin(), "https://hooks.example.com");
    }
}
