//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(preflight_deployment::endpoint)
}
