//! The table after a seed, checked.

use std::collections::{BTreeMap, BTreeSet};

use shared::id::DeploymentId;
use shared::model::{
    CapacityUsage, Deployment, DeploymentCounts, DeploymentEvent, FailureCode, Filter, Lane, Lock, StackPermits, Status,
};

use super::build::Tally;
use super::scene::{Kind, Scene};

impl Scene {
    /// Returns what happened, or the first thing that is wrong with the table.
    pub(super) async fn check(&self) -> Result<Tally, String> {
        if let Some(wrong) = &self.known.lock().unwrap().wrong {
            return Err(wrong.clone());
        }
        let (sequences, expected, mut tally) = {
            let known = self.known.lock().unwrap();
            (known.sequences.clone(), known.expected.clone(), known.tally)
        };
        let (drifted, repairs) = {
            let services = self.wire.services();
            (services.drifted, services.repairs)
        };
        tally.seeds = 1;
        if !drifted && repairs > 0 {
            return Err(format!("{repairs} repairs of a counter that was exact"));
        }
        let table = self.app.table();
        self.check_permits().await?;
        let rows = Deployment::newest(table, &self.repository, Filter::default(), None, 100).await.unwrap();
        let ids: BTreeSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        if let Some(lost) = self.known.lock().unwrap().created.iter().find(|id| !ids.contains(id)) {
            return Err(format!("{lost} was created and is lost"));
        }
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut lanes: BTreeMap<String, Vec<&Deployment>> = BTreeMap::new();
        for row in &rows {
            if !row.status.is_final() {
                return Err(format!("deployment {} never ends: {:?}", row.number, row.status));
            }
            let events = row.events(table, 0, 100).await.unwrap();
            check_events(row, &events)?;
            let reasons = |start: &str| events.iter().filter(|event| event.reason.starts_with(start)).count() as u64;
            let (claims, given_back) = (reasons("claimed"), reasons("given back"));
            if claims - given_back != u64::from(row.attempt) {
                let number = row.number;
                return Err(format!(
                    "deployment {number} has {claims} claims, {given_back} given back: {}",
                    row.attempt
                ));
            }
            tally.deployments += 1;
            tally.fenced += u64::from(expected.contains_key(&row.id) || sequences.contains_key(&row.id));
            let is_superseded = row.status == Status::Superseded && reasons("superseded") == 0;
            tally.fenced_off_at_their_turn += u64::from(is_superseded);
            tally.claims += claims;
            tally.given_back += given_back;
            *counts.entry((row.environment.as_str(), row.status.as_str())).or_default() += 1;
            lanes.entry(format!("{:?}", row.lane())).or_default().push(row);
        }
        let stored = DeploymentCounts::load(table, &self.repository.partition()).await.unwrap();
        for environment in stored.environments() {
            for status in Status::ALL {
                let filter = Filter { environment: Some(environment), status: Some(status) };
                let counted = counts.get(&(environment.as_str(), status.as_str())).copied().unwrap_or(0);
                if stored.total(filter) != counted {
                    let total = stored.total(filter);
                    return Err(format!("{environment:?} {status:?}: {total} by the counter, {counted} by the rows"));
                }
            }
        }
        if stored.last_number() != rows.len() as u64 {
            return Err(format!("{} numbers for {} deployments", stored.last_number(), rows.len()));
        }
        if self.kind.has_rules() {
            self.check_rules(&rows, &mut tally).await?;
        }
        if self.kind == Kind::Builds {
            self.check_builds(&mut tally).await?;
        }
        for rows in lanes.values() {
            let Lane { lock, waiting, followers } = Lane::load(table, &rows[0].lane()).await.unwrap();
            if lock.holder.is_some() || !waiting.is_empty() || !followers.is_empty() {
                let holder = &lock.holder;
                return Err(format!(
                    "every deployment has ended, and the lane has {holder:?}, {waiting:?} and {followers:?}"
                ));
            }
            let last = rows.iter().filter(|row| row.status == Status::Succeeded).max_by_key(|row| row.fence);
            let live = lock.live.as_ref().map(|live| &live.deployment_id);
            if live != last.map(|row| &row.id) {
                return Err(format!("{live:?} is live, and {:?} succeeded last", last.map(|row| &row.id)));
            }
            check_fences(rows, &expected)?;
            check_sequences(rows, &sequences, &lock)?;
        }
        Ok(tally)
    }
}

