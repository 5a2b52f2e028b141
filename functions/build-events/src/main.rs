//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::service_fn;

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let events = build_events::BuildEvents::new(&app)?;
        lambda_runtime::run(service_fn(|event| events.invoke(event))).await
    })
}
