//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(not_found::endpoint)
}
