//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(receive_hook::endpoint)
}
