//! The end of the grants that only a user's former role allowed.

use futures_util::future::try_join4;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::id::UserId;
use crate::model::ownership::hand_over;
use crate::model::{Application, Author, Hook, Invitation, Trust, User, key};
use crate::permission::Role;
use crate::table::{Consistency, Index, Partition, Table, TableError};

/// The grants of a user that ended with their role.
#[derive(Debug, Default)]
pub struct Withdrawal {
    /// The invitations that were ended.
    pub invitations: Vec<Invitation>,
    /// The applications that have another owner now.
    pub applications: Vec<Application>,
    /// The trusts that have another owner now.
    pub trusts: Vec<Trust>,
    /// The hooks that have another owner now.
    pub hooks: Vec<Hook>,
}

impl Withdrawal {
    /// Ends the open invitations to roles that the user may not give with their remaining role. Hands their applications over to
    /// another owner unless they stay an owner, and their trusts and hooks unless they stay an owner or an admin. Each has a
    /// transaction of its own, so a call that fails halfway is completed by another one. What is handed over goes to the
    /// author, if the author is another owner, and otherwise to the account's longest-standing other owner.
    pub(super) async fn of(
        user: &User,
        remaining: Option<Role>,
        table: &Table,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let account = &user.account_id;
        let invitations = table.query_all(Partition::of_index(Index::ByCreation, key::invitations(account)));
        let applications = table.query_all(Application::listed(account));
        let trusts = table.query_all(Trust::listed(account));
        let hooks = table.query_all(Hook::of_account(account));
        let lists = try_join4(invitations, applications, trusts, hooks).await?;
        let (mut invitations, mut applications, mut trusts, mut hooks): (
            Vec<Invitation>,
            Vec<Application>,
            Vec<Trust>,
            Vec<Hook>,
        ) = lists;
        let may_give = |role| remaining.is_some_and(|remaining| remaining.may_give(role));
        invitations.retain(|invitation| {
            invitation.invited_by == user.id && invitation.is_open(now) && !may_give(invitation.role)
        });
        applications.retain(|application| *application.owned_by() == user.id && remaining != Some(Role::Owner));
        trusts.retain(|trust| *trust.owned_by() == user.id && remaining < Some(Role::Admin));
        hooks.retain(|hook| *hook.owned_by() == user.id && remaining < Some(Role::Admin));

        let mut withdrawal = Self::default();
        for invitation in invitations {
            match invitation.revoke(table, author, now).await {
                Ok(()) => withdrawal.invitations.push(invitation),
                // The invitation was accepted or revoked meanwhile.
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if !(applications.is_empty() && trusts.is_empty() && hooks.is_empty()) {
            let heir = heir(user, table, author).await?;
            withdrawal.applications = hand_over(applications, &heir, table, author, now).await?;
            withdrawal.trusts = hand_over(trusts, &heir, table, author, now).await?;
            withdrawal.hooks = hand_over(hooks, &heir, table, author, now).await?;
        }
        Ok(withdrawal)
    }

    /// Adds what a later call ended.
    pub(super) fn extend(&mut self, other: Self) {
        self.invitations.extend(other.invitations);
        self.applications.extend(other.applications);
        self.trusts.extend(other.trusts);
        self.hooks.extend(other.hooks);
    }
}

/// Returns the owner who gets the applications, the trusts and the hooks of a user.
async fn heir(user: &User, table: &Table, author: &Author) -> Result<UserId> {
    let account = &user.account_id;
    let is_heir = |other: &User| other.role == Role::Owner && other.id != user.id;
    let acting: Option<User> = table.get(key::user(account, author.user_id()), Consistency::Strong).await?;
    if let Some(owner) = acting.filter(is_heir) {
        return Ok(owner.id);
    }
    let members: Vec<User> = table.query_all(Partition::of_index(Index::ByCreation, key::members(account))).await?;
    let heir = members.into_iter().find(is_heir).map(|owner| owner.id);
    heir.ok_or_else(|| Error::from(TableError::Contended))
}
