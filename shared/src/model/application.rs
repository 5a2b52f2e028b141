//! Applications: programs that call with OAuth2 client credentials, in the account whose owner registered them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::access::Scope;
use crate::clock::Timestamp;
use crate::id::{AccountId, UserId};
use crate::model::{DisplayName, Role, User};
use crate::page::{Position, Sort};
use crate::table::{Change, Consistency, IndexKey, Item, Key, Source, Table, TableError, TransactFailed, Write};

/// An OAuth2 client's identifier: 1 to 128 characters of A-Z, a-z, 0-9, `.`, `_`, `~` and `-`, which are those that need no
/// encoding in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, examples("7l8q2n3c4v5b6m7k8j9h0g1f2d"))]
pub struct ClientId(String);

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '~' and '-'")]
pub struct InvalidClientId;

impl ClientId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let chars_are_fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte));
        if (1..=128).contains(&text.len()) && chars_are_fine { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        text.parse()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Application {
    /// Its OAuth2 client.
    pub id: ClientId,
    pub account_id: AccountId,
    /// What it goes by where a user is named, as a deployment's creator. It is nobody's.
    pub user_id: UserId,
    pub name: DisplayName,
    /// The most that its tokens can do.
    pub scopes: Vec<Scope>,
    pub created_by: UserId,
    pub created_at: Timestamp,
}

impl Application {
    /// What an application may be allowed. What it would need a person for is not among it.
    pub const SCOPES: [Scope; 4] =
        [Scope::RepositoriesRead, Scope::RepositoriesWrite, Scope::DeploymentsRead, Scope::DeploymentsWrite];

    /// How it calls: as one who may do everything in the account's repositories, which the scopes narrow.
    pub(crate) fn as_user(&self) -> User {
        let email = format!("{}@applications.invalid", self.id);
        User {
            id: self.user_id.clone(),
            account_id: self.account_id.clone(),
            email: email.parse().expect("an identifier is a local part"),
            role: Role::Admin,
            created_at: self.created_at,
            teams: BTreeSet::new(),
        }
    }

    /// The application that a token acts for, whatever its account.
    pub(crate) async fn by_client(table: &Table, id: &ClientId) -> Result<Option<Self>, TableError> {
        table.get(client_key(id), Consistency::Eventual).await
    }

    /// # Errors
    /// [`TransactFailed::Conditions`] when an account has registered the client already.
    pub async fn create(&self, table: &Table) -> Result<(), TransactFailed> {
        let index_key = IndexKey {
            source: Source::Index(1),
            partition: applications_partition(&self.account_id),
            sort: self.position(Sort::Created),
        };
        let create = Write::create(client_key(&self.id), self, vec![index_key]).map_err(TransactFailed::Table)?;
        table.transact(vec![create, count(&self.account_id, 1)]).await
    }

    /// Deletes an account's application. `false`: the account has none of that id.
    pub async fn delete(table: &Table, account: &AccountId, id: &ClientId) -> Result<bool, TransactFailed> {
        let writes = vec![
            Write::DeleteIf {
                key: client_key(id),
                condition: "account_id = :account",
                names: None,
                values: Some(Item::from([(":account".to_owned(), AttributeValue::S(account.to_string()))])),
            },
            count(account, -1),
        ];
        match table.transact(writes).await {
            Ok(()) => Ok(true),
            Err(TransactFailed::Conditions(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where an account's applications are listed.
    pub fn listed(account: &AccountId) -> (Source, String) {
        (Source::Index(1), applications_partition(account))
    }

    /// How many there are: a count that each creation's and deletion's transaction keeps.
    pub async fn total(table: &Table, account: &AccountId) -> Result<u64, TableError> {
        let count: Option<ApplicationCount> = table.get(count_key(account), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.applications))
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
        values: Item::from([(":by".to_owned(), AttributeValue::N(by.to_string()))]),
        ..Change::default()
    };
    Write::Update { key: count_key(account), change }
}

fn client_key(id: &ClientId) -> Key {
    Key { pk: format!("CLIENT#{id}"), sk: "CLIENT".to_owned() }
}

fn count_key(account: &AccountId) -> Key {
    Key { pk: applications_partition(account), sk: "TOTAL".to_owned() }
}

fn applications_partition(account: &AccountId) -> String {
    format!("ACCT#{account}#APPS")
}
