//! The keys of every item, and of the partitions that hold lists of them. No other module makes one.

mod audit;
mod capacity;
mod environment;
mod hook;
mod variable;
mod webhook;

use crate::hex::hex;
use crate::id::{AccountId, ConnectionId, DeploymentId, InvitationId, RepositoryId, TeamId, TokenId, TrustId, UserId};
use crate::model::{Environment, Status, Subject};
use crate::name::{AccountSlug, ClientId, Email, RepositoryName, TeamName};
use crate::table::Key;
use crate::token::TokenHash;
use sha2::{Digest, Sha256};

pub(super) use audit::*;
pub(super) use capacity::*;
pub(super) use environment::*;
pub(super) use hook::*;
pub(super) use variable::*;
pub(super) use webhook::*;

/// The sort keys of the counters that a recount compares.
pub(super) const MEMBER_COUNTS: &str = "MEMBERS";
pub(super) const TEAM_COUNT: &str = "TEAMS";
pub(super) const TEAM_SIZES: &str = "SIZES";
pub(super) const REPOSITORY_COUNT: &str = "REPOS";
pub(super) const DEPLOYMENT_COUNTS: &str = "DEPLOYS";

/// The beginnings of the sort keys of rows that a recount counts.
pub(super) const USER_PREFIX: &str = "USER#";
pub(super) const TEAM_PREFIX: &str = "TEAM#";
pub(super) const REPOSITORY_PREFIX: &str = "REPO#";

/// The beginning of the sort keys of a repository's former names.
const FORMER_NAME_PREFIX: &str = "NAME#";
/// The range of the sort keys of a repository's former names. `~` sorts after every character of a name.
pub(super) const FORMER_NAMES: (&str, &str) = (FORMER_NAME_PREFIX, "NAME#~");

/// The partition of an account's singletons, and of its users, teams and repositories.
pub(super) fn account_partition(account: &AccountId) -> String {
    format!("ACCT#{account}")
}

pub(super) fn account(account: &AccountId) -> Key {
    Key::new(account_partition(account), "ACCOUNT")
}

pub(super) fn account_slug(slug: &AccountSlug) -> Key {
    Key::new(format!("SLUG#{slug}"), "SLUG")
}

pub(super) fn user(account: &AccountId, user: &UserId) -> Key {
    Key::new(account_partition(account), format!("{USER_PREFIX}{user}"))
}

/// The claim that keeps an email address unique in its account.
pub(super) fn email(account: &AccountId, email: &Email) -> Key {
    Key::new(account_partition(account), format!("EMAIL#{}", email.folded()))
}

pub(super) fn member_counts(account: &AccountId) -> Key {
    Key::new(account_partition(account), MEMBER_COUNTS)
}

/// The index partition of an account's users.
pub(super) fn members(account: &AccountId) -> String {
    format!("{}#MEMBERS", account_partition(account))
}

pub(super) fn token(account: &AccountId, token: &TokenId) -> Key {
    Key::new(format!("{}#TOKEN#{token}", account_partition(account)), "TOKEN")
}

pub(super) fn token_secret(hash: TokenHash) -> Key {
    Key::new(format!("TOKEN#{hash}"), "TOKEN")
}

/// The counter of a user's tokens, or with `None` of an account's.
pub(super) fn token_count(account: &AccountId, user: Option<&UserId>) -> Key {
    Key::new(tokens(account, None), user.map_or("TOTAL".to_owned(), ToString::to_string))
}

/// The index partition of a user's tokens, or with `None` of an account's.
pub(super) fn tokens(account: &AccountId, user: Option<&UserId>) -> String {
    match user {
        None => format!("{}#TOKENS", account_partition(account)),
        Some(user) => format!("{}#USER#{user}#TOKENS", account_partition(account)),
    }
}

/// A session, by the hash of its cookie's secret.
pub(super) fn session(hash: TokenHash) -> Key {
    Key::new(format!("SESSION#{hash}"), "SESSION")
}

/// The index partition of the sessions of a holder: the id of the user of a personal access token, or the hash of a subject of
/// the OAuth2 issuer. A person who belongs to no account yet has only the latter.
pub(super) fn sessions(holder: &str) -> String {
    format!("SESSIONS#{holder}")
}

pub(super) fn invitation(invitation: &InvitationId) -> Key {
    Key::new(format!("INVITATION#{invitation}"), "INVITATION")
}

