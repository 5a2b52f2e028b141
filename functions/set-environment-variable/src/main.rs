//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(set_environment_variable::endpoint)
}
