//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(rotate_webhook::endpoint)
}