pub(super) fn invitation_count(account: &AccountId) -> Key {
    Key::new(account_partition(account), "INVITATIONS")
}

/// The index partition of an account's invitations.
pub(super) fn invitations(account: &AccountId) -> String {
    format!("{}#INVITATIONS", account_partition(account))
}

/// The index partition of an address's invitations to any account.
pub(super) fn invitations_to(email: &Email) -> String {
    format!("EMAIL#{}", email.folded())
}

pub(super) fn team(account: &AccountId, team: &TeamId) -> Key {
    Key::new(account_partition(account), format!("{TEAM_PREFIX}{team}"))
}

/// The claim that keeps the name of a team unique in its account.
pub(super) fn team_name(account: &AccountId, name: &TeamName) -> Key {
    Key::new(account_partition(account), format!("TEAMNAME#{}", name.folded()))
}

pub(super) fn team_count(account: &AccountId) -> Key {
    Key::new(account_partition(account), TEAM_COUNT)
}

/// The index partition of an account's teams.
pub(super) fn teams(account: &AccountId) -> String {
    format!("{}#TEAMS", account_partition(account))
}

pub(super) fn team_sizes(account: &AccountId, team: &TeamId) -> Key {
    Key::new(team_partition(account, team), TEAM_SIZES)
}

pub(super) fn team_member(account: &AccountId, team: &TeamId, user: &UserId) -> Key {
    Key::new(team_members(account, team), format!("{USER_PREFIX}{user}"))
}

/// The partition of a team's members, in the table and in the index.
pub(super) fn team_members(account: &AccountId, team: &TeamId) -> String {
    format!("{}#MEMBERS", team_partition(account, team))
}

pub(super) fn team_grant(account: &AccountId, team: &TeamId, repository: &RepositoryId) -> Key {
    Key::new(team_grants(account, team), format!("{REPOSITORY_PREFIX}{repository}"))
}

/// The partition of a team's repositories, in the table and in the index.
pub(super) fn team_grants(account: &AccountId, team: &TeamId) -> String {
    format!("{}#REPOS", team_partition(account, team))
}

fn team_partition(account: &AccountId, team: &TeamId) -> String {
    format!("{}#TEAM#{team}", account_partition(account))
}

pub(super) fn application(client: &ClientId) -> Key {
    Key::new(format!("CLIENT#{client}"), "CLIENT")
}

pub(super) fn application_count(account: &AccountId) -> Key {
    Key::new(applications(account), "TOTAL")
}

/// The index partition of an account's applications.
pub(super) fn applications(account: &AccountId) -> String {
    format!("{}#APPS", account_partition(account))
}

pub(super) fn trust(trust: &TrustId) -> Key {
    Key::new(format!("TRUST#{trust}"), "TRUST")
}

pub(super) fn trust_count(account: &AccountId) -> Key {
    Key::new(trusts(account), "TOTAL")
}

/// The index partition of the hooks of all repositories of an account.
pub(super) fn hooks(account: &AccountId) -> String {
    format!("{}#HOOKS", account_partition(account))
}

/// The index partition of an account's trusts.
pub(super) fn trusts(account: &AccountId) -> String {
    format!("{}#TRUSTS", account_partition(account))
}

pub(super) fn connection(account: &AccountId, connection: &ConnectionId) -> Key {
    Key::new(connection_partition(account, connection), "CONNECTION")
}

/// The mark that a repository uses a connection.
pub(super) fn connection_use(account: &AccountId, connection: &ConnectionId, repository: &RepositoryId) -> Key {
    Key::new(connection_partition(account, connection), format!("{REPOSITORY_PREFIX}{repository}"))
}

/// The partition of a connection and of the marks of the repositories that use it.
pub(super) fn connection_partition(account: &AccountId, connection: &ConnectionId) -> String {
    format!("{}#CONNECTION#{connection}", account_partition(account))
}

pub(super) fn connection_count(account: &AccountId) -> Key {
    Key::new(connections(account), "TOTAL")
}

/// The index partition of an account's connections.
pub(super) fn connections(account: &AccountId) -> String {
    format!("{}#CONNECTIONS", account_partition(account))
}

/// The token that a trust issued, by the hash of its secret.
pub(super) fn exchanged_token(hash: TokenHash) -> Key {
    Key::new(format!("TOKEN#{hash}"), "EXCHANGED")
}

