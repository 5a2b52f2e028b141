//! The entry point in Lambda.

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::serve::run(async |app| deployment_consumer::serve(&app).await)
}
