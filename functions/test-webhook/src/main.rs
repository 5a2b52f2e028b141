//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(test_webhook::endpoint)
}
