//! Creates the table that the template declares.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use shared::table::{self, Source};

/// The attribute with the time at which DynamoDB may delete an item, in seconds since the Unix epoch.
const TTL_ATTRIBUTE: &str = "expires_at";

/// The reasons why the table can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum TableError {
    #[error("the table's definition is incomplete")]
    Definition(#[from] BuildError),
    #[error("the table can't be created")]
    Call(#[from] aws_sdk_dynamodb::Error),
    #[error("the table in the data folder was created by an older version; start with --fresh")]
    Outdated,
}

/// Creates the table unless it exists.
///
/// # Errors
/// Fails if DynamoDB refuses, or if an existing table lacks an index.
pub async fn ensure(client: &Client, name: &str) -> Result<(), TableError> {
    if create(client, name).await? {
        expire(client, name).await?;
    }
    Ok(())
}

/// Creates the table without the deletion of expired items. Returns whether it was missing.
pub async fn create(client: &Client, name: &str) -> Result<bool, TableError> {
    let mut create = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for source in Source::ALL {
        let (pk, sk) = source.key_attributes();
        for attribute in [pk, sk] {
            let attribute = AttributeDefinition::builder().attribute_name(attribute);
            create = create.attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build()?);
        }
        let schema = [key(pk, KeyType::Hash)?, key(sk, KeyType::Range)?].to_vec();
        create = match source.index_name() {
            None => create.set_key_schema(Some(schema)),
            Some(index) => create.global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(index)
                    .set_key_schema(Some(schema))
                    .projection(projection(source))
                    .build()?,
            ),
        };
    }
    match create.send().await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.as_service_error(), Some(CreateTableError::ResourceInUseException(_))) => {
            let described =
                client.describe_table().table_name(name).send().await.map_err(aws_sdk_dynamodb::Error::from)?;
            let indexes = described.table().map_or(0, |table| table.global_secondary_indexes().len());
            if indexes + 1 == Source::ALL.len() { Ok(false) } else { Err(TableError::Outdated) }
        }
        Err(error) => Err(aws_sdk_dynamodb::Error::from(error).into()),
    }
}

async fn expire(client: &Client, name: &str) -> Result<(), TableError> {
    let ttl = TimeToLiveSpecification::builder().attribute_name(TTL_ATTRIBUTE).enabled(true).build()?;
    let enabled = client.update_time_to_live().table_name(name).time_to_live_specification(ttl).send().await;
    enabled.map(drop).map_err(|error| aws_sdk_dynamodb::Error::from(error).into())
}

fn projection(source: Source) -> Projection {
    let projection = Projection::builder();
    let projection = match source {
        Source::Index(index) => match index.projection() {
            table::Projection::All => projection.projection_type(ProjectionType::All),
            table::Projection::KeysOnly => projection.projection_type(ProjectionType::KeysOnly),
            table::Projection::Include(attributes) => projection
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(attributes.iter().map(|&name| name.to_owned()).collect())),
        },
        Source::Table => projection.projection_type(ProjectionType::All),
    };
    projection.build()
}

fn key(attribute: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(attribute).key_type(kind).build()
}
