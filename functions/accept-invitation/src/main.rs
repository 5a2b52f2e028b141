//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(accept_invitation::endpoint)
}
