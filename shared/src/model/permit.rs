//! Permits, which bound how many deployments run at once: those of an account by its plan, and those of all accounts together.
//!
//! A deployment holds one permit exactly as long as it is in progress. The transaction that claims it takes the permit, and the one
//! that ends it or puts it back into its lane gives the permit back, so that no crash loses one. Permits are names in two sets: one
//! set is the account's, and one is that of all accounts. To add or delete a name twice changes nothing, so the size of a set is the
//! number of runs, whatever was repeated.
//!
//! A deployment that finds no permit waits in its account's queue, in the order in which deployments joined it. Accounts that wait
//! only because all permits of the stack are taken form a ring. An account that takes a permit leaves the ring, or joins its end if
//! more of its deployments wait. So accounts take turns, however many deployments each has. A free permit is for the first account in
//! the ring, two are for the first two, and nobody else takes one as long as the ring is not empty.
//!
//! A transaction that joins a queue or the ring repeats, as a condition, that no permit was given back since the look. So the end of a
//! later run sees that a deployment waits.

mod queue;

pub use queue::PermitPlace;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::id::{AccountId, DeploymentId};
use crate::model::key;
use crate::table::{Change, Consistency, Table, TableError, Value, Values, Write, read_item};

/// The name of the permit that a deployment holds. A later claim of the deployment from the queue has another number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permit {
    /// The account of the deployment.
    pub account_id: AccountId,
    /// The deployment, which is in progress.
    pub deployment_id: DeploymentId,
    /// The fencing number of the claim that took the permit.
    pub number: u64,
}

/// The maximum numbers of deployments in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermitLimits {
    /// The maximum for the account, by its plan.
    pub account: usize,
    /// The maximum for all accounts together.
    pub stack: usize,
}

/// The row of an account's permits.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, Deserialize)]
pub struct AccountPermits {
    /// The permits that are taken.
    #[serde(default)]
    pub running: BTreeSet<String>,
    /// Whether deployments may wait in the account's queue. If none does any more, the next claim removes the mark.
    #[serde(default)]
    pub waiting: bool,
    /// The version of the queue. Each deployment that joins it, and each claim that looked at it, adds one.
    #[serde(default)]
    pub version: u64,
}

/// The row of the permits of all accounts together.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, Deserialize)]
pub struct StackPermits {
    /// The permits that are taken.
    #[serde(default)]
    pub running: BTreeSet<String>,
    /// The accounts that wait for one of these permits, the next one first.
    #[serde(default)]
    pub ring: Vec<AccountId>,
    /// The version of the ring. Each change of it, and each claim that looked at it, adds one.
    #[serde(default)]
    pub version: u64,
}

/// The state that decides whether a deployment may start.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct Capacity {
    /// The permits of the deployment's account.
    pub account: AccountPermits,
    /// The permits of all accounts.
    pub stack: StackPermits,
    /// The first deployments in the account's queue.
    pub queue: Vec<DeploymentId>,
}

/// The bound that a deployment waits for.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Bound {
    /// The account runs as many deployments as its plan allows, or other deployments of the account come first.
    Account,
    /// All accounts together run as many deployments as the stack allows, or other accounts come first.
    Stack,
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.deployment_id.as_str(), self.account_id.as_str(), self.number)
    }
}

impl FromStr for Permit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('#');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            deployment_id: next()?.parse().map_err(|_| ())?,
            account_id: next()?.parse().map_err(|_| ())?,
            number: next()?.parse().map_err(|_| ())?,
        })
    }
}

impl AccountPermits {
    /// Reads the row, by the action that also reads it beside the stack's. An account of which nothing has run yet has none.
    pub async fn load(table: &Table, account: &AccountId) -> Result<Self, TableError> {
        let [row] = table.get_each([Some(key::permits(account))], Consistency::Strong).await?;
        Ok(row.map(read_item).transpose()?.unwrap_or_default())
    }
}

impl StackPermits {
    /// Reads the row, by the action that also reads it beside an account's. A stack in which nothing has run yet has none.
    pub async fn load(table: &Table) -> Result<Self, TableError> {
        let [row] = table.get_each([Some(key::stack_permits())], Consistency::Strong).await?;
        Ok(row.map(read_item).transpose()?.unwrap_or_default())
    }

