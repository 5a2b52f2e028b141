//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(list_team_members::endpoint)
}
