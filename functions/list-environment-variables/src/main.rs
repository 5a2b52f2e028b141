//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(list_environment_variables::endpoint)
}
