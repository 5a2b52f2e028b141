//! The principals that policies of resources and roles let in, and the conditions that bind them to this account and its resources.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::template::{Template, text};

/// The principal of everybody in this account whose own policies allow the action.
const ACCOUNT: &str = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root";
/// The service that runs functions. A function gets a role only from somebody who may pass it.
const FUNCTIONS: &str = "lambda.amazonaws.com";
/// The types of resources that hold data, and of the policies that keep clients without TLS out.
const BY_TLS: [(&str, &str, &str); 2] =
    [("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"), ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket")];

/// Returns what the policies allow to others than this account and its resources, and what they do not deny without TLS.
fn gaps(template: &Template) -> Vec<String> {
    let mut gaps = Vec::new();
    for (id, resource) in template.0["Resources"].as_object().unwrap() {
        let properties = &resource["Properties"];
        for document in ["PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument"] {
            for statement in properties[document]["Statement"].as_array().into_iter().flatten() {
                if statement["Effect"] == "Allow" && is_open(statement) {
                    gaps.push(format!("{id} lets in {}", statement["Principal"]));
                }
            }
        }
        if resource["Type"] == "AWS::Lambda::Permission" && !is_bound(&properties["SourceArn"]) {
            gaps.push(format!("{id} lets in {}", properties["Principal"]));
        }
    }
    for (kind, policy, of) in BY_TLS {
        let without = BTreeSet::from_iter(template.of_type(kind).into_iter().map(|(id, _)| id));
        let denied = template.of_type(policy).into_iter().filter(|(_, policy)| denies_plain_text(policy));
        let denied: BTreeSet<_> = denied.flat_map(|(_, policy)| named(&policy[of])).collect();
        gaps.extend(without.difference(&denied).map(|id| format!("{id} is reached without TLS")));
    }
    gaps
}

/// Returns whether a statement lets in a service for anybody's resources, or principals of any account.
fn is_open(statement: &Value) -> bool {
    let condition = |operators: &[&str], key: &str| {
        operators.iter().any(|operator| is_bound(&statement["Condition"][operator][key]))
    };
    let account = |key| condition(&["StringEquals"], key);
    match &statement["Principal"] {
        // A policy of an identity names no principal.
        Value::Null => false,
        Value::Object(principal) if principal.contains_key("Service") => {
            let source = condition(&["StringEquals", "ArnEquals", "ArnLike"], "aws:SourceArn");
            principal["Service"] != FUNCTIONS && !(source && account("aws:SourceAccount"))
        }
        principal if *principal == json!({"AWS": ACCOUNT}) => false,
        _ => !account("kms:CallerAccount") && !account("aws:PrincipalAccount"),
    }
}

/// Returns whether a value names something of this account: by a reference, or by an ARN with the account's id.
fn is_bound(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match text.strip_prefix("arn:") {
        Some(_) => text.contains(":${AWS::AccountId}:"),
        None => !text.is_empty() && !text.contains('*'),
    }
}

fn denies_plain_text(policy: &Value) -> bool {
    policy["PolicyDocument"]["Statement"].as_array().unwrap().iter().any(|statement| {
        let of = (&statement["Effect"], &statement["Principal"], &statement["Condition"]);
        of == (&json!("Deny"), &json!("*"), &json!({"Bool": {"aws:SecureTransport": false}}))
    })
}

fn named(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(names) => names.iter().map(text).collect(),
        name => vec![text(name)],
    }
}

#[test]
fn policies_let_in_this_account_and_its_resources_only() {
    let template = Template::read();
    assert_eq!(gaps(&template), [""; 0]);
    for kind in ["AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::Lambda::Permission"] {
        assert!(!template.of_type(kind).is_empty(), "{kind}");
    }
}

#[test]
fn a_policy_without_its_condition_is_noticed() {
    let without = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut template = Template::read();
        change(&mut template.0["Resources"][id]["Properties"]);
        gaps(&template)
    };
    let remove = |from: &mut Value, name: &str| {
        from.as_object_mut().unwrap().remove(name).expect("it was there");
    };
    for key in ["aws:SourceArn", "aws:SourceAccount"] {
        let found = without("BuildRole", &|role| {
            remove(&mut role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"], key);
        });
        assert_eq!(found, [r#"BuildRole lets in {"Service":"codebuild.amazonaws.com"}"#], "{key}");
    }
    let found = without("Key", &|key| {
        remove(&mut key["KeyPolicy"]["Statement"][1]["Condition"]["StringEquals"], "kms:CallerAccount");
    });
    assert_eq!(found, [r#"Key lets in {"AWS":"*"}"#]);
    let found = without("BuildEventsPermission", &|permission| remove(permission, "SourceArn"));
    assert_eq!(found, [r#"BuildEventsPermission lets in "events.amazonaws.com""#]);
    let found = without("BuildEventsPermission", &|permission| permission["SourceArn"] = json!("arn:aws:events:*"));
    assert_eq!(found.len(), 1, "{found:?}");
    let found = without("DeploymentsPolicy", &|policy| {
        let topic = json!({
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": "Deployments.Arn", "Condition": {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}},
        });
        policy["PolicyDocument"]["Statement"].as_array_mut().unwrap().push(topic);
    });
    assert_eq!(found, [r#"DeploymentsPolicy lets in {"Service":"sns.amazonaws.com"}"#]);
    for (policy, of) in [("DeadLettersPolicy", "DeadLetters"), ("ArchivePolicy", "Archive")] {
        let found = without(policy, &|policy| remove(&mut policy["PolicyDocument"]["Statement"][0], "Condition"));
        assert_eq!(found, [format!("{of} is reached without TLS")]);
    }
}
