//! The lane of a deployment: an environment of a repository, or in preview one of its refs. One deployment at a time is
//! in progress in a lane. The others wait in the order of their numbers.
//!
//! The lock and the rows of the waiting deployments are in one partition of the table, so that one strongly consistent
//! Query reads both. A deployment has a waiting row exactly as long as it is queued, and holds the lock exactly as long
//! as it is in progress: the transaction that changes the state writes each. The lock has no lease of its own. Only a
//! runner can be lost, and its lease is in the deployment's row. A runner that takes the deployment over raises the
//! fencing number, and a runner with a lower number can no longer write.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::DeploymentId;
use crate::model::{Concurrency, Deployment, Follower, LaneKey};
use crate::table::{Change, Table, TableError, Value, Values, Write, read_item};

/// The maximum number of deployments that wait in a lane whose environment queues them. So the whole lane is a page of one
/// Query, however many deployments lack approvals.
pub const MAX_WAITING: usize = 100;

/// The live deployment of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The deployment, which has succeeded.
    pub deployment_id: DeploymentId,
    /// The deployment's number in its repository.
    pub number: u64,
    /// The commit that is live.
    pub sha: String,
    /// The time at which the deployment succeeded.
    pub since: Timestamp,
    /// The URL at which the deployment's build says that the environment can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_url: Option<String>,
}

/// The lock of a lane: its holder, the live deployment and the fences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The deployment in progress. `None` if the lane is free.
    #[serde(default)]
    pub holder: Option<DeploymentId>,
    /// The number of the holder, as long as there is one.
    #[serde(default)]
    pub holder_number: u64,
    /// The fencing number. Each claim raises it.
    #[serde(default)]
    pub fence: u64,
    /// The last deployment that succeeded. `None` if none has.
    #[serde(default)]
    pub live: Option<Live>,
    /// The highest `sequence` that a creation has sent.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// The deployment that was created with that `sequence`.
    #[serde(default)]
    pub sequence_by: Option<DeploymentId>,
}

/// A queued deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The deployment, whose status is `queued`.
    pub deployment_id: DeploymentId,
    /// The deployment's number in its repository, which orders the lane.
    pub number: u64,
    /// Whether the deployment has all required approvals.
    pub ready: bool,
    /// The end of the wait by the environment's timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_until: Option<Timestamp>,
    /// The time before which the deployment is not tried again, because CodeBuild had no capacity for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Whether the deployment waits for the success of another one in a required environment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits: bool,
    /// Whether an admin has let the deployment through a freeze.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_override: bool,
}

/// The state of a lane: the lock and the queue.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// The lock, which is empty before the lane's first claim.
    pub lock: Lock,
    /// The waiting deployments by number.
    pub waiting: Vec<Waiting>,
    /// The deployments of other lanes that wait for one of this lane's.
    pub followers: Vec<Follower>,
}

impl Waiting {
    /// Returns whether the deployment has its approvals and waits neither for the timer nor for a required environment.
    pub fn may_start(&self, now: Timestamp) -> bool {
        self.ready && !self.awaits && self.wait_until.is_none_or(|until| until <= now)
    }
}

impl Lane {
    /// Reads the lane with all waiting deployments. One Query reads 1 MB, which is more than 5,000 rows.
    pub async fn load(table: &Table, key: &LaneKey) -> Result<Self, TableError> {
        let mut lane = Self::default();
        let mut from = LaneKey::LOCK.to_owned();
        loop {
            let (items, more) = table.range(key.partition(), (&from, LaneKey::LAST_WAITING), None).await?;
            for item in items {
                let Some(AttributeValue::S(sk)) = item.get("sk") else { continue };
                // No sort key begins with another one.
                from = format!("{sk}~");
                match sk {
                    sk if sk == LaneKey::LOCK => lane.lock = read_item(item)?,
                    sk if sk.starts_with(LaneKey::FOLLOWERS) => lane.followers.push(read_item(item)?),
                    _ => lane.waiting.push(read_item(item)?),
                }
            }
            if !more {
                return Ok(lane);
            }
        }
    }

    /// Returns why no further deployment may join the lane, or `None` if one may. A deployment that supersedes the waiting
    /// ones always may.
    pub fn full(&self, concurrency: Concurrency) -> Option<String> {
        let is_full = concurrency == Concurrency::Queue && self.waiting.len() >= MAX_WAITING;
        is_full.then(|| format!("{MAX_WAITING} deployments are waiting; wait until one has started, or cancel one"))
    }

