//! Hooks of repositories: the addresses to which git hosts send pushes, and other programs their wishes to deploy.

mod delivery;
mod push;
mod secret;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, HookId, RepositoryId, UserId};
use crate::model::ownership::{Owned, Program};
use crate::model::{
    Action, AuditRetention, Author, Environment, Repository, RepositoryPartition, RequestOrigin, Target, TargetKind,
    key,
};
use crate::permitted::{Permitted, TenantId};
use crate::sort::{Position, Sort};
use crate::table::{
    Change, Consistency, Index, IndexKey, Partition, Table, TableError, Transaction, Value, Values, Write,
};

pub use delivery::*;
pub use push::*;
pub use secret::*;

/// The maximum number of hooks of a repository.
pub const MAX_HOOKS: u64 = 20;

/// The row of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The hook's ID, which is in its URL.
    pub id: HookId,
    /// The account of the repository.
    pub account_id: AccountId,
    /// The only repository that the hook's deliveries deploy.
    pub repository_id: RepositoryId,
    /// The id that stands for the hook where a user is named, as in a deployment's creator. No user has it.
    pub user_id: UserId,
    /// The sender of the deliveries, which decides how they are signed and what they say.
    pub provider: HookProvider,
    /// The environment that a plain call deploys to. `None` for the hook of a git host, which follows the repository's rules.
    pub environment: Option<Environment>,
    /// The ref that a plain call deploys. `None` for the repository's default branch, and for the hook of a git host.
    pub git_ref: Option<String>,
    /// The encrypted secret.
    pub sealed: ByteBuf,
    /// The secret that a rotation replaced, while it still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
    /// The number of rotations so far.
    pub revision: u64,
    /// The person or program that created the hook.
    pub created_by: UserId,
    /// The owner who answers for the hook since it was handed over. `None` while whoever created it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<UserId>,
    /// The time at which the hook was created.
    pub created_at: Timestamp,
    /// The time of the last delivery, precise to [`LAST_DELIVERY_PRECISION`]. `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivery_at: Option<Timestamp>,
    /// The account's time for audit events at creation.
    #[serde(default, skip_serializing_if = "AuditRetention::is_default")]
    pub audit_retention: AuditRetention,
}

/// A secret that a rotation replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The encrypted secret.
    pub sealed: ByteBuf,
    /// The time from which the secret does not work any more.
    pub until: Timestamp,
}

/// The sender of a hook's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HookProvider {
    /// GitHub, and GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
    /// Bitbucket Cloud and Bitbucket Data Center.
    Bitbucket,
    /// Any program that calls the hook's URL with the secret.
    Deploy,
}

impl HookProvider {
    /// Returns the name that people know the sender by.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Github => "GitHub hook",
            Self::Gitlab => "GitLab hook",
            Self::Gitea => "Gitea hook",
            Self::Bitbucket => "Bitbucket hook",
            Self::Deploy => "Deploy hook",
        }
    }
}

impl Hook {
    /// Returns the context to which the secrets are sealed, so that no other hook can open them.
    pub fn sealing_context(account: &AccountId, id: &HookId) -> String {
        format!("{account}/{id}")
    }

