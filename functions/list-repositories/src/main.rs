fn main() -> Result<(), lambda_runtime::Error> {
    shared::serve(list_repositories::endpoint)
}
