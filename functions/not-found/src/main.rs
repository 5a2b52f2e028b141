fn main() -> Result<(), lambda_runtime::Error> {
    shared::serve(not_found::endpoint)
}
