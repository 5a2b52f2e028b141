//! Thousands of resources, as copies of one that the API has created.

use local::dynamodb::{AttributeValue, Item};
use serde_json::Value;

use crate::World;

/// The number of items in one import.
const CHUNK: usize = 2000;

/// Copies the account's only repository until the account has `total`. A copy has the repository's item with its index
/// entries, and the item that claims its name. It has no cached ref.
pub async fn multiply(world: &World, model: &Value, total: u32) {
    let (id, name) = (text_of(&model["id"]), text_of(&model["name"]));
    let (mut models, mut counter) = (Vec::new(), None);
    for item in written(world).await {
        if text(&item["pk"]).contains("#AUDIT") {
            continue;
        }
        if mentions(&item, id) && !text(&item["pk"]).contains(id) {
            models.push(item);
        } else if item.contains_key("repositories") {
            counter = Some(item);
        }
    }
    assert_eq!(models.len(), 2, "{models:?}");

    let copies = (1..total).flat_map(|n| {
        let (new_id, new_name) = (numbered(id, n), format!("app-{n:06}"));
        let renamed = move |value: &AttributeValue| match value {
            AttributeValue::S(text) => AttributeValue::S(text.replace(id, &new_id).replace(name, &new_name)),
            other => other.clone(),
        };
        models.iter().map(move |item| changed(item, |_, value| renamed(value))).collect::<Vec<_>>()
    });
    import(world, copies);
    let mut counter = counter.unwrap();
    counter.insert("repositories".to_owned(), AttributeValue::N(total.to_string()));
    import(world, [counter]);
}

/// Copies a repository's only deployment, which has succeeded in preview, until the repository has `total`. A copy has the
/// deployment's item with its index entries. It has no events.
pub async fn multiply_deployment(world: &World, model: &Value, total: u32) {
    let id = text_of(&model["id"]);
    let (mut row, mut counter) = (None, None);
    for item in written(world).await {
        match text(&item["sk"]) {
            "DEPLOY" if text(&item["id"]) == id => row = Some(item),
            "DEPLOYS" => counter = Some(item),
            _ => {}
        }
    }
    let (row, mut counter) = (row.unwrap(), counter.unwrap());
    let first = format!("{:012}", 1);
    let copies = (2..=total).map(|n| {
        changed(&row, |attribute, value| match value {
            AttributeValue::N(_) if attribute == "number" => AttributeValue::N(n.to_string()),
            AttributeValue::S(text) if *text == first => AttributeValue::S(format!("{n:012}")),
            AttributeValue::S(text) => AttributeValue::S(text.replace(id, &numbered(id, n))),
            other => other.clone(),
        })
    });
    import(world, copies);
    for name in ["last_number", "preview.succeeded"] {
        counter.insert(name.to_owned(), AttributeValue::N(total.to_string()));
    }
    import(world, [counter]);
}

/// Copies a user until the account has `total` of them with other addresses, `person-000001@example.com` and so on. The copies are
/// newer than every other user of the account.
pub async fn multiply_member(world: &World, id: &str, total: u32) {
    let own_row = format!("USER#{id}");
    let model = written(world).await.into_iter().find(|item| text(&item["sk"]) == own_row).unwrap();
    let copies = (1..=total).map(|n| {
        let address = format!("person-{n:06}@example.com");
        changed(&model, |attribute, value| match (attribute, value) {
            ("email", _) => AttributeValue::S(address.clone()),
            (_, AttributeValue::S(text)) => AttributeValue::S(text.replace(id, &numbered(id, n))),
            (_, other) => other.clone(),
        })
    });
    import(world, copies);
}

/// Returns the strings and the numbers of every item in the table.
async fn written(world: &World) -> Vec<Item> {
    let table = world.stack.app().table();
    let items = table.client().scan().table_name(table.name()).send().await.unwrap().items.unwrap();
    let texts_and_numbers = |(name, value)| match value {
        aws_sdk_dynamodb::types::AttributeValue::S(text) => Some((name, AttributeValue::S(text))),
        aws_sdk_dynamodb::types::AttributeValue::N(number) => Some((name, AttributeValue::N(number))),
        _ => None,
    };
    items.into_iter().map(|item| item.into_iter().filter_map(texts_and_numbers).collect()).collect()
}

fn import(world: &World, items: impl IntoIterator<Item = Item>) {
    let dynamodb = world.stack.dynamodb().expect("only the embedded DynamoDB imports that many");
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        dynamodb.import(world.stack.app().table().name(), items.by_ref().take(CHUNK).collect()).unwrap();
    }
}

fn changed(item: &Item, change: impl Fn(&str, &AttributeValue) -> AttributeValue) -> Item {
    item.iter().map(|(attribute, value)| (attribute.clone(), change(attribute, value))).collect()
}

fn mentions(item: &Item, id: &str) -> bool {
    item.values().any(|value| text(value).contains(id))
}

fn text(value: &AttributeValue) -> &str {
    if let AttributeValue::S(text) = value { text } else { "" }
}

fn text_of(json: &Value) -> &str {
    json.as_str().unwrap()
}

/// Replaces the last four characters of an id with a number.
fn numbered(id: &str, n: u32) -> String {
    let digit = |shift: u32| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(n >> shift & 31) as usize]);
    format!("{}{}", &id[..id.len() - 4], [15, 10, 5, 0].map(digit).iter().collect::<String>())
}
