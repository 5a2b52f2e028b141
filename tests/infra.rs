//! Compares the templates in infra, as one stack, with the code that they deploy. The templates are read literally:
//! `!Ref X` and `!GetAtt X.Arn` stand for themselves, and `!Sub` is not filled in. Only the parameters of a nested
//! template are replaced, with the text in template.yaml, and the conditions in [`CONDITIONS`] are decided.

mod alarms;
mod capacity;
mod generated;
mod hooks;
mod network;
mod permissions;
mod principals;
mod stalled;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::types::KeyType;
use local::functions::{Environment, FUNCTIONS, all_routes};
use local::gateway::INTEGRATION_TIMEOUT;
use local::issuer::Client;
use local::stack::Options;
use serde_json::{Value, json};
use shared::Route;
use shared::access::Scope;
use shared::aws::Limits;
use shared::clock::Clock;
use shared::settings::Settings;
use shared::telemetry::Log;
use tests::{NOON, World, checkout, embedded, sources};

use self::template::{Function, Template, in_pascal_case, text};

const STACK: &str = "AWS::CloudFormation::Stack";
const CONSUMER: &str = "deployment-consumer";
const BOOTSTRAP: &str = "bootstrap";
const BUILD_EVENTS: &str = "build-events";
const HOOK_CONSUMER: &str = "hook-consumer";
const SWEEP: &str = "sweep";
const REDRIVE: &str = "redrive-dead-letters";
const REPORTER: &str = "report-status";
const SENDER: &str = "send-webhooks";

#[test]
fn one_name_finds_a_function_everywhere() {
    let template = Template::read();
    let crates = std::fs::read_dir(checkout().join("functions")).unwrap();
    let crates: BTreeSet<_> = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let functions = template.functions();
    assert_eq!(functions.iter().map(|function| function.name.clone()).collect::<BTreeSet<_>>(), crates);
    let dashboard = text(&template.properties("Dashboard")["DashboardBody"][0]);
    serde_json::from_str::<Value>(dashboard).unwrap();
    for Function { name, id, properties } in &functions {
        assert_eq!(*id, in_pascal_case(name));
        assert_eq!(properties["FunctionName"], format!("${{AWS::StackName}}-{name}"));
        assert_eq!(properties["CodeUri"], format!("../functions/{name}/"));
        assert_eq!(template.resource(id)["Metadata"], json!({"BuildMethod": "rust-cargolambda"}), "{name}");
        assert_eq!((&properties["Runtime"], &properties["Handler"]), (&json!("provided.al2023"), &json!("bootstrap")));
        assert_eq!(properties["Architectures"], json!(["arm64"]));

        assert_eq!(properties["Role"], format!("{id}Role.Arn"));
        assert_eq!(properties["LoggingConfig"]["LogGroup"], "LogGroup");
        assert!(dashboard.contains(&format!("\"${{AWS::StackName}}-{name}\"")), "the dashboard lacks {name}");
    }
}

