fn main() -> std::process::ExitCode {
    shared::serve(get_rate_limit::endpoint)
}
