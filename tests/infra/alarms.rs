//! The alarms, their runbook and their price, and whether they see what the functions log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{GitRepository, World, read_file};

use super::template::{Function, Template, text};

#[test]
fn every_alarm_pages_and_has_its_place_in_the_runbook() {
    let template = Template::read();
    let (runbook, costs) = (read_file("infra/README.md"), read_file("infra/docs/cost.md"));
    let told = json!([["Pages", "AlarmTopicArn", "AWS::NoValue"]]);
    let alarms = template.of_type("AWS::CloudWatch::Alarm");
    for (id, alarm) in &alarms {
        // A rollout that is stopped tells of itself.
        let stops_a_rollout = id.ends_with("VersionErrors");
        let actions = if stops_a_rollout { &Value::Null } else { &told };
        assert_eq!((&alarm["AlarmActions"], &alarm["OKActions"]), (actions, actions), "{id}");
        // Only one is about what did not happen.
        let missing = if *id == "SweepNotRunning" { "breaching" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], missing, "{id}");
        // The functions' own have one entry together.
        let function = id.strip_suffix("Errors").filter(|_| alarm["MetricName"] == "Errors");
        let entry = match (stops_a_rollout, function) {
            (true, _) => "…VersionErrors",
            (false, Some(_)) => "…Errors",
            (false, None) => *id,
        };
        assert!(runbook.contains(&format!("`{entry}`")), "the runbook lacks {entry}");
    }
    let metrics: usize =
        alarms.iter().map(|(_, alarm)| alarm["Metrics"].as_array().map_or(1, |all| all.len() - 1)).sum();
    let price = format!("{} alarms on {metrics} metrics, 0.10 each | {:.2} |", alarms.len(), 0.1 * metrics as f64);
    assert!(costs.contains(&price), "cost.md lacks: {price}");
    // Two are invoked by hand, and the sweep's metrics are in the price of an idle stack.
    let busy = template.functions().len() - 3;
    let price = format!(
        "for each of {busy} functions that has traffic, 0.30 each a month by the hour ({:.2} if",
        1.2 * busy as f64
    );
    assert!(costs.split_whitespace().collect::<Vec<_>>().join(" ").contains(&price), "cost.md lacks: {price}");
    for Function { id, .. } in template.functions() {
        let (_, alarm) = alarms.iter().find(|(alarm, _)| *alarm == format!("{id}Errors")).unwrap();
        assert_eq!(alarm["Dimensions"], json!([{"Name": "FunctionName", "Value": id}]));
    }
}

/// Functions without a bound of their own share the concurrency of the account, so any of them may be refused for another's sake.
#[test]
fn an_alarm_tells_that_concurrency_is_used_up() {
    let template = Template::read();
    let alarm = template.properties("Throttled");
    let counts = (&alarm["Namespace"], &alarm["MetricName"], &alarm["Statistic"], &alarm["Dimensions"]);
    assert_eq!(counts, (&json!("AWS/Lambda"), &json!("Throttles"), &json!("Sum"), &Value::Null));
    let rings = (&alarm["Threshold"], &alarm["ComparisonOperator"], &alarm["EvaluationPeriods"]);
    assert_eq!(rings, (&json!(0), &json!("GreaterThanThreshold"), &json!(1)), "at the first refusal");
}

/// The causes that stop a rollout: Lambda's own errors, and the failures that a version answers.
#[test]
fn the_alarms_of_a_function_stop_its_rollout() {
    let template = Template::read();
    for Function { name, id, properties } in template.functions() {
        let by_hand = [super::BOOTSTRAP, super::REDRIVE].contains(&name.as_str());
        let mut alarms = vec![format!("{id}Errors")];
        if !by_hand {
            alarms.push(format!("{id}VersionErrors"));
            let alarm = template.properties(&format!("{id}VersionErrors"));
            let dimensions = json!([
                {"Name": "stack", "Value": "AWS::StackName"},
                {"Name": "function", "Value": name},
                {"Name": "version", "Value": format!("{id}.Version.Version")},
            ]);
            assert_eq!(alarm["Dimensions"], dimensions);
            assert_eq!((&alarm["Threshold"], &alarm["Period"]), (&json!(0), &json!(60)));
        }
        assert_eq!(properties["DeploymentPreference"]["Alarms"], json!(alarms));
    }
}

/// Nothing else notices a metric that an alarm counts and no function logs.
#[tokio::test]
async fn a_version_alarm_counts_the_metric_that_functions_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
    world.sweep().await.unwrap();
    let template = Template::read();
    let alarm = template.properties("SweepVersionErrors");
    let dimensions: BTreeSet<_> =
        alarm["Dimensions"].as_array().unwrap().iter().map(|dimension| text(&dimension["Name"]).to_owned()).collect();
    let mut functions = BTreeSet::new();
    for line in world.log() {
        let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array() else { continue };
        let counts = |directive: &&Value| {
            directive["Metrics"].as_array().unwrap().iter().any(|metric| metric["Name"] == alarm["MetricName"])
        };
        let counting: Vec<_> = directives.iter().filter(counts).collect();
        let [directive] = counting[..] else { panic!("{line}") };
        assert_eq!(directive["Namespace"], alarm["Namespace"]);
        let names = directive["Dimensions"][0].as_array().unwrap();
        assert_eq!(names.iter().map(|name| text(name).to_owned()).collect::<BTreeSet<_>>(), dimensions);
        assert!(names.iter().all(|name| !text(&line[text(name)]).is_empty()), "{line}");
        functions.insert(text(&line["function"]).to_owned());
    }
    for function in ["create-repository", "create-deployment", "deployment-consumer", "sweep"] {
        assert!(functions.contains(function), "{functions:?}");
    }
}