/// The mark of a subject token that was exchanged, by the hash of what its issuer signed.
pub(super) fn spent_token(hash: TokenHash) -> Key {
    Key::new(format!("SPENT#{hash}"), "SPENT")
}

/// The identity of a subject of the OAuth2 issuer. A subject is hashed, because issuers put any text into it.
pub(super) fn subject(issuer: &str, subject: &str) -> Key {
    subject_by_hash(&subject_hash(issuer, subject))
}

pub(super) fn subject_by_hash(hash: &str) -> Key {
    Key::new(format!("SUBJECT#{hash}"), "SUBJECT")
}

pub(super) fn subject_hash(issuer: &str, subject: &str) -> String {
    hex(&Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize())
}

/// The claim that keeps an email domain in one account.
pub(super) fn email_domain(domain: &str) -> Key {
    Key::new(format!("DOMAIN#{domain}"), "DOMAIN")
}

pub(super) fn repository(account: &AccountId, repository: &RepositoryId) -> Key {
    Key::new(account_partition(account), format!("{REPOSITORY_PREFIX}{repository}"))
}

/// The claim that keeps the name of a repository unique in its account.
pub(super) fn repository_name(account: &AccountId, name: &RepositoryName) -> Key {
    Key::new(account_partition(account), format!("REPONAME#{}", name.folded()))
}

pub(super) fn repository_count(account: &AccountId) -> Key {
    Key::new(account_partition(account), REPOSITORY_COUNT)
}

/// The partition of the deletions of repositories that are not complete.
pub(super) fn repository_deletions() -> String {
    "DELETIONS".to_owned()
}

/// The deletion of a repository. The sort key names both, so that the partition lists those of all accounts.
pub(super) fn repository_deletion(account: &AccountId, repository: &RepositoryId) -> Key {
    Key::new(repository_deletions(), format!("{account}#{repository}"))
}

/// The index partition of an account's repositories.
pub(super) fn repositories(account: &AccountId) -> String {
    format!("{}#REPOS", account_partition(account))
}

/// The index partition of an account's public repositories.
pub(super) fn public_repositories(account: &AccountId) -> String {
    format!("{}#PUBLIC", account_partition(account))
}

/// The partition of a repository's items.
#[derive(Clone, Debug)]
pub struct RepositoryPartition(String);

impl RepositoryPartition {
    pub(crate) fn new(account: &AccountId, repository: &RepositoryId) -> Self {
        Self(format!("{}#REPO#{repository}", account_partition(account)))
    }

    /// A name that the repository had. The name's claim leads to the repository until another one takes the name.
    pub(super) fn former_name(&self, name: &RepositoryName) -> Key {
        Key::new(&self.0, format!("{FORMER_NAME_PREFIX}{}", name.folded()))
    }

    /// The partition of the repository's counts, settings and former names.
    pub(super) fn items(&self) -> String {
        self.0.clone()
    }

    pub(super) fn deployment_counts(&self) -> Key {
        Key::new(&self.0, DEPLOYMENT_COUNTS)
    }

    pub(super) fn commit_status(&self, environment: Environment, sha: &str) -> Key {
        Key::new(&self.0, format!("STATUS#{}#{sha}", environment.as_str()))
    }

    /// The last success of a commit in an environment.
    pub(super) fn succeeded(&self, environment: Environment, sha: &str) -> Key {
        Key::new(&self.0, format!("SUCCEEDED#{}#{sha}", environment.as_str()))
    }

    /// The index partition of the repository's hooks, and the partition of their counter.
    pub(super) fn hooks(&self) -> String {
        format!("{}#HOOKS", self.0)
    }

    pub(super) fn hook_count(&self) -> Key {
        Key::new(self.hooks(), "TOTAL")
    }

    /// The index partition of the repository's deployments, of one environment or of one status.
    pub(super) fn deployments(&self, environment: Option<Environment>, status: Option<Status>) -> String {
        let mut partition = self.0.clone();
        if let Some(environment) = environment {
            partition.push_str(&format!("#ENV#{}", environment.as_str()));
        }
        if let Some(status) = status {
            partition.push_str(&format!("#STATUS#{}", status.as_str()));
        }
        partition
    }
}

/// The index partition of an account's deployments in one state.
pub(super) fn deployments(account: &AccountId, status: Status) -> String {
    format!("{}#DEPLOYS#STATUS#{}", account_partition(account), status.as_str())
}

pub(super) fn deployment(account: &AccountId, deployment: &DeploymentId) -> Key {
    Key::new(deployment_partition(account, deployment), "DEPLOY")
}

