//! Deploys with the client that openapi-generator generates from the OpenAPI document, and reports what it saw as JSON.
//!
//! The generated functions return no headers, so this program waits for fixed times.

use std::env;
use std::time::Duration;

use openapi::apis::configuration::Configuration;
use openapi::apis::deployments_api::{
    approve_deployment, create_deployment, get_deployment, get_deployment_artifact, get_deployment_log,
    list_deployment_artifacts,
};
use openapi::apis::repositories_api::{ListRepositoriesError, list_repositories};
use openapi::apis::{Error, ResponseContent};
use openapi::models::{ErrorEnvelope, NewApproval, NewDeployment, PageRepository, Status};
use serde_json::json;

fn client(token: String) -> Configuration {
    let base_path = env::var("API_URL").unwrap();
    Configuration { base_path, bearer_access_token: Some(token), ..Configuration::new() }
}

async fn repositories(client: &Configuration) -> Result<PageRepository, Error<ListRepositoriesError>> {
    list_repositories(client, None, None, None, None, None, None, None).await
}

/// Returns the status and the error code of a refusal.
fn refusal(error: Error<ListRepositoriesError>) -> (u16, String) {
    let Error::ResponseError(ResponseContent { status, content, .. }) = error else { panic!("no refusal: {error}") };
    let envelope: ErrorEnvelope = serde_json::from_str(&content).unwrap();
    let code = serde_json::to_value(&envelope.error.code).unwrap();
    (status.as_u16(), code.as_str().unwrap().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let [owner, approver, limited] =
        ["OWNER_TOKEN", "APPROVER_TOKEN", "LIMITED_TOKEN"].map(|name| client(env::var(name).unwrap()));

    let page = repositories(&owner).await.unwrap();
    let repository = page.data.iter().find(|repository| repository.name == "frontend-app").unwrap();

    let new = NewDeployment { environment: Some("production".to_owned()), ..NewDeployment::new("main".to_owned()) };
    let deployment = create_deployment(&owner, &repository.id, new, None).await.unwrap();
    let queued = get_deployment(&owner, &deployment.id, None).await.unwrap();
    let blocker = queued.queue.unwrap().blocked_by.unwrap().kind;
    let approval = NewApproval { sha: deployment.sha, approval_digest: deployment.approval_digest };
    approve_deployment(&approver, &deployment.id, approval).await.unwrap();

    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let log = get_deployment_log(&owner, &deployment.id, Some(after), None, None, None).await.unwrap();
        lines.extend(log.data.into_iter().map(|line| line.text));
        after = log.meta.next_after;
        if log.meta.complete {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let ended = get_deployment(&owner, &deployment.id, None).await.unwrap();
    assert_eq!(ended.status, Status::Succeeded);

    let artifacts = list_deployment_artifacts(&owner, &deployment.id, None, None, None, None, None, None).await.unwrap();
    let file = get_deployment_artifact(&owner, &deployment.id, &artifacts.data[0].path, None).await.unwrap();
    let artifact = file.text().await.unwrap();

    let unauthorized = repositories(&client("dgp_nobody".to_owned())).await.unwrap_err();

    let refused = loop {
        if let Err(error) = repositories(&limited).await {
            break error;
        }
    };
    while let Err(error) = repositories(&limited).await {
        assert_eq!(refusal(error).0, 429);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    let report = json!({
        "deployment": deployment.id, "waited_for": blocker, "status": ended.status, "log": lines, "artifact": artifact,
        "unauthorized": refusal(unauthorized).1, "limited": refusal(refused).1,
    });
    println!("{report}");
}