    /// Returns the encrypted secrets that work at a time, the current one first.
    pub fn sealed_secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8]> {
        let previous = self.previous.as_ref().filter(move |previous| previous.until > now);
        [self.sealed.as_slice()].into_iter().chain(previous.map(|previous| previous.sealed.as_slice()))
    }

    /// Returns the name of the hook in the audit log and in deployments.
    pub(crate) fn name(&self) -> String {
        self.provider.title().to_owned()
    }

    /// Returns the author of the changes that a delivery asks for.
    pub fn author(&self, origin: RequestOrigin) -> Author {
        Author::of_hook(self, origin)
    }

    /// Returns the hook that a URL or a queue message names. The secret of the request, or the queue's policy, vouches for it.
    pub async fn by_id(table: &Table, id: &HookId) -> Result<Option<Self>, TableError> {
        table.get(key::hook(id), Consistency::Strong).await
    }

    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &HookId) -> Result<Option<Self>, TableError> {
        Ok(Self::by_id(table, id).await?.filter(|hook| hook.account_id == **tenant))
    }

    /// # Errors
    /// Fails with `limit_reached` if the repository has [`MAX_HOOKS`] hooks.
    pub async fn create(&self, table: &Table, repository: &Permitted<Repository>, author: &Author) -> Result<()> {
        let event = author
            .event(Action::HookCreated, self.target(), self.created_at)
            .in_repository(&repository.id)
            .setting("provider", self.provider)
            .setting("environment", self.environment)
            .setting("ref", &self.git_ref);
        let partition = repository.partition();
        let listed_in = |index, partition| IndexKey { index, partition, sort: self.position(Sort::Created) };
        let index_keys = vec![
            listed_in(Index::ByCreation, partition.hooks()),
            listed_in(Index::ByAccount, key::hooks(&self.account_id)),
        ];
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(key::hook(&self.id), self, index_keys)?)
            .write(repository.exists())
            .or(|_| Error::not_found("Repository"))
            .write(Self::counted(&partition, 1))
            .or(|_| {
                let message =
                    format!("The repository has {MAX_HOOKS} hooks, the most that it may have; delete one first");
                Error::new(ErrorCode::LimitReached, message)
            })
            .commit(table)
            .await?
    }

    /// Deletes the hook. Its secrets stop working at once.
    ///
    /// # Errors
    /// Fails with `not_found` if the hook was deleted meanwhile.
    pub async fn delete(&self, table: &Table, author: &Author, now: Timestamp) -> Result<()> {
        let event = author.event(Action::HookDeleted, self.target(), now).in_repository(&self.repository_id);
        let hook =
            Write::DeleteIf { key: key::hook(&self.id), condition: "attribute_exists(pk)", names: None, values: None };
        Transaction::new()
            .by(author, &event)?
            .write(hook)
            .or(|_| Error::not_found("Hook"))
            .write(Self::counted(&RepositoryPartition::new(&self.account_id, &self.repository_id), -1))
            .commit(table)
            .await?
    }

    /// Replaces the secret. The replaced one works until the given time, and the one before it ends.
    ///
    /// # Errors
    /// Fails with `not_found` if the hook was deleted meanwhile, and with `service_unavailable` if it was rotated meanwhile.
    pub async fn rotate(
        self,
        table: &Table,
        sealed: Vec<u8>,
        old_until: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let was = self.revision;
        let previous = PreviousSecret { sealed: self.sealed, until: old_until };
        let rotated = Self {
            sealed: ByteBuf::from(sealed),
            previous: (old_until > now).then_some(previous),
            revision: was + 1,
            ..self
        };
        let event = author.event(Action::HookRotated, rotated.target(), now).in_repository(&rotated.repository_id);
        let replacement = match &rotated.previous {
            Some(_) => "SET sealed = :sealed, revision = :next, previous = :previous",
            None => "SET sealed = :sealed, revision = :next REMOVE previous",
        };
        let change = Change {
            expression: replacement.to_owned(),
            condition: Some("revision = :was"),
            names: None,
            values: Values::new()
                .set(":sealed", Value::of(&rotated.sealed)?)
                .set(":next", rotated.revision)
                .set(":was", was)
                .set_if(":previous", rotated.previous.as_ref().map(Value::of).transpose()?),
        };
        Transaction::new()
            .by(author, &event)?
            .write(Write::Update { key: key::hook(&rotated.id), change })
            .or(|current| match current {
                Some(_) => TableError::Contended.into(),
                None => Error::not_found("Hook"),
            })
            .commit(table)
            .await??;
        Ok(rotated)
    }

    /// Returns the user who answers for the hook.
    pub fn owned_by(&self) -> &UserId {
        self.owned_by.as_ref().unwrap_or(&self.created_by)
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Hook, &self.id, Some(&self.name()))
    }

    /// Returns the index partition that lists a repository's hooks.
    pub fn listed(repository: &Permitted<Repository>) -> Partition {
        Partition::of_index(Index::ByCreation, repository.partition().hooks())
    }

    /// Returns the index partition that lists the hooks of all repositories of an account.
    pub(super) fn of_account(account: &AccountId) -> Partition {
        Partition::of_index(Index::ByAccount, key::hooks(account))
    }

    /// Returns the number of a repository's hooks, from a counter that the transaction of each creation and deletion updates.
    pub async fn total(table: &Table, repository: &Permitted<Repository>) -> Result<u64, TableError> {
        Self::count_of(table, &repository.partition()).await
    }

    pub(super) async fn count_of(table: &Table, repository: &RepositoryPartition) -> Result<u64, TableError> {
        let count: Option<HookCount> = table.get(repository.hook_count(), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.hooks))
    }

    /// Returns the write that counts a hook. One that adds a hook is refused if the repository has the most that it may have.
    pub(super) fn counted(repository: &RepositoryPartition, by: i8) -> Write {
        let values = Values::new().set(":by", by).set_if(":max", (by > 0).then_some(MAX_HOOKS));
        let change = Change {
            expression: "ADD hooks :by".to_owned(),
            condition: (by > 0).then_some("attribute_not_exists(hooks) OR hooks < :max"),
            values,
            ..Change::default()
        };
        Write::Update { key: repository.hook_count(), change }
    }
}

impl Program for Hook {
    fn owned(&self, author: &Author, now: Timestamp) -> Owned<'_> {
        Owned {
            key: key::hook(&self.id),
            account: &self.account_id,
            user_id: &self.user_id,
            owner: self.owned_by(),
            event: author.event(Action::HookUpdated, self.target(), now).in_repository(&self.repository_id),
        }
    }

    fn set_owner(&mut self, owner: UserId) {
        self.owned_by = Some(owner);
    }
}

impl Position for Hook {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Deserialize)]
struct HookCount {
    hooks: u64,
}
