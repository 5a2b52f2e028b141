fn main() -> std::process::ExitCode {
    shared::serve(list_members::endpoint)
}
