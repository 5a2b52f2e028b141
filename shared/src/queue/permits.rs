//! The messages of deployments that wait for a permit.

use std::error::Error;
use std::time::Duration;

use super::{DeploymentMessage, Queue, QueueError};
use crate::app::App;
use crate::id::{AccountId, DeploymentId};
use crate::model::{Account, AccountPermits, Capacity, Deployment, StackPermits, Terms};
use crate::table::TableError;

type Failed = Box<dyn Error + Send + Sync>;

impl Queue {
    /// Sends the messages of the deployments that may take the permit that this one has given back: that of the first account in the
    /// ring, and that of its own account. After a failure, the sweep sends them.
    pub(super) async fn send_successors(&self, app: &App, ended: &Deployment) {
        if ended.permit().is_some()
            && let Err(error) = self.try_send_successors(app, ended).await
        {
            app.log().warn("a deployment that waits for capacity could not be queued", &*error);
        }
    }

    async fn try_send_successors(&self, app: &App, ended: &Deployment) -> Result<(), Failed> {
        let Capacity { account, stack, .. } = Capacity::of(app.table(), &ended.account_id).await?;
        if account.waiting && !stack.ring.contains(&ended.account_id) {
            self.send_first(app, &ended.account_id).await?;
        }
        // One permit was given back. Whoever takes it sends the messages of further turns.
        self.send_turns(app, stack, |stack| &stack.ring[..stack.ring.len().min(1)]).await.map(drop)
    }

    /// Sends the message of the first deployment in the account's queue if the account has a permit for it, and those of the deployments
    /// whose accounts' turn has come, as far as permits of the stack are free. After a failure, the sweep sends them.
    pub async fn send_waiting(&self, app: &App, account: &AccountId, terms: Terms) {
        if let Err(error) = self.try_send_waiting(app, account, terms).await {
            app.log().warn("a deployment that waits for capacity could not be queued", &*error);
        }
    }

    async fn try_send_waiting(&self, app: &App, account: &AccountId, terms: Terms) -> Result<(), Failed> {
        let row = Account::load(app.table(), account).await?;
        let limits = terms.limits(row.as_ref());
        let capacity = Capacity::load(app.table(), account, limits).await?;
        if let Some(first) = capacity.first_to_start(account, limits) {
            self.send_named(account, first.clone()).await?;
        }
        self.send_turns(app, capacity.stack, |stack| stack.next(terms.builds)).await.map(drop)
    }

    /// Sends the message of the first waiting deployment of each account whose turn has come, and returns their number. An account of
    /// which none waits any more leaves the ring.
    ///
    /// # Errors
    /// Fails if DynamoDB or SQS does not answer.
    pub async fn send_turns(
        &self,
        app: &App,
        mut stack: StackPermits,
        turns: impl Fn(&StackPermits) -> &[AccountId],
    ) -> Result<usize, Failed> {
        let mut sent = Vec::new();
        let mut attempts = app.table().attempts();
        while let Some(account) = turns(&stack).iter().find(|account| !sent.contains(*account)).cloned() {
            if self.send_first(app, &account).await? {
                sent.push(account);
                continue;
            }
            let ring = stack.ring_without(&account);
            match stack.replace_ring(app.table(), &ring).await? {
                true => (stack.ring, stack.version) = (ring, stack.version + 1),
                false if attempts.begin().await => stack = StackPermits::load(app.table()).await?,
                false => return Err(TableError::Contended.into()),
            }
        }
        Ok(sent.len())
    }

    /// Sends the message of the first deployment in an account's queue. Returns `false` if the queue is empty.
    ///
    /// # Errors
    /// Fails if DynamoDB or SQS does not answer.
    pub async fn send_first(&self, app: &App, account: &AccountId) -> Result<bool, Failed> {
        let Some(deployment_id) = AccountPermits::first_waiting(app.table(), account).await? else { return Ok(false) };
        self.send_named(account, deployment_id).await?;
        Ok(true)
    }

    /// Sends the message of a deployment that comes before another one of its account. After a failure, the sweep does.
    pub(crate) async fn send_earlier(&self, app: &App, account: &AccountId, deployment: DeploymentId) {
        if let Err(error) = self.send_named(account, deployment).await {
            app.log().warn("a deployment that waits for capacity could not be queued", &error);
        }
    }

    pub(super) async fn send_named(&self, account: &AccountId, deployment_id: DeploymentId) -> Result<(), QueueError> {
        let message = DeploymentMessage { account_id: account.clone(), deployment_id };
        self.send_message(Duration::ZERO, &message).await
    }
}
