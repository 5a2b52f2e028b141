fn main() -> Result<(), lambda_runtime::Error> {
    shared::serve(create_repository::endpoint)
}