#[test]
fn the_api_has_the_routes_of_the_code_and_no_others() {
    let template = Template::read();
    let keys = |route: Route| route.keys().into_iter().map(move |key| (key, route.function));
    let code: BTreeMap<_, _> = all_routes().flat_map(keys).collect();
    let mut routes = BTreeMap::new();
    for (_, route) in template.of_type("AWS::ApiGatewayV2::Route") {
        let target = text(&route["Target"]).strip_prefix("integrations/${").and_then(|rest| rest.strip_suffix('}'));
        let integration = template.properties(target.unwrap());
        assert_eq!((&route["ApiId"], &integration["ApiId"]), (&json!("Api"), &json!("Api")));
        assert_eq!(integration["IntegrationType"], "AWS_PROXY");
        assert_eq!(integration["PayloadFormatVersion"], "2.0");
        // The alias is spelled out, because `sam local start-api` finds no function behind a reference.
        let (_, called) = text(&integration["IntegrationUri"])
            .split_once("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${")
            .unwrap();
        let function = template.called(&json!(called.replace("}:live", ".Alias")));
        assert_eq!(routes.insert(text(&route["RouteKey"]).to_owned(), function), None, "{route}");
    }
    assert_eq!(routes, code.iter().map(|(key, function)| (key.clone(), (*function).to_owned())).collect());
    assert_eq!(routes["$default"], "not-found");
    assert_eq!(template.0["Globals"]["Function"]["AutoPublishAlias"], "live");
    let stage = template.properties("Stage");
    assert_eq!((&stage["StageName"], &stage["AutoDeploy"]), (&json!("$default"), &json!(true)));

    // The gateway may call each function that has a route, and no other. The routes are compared above.
    let permissions = template.of_type("AWS::Lambda::Permission").into_iter();
    let permissions = permissions.filter(|(_, permission)| {
        permission["Principal"] != "events.amazonaws.com" && permission["Principal"] != "logs.amazonaws.com"
    });
    let permissions = permissions.map(|(_, permission)| {
        let gateway = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*";
        assert_eq!(
            (&permission["Principal"], &permission["SourceArn"]),
            (&json!("apigateway.amazonaws.com"), &json!(gateway))
        );
        assert_eq!(permission["Action"], "lambda:InvokeFunction");
        template.called(&permission["FunctionName"])
    });
    assert_eq!(permissions.collect::<BTreeSet<_>>(), routes.into_values().collect());
}

#[test]
fn events_reach_the_functions_that_they_are_for() {
    let template = Template::read();
    let mut called = BTreeSet::new();
    for (id, rule) in template.of_type("AWS::Events::Rule") {
        let [target] = &rule["Targets"].as_array().unwrap()[..] else { panic!("{id} has one target") };
        let function = template.called(&target["Arn"]);
        let (_, permission) = template
            .of_type("AWS::Lambda::Permission")
            .into_iter()
            .find(|(_, permission)| permission["SourceArn"] == format!("{id}.Arn"))
            .unwrap_or_else(|| panic!("{id} may not call {function}"));
        assert_eq!(template.called(&permission["FunctionName"]), function);
        assert_eq!(permission["Principal"], "events.amazonaws.com");
        called.insert(function);
    }
    assert_eq!(called, [BUILD_EVENTS, SWEEP].map(str::to_owned).into());

    let every = Options::new(0, PathBuf::new(), Log::to(std::io::sink())).sweep_every;
    assert_eq!(every, Some(Duration::from_secs(60)), "as the local stack has it");
    assert_eq!(template.properties("SweepRule")["ScheduleExpression"], "rate(1 minute)");
    assert!(template.function(SWEEP).timeout() <= 60, "no two sweeps run at once");

    let project = template.properties("BuildProject");
    assert_eq!(project["Name"], template.function(BUILD_EVENTS).environment()["CODEBUILD_PROJECT"].clone());
    assert_eq!(project["Name"], template.function(CONSUMER).environment()["CODEBUILD_PROJECT"].clone());
    assert_eq!(
        project["ConcurrentBuildLimit"],
        template.function(CONSUMER).environment()["CONCURRENT_BUILDS"].clone(),
        "CodeBuild refuses what permits should have held back"
    );
    let group = &project["LogsConfig"]["CloudWatchLogs"];
    assert_eq!((&group["Status"], &group["GroupName"]), (&json!("ENABLED"), &json!("BuildLogGroup")), "and no prefix");
    assert_eq!(
        template.properties("BuildLogGroup")["LogGroupName"],
        "/aws/codebuild/${AWS::StackName}",
        "as builds are told"
    );
    let [(id, lines)] = template.of_type("AWS::Logs::SubscriptionFilter")[..] else { panic!("one subscription") };
    assert_eq!((&lines["LogGroupName"], &lines["FilterPattern"]), (&json!("BuildLogGroup"), &json!("")), "every line");
    assert_eq!(template.called(&lines["DestinationArn"]), "build-log");
    let permission = template.properties("BuildLogPermission");
    assert_eq!(template.called(&permission["FunctionName"]), "build-log");
    assert_eq!(
        (&permission["Principal"], &permission["SourceArn"]),
        (&json!("logs.amazonaws.com"), &json!("BuildLogGroup.Arn"))
    );
    assert_eq!(template.resource(id)["DependsOn"], "BuildLogPermission", "CloudWatch tries to reach the function");
    assert_eq!(project["Environment"]["PrivilegedMode"], false);
}

