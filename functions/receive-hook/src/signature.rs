//! The proofs that senders give of a hook's secret. Each is compared in constant time.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use shared::clock::Timestamp;
use shared::model::{HookProvider, HookSecret};
use subtle::ConstantTimeEq;

/// The maximum age of a timestamp that was signed, and the maximum difference of clocks (Standard Webhooks).
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The parts of a request that can prove a secret.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub headers: &'a HeaderMap,
    /// The query parameter `key`.
    pub key: Option<&'a str>,
    /// The bytes of the body, which are signed.
    pub body: &'a [u8],
    /// The time at which the request came.
    pub at: Timestamp,
}

impl Request<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns whether a header has the HMAC-SHA256 of the body in hexadecimal digits, after a prefix.
    fn is_signed(&self, header: &str, prefix: &str, secret: &HookSecret) -> bool {
        let signature = self.header(header).and_then(|value| value.strip_prefix(prefix)).and_then(bytes_of);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        signature.is_some_and(|signature| hmac::verify(&key, self.body, &signature).is_ok())
    }

    /// Returns whether the request is signed as Standard Webhooks say. The signature covers the ID and the time of the delivery.
    fn is_standard_webhook(&self, secret: &HookSecret) -> Option<bool> {
        let (id, timestamp) = (self.header("webhook-id")?, self.header("webhook-timestamp")?);
        let signatures = self.header("webhook-signature")?;
        let sent = Timestamp::from_millis(i64::from(timestamp.parse::<u32>().ok()?) * 1000);
        if sent.since(self.at).max(self.at.since(sent)) > TOLERANCE {
            return Some(false);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.bytes()?);
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", self.body].concat();
        let is_of_key = |signature: &str| {
            let signature = signature.strip_prefix("v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
            signature.is_some_and(|signature| hmac::verify(&key, &signed, &signature).is_ok())
        };
        Some(signatures.split(' ').any(is_of_key))
    }
}

/// Returns whether a request has the secret of a hook, or was signed with it, in the way of the hook's provider.
pub(crate) fn proves(provider: HookProvider, request: &Request<'_>, secret: &HookSecret) -> bool {
    let is_secret = |text: &str| bool::from(text.as_bytes().ct_eq(secret.reveal().as_bytes()));
    match provider {
        HookProvider::Github => request.is_signed("x-hub-signature-256", "sha256=", secret),
        HookProvider::Gitea => {
            request.is_signed("x-hub-signature-256", "sha256=", secret)
                || ["x-gitea-signature", "x-forgejo-signature"]
                    .iter()
                    .any(|header| request.is_signed(header, "", secret))
        }
        HookProvider::Bitbucket => request.is_signed("x-hub-signature", "sha256=", secret),
        HookProvider::Gitlab => {
            request.header("x-gitlab-token").is_some_and(is_secret) || request.is_standard_webhook(secret) == Some(true)
        }
        HookProvider::Deploy => {
            let bearer = request.header(AUTHORIZATION.as_str()).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
            });
            request.key.is_some_and(is_secret) || bearer.is_some_and(is_secret)
        }
    }
}

