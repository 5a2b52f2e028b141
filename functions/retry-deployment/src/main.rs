//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(retry_deployment::endpoint)
}
