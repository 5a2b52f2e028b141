//! The entry point in Lambda.

fn main() -> std::process::ExitCode {
    shared::serve(get_deployment_log_file::endpoint)
}
