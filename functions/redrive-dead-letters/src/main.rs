//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::service_fn;

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let redrive = redrive_dead_letters::Redrive::new(&app)?;
        lambda_runtime::run(service_fn(|event| redrive.invoke(event))).await
    })
}
