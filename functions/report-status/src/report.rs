//! One report of a status to its host.

use std::time::{Duration, Instant};

use providers::{Api, CommitReport};
use shared::InitError;
use shared::model::{CommitStatus, Connection, Deployment, OwedReport, SealedConnection, Status};

use crate::failure::{Failure, TRIED_FOR, pause};
use crate::{Handled, Outcome, Reporter, state};

/// The time in which a report must begin, so that it has ended before the lease.
const PREPARED_WITHIN: Duration = Duration::from_secs(20);

/// The longest delay of a message in SQS. The sweep announces what is due later.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

impl Reporter {
    /// Makes a report that this function has claimed, and settles it.
    pub(crate) async fn report(&self, mut owed: OwedReport) -> Result<Handled, InitError> {
        let (table, status) = (self.app.table(), &owed.status);
        let deployment_id = Some(owed.deployment_id.clone());
        let handled = |outcome, cause, is_behind| Ok(Handled { outcome, deployment_id, cause, is_behind });
        let deployment = Deployment::load(table, &status.account_id, &owed.deployment_id).await?;
        let Some((deployment, connection, api)) = self.host_of(deployment).await? else {
            let is_behind = !owed.pay(table).await?;
            return handled(Outcome::NobodyToTell, None, is_behind);
        };
        let now = self.app.clock().now();
        if let Some(until) = self.resting.get(&connection.connection.id).filter(|until| *until > now) {
            owed.defer(table, until).await?;
            self.announce_again(&owed.status, until.since(now)).await;
            return handled(Outcome::Deferred, None, false);
        }
        match self.tell_host(&deployment, &connection, api).await {
            Ok(()) => {
                deployment.set_commit_status_error(table, None).await?;
                let is_behind = !owed.pay(table).await?;
                handled(Outcome::Told, None, is_behind)
            }
            Err(Failure::Later { reason, wait, rest }) => {
                if let Some(rest) = rest {
                    self.resting.insert(connection.connection.id.clone(), now.plus(rest));
                }
                owed.attempts += 1;
                let pause = pause(owed.attempts, wait);
                if now.plus(pause).since(owed.owed_since) > TRIED_FOR {
                    return self.give_up(&deployment, &owed, format!("{reason}, and was asked for 24 hours")).await;
                }
                owed.defer(table, now.plus(pause)).await?;
                self.announce_again(&owed.status, pause).await;
                handled(Outcome::Deferred, Some(reason), false)
            }
            Err(Failure::Never(reason)) => self.give_up(&deployment, &owed, reason).await,
            Err(error @ Failure::Infrastructure(..)) => Err(error.into()),
        }
    }

    /// Returns a deployment with its connection and the API of its host. Returns `None` if one of them does not exist.
    async fn host_of(
        &self,
        deployment: Option<Deployment>,
    ) -> Result<Option<(Deployment, SealedConnection, Api)>, InitError> {
        let Some(deployment) = deployment else { return Ok(None) };
        let Some(id) = &deployment.connection_id else { return Ok(None) };
        let connection = Connection::load_sealed(self.app.table(), &deployment.account_id, id).await?;
        Ok(connection.and_then(|sealed| {
            let Connection { provider, host, .. } = &sealed.connection;
            let api = Api::of_statuses(*provider, host, self.hosts)?;
            Some((deployment, sealed, api))
        }))
    }

    async fn tell_host(&self, deployment: &Deployment, sealed: &SealedConnection, api: Api) -> Result<(), Failure> {
        let (started, now) = (Instant::now(), self.app.clock().now());
        let Connection { provider, host, .. } = sealed.connection.clone();
        let authorization = self.tokens.authorization(&self.vault, &api, sealed, &deployment.clone_url, now).await?;
        if started.elapsed() > PREPARED_WITHIN {
            return Err(Failure::late(&host));
        }
        let (state, description) = state::of(deployment);
        let context = format!("dotgit/{}", deployment.environment.as_str());
        let page = || self.app.url(&format!("/deployments/{}", deployment.id));
        // Hosts have one link for a status. The link of a success leads to what was deployed, if the build says where that is.
        let environment_url = deployment.environment_url.clone().filter(|_| deployment.status == Status::Succeeded);
        let target_url = environment_url.unwrap_or_else(page);
        let (clone_url, sha) = (deployment.clone_url.clone(), deployment.sha.clone());
        let reported = tokio::task::spawn_blocking(move || {
            let report = CommitReport {
                clone_url: &clone_url,
                sha: &sha,
                context: &context,
                state,
                description: &description,
                target_url: &target_url,
            };
            api.report(provider, &authorization, &report, now)
        });
        let reported = reported.await.map_err(|panic| Failure::Infrastructure("the request panicked", panic.into()))?;
        reported.map_err(|error| Failure::of_report(&host, &error))
    }

    async fn give_up(&self, deployment: &Deployment, owed: &OwedReport, reason: String) -> Result<Handled, InitError> {
        let table = self.app.table();
        deployment.set_commit_status_error(table, Some(&reason)).await?;
        let is_behind = !owed.pay(table).await?;
        let deployment_id = Some(owed.deployment_id.clone());
        Ok(Handled { outcome: Outcome::GivenUp, deployment_id, cause: Some(reason), is_behind })
    }

    /// Sends the message of a report that was put off. After a failure, the sweep does.
    async fn announce_again(&self, status: &CommitStatus, after: Duration) {
        if after <= MAX_DELAY
            && let Err(error) = self.queue.send_after(after, status).await
        {
            self.app.log().warn("a commit status could not be announced; the sweep will announce it", &error);
        }
    }
}
