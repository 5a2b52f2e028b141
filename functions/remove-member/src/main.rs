//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(remove_member::endpoint)
}
