//! The secrets of hooks.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};

/// The secret of a hook: `whsec_` and 32 random bytes in base64, the form of Standard Webhooks, which GitLab demands for its
/// signing tokens. `Debug` does not show it.
#[derive(Clone)]
pub struct HookSecret(SecretString);

impl HookSecret {
    const PREFIX: &str = "whsec_";
    const BYTES: usize = 32;

    /// Returns a new secret from random bits.
    pub fn random() -> Self {
        let mut bytes = [0u8; Self::BYTES];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(format!("{}{}", Self::PREFIX, BASE64_STANDARD.encode(bytes)).into())
    }

    /// Returns the secret of an opened text, or `None` if the text is not one.
    pub fn opened(text: Vec<u8>) -> Option<Self> {
        let secret = Self(String::from_utf8(text).ok()?.into());
        secret.bytes().map(|_| secret)
    }

    /// Returns the secret itself: to be shown once, and to be compared with what a sender sends.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the random bytes, the key of Standard Webhooks. The other senders sign with the text.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let encoded = self.reveal().strip_prefix(Self::PREFIX)?;
        BASE64_STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() == Self::BYTES)
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_bytes_in_the_form_of_standard_webhooks() {
        let secret = HookSecret::random();
        assert_eq!(secret.reveal().len(), 6 + 44);
        assert_eq!(secret.bytes().unwrap().len(), 32);
        assert_eq!(HookSecret::opened(secret.reveal().as_bytes().to_vec()).unwrap().reveal(), secret.reveal());
        assert_ne!(HookSecret::random().reveal(), secret.reveal());
        assert!(!format!("{secret:?}").contains("whsec_"));
        for text in ["", "whsec_", "whsec_c2hvcnQ=", &secret.reveal()[6..]] {
            assert!(HookSecret::opened(text.as_bytes().to_vec()).is_none(), "{text}");
        }
    }
}
