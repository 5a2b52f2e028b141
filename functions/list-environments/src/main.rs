fn main() -> std::process::ExitCode {
    shared::serve(list_environments::endpoint)
}
