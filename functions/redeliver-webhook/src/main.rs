//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(redeliver_webhook::endpoint)
}
