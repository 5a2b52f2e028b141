fn main() -> Result<(), lambda_runtime::Error> {
    shared::serve(get_deployment::endpoint)
}
