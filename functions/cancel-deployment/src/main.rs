fn main() -> std::process::ExitCode {
    shared::serve(cancel_deployment::endpoint)
}