/// A customer's commands may do everything that a build may do.
#[test]
fn a_build_reads_and_lists_only_what_it_knows_the_name_of() {
    let template = Template::read();
    let policies = template.properties("BuildRole")["Policies"].as_array().unwrap();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    let mut allowed = BTreeSet::new();
    for statement in statements {
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.iter().map(text).collect(),
            action => vec![text(action)],
        };
        // A list is of one folder with a whole name: a prefix is no pattern.
        let of = match &statement["Condition"]["StringLike"]["s3:prefix"] {
            Value::Null => text(&statement["Resource"]).to_owned(),
            prefix => format!("{} below {}", text(&statement["Resource"]), text(prefix)),
        };
        allowed.extend(actions.into_iter().map(|action| (action.to_owned(), of.clone())));
    }
    let folder = format!("Archive.Arn below caches/*/*/cap_{}/files/*", "?".repeat(32));
    let stream =
        "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${BuildLogGroup}:log-stream:cap_*/*";
    let secret = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${AWS::StackName}/cap_*";
    let expected = [
        ("logs:CreateLogStream", "BuildLogGroup.Arn"),
        ("logs:PutLogEvents", stream),
        ("s3:GetBucketAcl", "Archive.Arn"),
        ("s3:GetBucketLocation", "Archive.Arn"),
        ("s3:GetObject", "${Archive.Arn}/caches/*/*/cap_*/files/*"),
        ("s3:GetObject", "${Archive.Arn}/deployments/*/*/cap_*/source.zip"),
        ("s3:GetObjectVersion", "${Archive.Arn}/caches/*/*/cap_*/files/*"),
        ("s3:GetObjectVersion", "${Archive.Arn}/deployments/*/*/cap_*/source.zip"),
        ("s3:ListBucket", &folder),
        ("s3:PutObject", "${Archive.Arn}/caches/*/*/cap_*/files/*"),
        ("s3:PutObject", "${Archive.Arn}/deployments/*/*/cap_*/artifacts/*"),
        ("s3:PutObject", "${Archive.Arn}/deployments/*/*/cap_*/reports/*"),
        ("secretsmanager:GetSecretValue", secret),
    ];
    assert_eq!(allowed, expected.map(|(action, resource)| (action.to_owned(), resource.to_owned())).into());
}

/// The settings test says that builds take values from AWS with the policy only.
#[test]
fn a_build_has_another_policy_only_if_the_operator_names_one() {
    let template = Template::read();
    let attached = &template.properties("BuildRole")["ManagedPolicyArns"];
    assert_eq!(*attached, json!([["HasBuildPolicy", "BuildPolicyArn", "AWS::NoValue"]]));
}

#[test]
fn a_build_in_a_vpc_changes_interfaces_of_that_vpc_only() {
    let template = Template::read();
    let policy = template.properties("BuildNetworkPolicy");
    assert_eq!(policy["Roles"], json!(["BuildRole"]));
    let vpc = "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:vpc/${BuildVpcId}";
    for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
        let reads =
            statement["Action"].as_array().is_some_and(|all| all.iter().all(|one| text(one).contains(":Describe")));
        // An interface has no VPC before it is created. The subnet decides.
        let creates = statement["Action"] == "ec2:CreateNetworkInterface" && statement["Resource"].is_string();
        assert!(reads || creates || statement["Condition"]["ArnEquals"]["ec2:Vpc"] == vpc, "{statement}");
    }
}

/// Returns the names of the settings that code may read: the constants that hold their own name.
fn known_settings() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for path in sources(&["shared", "functions"]) {
        let source = std::fs::read_to_string(&path).unwrap();
        for line in source.lines() {
            // A build's commands are looked up on the platform's own PATH.
            let reads_by_itself = line.contains("env::var") && !line.contains("var_os(\"PATH\")");
            assert!(!reads_by_itself || path.ends_with("shared/src/settings.rs"), "{}: {line}", path.display());
            let Some(rest) = line.trim().strip_prefix("pub const ") else { continue };
            let Some((name, value)) = rest.split_once(": &str = ") else { continue };
            if value == format!("\"{name}\";") {
                known.insert(name.to_owned());
            }
        }
    }
    known
}

