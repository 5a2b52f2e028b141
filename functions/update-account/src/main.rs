fn main() -> std::process::ExitCode {
    shared::serve(update_account::endpoint)
}