    /// Returns the accounts whose turn has come, as many as permits are free.
    pub fn next(&self, limit: usize) -> &[AccountId] {
        &self.ring[..limit.saturating_sub(self.running.len()).min(self.ring.len())]
    }

    /// Returns the ring with the account at its end, or as it is if it has the account.
    pub fn ring_with(&self, account: &AccountId) -> Vec<AccountId> {
        let joins = !self.ring.contains(account);
        self.ring.iter().cloned().chain(joins.then(|| account.clone())).collect()
    }

    /// Returns the ring without the account.
    pub fn ring_without(&self, account: &AccountId) -> Vec<AccountId> {
        self.ring.iter().filter(|one| *one != account).cloned().collect()
    }

    /// Returns the change of the ring, whose condition is that no permit was given back meanwhile.
    fn change_ring(&self, ring: &[AccountId]) -> Result<Change, TableError> {
        let (set_ring, ring) = set_ring(ring)?;
        Ok(Change {
            expression: format!("{set_ring} ADD version :one"),
            condition: Some(nothing_given_back(&self.running)),
            names: None,
            values: nothing_since(self.version, &self.running).set(":one", 1).set_if(":ring", ring),
        })
    }

    /// Returns the write with which a deployment of the account begins to wait for a permit of the stack. It is written although the
    /// ring may have the account, so that nobody takes the account out of it meanwhile.
    pub(crate) fn join(&self, account: &AccountId) -> Result<Write, TableError> {
        Ok(Write::Update { key: key::stack_permits(), change: self.change_ring(&self.ring_with(account))? })
    }

    /// Changes the ring. Returns `false` if it has changed meanwhile, or a permit was given back.
    pub(crate) async fn replace_ring(&self, table: &Table, ring: &[AccountId]) -> Result<bool, TableError> {
        Ok(table.update(key::stack_permits(), self.change_ring(ring)?).await?.is_ok())
    }
}

impl Capacity {
    /// Reads the permits of an account and of the stack. Strongly consistent, without the account's queue.
    pub(crate) async fn of(table: &Table, account: &AccountId) -> Result<Self, TableError> {
        let keys = [Some(key::permits(account)), Some(key::stack_permits())];
        let [account, stack] = table.get_each(keys, Consistency::Strong).await?;
        Ok(Self {
            account: account.map(read_item).transpose()?.unwrap_or_default(),
            stack: stack.map(read_item).transpose()?.unwrap_or_default(),
            queue: Vec::new(),
        })
    }

    /// Decides whether a deployment of the account may start, or which bound it waits for. A deployment that is not in the queue comes
    /// behind those that are.
    pub fn admit(&self, account: &AccountId, deployment: &DeploymentId, limits: PermitLimits) -> Result<(), Bound> {
        let before = self.queue.iter().take_while(|one| *one != deployment).count();
        if limits.account.saturating_sub(self.account.running.len()) <= before {
            return Err(Bound::Account);
        }
        match limits.stack.saturating_sub(self.stack.running.len()) <= self.place(account) {
            true => Err(Bound::Stack),
            false => Ok(()),
        }
    }

    /// Returns the number of accounts whose turn comes before the account's.
    pub fn place(&self, account: &AccountId) -> usize {
        self.stack.ring.iter().take_while(|one| *one != account).count()
    }

    /// Returns whether other deployments are in the account's queue.
    pub fn others_wait(&self, deployment: &DeploymentId) -> bool {
        self.queue.iter().any(|one| one != deployment)
    }

    /// Returns the first deployment in the account's queue if the account has a permit for it and does not wait for one of the stack. Its
    /// message is on its way, or was lost.
    pub fn first_to_start(&self, account: &AccountId, limits: PermitLimits) -> Option<&DeploymentId> {
        let may_start = self.account.running.len() < limits.account && !self.stack.ring.contains(account);
        self.queue.first().filter(|_| may_start)
    }

    /// Returns the ring after the deployment has taken its permits. The account joins the end of the ring if another of its
    /// deployments waits for a permit of the stack, and may have one of the account.
    pub fn ring_after(&self, account: &AccountId, deployment: &DeploymentId, limits: PermitLimits) -> Vec<AccountId> {
        let mut ring = self.stack.ring_without(account);
        let free = limits.stack.saturating_sub(self.stack.running.len() + 1);
        let has_its_own = self.account.running.len() + 1 < limits.account;
        if self.others_wait(deployment) && has_its_own && free <= ring.len() {
            ring.push(account.clone());
        }
        ring
    }

