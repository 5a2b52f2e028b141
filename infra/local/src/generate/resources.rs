//! The resources of one function: function, role, integration, routes, rule, event source mapping, permission and alarms.
//! All are named after the function.

use shared::Route;
use shared::access::Access;
use shared::route::Counting;

use super::Function;

const FUNCTION: &str = r"  <id>:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda}
    Properties:
      FunctionName: !Sub ${Stack}-<name>
      CodeUri: ../functions/<name>/
      Role: !GetAtt <id>Role.Arn
      VersionDescription: !Ref Settings
";

/// The bound of a function that answers requests and asks git hosts, so that slow hosts don't take the concurrency of other functions.
const HOST_BOUND: &str = r"      ReservedConcurrentExecutions: !If [Reserves, !Ref HostConcurrency, !Ref 'AWS::NoValue']
";

const NETWORK: &str = r"      VpcConfig: !If [InVpc, {SubnetIds: !Split [',', !Ref SubnetIds], SecurityGroupIds: !Split [',', !Ref SecurityGroupIds]}, !Ref 'AWS::NoValue']
";

/// The policy of a function in the VPC.
const NETWORK_POLICY: &str = "!If [InVpc, !Ref NetworkPolicy, !Ref 'AWS::NoValue']";

const ROLLOUT: &str = r"      DeploymentPreference: {Alarms: [<alarms>]}
";

const ROLE: &str = r"  <id>Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]}
";

const POLICY: &str = r"      Policies:
        - PolicyName: <name>
          PolicyDocument:
            Version: '2012-10-17'
            Statement:
";

/// The statement for the rate limiter's counter. Functions that require a token have it from CallersPolicy.
const COUNT_REQUESTS: &str = r"- Effect: Allow
  Action: dynamodb:UpdateItem
  Resource: !Ref TableArn
  Condition:
    ForAllValues:StringLike:
      dynamodb:LeadingKeys: ['RATE#*']
";

const INTEGRATION: &str = r"  <id>Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub 'arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${<id>}:live'
      PayloadFormatVersion: '2.0'
";

const ROUTE: &str = r"  <id><form>Route:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Api
      RouteKey: <key>
      Target: !Sub integrations/${<id>Integration}
";

const RULE: &str = r"  <id>Rule:
    Type: AWS::Events::Rule
    Properties:
";

const TARGET: &str = r"      Targets: [{Id: <name>, Arn: !Ref <id>.Alias}]
";

const SOURCE: &str = r"  <id>Source:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref <id>.Alias
";

const SUBSCRIPTION: &str = r"  <id>Subscription:
    Type: AWS::Logs::SubscriptionFilter
    DependsOn: <id>Permission
    Properties:
      DestinationArn: !Ref <id>.Alias
";

const PERMISSION: &str = r"  <id>Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref <id>.Alias
      Principal: <principal>.amazonaws.com
      SourceArn: <source>
";

const ALARM: &str = r"  <id>Errors:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmDescription: '<name>: <errors>'
      Namespace: AWS/Lambda
      MetricName: Errors
      Dimensions: [{Name: FunctionName, Value: !Ref <id>}]
<any>      AlarmActions: [!If [Pages, !Ref AlarmTopicArn, !Ref 'AWS::NoValue']]
      OKActions: [!If [Pages, !Ref AlarmTopicArn, !Ref 'AWS::NoValue']]
";

/// The alarm that stops a rollout for the failures that a function answers: a 500, a panic, a message that failed. It counts the
/// newest version alone, so it tells nobody: the rollout that it stops does.
const VERSION_ALARM: &str = r"  <id>VersionErrors:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmDescription: '<name>: the newest version answered with a server error.'
      Namespace: GitApi
      MetricName: server_errors
      Dimensions: [{Name: stack, Value: !Ref Stack}, {Name: function, Value: <name>}, {Name: version, Value: !GetAtt <id>.Version.Version}]
<any>";

/// The rule of an alarm that goes off with the first error of a minute.
const ANY_ERROR: &str = r"      Statistic: Sum
      Period: 60
      EvaluationPeriods: 1
      Threshold: 0
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
";

/// The reasons for an error of any function.
const ERRORS: &str = "invocations ended without an answer (panic in init, timeout, out of memory).";

