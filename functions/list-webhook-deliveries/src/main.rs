//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(list_webhook_deliveries::endpoint)
}