    /// Returns the deployment that may be claimed next, in the order of the environment's concurrency. In a frozen environment,
    /// only one that an admin has let through may be. One that waits for capacity is not overtaken.
    pub fn next(&self, concurrency: Concurrency, now: Timestamp, is_frozen: bool) -> Option<&Waiting> {
        let may_start = |one: &&Waiting| one.may_start(now) && (one.is_override || !is_frozen);
        let next = match concurrency {
            Concurrency::Queue => self.waiting.iter().find(may_start),
            Concurrency::Supersede => self.waiting.last().filter(may_start),
        };
        next.filter(|next| next.retry_at.is_none_or(|at| at <= now))
    }

    /// Returns the deployment that will be live once everything ahead in the lane has succeeded, and whether it is live
    /// already. The newest is, because a deployment that is older than the live one is superseded.
    pub(crate) fn will_be_live(&self) -> Option<(&DeploymentId, bool)> {
        let live = self.lock.live.iter().map(|live| (live.number, &live.deployment_id, true));
        let holder = self.lock.holder.iter().map(|holder| (self.lock.holder_number, holder, false));
        let waiting = self.waiting.last().map(|waiting| (waiting.number, &waiting.deployment_id, false));
        let newest = live.chain(holder).chain(waiting).max_by_key(|(number, ..)| *number);
        newest.map(|(_, id, is_live)| (id, is_live))
    }

    /// Returns the deployments that a newer one supersedes, and that newer one.
    pub fn superseded(&self, concurrency: Concurrency) -> Option<(&[Waiting], &Waiting)> {
        match concurrency {
            Concurrency::Queue => None,
            Concurrency::Supersede => self.waiting.split_last().map(|(newest, older)| (older, newest)),
        }
    }
}

/// The lane's writes in the transactions that change a deployment's state.
impl LaneKey {
    pub(super) fn join(&self, waiting: &Waiting) -> Result<Write, TableError> {
        Write::create(self.waiting(waiting.number), waiting, Vec::new())
    }

    pub(super) fn leave(&self, number: u64) -> Write {
        Write::Delete { key: self.waiting(number) }
    }

    pub(super) fn make_ready(&self, number: u64) -> Write {
        let change = Change {
            expression: "SET ready = :true".to_owned(),
            condition: Some("attribute_exists(pk)"),
            names: None,
            values: Values::new().set(":true", true),
        };
        Write::Update { key: self.waiting(number), change }
    }

    pub(super) fn make_met(&self, number: u64) -> Write {
        let change = Change {
            expression: "REMOVE awaits".to_owned(),
            condition: Some("attribute_exists(pk)"),
            names: None,
            values: Values::new(),
        };
        Write::Update { key: self.waiting(number), change }
    }

    /// Takes the free lock under the next fencing number.
    pub(super) fn take(&self, by: &Deployment) -> Write {
        self.claim(by, "attribute_not_exists(holder) AND (fence = :last OR attribute_not_exists(fence))")
    }

    /// Keeps the lock under a new fencing number, which fences off the previous runner.
    pub(super) fn take_over(&self, by: &Deployment) -> Write {
        self.claim(by, "holder = :id AND fence = :last")
    }

    fn claim(&self, by: &Deployment, condition: &'static str) -> Write {
        let values = Values::new().set(":id", by.id.as_str()).set(":number", by.number);
        let change = Change {
            expression: "SET holder = :id, holder_number = :number, fence = :fence".to_owned(),
            condition: Some(condition),
            names: None,
            values: values.set(":fence", by.fence).set(":last", by.fence - 1),
        };
        Write::Update { key: self.lock(), change }
    }

    /// Checks that the deployment holds the lock under its fencing number.
    pub(in crate::model) fn is_held(&self, by: &Deployment) -> Write {
        Write::Check {
            key: self.lock(),
            condition: "holder = :id AND fence = :fence",
            names: None,
            values: Some(Values::new().set(":id", by.id.as_str()).set(":fence", by.fence)),
        }
    }

