//! Creates an account with its plan, its owner and a first token. Operators invoke it by hand.
//!
//! The response is the only place where the token appears.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use shared::App;
use shared::access::Scope;
use shared::clock::Rfc3339;
use shared::id::{AccountId, TokenId, UserId};
use shared::model::{
    AccessToken, Account, AccountSlug, AccountTaken, AuditRetention, BasePermission, Email, EmailDomain, Lifetime,
    NewAccount, Plan, Quota, Role, User,
};
use shared::serve::InitError;
use shared::token::TokenSecret;

/// The event: the account to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// The account's slug.
    pub account: AccountSlug,
    /// The plan of the account.
    pub plan: Plan,
    /// Replaces the plan's rate limits. Required for Enterprise.
    pub rate_limit: Option<Quota>,
    /// The time for which the account's audit events are kept, in days. Only for Enterprise. Default: 400.
    pub audit_retention_days: Option<AuditRetention>,
    /// The number of deployments that may be in progress at once. Replaces the plan's.
    pub concurrent_builds: Option<NonZeroU32>,
    /// The number of build minutes in a calendar month after which no deployment is created. Replaces the plan's.
    pub build_minutes: Option<NonZeroU32>,
    owner_email: Email,
    /// The permission of every member on every repository of the account. Default: `read`.
    #[serde(default)]
    base_permission: BasePermission,
    /// Whether the token never expires.
    #[serde(default)]
    pub permanent: bool,
    /// Whether the account's users may create tokens that never expire. Default: only if the account has no email domains,
    /// because such a token outlives the user at the identity provider.
    permanent_tokens: Option<bool>,
    /// The email domains whose verified addresses join the account. Before you set them, have the account's owner prove
    /// that they control the domains.
    #[serde(default)]
    email_domains: Vec<EmailDomain>,
}

/// The response: the new account's IDs and the owner's first token.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bootstrapped {
    /// The ID of the account.
    pub account_id: AccountId,
    /// The ID of the owner.
    pub user_id: UserId,
    /// The ID of the owner's token.
    pub token_id: TokenId,
    /// The token's secret, returned once.
    pub token: String,
    /// The time at which the token expires. `None` if it never expires.
    #[serde(skip_deserializing)]
    pub expires_at: Option<Rfc3339>,
}

/// Creates an account with its owner and the owner's first token.
///
/// # Errors
/// Fails if the rate limit is missing for Enterprise or is zero, if another plan has a time for audit events, or if another account has the slug or an email domain.
pub async fn bootstrap(app: &App, request: Bootstrap) -> Result<Bootstrapped, InitError> {
    if request.plan == Plan::Enterprise && request.rate_limit.is_none() {
        return Err("an Enterprise account requires rate_limit: {\"per_minute\": …, \"burst\": …}".into());
    }
    if request.rate_limit.is_some_and(|quota| quota.per_minute == 0 || quota.burst == 0) {
        return Err("rate_limit: per_minute and burst must be at least 1".into());
    }
    if request.plan != Plan::Enterprise && request.audit_retention_days.is_some() {
        return Err("audit_retention_days is for Enterprise accounts only".into());
    }
    let now = app.clock().now();
    let secret = TokenSecret::random();
    let account = Account {
        id: AccountId::random(),
        slug: request.account,
        plan: request.plan,
        custom_quota: request.rate_limit,
        custom_audit_retention: request.audit_retention_days,
        custom_concurrent_builds: request.concurrent_builds.map(NonZeroU32::get),
        custom_build_minutes: request.build_minutes.map(NonZeroU32::get),
        permanent_tokens: request.permanent_tokens.unwrap_or(request.email_domains.is_empty()),
        base_permission: request.base_permission,
        email_domains: request.email_domains,
        created_at: now,
        revision: 1,
    };
    let owner = User {
        id: UserId::random(),
        account_id: account.id.clone(),
        email: request.owner_email,
        role: Role::Owner,
        created_at: now,
        teams: BTreeSet::new(),
        subjects: BTreeSet::new(),
    };
    let lifetime = if request.permanent { Lifetime::Permanent } else { Lifetime::DEFAULT };
    let token = AccessToken {
        id: TokenId::random(),
        account_id: account.id.clone(),
        user_id: owner.id.clone(),
        name: "bootstrap".parse()?,
        scopes: Scope::ALL.to_vec(),
        last_four: secret.last_four().to_owned(),
        created_at: now,
        expires_at: lifetime.end(now),
        revoked_at: None,
        superseded_at: None,
        version: 1,
    };
    let new = NewAccount { account: &account, owner: &owner, token: &token, lifetime, secret: &secret };
    new.create(app.table()).await?.map_err(|taken| match taken {
        AccountTaken::Slug => format!("the account '{}' already exists; choose another slug", account.slug),
        AccountTaken::EmailDomain(domain) => format!("another account already has the email domain '{domain}'"),
    })?;
    Ok(Bootstrapped {
        account_id: account.id,
        user_id: owner.id,
        token_id: token.id,
        token: secret.reveal().to_owned(),
        expires_at: token.expires_at.map(Into::into),
    })
}
