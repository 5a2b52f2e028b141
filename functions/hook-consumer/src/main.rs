//! The entry point in Lambda.

use std::process::ExitCode;

use lambda_runtime::service_fn;

fn main() -> ExitCode {
    shared::serve::run(async |app| {
        let consumer = hook_consumer::HookConsumer::new(&app)?;
        lambda_runtime::run(service_fn(|event| consumer.invoke(event))).await
    })
}