    /// Returns the writes that take a permit under both bounds, after a look at who waits.
    pub(crate) fn take(&self, permit: &Permit, limits: PermitLimits) -> Result<[Write; 2], TableError> {
        let remove = if self.others_wait(&permit.deployment_id) { "" } else { "REMOVE waiting " };
        let account = Change {
            expression: format!("{remove}ADD running :permit, version :one"),
            condition: Some(
                "(attribute_not_exists(version) OR version = :version) AND \
                 (attribute_not_exists(running) OR size(running) < :limit)",
            ),
            names: None,
            values: Values::new()
                .set(":permit", Value::set_of(permit))
                .set(":one", 1)
                .set(":version", self.account.version)
                .set(":limit", limits.account),
        };
        let ring = self.ring_after(&permit.account_id, &permit.deployment_id, limits);
        let (set_ring, ring) = set_ring(&ring)?;
        let stack = Change {
            expression: format!("{set_ring} ADD running :permit, version :one"),
            condition: account.condition,
            names: None,
            values: Values::new()
                .set(":permit", Value::set_of(permit))
                .set(":one", 1)
                .set(":version", self.stack.version)
                .set(":limit", limits.stack.saturating_sub(self.place(&permit.account_id)))
                .set_if(":ring", ring),
        };
        Ok([
            Write::Update { key: key::permits(&permit.account_id), change: account },
            Write::Update { key: key::stack_permits(), change: stack },
        ])
    }

    /// Returns the write with which a deployment begins to wait in the account's queue.
    pub(crate) fn join_queue(&self, account: &AccountId) -> Write {
        let change = Change {
            expression: "SET waiting = :true ADD version :one".to_owned(),
            condition: Some(nothing_given_back(&self.account.running)),
            names: None,
            values: nothing_since(self.account.version, &self.account.running).set(":true", true).set(":one", 1),
        };
        Write::Update { key: key::permits(account), change }
    }
}

impl Permit {
    /// Returns the writes that take the permit if nobody waits for one, without a look at who does.
    pub(crate) fn take(&self, limits: PermitLimits) -> [Write; 2] {
        let take = |key, condition, limit: usize| {
            let values = Values::new().set(":permit", Value::set_of(self)).set(":limit", limit);
            let change = Change {
                expression: "ADD running :permit".to_owned(),
                condition: Some(condition),
                names: None,
                values,
            };
            Write::Update { key, change }
        };
        let of_account = "attribute_not_exists(waiting) AND (attribute_not_exists(running) OR size(running) < :limit)";
        let of_stack = "attribute_not_exists(ring) AND (attribute_not_exists(running) OR size(running) < :limit)";
        [
            take(key::permits(&self.account_id), of_account, limits.account),
            take(key::stack_permits(), of_stack, limits.stack),
        ]
    }

    /// Returns the writes that give the permit back. They change nothing if it was given back before.
    pub(crate) fn give_back(&self) -> [Write; 2] {
        [key::permits(&self.account_id), key::stack_permits()]
            .map(|key| Write::Update { key, change: self.deletion(None) })
    }

    /// Gives back a permit that no deployment holds, in each set that has it. Returns `false` if it was given back meanwhile.
    pub async fn give_back_lost(&self, table: &Table) -> Result<bool, TableError> {
        let mut was_lost = false;
        for key in [key::permits(&self.account_id), key::stack_permits()] {
            was_lost |= table.update(key, self.deletion(Some("contains(running, :name)"))).await?.is_ok();
        }
        Ok(was_lost)
    }

    fn deletion(&self, condition: Option<&'static str>) -> Change {
        let name = condition.map(|_| self.to_string());
        Change {
            expression: "DELETE running :permit".to_owned(),
            condition,
            values: Values::new().set(":permit", Value::set_of(self)).set_if(":name", name),
            ..Change::default()
        }
    }
}

/// Returns the beginning of an update that sets the ring, and its value. An empty ring has no attribute.
fn set_ring(ring: &[AccountId]) -> Result<(&'static str, Option<Value>), TableError> {
    Ok(match ring {
        [] => ("REMOVE ring", None),
        ring => ("SET ring = :ring", Some(Value::of(&ring)?)),
    })
}

