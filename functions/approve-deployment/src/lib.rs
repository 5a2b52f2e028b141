//! `POST /v1/deployments/{deployment_id}/approve`: records one approval of a deployment.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedDeployment, Scope};
use shared::body::DeploymentBody;
use shared::model::{Action, Author, Deployment, EnvironmentSettings, Status, Transition, TransitionFailed};
use shared::queue::Queue;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/approve")
    .takes_body()
    .requires(Scope::DeploymentsWrite)
    .refuses_with(&[
        ErrorCode::SelfApproval,
        ErrorCode::NotAwaitingApproval,
        ErrorCode::ShaMismatch,
        ErrorCode::ApprovalDigestMismatch,
    ]);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, approve_deployment, With(app.clone(), Queue::new(app)?)))
}

/// The approval of a deployment.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApproval)]
pub struct Approval {
    /// The commit to approve. It must be the deployment's `sha`.
    #[schema(examples("3f786850e387550fdab836ed7e6dc881de23001b"))]
    sha: String,
    /// The deployment's `approval_digest`. It covers all that the build gets: the commit and the URL that it is fetched from,
    /// the environment, the names and values of the variables, the time limit, the build machine and the number of approvals.
    #[schema(examples("8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"))]
    approval_digest: String,
}

/// Approve a deployment
///
/// Records one approval of the deployment's commit and of all that its build gets, which `approval_digest` stands for. Only
/// people approve, and neither the deployment's creator nor whoever registered the application or created the trust that
/// created it. If the environment has reviewers, only they do: its users, and the members of its teams at the time of the approval. A
/// second approval by the same user changes nothing. The deployment may start once it has all required approvals.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Deployments", request_body = Approval, responses((status = 200, body = DeploymentBody))
)]
pub async fn approve_deployment(
    State(With(app, queue)): State<With<Queue>>,
    author: Author,
    deployment: AuthorizedDeployment,
    extract::Json(approval): extract::Json<Approval>,
) -> Result<Json<DeploymentBody>> {
    author.must_be_a_person("Only people approve deployments, and this token is a program's")?;
    let user = deployment.tenant().user().clone();
    let by = user.id.clone();
    let (account, repository) = (&deployment.account_id, &deployment.repository_id);
    let settings = EnvironmentSettings::load(app.table(), account, repository, deployment.environment).await?;
    let mut deployment = deployment.into_inner();
    let mut attempts = app.table().attempts();
    while attempts.begin().await {
        if deployment.sha != approval.sha {
            let message = format!("The deployment's commit is {}; approve that commit", deployment.sha);
            return Err(Error::new(ErrorCode::ShaMismatch, message));
        }
        if deployment.approval_digest() != approval.approval_digest {
            let message =
                "The approval_digest is not this deployment's; read the deployment again before you approve it";
            return Err(Error::new(ErrorCode::ApprovalDigestMismatch, message));
        }
        if deployment.is_created_by(&by) {
            let message = "A deployment can't be approved by its creator, nor by whoever registered the application or \
                           created the trust that created it";
            return Err(Error::new(ErrorCode::SelfApproval, message));
        }
        if deployment.status == Status::Queued && deployment.approved_by.contains(&by) {
            return Ok(Json(DeploymentBody::new(&app, deployment)));
        }
        let now = app.clock().now();
        if deployment.status != Status::Queued || deployment.is_approved() || deployment.is_overdue(now) {
            let message = match deployment.status {
                Status::Queued if !deployment.is_approved() => "The time for approvals is over".to_owned(),
                Status::Queued => "The deployment needs no further approval".to_owned(),
                other => format!("The deployment is {}", other.as_str()),
            };
            return Err(Error::new(ErrorCode::NotAwaitingApproval, message));
        }
        let reviewer = settings.as_reviewer(&author, &user, &deployment)?;
        let approve = Transition::Approve(by.clone());
        let action = Action::DeploymentApproved;
        match deployment.transition_by(&reviewer, action, app.table(), approve, now).await {
            Ok(approved) => {
                if let Err(error) = queue.send_when_ready(&app, &approved).await {
                    app.log().warn("an approved deployment could not be queued; the sweep will queue it", &error);
                }
                return Ok(Json(DeploymentBody::new(&app, approved)));
            }
            Err(TransitionFailed::Stale | TransitionFailed::Blocked | TransitionFailed::NoPermit) => {
                let found = Deployment::load(app.table(), &deployment.account_id, &deployment.id).await?;
                deployment = found.ok_or_else(|| Error::not_found("Deployment"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(TransitionFailed::Stale.into())
}
