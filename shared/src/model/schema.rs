//! The kinds of items in the table.
//!
//! `cargo local generate` renders them in `infra/docs/table.md`. `tests/schema.rs` compares them with the items that the API
//! writes.

use self::Presence::{Always, If, Never};
use crate::table::Index::{self, *};

/// A kind of item. Its keys are patterns: a placeholder such as `{account}` stands for each part that varies.
#[derive(Clone, Copy, Debug)]
pub struct ItemKind {
    /// The kind, as the documentation names it.
    pub name: &'static str,
    /// The pattern of the partition key.
    pub pk: &'static str,
    /// The pattern of the sort key.
    pub sk: &'static str,
    /// The indexes that items of this kind can be in.
    pub indexes: &'static [IndexEntry],
    /// The presence of `expires_at`, the time from which DynamoDB deletes the item.
    pub expiry: Presence,
}

/// The place of an item in an index. The partition and the sort key are patterns.
#[derive(Clone, Copy, Debug)]
pub struct IndexEntry {
    /// The index.
    pub index: Index,
    /// The pattern of the index's partition key.
    pub partition: &'static str,
    /// The pattern of the index's sort key.
    pub sort: &'static str,
    /// The condition under which the item is in the index.
    pub presence: Presence,
}

/// The condition under which an item has an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No item of the kind has it.
    Never,
    /// Every item of the kind has it.
    Always,
    /// The text completes "if …".
    If(&'static str),
}

