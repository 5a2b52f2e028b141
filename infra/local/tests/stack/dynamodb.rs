use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ReturnValue,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TimeToLiveSpecification,
};
use local::dynamodb::{DynamoDb, StartError, Storage};

use crate::{NOW, clock, dynamodb_client, eventually, free_port};

const NEVER: Option<Duration> = None;

async fn create_table(client: &Client) {
    client
        .create_table()
        .table_name("things")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap(),
        )
        .key_schema(KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap())
        .send()
        .await
        .unwrap();
}

async fn put(client: &Client, id: &str, state: &str, expires: i64) {
    client
        .put_item()
        .table_name("things")
        .item("id", AttributeValue::S(id.to_owned()))
        .item("state", AttributeValue::S(state.to_owned()))
        .item("expires", AttributeValue::N(expires.to_string()))
        .send()
        .await
        .unwrap();
}

async fn state(client: &Client, id: &str) -> Option<String> {
    let found = client
        .get_item()
        .table_name("things")
        .key("id", AttributeValue::S(id.to_owned()))
        .consistent_read(true)
        .send()
        .await
        .unwrap();
    Some(found.item?.get("state")?.as_s().unwrap().clone())
}

#[tokio::test]
async fn a_conditional_update_is_refused_with_the_old_item() {
    let database = DynamoDb::start(Storage::Memory(clock()), free_port(), NEVER).await.unwrap();
    let client = dynamodb_client(&database.endpoint());
    create_table(&client).await;
    put(&client, "a", "queued", 0).await;
    let claim = || {
        client
            .update_item()
            .table_name("things")
            .key("id", AttributeValue::S("a".to_owned()))
            .update_expression("SET #state = :next")
            .condition_expression("#state = :previous")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":next", AttributeValue::S("in_progress".to_owned()))
            .expression_attribute_values(":previous", AttributeValue::S("queued".to_owned()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };

    let claimed = claim().send().await.unwrap();
    assert_eq!(claimed.attributes.unwrap()["state"], AttributeValue::S("in_progress".to_owned()));

    let refused = claim().send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(refused) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.item.unwrap()["state"], AttributeValue::S("in_progress".to_owned()));
    assert_eq!(state(&client, "a").await.as_deref(), Some("in_progress"));
    assert_eq!(state(&client, "b").await, None);
}

#[tokio::test]
async fn a_folder_keeps_its_items_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Storage::Folder(folder.path().join("new"));
    let database = DynamoDb::start(storage(), free_port(), NEVER).await.unwrap();
    let client = dynamodb_client(&database.endpoint());
    create_table(&client).await;
    put(&client, "a", "queued", 0).await;
    database.shutdown().await;
    assert!(client.list_tables().send().await.is_err(), "still listening after its shutdown");

    let database = DynamoDb::start(storage(), free_port(), NEVER).await.unwrap();
    let client = dynamodb_client(&database.endpoint());
    assert_eq!(state(&client, "a").await.as_deref(), Some("queued"));
}

#[tokio::test]
async fn items_expire_by_the_clock_that_was_given() {
    let clock = clock();
    let database =
        DynamoDb::start(Storage::Memory(clock.clone()), free_port(), Some(Duration::from_millis(10))).await.unwrap();
    let client = dynamodb_client(&database.endpoint());
    create_table(&client).await;
    let expiry = TimeToLiveSpecification::builder().attribute_name("expires").enabled(true).build().unwrap();
    client.update_time_to_live().table_name("things").time_to_live_specification(expiry).send().await.unwrap();
    put(&client, "short", "queued", NOW / 1000 + 60).await;
    put(&client, "long", "queued", NOW / 1000 + 600).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(state(&client, "short").await.is_some(), "expired before its time");

    clock.advance(Duration::from_secs(120));
    eventually("the expiry", async || state(&client, "short").await.is_none().then_some(())).await;
    assert!(state(&client, "long").await.is_some(), "expired before its time");
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::1]:0", "192.0.2.1:0"] {
        let refused = DynamoDb::start(Storage::Memory(clock()), address.parse().unwrap(), NEVER).await;
        assert!(matches!(refused, Err(StartError::Listen(_))), "{address}");
    }
}
