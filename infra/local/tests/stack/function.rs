use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lambda_runtime::{Context, LambdaEvent, service_fn};
use local::function::{Function, FunctionError, RESPONSE_LIMIT};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{NOW, clock, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_invocation_knows_its_function_and_its_deadline() {
    let service = service_fn(async |event: LambdaEvent<Value>| Ok::<_, Infallible>(event.context));
    let function = Function::events("get-context", service, LIMIT, clock());
    let context: Context = serde_json::from_value(function.invoke(json!({})).await.unwrap()).unwrap();

    assert_eq!(context.deadline, NOW.unsigned_abs() + 60_000);
    assert_eq!(context.invoked_function_arn, "arn:aws:lambda:us-east-1:000000000000:function:get-context");
    assert_eq!(context.env_config.function_name, "get-context");
    assert_eq!(context.request_id.len(), 36, "{}", context.request_id);
    assert_eq!(function.name(), "get-context");
}

#[tokio::test]
async fn what_a_function_does_wrong_is_told_apart() {
    let service = service_fn(async |event: LambdaEvent<String>| match event.payload.as_str() {
        "panic" => panic!("{} of mine", "no invariant"),
        "sleep" => Ok(std::future::pending::<Value>().await),
        "large" => Ok(json!("x".repeat(RESPONSE_LIMIT))),
        "largest" => Ok(json!("x".repeat(RESPONSE_LIMIT - 2))),
        other => Err(format!("what is {other}?")),
    });
    let slow = Function::events("slow", service, Duration::from_millis(300), clock());
    assert!(matches!(slow.invoke(json!("sleep")).await, Err(FunctionError::TimedOut(_))));
    let function = Function::events("test", service, LIMIT, clock());

    let failed = async |event| function.invoke(event).await.unwrap_err();
    assert_eq!(failed(json!("panic")).await.to_string(), "panicked: no invariant of mine");
    let FunctionError::Failed { error_message, .. } = failed(json!("this")).await else { panic!("not an error") };
    assert_eq!(error_message, "what is this?");
    assert!(matches!(failed(json!({})).await, FunctionError::Event(_)));
    let FunctionError::ResponseTooLarge(size) = failed(json!("large")).await else { panic!("not too large") };
    assert_eq!(size, RESPONSE_LIMIT + 2);
    assert!(function.invoke(json!("largest")).await.is_ok());
}

#[tokio::test]
async fn an_invocation_outlives_its_caller() {
    let (release, done) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let service = service_fn({
        let (release, done) = (Arc::clone(&release), Arc::clone(&done));
        move |_: LambdaEvent<Value>| {
            let (release, done) = (Arc::clone(&release), Arc::clone(&done));
            async move {
                release.acquire().await.unwrap().forget();
                done.store(true, Ordering::SeqCst);
                Ok::<_, Infallible>(())
            }
        }
    });
    let function = Function::events("test", service, LIMIT, clock());
    assert!(tokio::time::timeout(Duration::from_millis(50), function.invoke(json!({}))).await.is_err());
    release.add_permits(1);
    eventually("the end", async || done.load(Ordering::SeqCst).then_some(())).await;
}
