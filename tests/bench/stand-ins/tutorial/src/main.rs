//! A function that reads one item, as tutorials write it.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    run(service_fn(|request| read(&client, request))).await
}

async fn read(client: &Client, _request: Request) -> Result<Response<Body>, Error> {
    let key = |name: &str| std::env::var(name).map(AttributeValue::S);
    let found = client
        .get_item()
        .table_name(std::env::var("TABLE_NAME")?)
        .key("pk", key("ITEM_PK")?)
        .key("sk", key("ITEM_SK")?)
        .send()
        .await?;
    let body = serde_json::json!({ "attributes": found.item().map_or(0, |item| item.len()) }).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(body.into())?)
}
