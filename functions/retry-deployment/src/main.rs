fn main() -> std::process::ExitCode {
    shared::serve(retry_deployment::endpoint)
}
