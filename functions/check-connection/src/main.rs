//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(check_connection::endpoint)
}