/// Every kind of item.
#[rustfmt::skip]
pub const SCHEMA: &[ItemKind] = &[
    item("account", "ACCT#{account}", "ACCOUNT"),
    item("account's slug", "SLUG#{slug}", "SLUG"),
    item("account's email domain", "DOMAIN#{domain}", "DOMAIN"),
    item("user", "ACCT#{account}", "USER#{user}").indexed(&[
        entry(ByCreation, "ACCT#{account}#MEMBERS", "{created}#{user}"),
    ]),
    item("email address of a user or an invitation", "ACCT#{account}", "EMAIL#{email}"),
    item("numbers of users and owners", "ACCT#{account}", "MEMBERS"),
    item("user's identity at the OAuth2 issuer", "SUBJECT#{sha256}", "SUBJECT"),
    item("access token", "ACCT#{account}#TOKEN#{token}", "TOKEN").indexed(&[
        entry(ByCreation, "ACCT#{account}#TOKENS", "{created}#{token}"),
        entry(ByUser, "ACCT#{account}#USER#{user}#TOKENS", "{created}#{token}"),
    ]),
    item("secret of an access token", "TOKEN#{sha256}", "TOKEN")
        .expiring(If("the token is not permanent, or the secret is replaced or revoked")),
    item("session of the dashboard", "SESSION#{sha256}", "SESSION").indexed(&[
        entry(ByCreation, "SESSIONS#{holder}", "{created}#{session}"),
    ]).expiring(Always),
    item("number of an account's access tokens", "ACCT#{account}#TOKENS", "TOTAL"),
    item("number of a user's access tokens", "ACCT#{account}#TOKENS", "{user}"),
    item("invitation", "INVITATION#{invitation}", "INVITATION").indexed(&[
        entry(ByCreation, "ACCT#{account}#INVITATIONS", "{created}#{invitation}"),
        entry(ByEmail, "EMAIL#{email}", "{created}#{invitation}"),
    ]),
    item("number of invitations", "ACCT#{account}", "INVITATIONS"),
    item("application", "CLIENT#{client}", "CLIENT").indexed(&[
        entry(ByCreation, "ACCT#{account}#APPS", "{created}#{client}"),
    ]),
    item("number of applications", "ACCT#{account}#APPS", "TOTAL"),
    item("trust in an issuer's tokens", "TRUST#{trust}", "TRUST").indexed(&[
        entry(ByCreation, "ACCT#{account}#TRUSTS", "{created}#{trust}"),
    ]),
    item("number of trusts", "ACCT#{account}#TRUSTS", "TOTAL"),
    item("connection to a git host", "ACCT#{account}#CONNECTION#{connection}", "CONNECTION").indexed(&[
        entry(ByCreation, "ACCT#{account}#CONNECTIONS", "{created}#{connection}"),
    ]),
    item("use of a connection by a repository", "ACCT#{account}#CONNECTION#{connection}", "REPO#{repository}"),
    item("number of connections", "ACCT#{account}#CONNECTIONS", "TOTAL"),
    item("token of a trust", "TOKEN#{sha256}", "EXCHANGED").expiring(Always),
    item("issuer's token that was exchanged", "SPENT#{sha256}", "SPENT").expiring(Always),
    item("team", "ACCT#{account}", "TEAM#{team}").indexed(&[
        entry(ByCreation, "ACCT#{account}#TEAMS", "{created}#{team}"),
        entry(ByUpdate, "ACCT#{account}#TEAMS", "{updated}#{team}"),
        entry(ByName, "ACCT#{account}#TEAMS", "{name}#{team}"),
    ]),
    item("team's name", "ACCT#{account}", "TEAMNAME#{name}"),
    item("number of teams", "ACCT#{account}", "TEAMS"),
    item("numbers of a team's members and repositories", "ACCT#{account}#TEAM#{team}", "SIZES"),
    item("member of a team", "ACCT#{account}#TEAM#{team}#MEMBERS", "USER#{user}").indexed(&[
        entry(ByCreation, "ACCT#{account}#TEAM#{team}#MEMBERS", "{added}#{user}"),
    ]),
    item("repository of a team", "ACCT#{account}#TEAM#{team}#REPOS", "REPO#{repository}").indexed(&[
        entry(ByCreation, "ACCT#{account}#TEAM#{team}#REPOS", "{added}#{repository}"),
    ]),
    item("repository", "ACCT#{account}", "REPO#{repository}").indexed(&[
        entry(ByCreation, "ACCT#{account}#REPOS", "{created}#{repository}"),
        entry(ByUpdate, "ACCT#{account}#REPOS", "{updated}#{repository}"),
        entry(ByName, "ACCT#{account}#REPOS", "{name}#{repository}"),
        entry(Public, "ACCT#{account}#PUBLIC", "{created}#{repository}").only_if("the repository is public"),
    ]),
    item("repository's name, or one that it had", "ACCT#{account}", "REPONAME#{name}"),
    item("name that a repository had", "ACCT#{account}#REPO#{repository}", "NAME#{name}"),
    item("deletion of a repository", "DELETIONS", "{account}#{repository}"),
    item("number of repositories", "ACCT#{account}", "REPOS"),
    item("hook", "HOOK#{hook}", "HOOK").indexed(&[
        entry(ByCreation, "ACCT#{account}#REPO#{repository}#HOOKS", "{created}#{hook}"),
        entry(ByAccount, "ACCT#{account}#HOOKS", "{created}#{hook}"),
    ]),
    item("number of hooks", "ACCT#{account}#REPO#{repository}#HOOKS", "TOTAL"),
    item("delivery to a hook", "HOOK#{hook}", "DELIVERY#{delivery}").indexed(&[
        entry(ByCreation, "HOOK#{hook}#DELIVERIES", "{received}#{delivery}"),
        entry(ByDueTime, "DUE#DELIVERIES", "{due}#{hook}#{delivery}").only_if("the delivery has not been handled"),
    ]).expiring(Always),
    item("commit of a ref that a push deployed last", "ACCT#{account}#REPO#{repository}", "PUSHED#{sha256}#{environment}"),
    item("caches of a branch in an environment", "ACCT#{account}#REPO#{repository}", "CACHE#{sha256}#{environment}").expiring(Always),
    item("last success of a commit in an environment", "ACCT#{account}#REPO#{repository}", "SUCCEEDED#{environment}#{sha}")
        .expiring(Always),
    item("settings of an environment", "ACCT#{account}#REPO#{repository}", "ENV#{environment}").indexed(&[
        entry(ByDueTime, "DUE#ENVIRONMENTS", "{due}#{account}#{repository}#{environment}").only_if("a deployment created it from a pattern"),
    ]),
    item("settings of a pattern of environments", "ACCT#{account}#REPO#{repository}", "PATTERN#{environment}"),
    item("numbers of deployments to an environment when it was deleted", "ACCT#{account}#REPO#{repository}", "DELETED#{environment}"),
    item("variables of an account", "ACCT#{account}#VARIABLES", "CURRENT"),
    item("version of the variables of an account", "ACCT#{account}#VARIABLES", "VERSION#{number}"),
    item("variables of a repository", "ACCT#{account}#REPO#{repository}#VARIABLES", "CURRENT"),
    item("version of the variables of a repository", "ACCT#{account}#REPO#{repository}#VARIABLES", "VERSION#{number}"),
    item("variables of an environment", "ACCT#{account}#REPO#{repository}#VARIABLES", "ENV#{environment}#CURRENT"),
    item("version of the variables of an environment", "ACCT#{account}#REPO#{repository}#VARIABLES", "ENV#{environment}#VERSION#{number}"),
    item("numbers of deployments", "ACCT#{account}#REPO#{repository}", "DEPLOYS"),
    item("deployment", "ACCT#{account}#DEPLOY#{deployment}", "DEPLOY").indexed(&[
        entry(ByCreation, "ACCT#{account}#REPO#{repository}", "{number}"),
        entry(ByEnvironment, "ACCT#{account}#REPO#{repository}#ENV#{environment}", "{number}"),
        entry(ByStatus, "ACCT#{account}#REPO#{repository}#STATUS#{status}", "{number}"),
        entry(ByEnvironmentAndStatus, "ACCT#{account}#REPO#{repository}#ENV#{environment}#STATUS#{status}", "{number}"),
        entry(ByAccountAndStatus, "ACCT#{account}#DEPLOYS#STATUS#{status}", "{created}#{deployment}"),
        entry(ByDueTime, "DUE#{shard}", "{due}#{account}#{deployment}").only_if("the deployment has not ended"),
    ]),
    item("event of a deployment", "ACCT#{account}#DEPLOY#{deployment}", "EVENT#{number}"),
    item("variables of a deployment", "ACCT#{account}#DEPLOY#{deployment}", "VARS"),
    item("place in the log of an attempt's build", "ACCT#{account}#DEPLOY#{deployment}", "LOG#{attempt}"),
    item("results of an attempt of a deployment", "ACCT#{account}#DEPLOY#{deployment}", "RESULTS#{attempt}"),
    item("permits of an account", "ACCT#{account}#CAPACITY", "PERMITS"),
    item("permits of all accounts together", "CAPACITY", "PERMITS"),
    item("deployment that waits for a permit", "ACCT#{account}#CAPACITY", "WAIT#{number}#{deployment}"),
    item("build minutes of an account in a month", "ACCT#{account}#CAPACITY", "MINUTES#{month}").expiring(Always),
    item("lock of a lane", "ACCT#{account}#REPO#{repository}#LANE#{lane}", "LANE"),
    item("deployment that waits for one in another lane", "ACCT#{account}#REPO#{repository}#LANE#{lane}", "REQUIRED#{deployment}"),
    item("queued deployment", "ACCT#{account}#REPO#{repository}#LANE#{lane}", "WAIT#{number}"),
    item("status of a commit in an environment", "ACCT#{account}#REPO#{repository}", "STATUS#{environment}#{sha}").indexed(&[
        entry(ByDueTime, "REPORTS#{shard}", "{due}#{account}#{repository}#{environment}#{sha}")
            .only_if("the git host was not told"),
    ]).expiring(Always),
    item("audit event", "ACCT#{account}#AUDIT", "{created}#{event}").indexed(&[
        entry(ByActor, "ACCT#{account}#AUDIT#ACTOR#{actor}", "{created}#{event}").only_if("the API did not make the change by itself"),
        entry(ByTarget, "ACCT#{account}#AUDIT#TARGET#{target}", "{created}#{event}"),
    ]).expiring(Always),
    item("number of the last audit event about a resource", "ACCT#{account}#AUDIT", "LAST#{target}").expiring(Always),
    item("webhook", "ACCT#{account}#WEBHOOKS", "WEBHOOK#{webhook}").indexed(&[
        entry(ByCreation, "ACCT#{account}#WEBHOOKS", "{created}#{webhook}"),
    ]),
    item("delivery to a webhook", "ACCT#{account}#WEBHOOK#{webhook}", "DELIVERY#{delivery}").indexed(&[
        entry(ByCreation, "ACCT#{account}#WEBHOOK#{webhook}#DELIVERIES", "{created}#{delivery}"),
        entry(ByDueTime, "WEBHOOKS#{shard}", "{due}#{account}#{webhook}#{delivery}").only_if("the delivery is pending"),
    ]).expiring(Always),
    item("leases on the deliveries to an account's webhooks", "ACCT#{account}#WEBHOOKS", "SENDING").expiring(Always),
    item("receiver of a webhook", "ACCT#{account}#WEBHOOK#{webhook}", "SENDING").expiring(Always),
    item("events of an account that became deliveries", "OUTBOXES", "{account}"),
    item("idempotency key", "ACCT#{account}#IDEM#{sha256}", "IDEM").expiring(Always),
    item("rate limit of an account", "RATE#{account}", "RATE").expiring(Always),
    item("allowance of a user for following", "RATE#{user}", "FOLLOWING").expiring(Always),
    item("bound of an account's look-ups on slow git hosts", "RATE#{account}", "LOOKUPS").expiring(Always),
    item("rate limit of a hook", "RATE#{hook}", "RATE").expiring(Always),
    item("rate limit of a source address", "RATE#{address}", "RATE").expiring(Always),
    item("rate limit of a source address, for requests that no account counts", "RATE#{address}", "UNCOUNTED").expiring(Always),
    item("progress of the recount", "RECOUNT", "RECOUNT"),
];

const fn item(name: &'static str, pk: &'static str, sk: &'static str) -> ItemKind {
    ItemKind { name, pk, sk, indexes: &[], expiry: Never }
}

const fn entry(index: Index, partition: &'static str, sort: &'static str) -> IndexEntry {
    IndexEntry { index, partition, sort, presence: Always }
}

impl ItemKind {
    const fn indexed(self, indexes: &'static [IndexEntry]) -> Self {
        Self { indexes, ..self }
    }

    const fn expiring(self, expiry: Presence) -> Self {
        Self { expiry, ..self }
    }
}

impl IndexEntry {
    const fn only_if(self, condition: &'static str) -> Self {
        Self { presence: If(condition), ..self }
    }
}