impl Scene {
    /// Checks that the deployments of the other account have ended as well, none because it waited too long, and that all permits were
    /// given back, none by the sweep.
    async fn check_permits(&self) -> Result<(), String> {
        let table = self.app.table();
        let lost = self.wire.services().lost_permits;
        if lost > 0 {
            return Err(format!("{lost} permits were not given back by the end of their runs"));
        }
        let of_rival = Deployment::newest(table, self.rival(), Filter::default(), None, 100).await.unwrap();
        let own = Deployment::newest(table, &self.repository, Filter::default(), None, 100).await.unwrap();
        for row in of_rival.iter().chain(own.iter().filter(|_| !self.kind.has_rules())) {
            // CodeBuild's queue has a limit of its own.
            let waited_too_long = row.build.is_none()
                && row.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::QueueDeadline);
            if !row.status.is_final() || waited_too_long {
                return Err(format!("deployment {} of {} never runs: {:?}", row.number, row.account_id, row.status));
            }
        }
        let stack = StackPermits::load(table).await.unwrap();
        if !stack.running.is_empty() || !stack.ring.is_empty() {
            return Err(format!("every deployment has ended, and the permits are {stack:?}"));
        }
        for repository in [&*self.repository, self.rival()] {
            let usage = CapacityUsage::load(table, &repository.account_id, self.app.clock().now()).await.unwrap();
            if !usage.permits.running.is_empty() {
                return Err(format!("every deployment has ended, and its account has {:?}", usage.permits));
            }
        }
        Ok(())
    }
}

/// Checks that each deployment with a sequence has a higher one than all before it, and that the lane has the highest.
fn check_sequences(lane: &[&Deployment], sequences: &BTreeMap<DeploymentId, u64>, lock: &Lock) -> Result<(), String> {
    let mut accepted: Vec<_> =
        lane.iter().filter_map(|row| Some((row.number, *sequences.get(&row.id)?, &row.id))).collect();
    accepted.sort_unstable();
    if let Some(pair) = accepted.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
        return Err(format!("sequences {} and {} were accepted in this order", pair[0].1, pair[1].1));
    }
    let last = accepted.last().map(|(_, sequence, id)| (Some(*sequence), Some(*id))).unwrap_or_default();
    if (lock.sequence, lock.sequence_by.as_ref()) != last {
        return Err(format!("the lane has sequence {:?}, and the last accepted one is {:?}", lock.sequence, last.0));
    }
    Ok(())
}

/// Checks that each deployment that ran found the deployment live that it expects.
fn check_fences(lane: &[&Deployment], expected: &BTreeMap<DeploymentId, DeploymentId>) -> Result<(), String> {
    let succeeded = || lane.iter().filter(|row| row.status == Status::Succeeded);
    for row in lane.iter().filter(|row| row.fence > 0) {
        let live = succeeded().filter(|other| other.fence < row.fence).max_by_key(|other| other.fence);
        let mut next = expected.get(&row.id);
        while let Some(id) = next {
            if live.is_some_and(|live| live.id == *id) {
                break;
            }
            let superseded = lane.iter().find(|other| other.id == *id && other.status == Status::Superseded);
            let Some(superseded) = superseded else {
                let live = live.map(|live| live.number);
                return Err(format!("deployment {} ran when {live:?} was live, and expects {id}", row.number));
            };
            next = expected.get(&superseded.id);
        }
    }
    let mut expecting: Vec<_> = lane.iter().filter_map(|row| expected.get(&row.id)).collect();
    expecting.sort_unstable();
    for same in expecting.chunk_by(|a, b| a == b) {
        let with =
            |status| lane.iter().filter(move |row| expected.get(&row.id) == Some(same[0]) && row.status == status);
        if with(Status::Succeeded).count() > 1 {
            return Err(format!("{} deployments expect {} and succeeded", with(Status::Succeeded).count(), same[0]));
        }
    }
    Ok(())
}

fn check_events(row: &Deployment, events: &[DeploymentEvent]) -> Result<(), String> {
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    if numbers != (1..=row.events).collect::<Vec<_>>() {
        return Err(format!("deployment {} has {} events, numbered {numbers:?}", row.number, row.events));
    }
    for pair in events.windows(2) {
        if !pair[0].status.successors().contains(&pair[1].status) {
            return Err(format!("deployment {} went from {:?} to {:?}", row.number, pair[0].status, pair[1].status));
        }
    }
    match events.last() {
        Some(last) if last.status == row.status => Ok(()),
        last => Err(format!("deployment {} is {:?} and its last event {last:?}", row.number, row.status)),
    }
}