/// Returns the resources as they stand in the area's template.
pub(super) fn of(function: &Function) -> String {
    let Function { registration, definition } = function;
    let route = registration.route();
    let mut resources = String::new();

    let comment = definition.comment.iter().map(|line| line.trim_start_matches(['#', ' ']));
    for line in route.iter().map(Route::key).chain(comment.map(str::to_owned)) {
        resources += &format!("  # {line}\n");
    }
    resources += FUNCTION;
    resources += &indented(&definition.properties(), 6);
    if definition.connects_to_hosts() {
        if route.is_some() {
            resources += HOST_BOUND;
        }
        resources += NETWORK;
    }
    // What only operators invoke is not invoked during a rollout.
    let has_traffic = route.is_some()
        || ["Rule", "EventSourceMapping", "SubscriptionFilter"].iter().any(|source| definition.below(source).is_some());
    let alarms = if has_traffic { "!Ref <id>Errors, !Ref <id>VersionErrors" } else { "!Ref <id>Errors" };
    resources += &ROLLOUT.replace("<alarms>", alarms);
    resources += &role(function);
    if let Some(route) = route {
        resources += INTEGRATION;
        for key in route.keys() {
            resources += &ROUTE.replace("<form>", &form(&route, &key)).replace("<key>", &key);
        }
        resources += &permission("apigateway", "!Sub '${ApiArn}/*'");
    }
    if let Some(properties) = definition.below("Rule") {
        resources += RULE;
        resources += &indented(&properties, 6);
        resources += TARGET;
        resources += &permission("events", "!GetAtt <id>Rule.Arn");
    }
    if let Some(properties) = definition.below("EventSourceMapping") {
        resources += SOURCE;
        resources += &indented(&properties, 6);
    }
    if let Some(properties) = definition.below("SubscriptionFilter") {
        resources += SUBSCRIPTION;
        resources += &indented(&properties, 6);
        resources += &permission("logs", "!GetAtt BuildLogGroup.Arn");
    }
    resources += &ALARM.replace("<errors>", definition.alarm_description().unwrap_or(ERRORS));
    if has_traffic {
        resources += VERSION_ALARM;
    }
    resources.replace("<any>", ANY_ERROR).replace("<id>", &id(registration.name)).replace("<name>", registration.name)
}

fn role(Function { registration, definition }: &Function) -> String {
    let route = registration.route();
    let identifies_callers = route.is_some_and(|route| route.access != Access::Public);
    let callers = match route {
        Some(route) if identifies_callers && route.is_safe() => &["CallersPolicy", "ReadersPolicy"][..],
        Some(_) if identifies_callers => &["CallersPolicy", "WritersPolicy"],
        _ => &[],
    };
    let counts_by_itself = route.is_some_and(|route| !identifies_callers && route.counting == Counting::Counted);

    let derived = ["FunctionPolicy"].into_iter().chain(callers.iter().copied());
    let managed = derived.chain(definition.managed_policies()).map(|policy| format!("!Ref {policy}"));
    let network = definition.connects_to_hosts().then(|| NETWORK_POLICY.to_owned());
    let managed: Vec<_> = managed.chain(network).collect();
    let mut role = format!("{ROLE}      ManagedPolicyArns: [{}]\n", managed.join(", "));
    let mut statements = definition.statements();
    if counts_by_itself {
        statements += COUNT_REQUESTS;
    }
    if !statements.is_empty() {
        role += POLICY;
        role += &indented(&statements, 14);
    }
    role
}

fn permission(service: &str, source: &str) -> String {
    PERMISSION.replace("<principal>", service).replace("<source>", source)
}

/// Returns the part of a route's logical ID that tells it from the function's other routes: `HeadByFullName`, `V1Proxy`.
fn form(route: &Route, key: &str) -> String {
    let (method, path) = key.split_once(' ').unwrap_or(("", key));
    let head = if method == "HEAD" { "Head" } else { "" };
    if path == route.path {
        head.to_owned()
    } else if path.contains("{repo_name}") {
        format!("{head}ByFullName")
    } else {
        let further = path.strip_prefix(route.path).unwrap_or(path);
        let words = further.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let capitalized = words.map(|word| word[..1].to_uppercase() + &word[1..]);
        format!("{head}{}", capitalized.collect::<String>())
    }
}

/// Returns the function's name as a logical ID: `ListRepositories`.
fn id(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}
