//! Tokens.

use serde::{Serialize, Serializer};

use crate::clock::Rfc3339;
use crate::id::{TokenId, UserId};
use crate::model::TokenRecord;
use crate::name::DisplayName;
use crate::scope::Scope;
use crate::token::{PREFIX, TokenSecret};

/// A personal access token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Token)]
pub struct TokenBody {
    pub(crate) id: TokenId,
    pub(crate) name: DisplayName,
    /// The user that the token belongs to.
    pub(crate) user_id: UserId,
    /// The first characters of the secret.
    #[schema(examples("dgp_"))]
    pub(crate) prefix: &'static str,
    /// The last characters of the secret.
    #[schema(examples("6u5b"))]
    pub(crate) last_four: String,
    /// The token's scopes.
    pub(crate) scopes: Vec<Scope>,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
    /// The time of the last change.
    pub(crate) updated_at: Rfc3339,
    /// The time at which the token expires. Null if it never expires.
    #[schema(required)]
    pub(crate) expires_at: Option<Rfc3339>,
    /// The time at which the token was last used, precise to the hour. Null if it has never been used.
    #[schema(required)]
    pub(crate) last_used_at: Option<Rfc3339>,
    /// The secret. It is returned only once, by the request that creates or rotates the token.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
    #[schema(value_type = String, required = false, examples("dgp_0000000000000000000000000000003A6u5b"))]
    pub(crate) token: Option<TokenSecret>,
}

impl From<TokenRecord> for TokenBody {
    fn from(row: TokenRecord) -> Self {
        let token = row.token();
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            user_id: token.user_id.clone(),
            prefix: PREFIX,
            last_four: token.last_four.clone(),
            scopes: token.scopes.clone(),
            created_at: token.created_at.into(),
            updated_at: row.updated_at().into(),
            expires_at: token.expires_at.map(Into::into),
            last_used_at: row.last_used_at().map(Into::into),
            token: None,
        }
    }
}

impl TokenBody {
    /// Returns the body that shows the secret.
    pub fn with_secret(row: TokenRecord, secret: TokenSecret) -> Self {
        Self { token: Some(secret), ..row.into() }
    }
}

fn reveal<S: Serializer>(secret: &Option<TokenSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.reveal()),
        None => serializer.serialize_none(),
    }
}
