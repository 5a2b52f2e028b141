//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(exchange_token::endpoint)
}