pub(super) fn deployment_variables(account: &AccountId, deployment: &DeploymentId) -> Key {
    Key::new(deployment_partition(account, deployment), "VARS")
}

pub(super) fn build_log(account: &AccountId, deployment: &DeploymentId, attempt: u32) -> Key {
    Key::new(deployment_partition(account, deployment), format!("LOG#{attempt}"))
}

pub(super) fn deployment_results(account: &AccountId, deployment: &DeploymentId, attempt: u32) -> Key {
    Key::new(deployment_partition(account, deployment), format!("RESULTS#{attempt}"))
}

pub(super) fn deployment_event(account: &AccountId, deployment: &DeploymentId, number: u64) -> Key {
    Key::new(deployment_partition(account, deployment), event_sort_key(number))
}

/// The partition of a deployment's items.
pub(super) fn deployment_partition(account: &AccountId, deployment: &DeploymentId) -> String {
    format!("{}#DEPLOY#{deployment}", account_partition(account))
}

/// The sort key of an event in its deployment's partition.
pub(super) fn event_sort_key(number: u64) -> String {
    format!("EVENT#{:06}", number.min(999_999))
}

/// The index partition of a shard of the due deployments.
pub(super) fn due(shard: u8) -> String {
    format!("DUE#{shard}")
}

/// The index partition of a shard of the statuses that a git host was not told.
pub(super) fn due_reports(shard: u8) -> String {
    format!("REPORTS#{shard}")
}

/// The partition of a lane, with its lock and its queued deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneKey(String);

impl LaneKey {
    pub(super) const LOCK: &str = "LANE";
    /// The beginning of the sort keys of deployments of other lanes that wait for one of this lane's. They are between the lock and the
    /// queued deployments.
    pub(super) const FOLLOWERS: &str = "REQUIRED#";
    /// The end of the range of queued deployments. `~` sorts after the digits.
    pub(super) const LAST_WAITING: &str = "WAIT#~";

    /// Names the lane of an environment, or of one of its refs if each has its own. Other environments ignore `ref_name`.
    pub fn new(account: &AccountId, repository: &RepositoryId, environment: Environment, ref_name: &str) -> Self {
        let name = environment.as_str();
        let environment = if environment.has_lane_per_ref() { format!("{name}#{ref_name}") } else { name.to_owned() };
        Self(format!("{}#LANE#{environment}", RepositoryPartition::new(account, repository).0))
    }

    pub(super) fn partition(&self) -> String {
        self.0.clone()
    }

    pub(super) fn lock(&self) -> Key {
        Key::new(&self.0, Self::LOCK)
    }

    pub(super) fn waiting(&self, number: u64) -> Key {
        Key::new(&self.0, Self::waiting_sort_key(number))
    }

    pub(super) fn follower(&self, deployment: &DeploymentId) -> Key {
        Key::new(&self.0, format!("{}{deployment}", Self::FOLLOWERS))
    }

    fn waiting_sort_key(number: u64) -> String {
        format!("WAIT#{number:012}")
    }
}

/// A request with an idempotency key, by the hash of the key and of the requests among which it is unique.
pub(super) fn idempotency(account: &AccountId, hash: &str) -> Key {
    Key::new(format!("{}#IDEM#{hash}", account_partition(account)), "IDEM")
}

pub(crate) fn rate_limit(subject: &Subject) -> Key {
    match subject {
        Subject::Account(id) => Key::new(format!("RATE#{id}"), "RATE"),
        Subject::Following(id) => Key::new(format!("RATE#{id}"), "FOLLOWING"),
        Subject::SlowLookUps(id) => Key::new(format!("RATE#{id}"), "LOOKUPS"),
        Subject::Hook(id) => Key::new(format!("RATE#{id}"), "RATE"),
        Subject::Source(address) => Key::new(format!("RATE#{address}"), "RATE"),
        Subject::Uncounted(address) => Key::new(format!("RATE#{address}"), "UNCOUNTED"),
    }
}

pub(super) fn recount() -> Key {
    Key::new("RECOUNT", "RECOUNT")
}

/// The partition key and the sort key of an item that does not exist. Init reads it to open connections.
pub const CONNECTION_PROBE: &str = "CONNECT";

pub(crate) fn connection_probe() -> Key {
    Key::new(CONNECTION_PROBE, CONNECTION_PROBE)
}
