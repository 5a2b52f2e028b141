//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let bootstrap = |event: LambdaEvent<_>| bootstrap::bootstrap(&app, event.payload);
        lambda_runtime::run(service_fn(bootstrap)).await
    })
}
