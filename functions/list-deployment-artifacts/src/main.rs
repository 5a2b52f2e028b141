//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(list_deployment_artifacts::endpoint)
}
