//! The cache of a build by CodeBuild, which restores and saves the files itself.

use shared::App;
use shared::model::{BuildCaches, CacheChanged, CacheScope, Deployment};

use super::{OF_A_COMMIT, digest_of_paths};
use crate::buildspec::Cache;
use crate::run_log::RunLog;

/// Returns the archive's prefix below which CodeBuild keeps the cache of a build. Builds with other paths, or with another root
/// folder, have another one. Returns `None` if the build has no cache, and says why.
pub(crate) async fn place(app: &App, log: &RunLog, cache: &Cache, deployment: &Deployment) -> Option<String> {
    let Some(scope) = CacheScope::of(deployment) else {
        log.say(format!("The build has no cache: {OF_A_COMMIT}")).await;
        return None;
    };
    let why = match BuildCaches::codebuild_folder(app.table(), deployment, &scope, app.clock().now()).await {
        Ok(Ok(folder)) => return Some(format!("{folder}/files/{}", digest_of_paths(cache, deployment))),
        Ok(Err(CacheChanged)) => "other builds keep changing it",
        Err(error) => {
            app.log().warn("a cache was not used", &error);
            "the API could not reach it"
        }
    };
    log.say(format!("The build has no cache: {why}")).await;
    None
}
