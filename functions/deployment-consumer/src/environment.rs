//! The consumer in an execution environment of Lambda, which builds for one account only.
//!
//! A build runs as the user of the environment, so it can leave files where the next one finds them. The first build decides the
//! account. A message of another account is sent again, for another environment, and then this one ends. Lambda may start the function
//! again in what is left of an environment, with its files, so the function begins by removing them.

use std::future::pending;

use lambda_runtime::{Error, Runtime, service_fn};
use shared::App;
use tokio_util::sync::CancellationToken;
use tower::util::AndThenLayer;

use crate::beneath::Folder;
use crate::consumer::Consumer;
use crate::process;
use crate::tenant::Tenant;

/// The variable that Lambda sets. A program that plays Lambda on a developer's machine does not.
const IN_LAMBDA: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// Consumes the queue until Lambda ends the execution environment, or until a message of another account ends it.
///
/// # Errors
/// Fails if files of an earlier build can't be removed, a setting is missing or invalid, or the Runtime API fails.
pub async fn serve(app: &App) -> Result<(), Error> {
    process::own_all_descendants();
    if app.settings().get(IN_LAMBDA).is_some() {
        Folder::open(&std::env::temp_dir())?.clear()?;
    }
    let tenant = Tenant::default();
    let consumer = Consumer::new(app)?.in_environment_of(tenant.clone());
    let (ends, answered) = (tenant.ends(), CancellationToken::new());
    // The Runtime API has the response by then. Asking it for another event would take that event along.
    let stop = {
        let answered = answered.clone();
        AndThenLayer::new(move |()| {
            let (ends, answered) = (ends.clone(), answered.clone());
            async move {
                if ends.is_cancelled() {
                    answered.cancel();
                    pending::<()>().await;
                }
                Ok::<_, Error>(())
            }
        })
    };
    let runtime = Runtime::new(service_fn(|event| consumer.invoke(event))).layer(stop);
    tokio::select! {
        ended = runtime.run() => ended,
        () = answered.cancelled() => Ok(()),
    }
}
