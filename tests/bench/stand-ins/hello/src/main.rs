//! A function that does nothing, like that of a new project.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(hello)).await
}

async fn hello(_request: Request) -> Result<Response<Body>, Error> {
    let body = serde_json::json!({ "message": "Hello" }).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(body.into())?)
}
