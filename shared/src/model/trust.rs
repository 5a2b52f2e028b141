//! Trusts: what programs may do that have a token of an issuer of the account's choice. They exchange it for a token of this
//! API. So continuous integration needs no secret.

mod conditions;
mod exchanged;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::hex::hex;
use crate::id::{AccountId, RepositoryId, TrustId, UserId};
use crate::model::ownership::{Owned, Program};
use crate::model::{Action, AuditRetention, Author, Environment, Target, TargetKind, User, key};
use crate::name::{Audience, DisplayName, IssuerUrl};
use crate::permission::{Permission, Role};
use crate::permitted::TenantId;
use crate::scope::Scope;
use crate::sort::{Position, Sort};
use crate::table::{Change, Consistency, Index, IndexKey, Partition, Table, TableError, Transaction, Values, Write};

pub use conditions::Conditions;
pub use exchanged::{EXCHANGED_TOKEN_LIFE, Exchange, ExchangedToken, SubjectToken};

/// The maximum number of trusts of an account.
pub const MAX_TRUSTS: u64 = 100;

/// The row of a trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The trust's ID, which a program names when it exchanges a token.
    pub id: TrustId,
    /// The account that the trust's tokens act for.
    pub account_id: AccountId,
    /// The id that stands for the trust where a user is named, as in a deployment's creator. No user has it.
    pub user_id: UserId,
    /// The name that its creator chose.
    pub name: DisplayName,
    /// The tokens that are accepted, and what the trust's tokens may do.
    pub terms: TrustTerms,
    /// The owner or admin who created the trust.
    pub created_by: UserId,
    /// The owner who got the trust when its former owner was removed or lost the role. `None` while whoever created the trust
    /// owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<UserId>,
    /// The time at which the trust was created.
    pub created_at: Timestamp,
    /// The account's time for audit events at creation.
    #[serde(default, skip_serializing_if = "AuditRetention::is_default")]
    pub audit_retention: AuditRetention,
}

/// The tokens that a trust accepts, and what its own tokens may do. The limits are required attributes, so that a row without
/// them is not taken for a trust without limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustTerms {
    /// The issuer of the accepted tokens.
    pub issuer: IssuerUrl,
    /// The audience of the accepted tokens.
    pub audience: Audience,
    /// The conditions on claims of the accepted tokens.
    pub claims: Conditions,
    /// The scopes that the trust's tokens may have.
    pub scopes: Vec<Scope>,
    /// The only repository that the trust's tokens may touch. `None` for every repository of the account.
    #[serde(deserialize_with = "Option::deserialize")]
    pub repository_id: Option<RepositoryId>,
    /// The environments that the trust's tokens may deploy to. `None` for every environment.
    #[serde(deserialize_with = "Option::deserialize")]
    pub environments: Option<BTreeSet<Environment>>,
}

