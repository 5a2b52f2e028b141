//! The permit of a deployment: the claim that takes it, the wait for it, and the end that gives it back.

use std::time::Duration;

use super::turn::Turn;
use super::{Actor, Claim, Deployment, Status, Transition, TransitionFailed};
use crate::clock::Timestamp;
use crate::model::{Bound, BuildMinutes, Capacity, Permit, PermitLimits, PermitPlace};
use crate::table::{Table, TableError, Transaction, Write};

impl Deployment {
    /// Claims the queued deployment, with a permit. If there is none for it, the deployment waits in its account's queue.
    pub(super) async fn start(
        &self,
        table: &Table,
        claim: Claim,
        limits: PermitLimits,
        now: Timestamp,
    ) -> Result<Turn, TransitionFailed> {
        let permit = self.permit_of(claim.fence);
        // Nearly always nobody waits. A bound of zero, with which an operator stops an account, is decided below.
        if limits.account > 0 && limits.stack > 0 {
            match self.claim(table, claim, permit.take(limits), now).await {
                Err(TransitionFailed::NoPermit) => {}
                claimed => return claimed.map(Turn::claimed),
            }
        }
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let capacity = Capacity::load(table, &self.account_id, limits).await?;
            let written = match capacity.admit(&self.account_id, &self.id, limits) {
                Ok(()) => self.claim(table, claim, capacity.take(&permit, limits)?, now).await.map(Turn::claimed),
                Err(bound) => {
                    let first = capacity.first_to_start(&self.account_id, limits).filter(|first| **first != self.id);
                    let turn = Turn::NoPermit { first: first.cloned() };
                    self.await_permit(table, &capacity, bound, now).await.map(|()| turn)
                }
            };
            match written {
                Err(TransitionFailed::NoPermit) => {}
                written => return written,
            }
        }
        Err(TableError::Contended.into())
    }

    async fn claim(
        &self,
        table: &Table,
        claim: Claim,
        permit: [Write; 2],
        now: Timestamp,
    ) -> Result<Self, TransitionFailed> {
        let next = Transition::Claim(claim);
        let event = self.system_event(&next, now);
        self.change_state(table, next, Actor::Runner, now, |transaction| {
            event.iter().try_fold(needing_permit(transaction, permit), Transaction::recording)
        })
        .await
    }

    /// Puts the deployment into its account's queue, and the account into the ring if it waits for a permit of the stack.
    async fn await_permit(
        &self,
        table: &Table,
        capacity: &Capacity,
        bound: Bound,
        now: Timestamp,
    ) -> Result<(), TransitionFailed> {
        let in_ring = capacity.stack.ring.contains(&self.account_id);
        if self.waits_for_permit.is_some() {
            let ring = match (bound, in_ring) {
                (Bound::Stack, false) => capacity.stack.ring_with(&self.account_id),
                // Nobody else can use the turn of an account that may not have another permit.
                (Bound::Account, true) if capacity.queue.first() == Some(&self.id) => {
                    capacity.stack.ring_without(&self.account_id)
                }
                _ => return Ok(()),
            };
            return match capacity.stack.replace_ring(table, &ring).await? {
                true => Ok(()),
                false => Err(TransitionFailed::NoPermit),
            };
        }
        let next = Transition::AwaitPermit { place: capacity.account.version, bound };
        let mut joins = vec![capacity.join_queue(&self.account_id)];
        if bound == Bound::Stack {
            joins.push(capacity.stack.join(&self.account_id)?);
        }
        self.change_state(table, next, Actor::Runner, now, |transaction| Ok(needing_permit(transaction, joins)))
            .await
            .map(drop)
    }

    /// Takes the queued deployment out of its account's queue, because something else than a permit keeps it from starting.
    pub(crate) async fn leave_permit_queue(&self, table: &Table, now: Timestamp) -> Result<(), TransitionFailed> {
        match self.transition(table, Transition::StopAwaitingPermit, Actor::Runner, now).await {
            // Whoever changed the deployment decides.
            Ok(_) | Err(TransitionFailed::Stale | TransitionFailed::Blocked) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Returns the writes about permits in a transition from `before`: a deployment that is no longer in progress gives its permit
    /// back, the time of a run that ends is counted, and the place in the account's queue comes and goes with the wait.
    pub(super) fn move_permit(&self, before: &Self, now: Timestamp) -> Result<Vec<Write>, TableError> {
        let mut writes = Vec::new();
        match (before.status, self.status) {
            (Status::Queued, status) => match (before.permit_place(), self.permit_place()) {
                (Some(place), after) if status != Status::Queued || after.is_none() => {
                    writes.push(Write::Delete { key: place.key() });
                }
                (None, Some(place)) => writes.push(place.join()?),
                _ => {}
            },
            (Status::InProgress, status) if status != Status::InProgress => {
                writes.extend(before.permit().iter().flat_map(Permit::give_back));
                if status.is_final() {
                    writes.push(BuildMinutes::add(&self.account_id, before.run_time(now), now));
                }
            }
            _ => {}
        }
        Ok(writes)
    }

    /// Returns the permit that the deployment holds if it is in progress.
    pub fn permit(&self) -> Option<Permit> {
        self.permit.map(|number| self.permit_of(number))
    }

    fn permit_of(&self, number: u64) -> Permit {
        Permit { account_id: self.account_id.clone(), deployment_id: self.id.clone(), number }
    }

    /// Returns whether the deployment is in progress with this permit.
    pub fn holds(&self, permit: &Permit) -> bool {
        self.status == Status::InProgress && self.permit == Some(permit.number)
    }

    /// Returns whether the queued deployment waits for a permit.
    pub fn awaits_permit(&self) -> bool {
        self.permit_place().is_some()
    }

    /// Returns the deployment's place in its account's queue. `None` if it does not wait for a permit.
    pub(crate) fn permit_place(&self) -> Option<PermitPlace> {
        let place = self.waits_for_permit.filter(|_| self.status == Status::Queued)?;
        Some(PermitPlace { account_id: self.account_id.clone(), deployment_id: self.id.clone(), place })
    }

    /// Returns whether the deployment waits for a permit, or did when it ended.
    pub fn has_waited_for_permit(&self) -> bool {
        self.waits_for_permit.is_some()
    }

    /// Returns the time for which the deployment in progress has had a machine: that of CodeBuild, or the runner's own. If the event is
    /// lost that tells when the build left CodeBuild's queue, its first phase does.
    fn run_time(&self, now: Timestamp) -> Duration {
        let began = match self.build {
            Some(_) => self.build_started_at.or_else(|| self.phases.first().map(|phase| phase.started_at)),
            None => self.started_at,
        };
        began.map_or(Duration::ZERO, |began| now.since(began))
    }
}

/// Adds writes whose conditions fail if there is no permit, or somebody has changed who waits for one.
fn needing_permit<'a>(
    transaction: Transaction<'a, TransitionFailed>,
    writes: impl IntoIterator<Item = Write>,
) -> Transaction<'a, TransitionFailed> {
    writes
        .into_iter()
        .fold(transaction, |transaction, write| transaction.write(write).or(|_| TransitionFailed::NoPermit))
}
