//! The rows that authentication reads: one for each secret of a token, by its hash.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AccountId, TokenId, UserId};
use crate::model::{Target, TargetKind, key};
use crate::name::DisplayName;
use crate::scope::Scope;
use crate::table::{Change, Consistency, Table, TableError, Values, Write};
use crate::token::TokenHash;

/// The time that a tombstone of an ended secret is kept, so that its 401 says why.
const REMEMBERED_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The precision of the last use of a token.
pub(crate) const USE_PRECISION: Duration = Duration::from_secs(60 * 60);

/// A personal access token as authentication reads it, by one of its secrets. The secret itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The token's ID, which is not secret and stays at a rotation.
    pub id: TokenId,
    /// The account that the token gives access to.
    pub account_id: AccountId,
    /// The user whose requests the token makes.
    pub user_id: UserId,
    /// The name that the user chose.
    pub name: DisplayName,
    /// The token's scopes, each once and at least one.
    pub scopes: Vec<Scope>,
    /// The last four characters of the secret.
    pub last_four: String,
    /// The time at which the token was created.
    pub created_at: Timestamp,
    /// The time at which the secret expires. `None` if the token is permanent. The table uses another name, because its
    /// `expires_at` is the time at which DynamoDB may delete the row. The attribute is required, so that a row without
    /// it is not taken for a permanent token.
    #[serde(rename = "valid_until", deserialize_with = "Option::deserialize")]
    pub expires_at: Option<Timestamp>,
    /// The time from which the secret is refused. `None` unless the token was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The version for the optimistic lock of the token's own row. Each change adds one, in the rows of all secrets that may
    /// still work. Rows from before versions were kept here have none.
    #[serde(default)]
    pub version: u64,
    /// The time at which the secret stops working because a rotation has replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
}

impl AccessToken {
    pub(crate) async fn by_hash(table: &Table, hash: TokenHash) -> Result<Option<Self>, TableError> {
        table.get(key::token_secret(hash), Consistency::Eventual).await
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Token, &self.id, Some(&self.name))
    }

    /// Returns the time at which the secret stops working, or stopped.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.revoked_at, self.superseded_at].into_iter().flatten().min()
    }

    /// Records a use of the token, unless one was recorded within the last hour.
    pub(crate) async fn record_use(&self, table: &Table, now: Timestamp) -> Result<(), TableError> {
        let hour_ago = Timestamp::from_millis(now.as_millis() - USE_PRECISION.as_millis() as i64);
        let change = Change {
            expression: "SET last_used_at = :now".to_owned(),
            condition: Some(
                "attribute_exists(pk) AND (attribute_not_exists(last_used_at) OR last_used_at <= :hour_ago)",
            ),
            values: Values::new().set(":now", now).set(":hour_ago", hour_ago),
            ..Change::default()
        };
        // A failed condition is fine: a rival has recorded the use, or the token is gone.
        table.update(key::token(&self.account_id, &self.id), change).await.map(drop)
    }

    pub(super) fn write(&self, hash: TokenHash) -> Result<Write, TableError> {
        let deletable_at = self.ends_at().map(|at| at.plus(REMEMBERED_FOR).as_seconds());
        Write::put(key::token_secret(hash), &SecretRow { token: self, deletable_at })
    }
}

#[derive(Serialize)]
struct SecretRow<'a> {
    #[serde(flatten)]
    token: &'a AccessToken,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    #[serde(rename = "expires_at", skip_serializing_if = "Option::is_none")]
    deletable_at: Option<i64>,
}
