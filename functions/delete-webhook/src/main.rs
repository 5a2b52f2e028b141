//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(delete_webhook::endpoint)
}
