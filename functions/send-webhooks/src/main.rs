//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::service_fn;

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let sender = send_webhooks::Sender::new(&app)?;
        lambda_runtime::run(service_fn(|event| sender.invoke(event))).await
    })
}
