//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(approve_deployment::endpoint)
}
