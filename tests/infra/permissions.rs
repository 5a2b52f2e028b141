//! Compares the permissions of each role with the calls of its function. Every function runs behind a gate that
//! enforces the template's policies: a call that the function's role does not allow is refused, as in AWS, and the walk
//! through the API fails. A permission that the walk does not use fails the test too.
//!
//! The gate sees AWS calls on the wire, so it is independent of the code. It can't see calls that the walk does not
//! cause. It evaluates policies by IAM's documentation: it allows a transaction only if each kind of write is allowed
//! with the keys of all writes, which is the stricter reading.

mod build_log;
mod builds;
mod caches;
mod environments;
mod gate;
mod hooks;
mod permits;
mod statement;
mod statuses;
mod walk;
mod webhooks;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use shared::model::CONNECTION_PROBE;

use self::builds::build_everything;
use self::statement::{Permission, Statement};
use self::statuses::report_everything;
use self::walk::{Walk, call_everything};
use self::webhooks::send_everything;
use super::Template;

/// The items in which the use of a token and of a session is recorded.
const RECORDED: [&str; 2] = ["ACCT#*#TOKEN#*", "SESSION#*"];

/// The name of the stack and of its project.
const PROJECT: &str = "git-api-test";

#[tokio::test]
async fn each_role_allows_what_its_function_calls_and_nothing_else() {
    let template = Template::read();
    let mut walk = Walk::start(&template).await;
    let owner = call_everything(&walk).await;
    walk.consumer.take().unwrap().stop(Duration::from_secs(5)).await;
    build_everything(&walk, &owner).await;
    report_everything(&walk, &owner).await;
    send_everything(&walk, &owner).await;
    // Init reads this item to open connections.
    for function in template.functions() {
        let app = walk.app(&function.name);
        let get = app.table().client().get_item().table_name(app.table().name());
        let key = ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S(CONNECTION_PROBE.to_owned())));
        get.set_key(Some(key.into())).send().await.unwrap();
    }
    // No response waits for the recording of the use of a token or of a session.
    tests::eventually("the last use of the last token and session", async || {
        let used = walk.gate.used.lock().unwrap();
        let recorded = |(function, _): &(&String, _)| {
            RECORDED.iter().all(|recorded| {
                let is_it = |key: &Option<String>| key.as_deref() == Some(recorded);
                used[*function].iter().any(|(action, _, key)| action == "dynamodb:UpdateItem" && is_it(key))
            })
        };
        let with_a_caller = |(_, statements): &(_, &Vec<Statement>)| {
            statements.iter().any(|statement| statement.condition.iter().any(|(_, keys)| keys == &RECORDED))
        };
        walk.gate.policies.iter().filter(with_a_caller).all(|policy| recorded(&policy)).then_some(())
    })
    .await;
    assert_eq!(*walk.gate.refused.lock().unwrap(), []);

    let used = walk.gate.used.lock().unwrap().clone();
    let mut unneeded = Vec::new();
    for (function, statements) in &walk.gate.policies {
        let allowed: Vec<Permission> = statements.iter().flat_map(Statement::permissions).collect();
        let not_called = allowed.iter().filter(|permission| !used[function].contains(*permission));
        unneeded.extend(not_called.map(|permission| (function.clone(), permission.clone())));
        // Every function records the use of a session, and some write in transactions that have a session as a condition.
        let is_of_a_use = |permission: &&Permission| {
            permission.0 == "dynamodb:UpdateItem" && permission.2.as_deref() == Some(RECORDED[1])
        };
        let others: Vec<_> = allowed.iter().filter(|permission| !is_of_a_use(permission)).collect();
        let once: BTreeSet<_> = others.iter().collect();
        assert_eq!(once.len(), others.len(), "{function} is allowed something twice: {allowed:?}");
    }
    assert_eq!(unneeded, [], "allowed and not called");
}

/// The gate must also refuse. Otherwise a gate that lets everything pass would go unnoticed.
#[tokio::test]
async fn a_call_that_a_role_does_not_allow_is_refused() {
    let walk = Walk::start(&Template::read()).await;
    let app = walk.app("get-deployment");
    let table = app.table();
    let item = |pk: &str| ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S(pk.to_owned())));
    let get = |pk: &str| table.client().get_item().table_name(table.name()).set_key(Some(item(pk).into())).send();
    get("ACCT#acct_x").await.unwrap();
    let refused = get("RATE#acct_x").await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDeniedException"));
    let put = table.client().put_item().table_name(table.name()).set_item(Some(item("TOKEN#forged").into()));
    assert_eq!(put.send().await.unwrap_err().into_service_error().code(), Some("AccessDeniedException"));
    assert_eq!(walk.gate.refused.lock().unwrap().len(), 2);
}
