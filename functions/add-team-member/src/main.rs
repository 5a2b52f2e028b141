//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(add_team_member::endpoint)
}
