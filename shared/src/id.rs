//! Identifiers: a prefix that names the kind, and 16 lower-case base32 characters (80 random bits).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// RFC 4648 base32, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const RANDOM_CHARS: usize = 16;

/// The error for a text that is not an identifier of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error("must be '{prefix}' followed by {RANDOM_CHARS} characters of a-z and 2-7")]
pub struct InvalidId {
    prefix: &'static str,
}

pub(crate) fn random(prefix: &str) -> String {
    let mut bytes = [0u8; RANDOM_CHARS];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    // 256 is a multiple of 32, so taking each byte's low five bits keeps every character equally likely.
    let chars = bytes.map(|byte| char::from(BASE32[usize::from(byte & 31)]));
    prefix.chars().chain(chars).collect()
}

/// Returns the identifier that a digest stands for.
fn of_digest(prefix: &str, digest: &[u8; 32]) -> String {
    let chars = digest.iter().take(RANDOM_CHARS).map(|byte| char::from(BASE32[usize::from(byte & 31)]));
    prefix.chars().chain(chars).collect()
}

fn parse(prefix: &'static str, text: &str) -> Result<String, InvalidId> {
    match text.strip_prefix(prefix) {
        Some(rest) if rest.len() == RANDOM_CHARS && rest.bytes().all(|b| BASE32.contains(&b)) => Ok(text.to_owned()),
        _ => Err(InvalidId { prefix }),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern, examples($example))]
        pub struct $name(String);

        impl $name {
            /// The beginning of every identifier of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// The regular expression that every identifier of this kind matches.
            pub const PATTERN: &'static str = $pattern;

            /// Returns a new identifier from 80 random bits.
            pub fn random() -> Self {
                Self(random($prefix))
            }

            /// Returns the identifier with its prefix.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse($prefix, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The ID of an account.
    AccountId,
    "acct_",
    "^acct_[a-z2-7]{16}$",
    "acct_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a user.
    UserId,
    "user_",
    "^user_[a-z2-7]{16}$",
    "user_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of an access token. It is not the secret.
    TokenId,
    "tok_",
    "^tok_[a-z2-7]{16}$",
    "tok_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a session. It is not the secret.
    SessionId,
    "session_",
    "^session_[a-z2-7]{16}$",
    "session_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a team.
    TeamId,
    "team_",
    "^team_[a-z2-7]{16}$",
    "team_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of an invitation. It is not the secret.
    InvitationId,
    "inv_",
    "^inv_[a-z2-7]{16}$",
    "inv_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a trust in an issuer's tokens.
    TrustId,
    "trust_",
    "^trust_[a-z2-7]{16}$",
    "trust_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a connection to a git host.
    ConnectionId,
    "conn_",
    "^conn_[a-z2-7]{16}$",
    "conn_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a hook, by which a git host or a program asks for deployments. It is not the secret.
    HookId,
    "hook_",
    "^hook_[a-z2-7]{16}$",
    "hook_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a delivery to a hook, or of an event to a webhook.
    DeliveryId,
    "dlv_",
    "^dlv_[a-z2-7]{16}$",
    "dlv_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a webhook, to which the account's events are sent.
    WebhookId,
    "webhook_",
    "^webhook_[a-z2-7]{16}$",
    "webhook_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a repository.
    RepositoryId,
    "repo_",
    "^repo_[a-z2-7]{16}$",
    "repo_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a deployment.
    DeploymentId,
    "deploy_",
    "^deploy_[a-z2-7]{16}$",
    "deploy_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of an event in the audit log.
    AuditEventId,
    "event_",
    "^event_[a-z2-7]{16}$",
    "event_k3vyq2w7x5m4n6pa"
);
id!(
    /// The ID of a request, as in `X-Request-Id`.
    RequestId,
    "req_",
    "^req_[a-z2-7]{16}$",
    "req_k3vyq2w7x5m4n6pa"
);

impl DeliveryId {
    /// Returns the ID of the delivery that the sender of a hook calls `sent_as`. A delivery that comes twice has one ID.
    pub(crate) fn of(hook: &HookId, sent_as: &str) -> Self {
        let digest = Sha256::new().chain_update(hook.as_str()).chain_update([0]).chain_update(sent_as).finalize();
        Self(of_digest(Self::PREFIX, &digest.into()))
    }

    /// Returns the ID of the delivery of an event to a webhook. An event has one delivery to a webhook, however often it is found.
    pub(crate) fn of_event(webhook: &WebhookId, event: &AuditEventId) -> Self {
        let digest =
            Sha256::new().chain_update(webhook.as_str()).chain_update([0]).chain_update(event.as_str()).finalize();
        Self(of_digest(Self::PREFIX, &digest.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_parses_as_its_own_kind_and_no_other() {
        let id = RepositoryId::random();
        assert_eq!(id.as_str().parse::<RepositoryId>().unwrap(), id);
        assert!(id.as_str().parse::<DeploymentId>().is_err());
        assert_ne!(id, RepositoryId::random());
    }

    #[test]
    fn a_delivery_that_comes_twice_has_one_id() {
        let (hook, other) = (HookId::random(), HookId::random());
        let id = DeliveryId::of(&hook, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        assert_eq!(id, DeliveryId::of(&hook, "72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        assert_eq!(id.as_str().parse::<DeliveryId>().unwrap(), id);
        assert_ne!(id, DeliveryId::of(&hook, "72d3162e-cc78-11e3-81ab-4c9367dc0959"));
        assert_ne!(id, DeliveryId::of(&other, "72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in
            ["", "repo_", "repo_short", "repo_abcdefghijklmno1", "repo_ABCDEFGHIJKLMNOP", "repo_abcdefghijklmnop2"]
        {
            assert!(text.parse::<RepositoryId>().is_err(), "{text}");
        }
    }
}
