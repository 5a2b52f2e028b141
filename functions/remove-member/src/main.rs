fn main() -> std::process::ExitCode {
    shared::serve(remove_member::endpoint)
}