    /// Frees the lock if it is still held under this fencing number. Records the live deployment if it is new.
    pub(super) fn release(&self, by: &DeploymentId, fence: u64, live: Option<&Live>) -> Result<Write, TableError> {
        let mut values = Values::new().set(":id", by.as_str()).set(":fence", fence);
        let mut expression = "REMOVE holder, holder_number".to_owned();
        if let Some(live) = live {
            values = values.set(":live", Value::of(live)?);
            expression.insert_str(0, "SET live = :live ");
        }
        let condition = Some("holder = :id AND fence = :fence");
        Ok(Write::Update { key: self.lock(), change: Change { expression, condition, names: None, values } })
    }
}

impl Deployment {
    /// Returns the deployment's row in the queue of its lane.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            deployment_id: self.id.clone(),
            number: self.number,
            ready: self.is_approved(),
            wait_until: self.wait_until,
            awaits: !self.awaits.is_empty(),
            retry_at: self.no_capacity.map(|refused| refused.until),
            is_override: self.is_override(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn waiting(number: u64, ready: bool) -> Waiting {
        Waiting {
            deployment_id: DeploymentId::random(),
            number,
            ready,
            wait_until: None,
            retry_at: None,
            awaits: false,
            is_override: false,
        }
    }

    fn next(lane: &Lane, concurrency: Concurrency, is_frozen: bool) -> Option<u64> {
        lane.next(concurrency, NOW, is_frozen).map(|next| next.number)
    }

    #[test]
    fn the_first_that_is_ready_is_next_in_a_queue() {
        let lane = Lane { waiting: vec![waiting(3, false), waiting(5, true), waiting(6, true)], ..Lane::default() };
        assert_eq!(next(&lane, Concurrency::Queue, false), Some(5));
        assert!(lane.superseded(Concurrency::Queue).is_none());
        assert_eq!(next(&Lane::default(), Concurrency::Queue, false), None);
    }

    #[test]
    fn one_that_waits_is_overtaken_and_only_an_override_passes_a_freeze() {
        let timed =
            |number, until| Waiting { wait_until: Some(Timestamp::from_millis(until)), ..waiting(number, true) };
        let mut lane = Lane { waiting: vec![timed(3, 1001), timed(5, 1000), waiting(6, true)], ..Lane::default() };
        assert_eq!(next(&lane, Concurrency::Queue, false), Some(5), "the wait of the first is not over");
        assert_eq!(next(&lane, Concurrency::Queue, true), None);
        lane.waiting.push(Waiting { is_override: true, ..waiting(7, true) });
        for concurrency in [Concurrency::Queue, Concurrency::Supersede] {
            assert_eq!(next(&lane, concurrency, true), Some(7));
        }
        lane.waiting.push(timed(8, 1001));
        assert_eq!(next(&lane, Concurrency::Supersede, false), None, "the newest waits, and no older one runs");
    }

    #[test]
    fn one_that_waits_for_capacity_is_not_overtaken() {
        let refused = |until| Waiting { retry_at: Some(Timestamp::from_millis(until)), ..waiting(3, true) };
        for (until, expected) in [(1001, None), (1000, Some(3))] {
            let lane = Lane { waiting: vec![refused(until), waiting(5, true)], ..Lane::default() };
            assert_eq!(next(&lane, Concurrency::Queue, false), expected);
            assert_eq!(next(&lane, Concurrency::Supersede, false), Some(5), "a newer one takes its place");
        }
    }

    #[test]
    fn one_that_waits_for_a_required_environment_is_overtaken_and_not_replaced_by_an_older_one() {
        let awaiting = |number| Waiting { awaits: true, ..waiting(number, true) };
        let mut lane = Lane { waiting: vec![awaiting(3), waiting(5, true)], ..Lane::default() };
        assert_eq!(next(&lane, Concurrency::Queue, false), Some(5));
        lane.waiting.push(awaiting(6));
        assert_eq!(next(&lane, Concurrency::Supersede, false), None);
    }

    #[test]
    fn the_newest_supersedes_the_others() {
        let mut lane = Lane { waiting: vec![waiting(3, true), waiting(5, true)], ..Lane::default() };
        assert_eq!(next(&lane, Concurrency::Supersede, false), Some(5));
        let (older, newest) = lane.superseded(Concurrency::Supersede).unwrap();
        assert_eq!((older[0].number, older.len(), newest.number), (3, 1, 5));
        lane.waiting.push(waiting(6, false));
        let why = "the newest waits for its approvals, and no older one runs";
        assert_eq!(next(&lane, Concurrency::Supersede, false), None, "{why}");
    }
}