/// Returns the bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let is_hexadecimal = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    is_hexadecimal.then(|| (0..digits.len()).step_by(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use shared::model::HookProvider::{Bitbucket, Deploy, Gitea, Github, Gitlab};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

    fn secret() -> HookSecret {
        HookSecret::opened(b"whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=".to_vec()).unwrap()
    }

    fn is_proved(provider: HookProvider, headers: &[(&'static str, &str)], key: Option<&str>, body: &str) -> bool {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers = headers.iter().map(header).collect();
        proves(provider, &Request { headers: &headers, key, body: body.as_bytes(), at: NOW }, &secret())
    }

    /// Made by `printf '{"ref":"refs/heads/main"}' | openssl dgst -sha256 -hmac "$SECRET"`.
    const BODY: &str = r#"{"ref":"refs/heads/main"}"#;
    const SIGNATURE: &str = "0048f30fd64251b7d68ae940518a722185786ae01ba4991d70f7ef29520dee21";
    /// The signature of `msg_1.1767268800.` and the body, with the 32 bytes of the secret, in base64.
    const STANDARD: &str = "sS7o1FH83CklSIvU0xZzJmfx5IKItISgNNMsKhSDMgc=";

    #[test]
    fn each_host_signs_in_its_own_way() {
        let with_prefix = format!("sha256={SIGNATURE}");
        assert!(is_proved(Github, &[("x-hub-signature-256", &with_prefix)], None, BODY));
        assert!(is_proved(Gitea, &[("x-hub-signature-256", &with_prefix)], None, BODY));
        assert!(is_proved(Gitea, &[("x-gitea-signature", SIGNATURE)], None, BODY));
        assert!(is_proved(Gitea, &[("x-forgejo-signature", SIGNATURE)], None, BODY));
        assert!(is_proved(Bitbucket, &[("x-hub-signature", &with_prefix)], None, BODY));
        assert!(is_proved(Gitlab, &[("x-gitlab-token", secret().reveal())], None, BODY));
        let bearer = format!("Bearer {}", secret().reveal());
        assert!(is_proved(Deploy, &[("authorization", &bearer)], None, ""));
        assert!(is_proved(Deploy, &[], Some(secret().reveal()), ""));
    }

    #[test]
    fn a_signature_is_of_one_body_and_one_secret() {
        let with_prefix = format!("sha256={SIGNATURE}");
        assert!(!is_proved(Github, &[("x-hub-signature-256", &with_prefix)], None, &BODY.replace("main", "next")));
        for forged in
            ["", "sha256=", SIGNATURE, "sha256=zz", "sha1=00", &with_prefix[..70], &format!("{with_prefix}00")]
        {
            assert!(!is_proved(Github, &[("x-hub-signature-256", forged)], None, BODY), "{forged}");
        }
        // What proves a secret to one host proves nothing to another.
        assert!(!is_proved(Github, &[("x-hub-signature", &with_prefix)], None, BODY));
        assert!(!is_proved(Github, &[("x-gitlab-token", secret().reveal())], Some(secret().reveal()), BODY));
        for provider in [Github, Gitlab, Gitea, Bitbucket, Deploy] {
            assert!(!is_proved(provider, &[], None, BODY), "{provider:?}");
            assert!(!is_proved(provider, &[], Some(""), BODY), "{provider:?}");
        }
        let wrong = secret().reveal().replace("whsec_M", "whsec_N");
        assert!(!is_proved(Gitlab, &[("x-gitlab-token", &wrong)], None, BODY));
        assert!(!is_proved(Deploy, &[("authorization", &format!("Bearer {wrong}"))], Some(&wrong), ""));
    }

    #[test]
    fn gitlab_signs_as_standard_webhooks_say() {
        let sent = |id: &str, at: &str, signature: &str| {
            let headers = [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)];
            is_proved(Gitlab, &headers, None, BODY)
        };
        let signature = format!("v1,{STANDARD}");
        assert!(sent("msg_1", "1767268800", &signature));
        assert!(sent("msg_1", "1767268800", &format!("v1a,AAAA v1,AAAA {signature}")));
        assert!(!sent("msg_2", "1767268800", &signature));
        assert!(!sent("msg_1", "1767268801", &signature));
        assert!(!sent("msg_1", "1767268800", STANDARD));
        // Signed rightly, but too long ago or ahead.
        for seconds in [1_767_268_499_i64, 1_767_269_101] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret().bytes().unwrap());
            let tag = hmac::sign(&key, format!("msg_1.{seconds}.{BODY}").as_bytes());
            assert!(!sent("msg_1", &seconds.to_string(), &format!("v1,{}", BASE64_STANDARD.encode(tag))));
        }
    }
}
