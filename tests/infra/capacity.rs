//! The bounds of functions that connect to hosts which users name, and the concurrency that is kept for others.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::read_file;

use super::template::Template;
use super::{BUILD_EVENTS, HOOK_CONSUMER, SWEEP};

/// The crates that connect to hosts.
const CONNECTING: [&str; 2] = ["connections", "fetch"];
/// The functions that link such a crate for its types, and ask no host.
const ASKING_NOBODY: [&str; 2] = ["create-connection", "update-connection"];

/// Returns the crates in a folder that a crate links, directly or by way of others.
fn linked(manifest: &str) -> BTreeSet<String> {
    let text = read_file(manifest);
    let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.split_once(['.', ' '])).map(|(name, _)| name);
    let mut found = BTreeSet::new();
    for name in names {
        let manifest = format!("shared/{name}/Cargo.toml");
        if tests::checkout().join(&manifest).exists() {
            found.extend(linked(&manifest));
            found.insert(name.to_owned());
        }
    }
    found
}

/// Returns the value of `!If [Reserves, value, !Ref AWS::NoValue]`.
fn reserved(value: &Value) -> Value {
    match value.as_array().map(Vec::as_slice) {
        Some([condition, value, absent]) => {
            assert_eq!((condition, absent), (&json!("Reserves"), &json!("AWS::NoValue")));
            value.clone()
        }
        _ => Value::Null,
    }
}

#[test]
fn functions_that_connect_to_hosts_are_bounded_and_those_that_end_builds_have_concurrency_of_their_own() {
    let template = Template::read();
    let mappings = template.of_type("AWS::Lambda::EventSourceMapping");
    let most_at_once = |function: &str| {
        let mapping = mappings.iter().find(|(_, mapping)| template.called(&mapping["FunctionName"]) == function);
        mapping.map_or(Value::Null, |(_, mapping)| mapping["ScalingConfig"]["MaximumConcurrency"].clone())
    };
    let (mut connecting, mut bounded, mut kept) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for function in template.functions() {
        let name = function.name.clone();
        let crates = linked(&format!("functions/{name}/Cargo.toml"));
        if CONNECTING.iter().any(|one| crates.contains(*one)) && !ASKING_NOBODY.contains(&&*name) {
            connecting.insert(name.clone());
        }
        let reserves = reserved(&function.properties["ReservedConcurrentExecutions"]);
        if reserves.is_number() {
            kept.insert((name, reserves.as_u64().unwrap()));
        } else if !reserves.is_null() || !most_at_once(&name).is_null() {
            bounded.insert(name);
        }
    }
    assert!(connecting.len() > 5, "{connecting:?}");
    assert_eq!(connecting, bounded);
    assert_eq!(kept, [(BUILD_EVENTS.to_owned(), 5), (SWEEP.to_owned(), 2)].into());
    assert_eq!(most_at_once(HOOK_CONSUMER), "HostConcurrency");

    let production = &template.0["Rules"]["ProductionIsolatesBuilds"];
    assert_eq!(production["RuleCondition"], json!(["Environment", "prod"]));
    assert_eq!(production["Assertions"][0]["Assert"], json!(["Runner", "codebuild"]));
}
