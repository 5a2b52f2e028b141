//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(reject_deployment::endpoint)
}
