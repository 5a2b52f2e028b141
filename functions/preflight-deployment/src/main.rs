fn main() -> std::process::ExitCode {
    shared::serve(preflight_deployment::endpoint)
}
