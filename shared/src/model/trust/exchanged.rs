//! The tokens that trusts issue, each in exchange for one token of their issuer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Trust;
use crate::clock::{Rfc3339, Timestamp};
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, TokenId, TrustId};
use crate::model::{Action, Author, RequestOrigin, key};
use crate::scope::Scope;
use crate::table::{Consistency, Table, TableError, Transaction, Write};
use crate::token::{TokenHash, TokenSecret};

/// The lifetime of a trust's tokens: the time that a job needs to deploy and to follow the deployment.
pub const EXCHANGED_TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
/// The time after its end for which a row is kept, so that no difference between clocks forgets it too early.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

/// A token of an issuer whose signature and claims satisfy a trust.
#[derive(Clone, Debug)]
pub struct SubjectToken {
    /// The hash of what the issuer signed. The signature is not a part of it, because somebody else can make another valid
    /// signature from an ECDSA signature.
    pub hash: TokenHash,
    /// The claim `sub`.
    pub subject: String,
    /// The time until which the token is accepted.
    pub ends_at: Timestamp,
}

/// The exchange of an issuer's token.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The token of the trust's issuer.
    pub subject_token: SubjectToken,
    /// The scopes of the new token, which the trust has.
    pub scopes: Vec<Scope>,
    /// The secret of the new token, of which only the hash is stored.
    pub secret: &'a TokenSecret,
}

/// A token of a trust as authentication reads it, by its secret's hash. The secret itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangedToken {
    /// The token's ID, which is not secret.
    pub id: TokenId,
    /// The account that the token gives access to.
    pub account_id: AccountId,
    /// The trust that issued the token.
    pub trust_id: TrustId,
    /// The digest of the trust's terms. The token ends when they change.
    terms_digest: String,
    /// The token's scopes.
    pub scopes: Vec<Scope>,
    /// The time at which the token was issued.
    pub created_at: Timestamp,
    /// The time at which the token expires. The table uses another name, because its `expires_at` is the time at which
    /// DynamoDB may delete the row.
    #[serde(rename = "valid_until")]
    pub expires_at: Timestamp,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    #[serde(rename = "expires_at")]
    deletable_at: i64,
}

/// The mark of a token that was exchanged.
#[derive(Serialize)]
struct Spent {
    expires_at: i64,
}

impl ExchangedToken {
    /// Reads a token. The read is strongly consistent, because a program uses its token as soon as it has it.
    pub(crate) async fn by_hash(table: &Table, hash: TokenHash) -> Result<Option<Self>, TableError> {
        table.get(key::exchanged_token(hash), Consistency::Strong).await
    }

    /// Returns whether the trust is the one that issued the token, on the same terms.
    pub(crate) fn is_of(&self, trust: &Trust) -> bool {
        self.trust_id == trust.id && self.account_id == trust.account_id && self.terms_digest == trust.terms.digest()
    }
}

impl Trust {
    /// Issues a token, and marks the issuer's token as exchanged until it expires.
    ///
    /// # Errors
    /// Fails with `invalid_grant` if the issuer's token was exchanged before, or the trust is gone.
    pub async fn exchange(
        &self,
        table: &Table,
        Exchange { subject_token, scopes, secret }: Exchange<'_>,
        origin: RequestOrigin,
        now: Timestamp,
    ) -> Result<ExchangedToken> {
        let expires_at = now.plus(EXCHANGED_TOKEN_LIFE);
        let token = ExchangedToken {
            id: TokenId::random(),
            account_id: self.account_id.clone(),
            trust_id: self.id.clone(),
            terms_digest: self.terms.digest(),
            scopes,
            created_at: now,
            expires_at,
            deletable_at: expires_at.plus(KEPT_FOR).as_seconds(),
        };
        let spent = Spent { expires_at: subject_token.ends_at.plus(KEPT_FOR).as_seconds() };
        let event = Author::of_trust(self, &token)
            .from(origin)
            .event(Action::TrustExchanged, self.target(), now)
            .about("subject", &subject_token.subject)
            .about("scopes", &token.scopes)
            .about("expires_at", Rfc3339::from(token.expires_at));
        let trust =
            Write::Check { key: key::trust(&self.id), condition: "attribute_exists(pk)", names: None, values: None };
        Transaction::new()
            .write(trust)
            .or(|_| Error::new(ErrorCode::InvalidGrant, "The trust was deleted"))
            .write(Write::create(key::spent_token(subject_token.hash), &spent, Vec::new())?)
            .or(|_| {
                let message =
                    "The subject token was exchanged before, and each works once; get a new one from its issuer";
                Error::new(ErrorCode::InvalidGrant, message)
            })
            .write(Write::create(key::exchanged_token(secret.hash()), &token, Vec::new())?)
            .recording(&event)?
            .commit(table)
            .await??;
        Ok(token)
    }
}
