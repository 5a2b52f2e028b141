//! The consumer in an execution environment of Lambda, which builds for one account only.
//!
//! A build runs as the user of the environment, so it can leave files where the next one finds them. The first build decides the
//! account. A message of another account is sent again, for another environment, and then this one ends. Lambda may start the function
//! again in what is left of an environment, with its files, so the function begins by removing them. It also removes what each build
//! leaves outside of its folder, which would take the disk space of later builds. An environment in which processes of a build go on
//! ends after its response, because they could read what the next build is told.

use std::future::pending;
use std::io;

use lambda_runtime::{Error, Runtime, service_fn};
use shared::App;
use tokio::task::spawn_blocking;
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
    let in_lambda = app.settings().get(IN_LAMBDA).is_some();
    if in_lambda {
        clear_temporary_files()?;
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
    let service = service_fn(async |event| {
        let response = consumer.invoke(event).await;
        if in_lambda {
            let cleared = spawn_blocking(clear_temporary_files).await;
            if let Err(error) = cleared.map_err(io::Error::other).and_then(|cleared| cleared) {
                app.log().warn("the files that a build has left could not be deleted", &error);
            }
        }
        response
    });
    let runtime = Runtime::new(service).layer(stop);
    tokio::select! {
        ended = runtime.run() => ended,
        () = answered.cancelled() => Ok(()),
    }
}

/// Deletes all temporary files. No build runs meanwhile, because an environment has one invocation at a time.
fn clear_temporary_files() -> io::Result<()> {
    Folder::open(&std::env::temp_dir())?.clear()
}
