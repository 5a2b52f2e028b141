//! The filters of the list.

use serde::Deserialize;
use shared::access::{Caller, Scope, oversees_tokens};
use shared::clock::{Rfc3339, Time};
use shared::id::UserId;
use shared::model::{DisplayNamePrefix, TokenRecord};
use shared::{Error, Result};

/// The properties of the listed tokens.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenFilter {
    /// The users whose tokens to list: `me` for the caller, `all` for every user of the account, or the ID of a user. Only owners
    /// and admins may list the tokens of others.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^(me|all|user_[a-z2-7]{16})$", default = "me")]
    user: Whose,
    /// Returns only tokens whose names start with this text, regardless of case.
    #[param(inline)]
    name: Option<DisplayNamePrefix>,
    /// Returns only tokens that have this scope.
    #[param(inline)]
    scope: Option<Scope>,
    /// Returns only tokens that expire before this time, or have expired. A permanent token never does.
    #[param(value_type = Option<Rfc3339>)]
    expires_before: Option<Time>,
}

/// The users whose tokens a list has.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
enum Whose {
    #[default]
    Me,
    All,
    User(UserId),
}

impl TryFrom<String> for Whose {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "me" => Ok(Self::Me),
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::User).map_err(|_| "must be 'me', 'all' or the ID of a user"),
        }
    }
}

impl TokenFilter {
    /// Returns the user whose tokens to list, or `None` for all users.
    ///
    /// # Errors
    /// Fails with `insufficient_permission` if the caller may not list them.
    pub(crate) fn user<'a>(&'a self, caller: &'a Caller) -> Result<Option<&'a UserId>> {
        let user = match &self.user {
            Whose::Me => return Ok(Some(caller.user_id())),
            Whose::All => None,
            Whose::User(id) => Some(id),
        };
        match user == Some(caller.user_id()) || oversees_tokens(caller) {
            true => Ok(user),
            false => Err(Error::not_permitted("Only owners and admins may list the tokens of other users")),
        }
    }

    /// Returns whether the filter leaves out tokens of these users.
    pub(crate) const fn selects(&self) -> bool {
        self.name.is_some() || self.scope.is_some() || self.expires_before.is_some()
    }

    pub(crate) fn matches(&self, row: &TokenRecord) -> bool {
        let token = row.token();
        let expires_before = |time: Time| token.expires_at.is_some_and(|end| end < time.get());
        self.name.as_ref().is_none_or(|prefix| prefix.starts(&token.name))
            && self.scope.is_none_or(|scope| token.scopes.contains(&scope))
            && self.expires_before.is_none_or(expires_before)
    }
}