/// Starts a function as its `main` does before the first event.
fn start(name: &str, settings: &Settings) -> Result<(), shared::InitError> {
    let environment = Environment {
        settings: settings.clone(),
        clock: Clock::manual(NOON),
        log: Log::to(std::io::sink()),
        limits: Limits::LAMBDA,
        patience: 1,
    };
    let registration = FUNCTIONS.iter().find(|registration| registration.name == name);
    registration.unwrap_or_else(|| panic!("{name} is not registered")).start(&environment).map(drop)
}

/// `API_BASE_URL` is not required at the start. Every endpoint compares it with the origin of requests that have a session.
#[test]
fn each_function_is_told_what_it_reads_and_nothing_else() {
    let values = [
        ("TABLE_NAME", "table"),
        ("QUEUE_URL", "http://127.0.0.1:1/queue"),
        ("STATUS_QUEUE_URL", "http://127.0.0.1:1/statuses"),
        ("HOOK_QUEUE_URL", "http://127.0.0.1:1/hooks"),
        ("WEBHOOK_QUEUE_URL", "http://127.0.0.1:1/webhooks"),
        ("DEAD_LETTER_QUEUE_URL", "http://127.0.0.1:1/dead"),
        ("API_BASE_URL", "https://api.example.com"),
        ("ARCHIVE_URL", "s3://archive"),
        ("VARIABLES_KEY", "kms:arn:aws:kms:us-east-1:000000000000:key/variables"),
        ("CLONE_HOSTS", "public"),
        ("RUN_TIME_LIMIT_SECONDS", "600"),
        ("CONCURRENT_BUILDS", "10"),
        ("RUNNER", "codebuild"),
        ("CODEBUILD_PROJECT", "git-api"),
        ("BUILD_IMAGES", "aws/codebuild/*"),
        ("LARGEST_COMPUTE_TYPE", "BUILD_GENERAL1_SMALL"),
        ("PRIVILEGED_BUILDS", "forbidden"),
        ("BUILD_CACHES", "forbidden"),
        ("VALUES_FROM_AWS", "forbidden"),
        ("OIDC_ISSUER", "https://issuer.example"),
        ("OIDC_AUDIENCE", ""),
        ("OIDC_CLIENT_IDS", "client"),
        ("OIDC_CA_BUNDLE", "/nowhere"),
        ("DASHBOARD_CLIENT_ID", "dashboard"),
    ];
    let known = known_settings();
    assert_eq!(known, values.iter().map(|(name, _)| (*name).to_owned()).collect());
    let of_lambda = [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    for function in Template::read().functions() {
        let name = &function.name;
        let told: BTreeSet<_> = function.environment().into_keys().collect();
        let settings = |change: Option<(&str, &str)>| {
            let mut settings = Settings::default();
            for (setting, value) in of_lambda.into_iter().chain(values).chain(change) {
                if told.contains(setting) || setting.starts_with("AWS_") || change.is_some_and(|(s, _)| s == setting) {
                    settings.set(setting, value.to_owned());
                }
            }
            settings
        };
        start(name, &settings(None)).unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        assert!(told.iter().all(|setting| known.contains(*setting)), "{name} is told what no code reads: {told:?}");
        assert!(told.contains("API_BASE_URL"), "{name}");
        // Every function reads these settings, and checks them when the first JWT arrives.
        let of_jwts = |setting: &str| setting.starts_with("OIDC_");
        assert!(known.iter().filter(|setting| of_jwts(setting)).all(|setting| told.contains(setting.as_str())));
        for setting in known.iter().filter(|setting| *setting != "API_BASE_URL" && !of_jwts(setting)) {
            let needs_it = start(name, &settings(Some((setting, "")))).is_err();
            let looks_at_it = start(name, &settings(Some((setting, "?")))).is_err();
            assert_eq!(needs_it || looks_at_it, told.contains(setting.as_str()), "{name} and {setting}");
        }
    }
}

#[test]
fn settings_name_the_resources_of_the_stack() {
    let template = Template::read();
    let expected = json!({
        "TABLE_NAME": "Table",
        "QUEUE_URL": "Deployments",
        "STATUS_QUEUE_URL": "Statuses",
        "HOOK_QUEUE_URL": "HookDeliveries",
        "WEBHOOK_QUEUE_URL": "Webhooks",
        "DEAD_LETTER_QUEUE_URL": "DeadLetters",
        "API_BASE_URL": ["OnlyDomain", "https://${DomainName}", "Api.ApiEndpoint"],
        "ARCHIVE_URL": "s3://${Archive}",
        "VARIABLES_KEY": "kms:${Key.Arn}",
        "CLONE_HOSTS": "public",
        "RUN_TIME_LIMIT_SECONDS": 600,
        "CONCURRENT_BUILDS": "ConcurrentBuilds",
        "RUNNER": "Runner",
        "CODEBUILD_PROJECT": "AWS::StackName",
        "BUILD_IMAGES": "BuildImages",
        "LARGEST_COMPUTE_TYPE": "LargestComputeType",
        "PRIVILEGED_BUILDS": "PrivilegedBuilds",
        "BUILD_CACHES": "BuildCaches",
        "VALUES_FROM_AWS": ["HasBuildPolicy", "allowed", "forbidden"],
        "OIDC_ISSUER": ["OwnUsers", "SignIn.Outputs.Issuer", "OidcIssuer"],
        "OIDC_AUDIENCE": "OidcAudience",
        "OIDC_CLIENT_IDS": ["OwnUsers", "SignIn.Outputs.PeopleClientId", ""],
        "OIDC_CA_BUNDLE": "/etc/pki/tls/certs/ca-bundle.crt",
        "DASHBOARD_CLIENT_ID": ["OwnUsers", "SignIn.Outputs.DashboardClientId", "OidcDashboardClientId"],
    });
    for function in template.functions() {
        for (setting, value) in function.environment() {
            assert_eq!(*value, expected[setting], "{setting} of {}", function.name);
        }
    }
}

#[test]
fn a_run_ends_before_its_invocation_and_its_message_stays_hidden_longer() {
    let template = Template::read();
    let consumer = template.function(CONSUMER);
    let runs = consumer.environment()["RUN_TIME_LIMIT_SECONDS"].as_u64().unwrap();
    let fetches = deployment_consumer::FETCH_LIMITS.time.as_secs();
    let reports = deployment_consumer::REPORT_TIME.as_secs();
    assert!(fetches + runs + reports < consumer.timeout(), "{fetches} + {runs} + {reports}");

    let (queue, dead_letters) = (template.properties("Deployments"), template.properties("DeadLetters"));
    let visibility = queue["VisibilityTimeout"].as_u64().unwrap();
    assert!(visibility >= 6 * consumer.timeout(), "{visibility}");
    let deliveries = u64::from(Options::new(0, PathBuf::new(), Log::to(std::io::sink())).max_receive_count);
    assert_eq!(
        queue["RedrivePolicy"],
        json!({"deadLetterTargetArn": "DeadLetters.Arn", "maxReceiveCount": deliveries})
    );
    let retention = queue["MessageRetentionPeriod"].as_u64().unwrap();
    assert!(retention > deliveries * visibility, "a message must not expire before its last delivery");
    // A dead letter keeps the time at which it was first sent.
    assert!(dead_letters["MessageRetentionPeriod"].as_u64().unwrap() > 2 * retention);
    let arn = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:";
    assert_eq!(
        dead_letters["RedriveAllowPolicy"],
        json!({"redrivePermission": "byQueue", "sourceQueueArns": [format!("{arn}{}", text(&queue["QueueName"]))]})
    );

    let source = template.properties("DeploymentConsumerSource");
    assert_eq!(template.called(&source["FunctionName"]), CONSUMER);
    assert_eq!(source["EventSourceArn"], "Deployments.Arn");
    assert_eq!(
        (&source["BatchSize"], &source["FunctionResponseTypes"]),
        (&json!(1), &json!(["ReportBatchItemFailures"]))
    );
    // With fewer, SQS's pollers would be throttled, and throttled deliveries count.
    let concurrency = &source["ScalingConfig"]["MaximumConcurrency"];
    assert_eq!(consumer.properties["ReservedConcurrentExecutions"], json!(["Reserves", concurrency, "AWS::NoValue"]));
}

#[test]
fn an_endpoint_gives_up_before_the_gateway_does() {
    let template = Template::read();
    for route in all_routes() {
        let timeout = Duration::from_secs(template.function(route.function).timeout());
        assert!(timeout < INTEGRATION_TIMEOUT, "{} has {timeout:?}", route.function);
    }
}

#[test]
fn a_batch_of_reports_ends_before_its_messages_are_delivered_again() {
    let template = Template::read();
    let (reporter, queue) = (template.function(REPORTER), template.properties("Statuses"));
    assert!(queue["VisibilityTimeout"].as_u64().unwrap() >= 6 * reporter.timeout());
    // The table has what is owed, so nothing is kept of a message that can't be handled.
    assert!(queue.get("RedrivePolicy").is_none());
    let source = template.properties("ReportStatusSource");
    assert_eq!(
        (template.called(&source["FunctionName"]).as_str(), &source["EventSourceArn"]),
        (REPORTER, &json!("Statuses.Arn"))
    );
    assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let lease = shared::model::REPORT_LEASE.as_secs();
    assert!(lease < reporter.timeout(), "a report that has its lease must not be cut off");
}

#[test]
fn a_message_about_webhooks_serves_one_webhook_and_ends_before_it_is_delivered_again() {
    let template = Template::read();
    let (sender, queue) = (template.function(SENDER), template.properties("Webhooks"));
    assert!(queue["VisibilityTimeout"].as_u64().unwrap() >= 6 * sender.timeout());
    // The table has what is owed, so nothing is kept of a message that can't be handled.
    assert!(queue.get("RedrivePolicy").is_none());
    let source = template.properties("SendWebhooksSource");
    assert_eq!(
        (template.called(&source["FunctionName"]).as_str(), &source["EventSourceArn"], &source["BatchSize"]),
        (SENDER, &json!("Webhooks.Arn"), &json!(1))
    );
    // A receiver holds one invocation, and an account's receivers hold less than half of them.
    let invocations = source["ScalingConfig"]["MaximumConcurrency"].as_u64().unwrap();
    assert!(invocations > 2 * shared::model::MAX_WEBHOOKS, "{invocations}");
    assert!(sender.timeout() <= shared::model::SENDING_LEASE.as_secs(), "nobody else sends while one is sending");
}

#[tokio::test]
async fn the_table_is_the_one_that_the_code_is_tested_with() {
    let world = World::start_with(embedded).await;
    let table = world.stack.app().table();
    let described = table.client().describe_table().table_name(table.name()).send().await.unwrap().table.unwrap();
    let schema = |keys: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Value {
        let key = |key: &aws_sdk_dynamodb::types::KeySchemaElement| {
            let kind = if *key.key_type() == KeyType::Hash { "HASH" } else { "RANGE" };
            json!({"AttributeName": key.attribute_name(), "KeyType": kind})
        };
        keys.iter().map(key).collect()
    };
    let attributes = described.attribute_definitions().iter();
    let attributes = attributes.map(|a| (a.attribute_name().to_owned(), a.attribute_type().as_str().to_owned()));
    let indexes = described.global_secondary_indexes().iter().map(|index| {
        let projected = index.projection().unwrap();
        let mut projection = json!({"ProjectionType": projected.projection_type().unwrap().as_str()});
        if !projected.non_key_attributes().is_empty() {
            projection["NonKeyAttributes"] = json!(projected.non_key_attributes());
        }
        json!({
            "IndexName": index.index_name(), "KeySchema": schema(index.key_schema()), "Projection": projection,
        })
    });
    let ttl = table.client().describe_time_to_live().table_name(table.name()).send().await.unwrap();
    let ttl = ttl.time_to_live_description.unwrap();

    let template = Template::read();
    let declared = template.properties("Table");
    assert_eq!(declared["KeySchema"], schema(described.key_schema()));
    let by_name = |index: &Value| text(&index["IndexName"]).to_owned();
    let mut indexes: Vec<_> = indexes.collect();
    indexes.sort_by_key(by_name);
    assert_eq!(declared["GlobalSecondaryIndexes"], Value::Array(indexes));
    let defined = declared["AttributeDefinitions"].as_array().unwrap().iter();
    let defined = defined.map(|a| (text(&a["AttributeName"]).to_owned(), text(&a["AttributeType"]).to_owned()));
    assert_eq!(defined.collect::<BTreeSet<_>>(), attributes.collect());
    let expires = json!({"AttributeName": ttl.attribute_name(), "Enabled": true});
    assert_eq!(declared["TimeToLiveSpecification"], expires);
    assert_eq!(declared["BillingMode"], "PAY_PER_REQUEST");
}

#[test]
fn what_holds_data_outlives_the_stack() {
    let template = Template::read();
    for id in ["Table", "Archive", "Key", "UserPool"] {
        let resource = template.resource(id);
        assert_eq!(
            (&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"]),
            (&json!("RetainExceptOnCreate"), &json!("Retain"))
        );
    }
    let table = template.properties("Table");
    assert_eq!(template.0["Parameters"]["DeletionProtection"]["Default"], "on");
    assert_eq!(table["DeletionProtectionEnabled"], json!(["Protects", true, false]));
    assert_eq!(template.properties("UserPool")["DeletionProtection"], json!(["Protects", "ACTIVE", "INACTIVE"]));
    assert_eq!(table["PointInTimeRecoverySpecification"], json!({"PointInTimeRecoveryEnabled": true}));
}

#[test]
fn oauth_tokens_can_have_the_scopes_of_the_api_and_no_others() {
    let template = Template::read();
    let server = template.properties("ResourceServer");
    let declared = server["Scopes"].as_array().unwrap().iter().map(|scope| text(&scope["ScopeName"]));
    assert_eq!(declared.collect::<Vec<_>>(), Scope::ALL.map(Scope::as_str));
    let in_a_token = |scope: Scope| format!("{}/{}", text(&server["Identifier"]), scope.as_str());

    let of_client = |id: &str| {
        let client = template.properties(id);
        assert_eq!(client["AllowedOAuthFlowsUserPoolClient"], true, "{id}");
        let scopes: Vec<_> = client["AllowedOAuthScopes"].as_array().unwrap().iter().map(text).collect();
        (client, scopes.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (people, scopes) = of_client("PeopleClient");
    assert_eq!((&people["AllowedOAuthFlows"], &people["GenerateSecret"]), (&json!(["code"]), &json!(false)));
    let expected: Vec<_> = std::iter::once("openid".to_owned()).chain(Scope::ALL.map(in_a_token)).collect();
    assert_eq!(scopes, expected);
    assert_eq!(scopes, Client::People.scopes(), "of the local stack's issuer");

    let (dashboard, scopes) = of_client("DashboardClient");
    assert_eq!((&dashboard["AllowedOAuthFlows"], &dashboard["GenerateSecret"]), (&json!(["code"]), &json!(false)));
    assert_eq!(scopes, expected);
    assert_eq!(scopes, Client::Dashboard.scopes(), "of the local stack's issuer");
    let url = json!(["OnlyDomain", "https://${DomainName}", "Api.ApiEndpoint"]);
    for urls in ["CallbackURLs", "LogoutURLs"] {
        assert_eq!(
            dashboard[urls],
            json!([["${Url}/sign-in", {"Url": url}]]),
            "people come back to the dashboard alone"
        );
    }

    // A machine that could create tokens or change the account could grant itself more rights.
    let (machines, scopes) = of_client("MachinesClient");
    assert_eq!(
        (&machines["AllowedOAuthFlows"], &machines["GenerateSecret"]),
        (&json!(["client_credentials"]), &json!(true))
    );
    let deploys = [Scope::RepositoriesRead, Scope::DeploymentsRead, Scope::DeploymentsWrite];
    assert_eq!(scopes, deploys.map(in_a_token));
    assert_eq!(scopes, Client::Machines.scopes(), "of the local stack's issuer");
}
