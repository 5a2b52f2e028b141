//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(get_webhook::endpoint)
}
