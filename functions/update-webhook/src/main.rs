//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(update_webhook::endpoint)
}
