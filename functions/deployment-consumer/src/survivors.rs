//! The report of processes that a build has left, to operators.

use serde::Serialize;
use shared::App;
use shared::id::{AccountId, DeploymentId};
use shared::model::Deployment;
use shared::telemetry::Level;
use tokio_util::sync::CancellationToken;

use crate::process::{Survivor, Survivors};

/// The log line about processes that could not be ended.
#[derive(Serialize)]
struct SurvivorsLine<'a> {
    level: Level,
    message: &'a str,
    account_id: &'a AccountId,
    deployment_id: &'a DeploymentId,
    processes: &'a [Survivor],
}

/// Returns the receiver that logs what a deployment's build has left, and cancels the token, so that no other build runs beside it.
pub(crate) fn of_build(app: &App, deployment: &Deployment, has_survivors: &CancellationToken) -> Survivors {
    let (log, has_survivors) = (app.log().clone(), has_survivors.clone());
    let (account_id, deployment_id) = (deployment.account_id.clone(), deployment.id.clone());
    Survivors::reported_to(move |processes| {
        has_survivors.cancel();
        log.write(&SurvivorsLine {
            level: Level::Error,
            message: "processes of a build could not be ended",
            account_id: &account_id,
            deployment_id: &deployment_id,
            processes,
        });
    })
}
