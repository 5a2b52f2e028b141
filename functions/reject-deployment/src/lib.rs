//! `POST /v1/deployments/{deployment_id}/reject`: fails a deployment that waits for approvals.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::model::{Action, Author, Deployment, Failure, FailureCode, Status, Transition, TransitionFailed};
use shared::name::{find_unseen_in_text, unseen};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/reject")
    .takes_body()
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[ErrorCode::NotAwaitingApproval]);

const MAX_REASON_CHARS: usize = 500;

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, reject_deployment, app.clone()))
}

/// The rejection of a deployment.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRejection)]
pub struct Rejection {
    /// The reason, at most 500 characters, all of which can be seen. The deployment's failure message contains it.
    #[schema(
        max_length = 500,
        pattern = "^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]*$",
        examples("not before the release")
    )]
    reason: Option<String>,
}

/// Reject a deployment
///
/// Fails the deployment with code `rejected`. The deployment must be queued and must require approvals. Only people reject.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = Rejection, responses((status = 200, body = DeploymentBody))
)]
pub async fn reject_deployment(
    State(app): State<App>,
    author: Author,
    deployment: AuthorizedDeployment,
    extract::Json(rejection): extract::Json<Rejection>,
) -> Result<Json<DeploymentBody>> {
    if rejection.reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON_CHARS) {
        return Err(Error::invalid("reason", format!("must be at most {MAX_REASON_CHARS} characters")));
    }
    author.must_be_a_person("Only people reject deployments, and this token is a program's; cancel it instead")?;
    if let Some(char) = rejection.reason.as_deref().and_then(find_unseen_in_text) {
        return Err(Error::invalid("reason", unseen(char)));
    }
    let by = deployment.tenant().user_id().clone();
    let message = match rejection.reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("Rejected by {by}: {reason}"),
        None => format!("Rejected by {by}"),
    };
    let mut deployment = deployment.into_inner();
    let mut attempts = app.table().attempts();
    while attempts.begin().await {
        if deployment.status != Status::Queued || deployment.required_approvals == 0 {
            let message = match deployment.status {
                Status::Queued => "The deployment requires no approvals; cancel it instead".to_owned(),
                other => format!("The deployment is {}", other.as_str()),
            };
            return Err(Error::new(ErrorCode::NotAwaitingApproval, message));
        }
        let reject = Transition::Fail(Failure::new(FailureCode::Rejected, message.clone()));
        let action = Action::DeploymentRejected;
        match deployment.transition_by(&author, action, app.table(), reject, app.clock().now()).await {
            Ok(rejected) => return Ok(Json(DeploymentBody::new(&app, rejected))),
            Err(TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit) => {
                let found = Deployment::load(app.table(), &deployment.account_id, &deployment.id).await?;
                deployment = found.ok_or_else(|| Error::not_found("Deployment"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(TransitionFailed::Stale.into())
}