/// Returns the condition that a row has its version, and no fewer permits are taken than when it was read.
fn nothing_given_back(running: &BTreeSet<String>) -> &'static str {
    match running.is_empty() {
        true => "attribute_not_exists(version) OR version = :version",
        false => "(attribute_not_exists(version) OR version = :version) AND size(running) >= :running",
    }
}

fn nothing_since(version: u64, running: &BTreeSet<String>) -> Values {
    let running = Some(running.len()).filter(|running| *running > 0);
    Values::new().set(":version", version).set_if(":running", running)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(letter: char) -> AccountId {
        format!("acct_{}", letter.to_string().repeat(16)).parse().unwrap()
    }

    fn deployment(letter: char) -> DeploymentId {
        format!("deploy_{}", letter.to_string().repeat(16)).parse().unwrap()
    }

    fn capacity(account: usize, stack: usize, ring: &str, queue: &str) -> Capacity {
        let running = |number| (0..number).map(|one: usize| one.to_string()).collect();
        Capacity {
            account: AccountPermits { running: running(account), ..AccountPermits::default() },
            stack: StackPermits {
                running: running(stack),
                ring: ring.chars().map(self::account).collect(),
                version: 0,
            },
            queue: queue.chars().map(deployment).collect(),
        }
    }

    const LIMITS: PermitLimits = PermitLimits { account: 2, stack: 4 };

    #[test]
    fn a_permit_is_read_as_it_is_written() {
        let permit = Permit { account_id: account('a'), deployment_id: deployment('b'), number: 7 };
        assert_eq!(permit.to_string().parse(), Ok(permit));
        for malformed in ["", "deploy_bbbbbbbbbbbbbbbb", "deploy_bbbbbbbbbbbbbbbb#acct_aaaaaaaaaaaaaaaa#x"] {
            assert_eq!(malformed.parse::<Permit>(), Err(()), "{malformed}");
        }
    }

    #[test]
    fn a_deployment_waits_for_its_account_first_and_then_for_the_stack() {
        let admit = |capacity: Capacity, one| capacity.admit(&account('a'), &deployment(one), LIMITS);
        assert_eq!(admit(capacity(1, 3, "", ""), 'x'), Ok(()));
        assert_eq!(admit(capacity(2, 3, "", ""), 'x'), Err(Bound::Account));
        assert_eq!(admit(capacity(1, 4, "", ""), 'x'), Err(Bound::Stack));
        // Earlier deployments of the account come first.
        assert_eq!(admit(capacity(1, 3, "", "y"), 'x'), Err(Bound::Account));
        assert_eq!(admit(capacity(1, 3, "", "xy"), 'x'), Ok(()));
        assert_eq!(admit(capacity(0, 2, "", "yx"), 'x'), Ok(()), "both may start");
        // Earlier accounts come first.
        assert_eq!(admit(capacity(0, 3, "b", ""), 'x'), Err(Bound::Stack));
        assert_eq!(admit(capacity(0, 2, "b", ""), 'x'), Ok(()), "one permit is left for the first");
        assert_eq!(admit(capacity(0, 3, "ab", "x"), 'x'), Ok(()));
        assert_eq!(admit(capacity(0, 3, "ba", "x"), 'x'), Err(Bound::Stack));
    }

    #[test]
    fn an_account_joins_the_end_of_the_ring_if_more_of_its_deployments_wait() {
        let after = |capacity: Capacity| {
            let ring = capacity.ring_after(&account('a'), &deployment('x'), LIMITS);
            ring.iter().map(|one| one.as_str().chars().last().unwrap()).collect::<String>()
        };
        assert_eq!(after(capacity(0, 3, "ab", "x")), "b");
        assert_eq!(after(capacity(0, 3, "ab", "xy")), "ba");
        assert_eq!(after(capacity(1, 3, "ab", "xy")), "b", "it has no other permit of its own");
        assert_eq!(after(capacity(0, 2, "a", "xy")), "", "a permit is free");
        assert_eq!(capacity(0, 3, "ab", "").stack.next(4), [account('a')]);
        assert_eq!(capacity(0, 5, "ab", "").stack.next(4), []);
    }
}