impl TrustTerms {
    /// Returns the digest by which a token knows that the terms are those that it was issued under.
    pub(crate) fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("terms are plain data");
        hex(&Sha256::digest(json))
    }

    /// Returns the permission of the trust's tokens on a repository, or `None` if they can't see it.
    pub(crate) fn permission_on(&self, repository: &RepositoryId) -> Option<Permission> {
        self.repository_id.as_ref().is_none_or(|only| only == repository).then_some(Permission::Deploy)
    }

    /// # Errors
    /// Fails with `insufficient_permission` if the trust's tokens may not deploy to the environment.
    pub(crate) fn check_environment(&self, environment: Environment) -> Result<()> {
        match &self.environments {
            Some(allowed) if !allowed.iter().any(|one| one.covers(environment)) => {
                let allowed: Vec<_> = allowed.iter().map(|environment| environment.as_str()).collect();
                Err(Error::not_permitted(format!(
                    "The token's trust does not allow deployments to '{}'; it allows those to '{}'",
                    environment.as_str(),
                    allowed.join("' and '")
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Trust {
    /// The scopes that a trust may have. The others are for people and for applications.
    pub const SCOPES: [Scope; 3] = [Scope::RepositoriesRead, Scope::DeploymentsRead, Scope::DeploymentsWrite];

    /// Returns the user that the trust's tokens act as: a member without rights, to whom the terms give some.
    pub(crate) fn as_user(&self) -> User {
        User {
            id: self.user_id.clone(),
            account_id: self.account_id.clone(),
            email: format!("{}@trusts.invalid", self.id).parse().expect("an identifier is a local part"),
            role: Role::Member,
            created_at: self.created_at,
            teams: BTreeSet::new(),
            subjects: BTreeSet::new(),
        }
    }

    /// Returns the person who answers for the trust.
    pub fn owned_by(&self) -> &UserId {
        self.owned_by.as_ref().unwrap_or(&self.created_by)
    }

    /// Returns a trust of any account.
    pub async fn by_id(table: &Table, id: &TrustId) -> Result<Option<Self>, TableError> {
        table.get(key::trust(id), Consistency::Strong).await
    }

    pub(crate) async fn find(table: &Table, tenant: &TenantId, id: &TrustId) -> Result<Option<Self>, TableError> {
        Ok(Self::by_id(table, id).await?.filter(|trust| trust.account_id == **tenant))
    }

    /// # Errors
    /// Fails with `limit_reached` if the account has [`MAX_TRUSTS`] trusts.
    pub async fn create(&self, table: &Table, author: &Author) -> Result<()> {
        let TrustTerms { issuer, audience, claims, scopes, repository_id, environments } = &self.terms;
        let event = author
            .event(Action::TrustCreated, self.target(), self.created_at)
            .setting("issuer", issuer)
            .setting("audience", audience)
            .setting("claims", claims)
            .setting("scopes", scopes)
            .setting("repository_id", repository_id)
            .setting("environments", environments);
        let index_key = IndexKey {
            index: Index::ByCreation,
            partition: key::trusts(&self.account_id),
            sort: self.position(Sort::Created),
        };
        Transaction::new()
            .by(author, &event)?
            .write(Write::create(key::trust(&self.id), self, vec![index_key])?)
            .write(count(&self.account_id, 1))
            .or(|_| {
                let message =
                    format!("The account has {MAX_TRUSTS} trusts, the most that it may have; delete one first");
                Error::new(ErrorCode::LimitReached, message)
            })
            .commit(table)
            .await?
    }

    /// Deletes the trust, which ends its tokens.
    ///
    /// # Errors
    /// Fails with `not_found` if the trust was deleted meanwhile.
    pub async fn delete(&self, table: &Table, author: &Author, now: Timestamp) -> Result<()> {
        let event = author.event(Action::TrustDeleted, self.target(), now);
        let trust =
            Write::DeleteIf { key: key::trust(&self.id), condition: "attribute_exists(pk)", names: None, values: None };
        Transaction::new()
            .by(author, &event)?
            .write(trust)
            .or(|_| Error::not_found("Trust"))
            .write(count(&self.account_id, -1))
            .commit(table)
            .await?
    }

    fn target(&self) -> Target {
        Target::new(TargetKind::Trust, &self.id, Some(&self.name))
    }

    /// Returns the index partition that lists an account's trusts.
    pub fn listed(account: &AccountId) -> Partition {
        Partition::of_index(Index::ByCreation, key::trusts(account))
    }

    /// Returns the number of an account's trusts, from a counter that the transaction of each creation and deletion updates.
    pub async fn total(table: &Table, account: &AccountId) -> Result<u64, TableError> {
        let count: Option<TrustCount> = table.get(key::trust_count(account), Consistency::Strong).await?;
        Ok(count.map_or(0, |count| count.trusts))
    }
}

impl Program for Trust {
    fn owned(&self, author: &Author, now: Timestamp) -> Owned<'_> {
        Owned {
            key: key::trust(&self.id),
            account: &self.account_id,
            user_id: &self.user_id,
            owner: self.owned_by(),
            event: author.event(Action::TrustUpdated, self.target(), now),
        }
    }

    fn set_owner(&mut self, owner: UserId) {
        self.owned_by = Some(owner);
    }
}

impl Position for Trust {
    fn position(&self, _: Sort) -> String {
        format!("{:015}#{}", self.created_at.as_millis(), self.id)
    }
}

#[derive(Deserialize)]
struct TrustCount {
    trusts: u64,
}

/// Returns the write that counts a trust. One that adds a trust is refused if the account has the most that it may have.
fn count(account: &AccountId, by: i8) -> Write {
    let values = Values::new().set(":by", by).set_if(":max", (by > 0).then_some(MAX_TRUSTS));
    let change = Change {
        expression: "ADD trusts :by".to_owned(),
        condition: (by > 0).then_some("attribute_not_exists(trusts) OR trusts < :max"),
        values,
        ..Change::default()
    };
    Write::Update { key: key::trust_count(account), change }
}
