//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(end_session::endpoint)
}
