//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(create_webhook::endpoint)
}
