//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(set_repository_variable::endpoint)
}
