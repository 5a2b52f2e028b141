//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(join_account::endpoint)
}
