//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::service_fn;

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let log = build_log::BuildLog::new(&app)?;
        lambda_runtime::run(service_fn(|event| log.invoke(event))).await
    })
}
