//! Applications: programs that authenticate with OAuth2 client credentials and act for the account whose owner
//! registered them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AccountId, UserId};
use crate::model::ownership::{Owned, Program};
use crate::model::{Action, Author, Target, TargetKind, User, key};
use crate::name::{ClientId, DisplayName};
use crate::permission::Role;
use crate::scope::Scope;
use crate::sort::{Position, Sort};
use crate::table::{Change, Consistency, Index, IndexKey, Partition, Table, TableError, Transaction, Values, Write};

/// The row of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The OAuth2 client of the application.
    pub id: ClientId,
    /// The account that the application acts for.
    pub account_id: AccountId,
    /// The id that stands for the application where a user is named, as in a deployment's creator. No user has it.
    pub user_id: UserId,
    /// The name that the account's owner chose.
    pub name: DisplayName,
    /// The application's scopes. Its tokens have no other scopes.
    pub scopes: Vec<Scope>,
    /// The owner who registered the application.
    pub created_by: UserId,
    /// The owner who got the application when its former owner was removed or lost the role. `None` while whoever
    /// registered the application owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<UserId>,
    /// The time at which the application was registered.
    pub created_at: Timestamp,
}

impl Application {
    /// The scopes that an application may have. The others are for people.
    pub const SCOPES: [Scope; 4] =
        [Scope::RepositoriesRead, Scope::RepositoriesWrite, Scope::DeploymentsRead, Scope::DeploymentsWrite];

    /// Returns the user that the application acts as. The user has every permission on the account's repositories; the
    /// scopes narrow them.
    pub(crate) fn as_user(&self) -> User {
        let email = format!("{}@applications.invalid", self.id);
        User {
            id: self.user_id.clone(),
            account_id: self.account_id.clone(),
            email: email.parse().expect("an identifier is a local part"),
            role: Role::Admin,
            created_at: self.created_at,
            teams: BTreeSet::new(),
            subjects: BTreeSet::new(),
        }
    }

    /// Returns the owner who answers for the application.
    pub fn owned_by(&self) -> &UserId {
        self.owned_by.as_ref().unwrap_or(&self.created_by)
    }

    /// Returns the application that a token acts for, in any account.
    pub(crate) async fn by_client(table: &Table, id: &ClientId) -> Result<Option<Self>, TableError> {
        table.get(key::application(id), Consistency::Eventual).await
    }

    /// # Errors
    /// Fails with `name_taken` if an account has registered the client already.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let event = author
            .event(Action::ApplicationCreated, Self::target(&self.id, Some(&self.name)), self.created_at)
            .setting("scopes", &self.scopes);
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::applications(&self.account_id),
            sort: self.position(Sort::Created),
        };
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(key::application(&self.id), self, vec![index_key])?)
            .or(|_| Error::new(ErrorCode::NameTaken, "The client is already registered with an account"))
            .write(count(&self.account_id, 1))
            .commit(table)
            .await?
    }

    /// Deletes an account's application. Returns `false` if the account has no such application.
    pub async fn delete(
        table: &Table,
        account: &AccountId,
        id: &ClientId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let event = author.event(Action::ApplicationDeleted, Self::target(id, None), now);
        let application = Write::DeleteIf {
            key: key::application(id),
            condition: "account_id = :account",
            names: None,
            values: Some(Values::new().set(":account", account.as_str())),
        };
        let deleted = Transaction::new()
            .by(author, &event)?
            .write(application)
            .or(|_| NotRegistered)
            .write(count(account, -1))
            .commit(table)
            .await?;
        Ok(deleted.is_ok())
    }

    fn target(id: &ClientId, name: Option<&DisplayName>) -> Target {
        Target::new(TargetKind::Application, id, name.map(|name| name as &dyn ToString))
    }

    /// Returns the index partition that lists an account's applications.
    pub fn listed(account: &AccountId) -> Partition {
        Partition::of_index(Index::ByCreation, key::applications(account))
    }

    /// Returns the number of an account's applications, from a counter that the transaction of each creation and
    /// deletion updates.
    pub async fn total(table: &Table, account: &AccountId) -> Result<u64, TableError> {
        let count: Option<ApplicationCount> = table.get(key::application_count(account), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.applications))
    }
}

/// The refusal to delete an application that the account does not have.
struct NotRegistered;

impl Program for Application {
    fn owned(&self, author: &Author, now: Timestamp) -> Owned<'_> {
        Owned {
            key: key::application(&self.id),
            account: &self.account_id,
            user_id: &self.user_id,
            owner: self.owned_by(),
            event: author.event(Action::ApplicationUpdated, Self::target(&self.id, Some(&self.name)), now),
        }
    }

    fn set_owner(&mut self, owner: UserId) {
        self.owned_by = Some(owner);
    }
}

impl Position for Application {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Deserialize)]
struct ApplicationCount {
    applications: u64,
}

fn count(account: &AccountId, by: i8) -> Write {
    let change = Change {
        expression: "ADD applications :by".to_owned(),
        values: Values::new().set(":by", by),
        ..Change::default()
    };
    Write::Update { key: key::application_count(account), change }
}
