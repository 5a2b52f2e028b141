//! The variables that the API itself sets, which describe a deployment to its build. Both runners set them.
//!
//! Variables that start with `CODEBUILD_` have the meaning that they have in a build that CodeBuild starts for a push. CodeBuild itself
//! sets the others of its variables, as far as they have a meaning outside of it: see [`of_process`].

use std::collections::BTreeMap;

use shared::App;
use shared::model::{Deployment, PushContext};

/// The names and values of variables.
pub(crate) type Variables = BTreeMap<String, String>;

/// Returns the variables that both runners set. Nothing overrides them.
pub(crate) fn of_deployment(deployment: &Deployment, app: &App) -> Variables {
    let Deployment { id, environment, sha, git_ref, clone_url, number, created_by, ref_name, push, .. } = deployment;
    let mut variables = named([
        ("DEPLOYMENT_ENVIRONMENT", environment.as_str()),
        ("GIT_SHA", sha),
        ("GIT_REF", git_ref),
        ("CODEBUILD_BUILD_NUMBER", &number.to_string()),
        ("CODEBUILD_BUILD_URL", &app.url(&format!("/v1/deployments/{id}"))),
        ("CODEBUILD_INITIATOR", created_by.as_str()),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", sha),
        ("CODEBUILD_SOURCE_REPO_URL", clone_url),
        ("CODEBUILD_SOURCE_VERSION", git_ref),
    ]);
    if let Some(name) = ref_name.as_deref().filter(|name| name.starts_with("refs/")) {
        variables.extend(named([("CODEBUILD_WEBHOOK_HEAD_REF", name)]));
        if let Some(trigger) = trigger(name) {
            variables.extend(named([("CODEBUILD_WEBHOOK_TRIGGER", trigger.as_str())]));
        }
    }
    if let Some(PushContext { before, account }) = push {
        variables.extend(named([("CODEBUILD_WEBHOOK_EVENT", "PUSH")]));
        let told = [("CODEBUILD_WEBHOOK_PREV_COMMIT", before), ("CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID", account)];
        variables.extend(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
    }
    variables
}

/// Returns the variables that CodeBuild has for its own builds, for one that the runner `process` runs. A region that the environment
/// sets takes precedence.
pub(crate) fn of_process(deployment: &Deployment, app: &App) -> Variables {
    let Deployment { id, attempt, .. } = deployment;
    let region = app.aws().region();
    named([
        ("DEPLOYMENT_ID", id.as_str()),
        ("AWS_DEFAULT_REGION", region.as_ref()),
        ("AWS_REGION", region.as_ref()),
        ("CODEBUILD_BUILD_ID", &format!("deployments:{id}-{attempt}")),
        ("CODEBUILD_LOG_PATH", id.as_str()),
        ("CODEBUILD_START_TIME", &app.clock().now().as_millis().to_string()),
    ])
}

/// Returns the trigger that CodeBuild tells for a push to a ref: `branch/main`, `tag/v1` or `pr/7`.
fn trigger(name: &str) -> Option<String> {
    let name = name.strip_prefix("refs/")?;
    if let Some(branch) = name.strip_prefix("heads/") {
        return Some(format!("branch/{branch}"));
    }
    if let Some(tag) = name.strip_prefix("tags/") {
        return Some(format!("tag/{tag}"));
    }
    let number = name.strip_prefix("pull/").or_else(|| name.strip_prefix("merge-requests/"))?.strip_suffix("/head")?;
    Some(format!("pr/{number}"))
}

fn named<const N: usize>(variables: [(&str, &str); N]) -> Variables {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_has_the_trigger_of_a_push_to_it() {
        for (name, expected) in [
            ("refs/heads/main", Some("branch/main")),
            ("refs/heads/feature/x", Some("branch/feature/x")),
            ("refs/tags/v1.0", Some("tag/v1.0")),
            ("refs/pull/7/head", Some("pr/7")),
            ("refs/merge-requests/8/head", Some("pr/8")),
            ("refs/pull/7/merge", None),
            ("refs/notes/commits", None),
            ("main", None),
        ] {
            assert_eq!(trigger(name).as_deref(), expected, "{name}");
        }
    }
}
