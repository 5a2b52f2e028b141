//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(cancel_deployment::endpoint)
}
