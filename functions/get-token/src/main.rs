fn main() -> std::process::ExitCode {
    shared::serve(get_token::endpoint)
}
