fn main() -> std::process::ExitCode {
    shared::serve(approve_deployment::endpoint)
}
