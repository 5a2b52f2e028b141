//! The network of the functions that connect to hosts that users name.

use std::collections::BTreeSet;

use serde_json::json;

use super::template::{CONDITIONS, Function, Template};

/// The functions that are told the allowed hosts, because they check names, and that connect to none.
const ONLY_CHECK: [&str; 4] = ["create-connection", "create-trust", "create-webhook", "update-webhook"];

#[test]
fn only_the_functions_that_connect_to_hosts_are_in_the_vpc_and_only_if_there_is_one() {
    let inside =
        Template::read_if(&[("Restored", false), ("Traces", true), ("InVpc", true), ("HasPrivateHosts", true)]);
    let outside = Template::read_if(&CONDITIONS);
    let policy = json!("NetworkPolicy");
    let mut connected = BTreeSet::new();
    for function in inside.functions() {
        let policies = inside.properties(&format!("{}Role", function.id))["ManagedPolicyArns"].as_array().unwrap();
        match function.properties.get("VpcConfig") {
            None => assert!(!policies.contains(&policy), "{} needs no network", function.name),
            Some(config) => {
                let lists = |name: &str| json!([",", name]);
                let expected = json!({"SubnetIds": lists("SubnetIds"), "SecurityGroupIds": lists("SecurityGroupIds")});
                assert_eq!(*config, expected, "{}", function.name);
                assert!(policies.contains(&policy), "{} can't be connected", function.name);
                connected.insert(function.name.clone());
            }
        }
        let before = outside.function(&function.name);
        let nothing = json!("AWS::NoValue");
        assert_eq!(*before.properties.get("VpcConfig").unwrap_or(&nothing), nothing, "{}", function.name);
        let policies = &outside.properties(&format!("{}Role", function.id))["ManagedPolicyArns"];
        assert!(!policies.as_array().unwrap().contains(&policy), "{}", function.name);
    }
    let told = |function: &Function| function.environment().contains_key("CLONE_HOSTS");
    let told: BTreeSet<_> = inside.functions().into_iter().filter(told).map(|function| function.name).collect();
    let expected: BTreeSet<_> = told.into_iter().filter(|name| !ONLY_CHECK.contains(&name.as_str())).collect();
    assert_eq!(connected, expected);
}

#[test]
fn private_hosts_are_allowed_by_the_functions_that_are_told_hosts() {
    let template =
        Template::read_if(&[("Restored", false), ("Traces", true), ("InVpc", true), ("HasPrivateHosts", true)]);
    let told: Vec<_> = template
        .functions()
        .iter()
        .filter_map(|function| function.environment().get("CLONE_HOSTS").map(|hosts| (*hosts).clone()))
        .collect();
    assert!(told.len() > ONLY_CHECK.len() && told.iter().all(|hosts| hosts == "PrivateHosts"), "{told:?}");
}

#[test]
fn lambda_may_connect_a_function_and_its_code_may_not() {
    let statements = Template::read().properties("NetworkPolicy")["PolicyDocument"]["Statement"].clone();
    let [describe, change, deny] = statements.as_array().unwrap().as_slice() else { panic!("{statements}") };
    assert_eq!(describe["Resource"], "*");
    assert_eq!(change["Resource"], "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*");
    // The actions that Lambda's documentation requires of the role of a function in a VPC.
    let actions = |allow: &serde_json::Value| allow["Action"].as_array().unwrap().clone();
    let mut allowed: Vec<_> = [describe, change].into_iter().flat_map(actions).collect();
    allowed.sort_by_key(|action| action.as_str().unwrap().to_owned());
    let required = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ];
    assert_eq!(allowed, required);
    let of_the_code = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*";
    assert_eq!((&deny["Effect"], &deny["Action"]), (&json!("Deny"), &json!("ec2:*")));
    assert_eq!(deny["Condition"], json!({"ArnLike": {"lambda:SourceFunctionArn": of_the_code}}));
}
