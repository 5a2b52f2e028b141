fn main() -> std::process::ExitCode {
    shared::serve(list_applications::endpoint)
}
