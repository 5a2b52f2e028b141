//! The parameters of the areas' templates, each with the value that template.yaml gives it.

use std::collections::BTreeSet;

/// A parameter of every area whose template refers to it.
pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: &'static str,
    /// The value in template.yaml.
    pub value: &'static str,
}

/// The ARN of the table that the functions use: the stack's own, or the one that was restored in its place.
const TABLE_ARN: &str = "!If [Restored, !Sub 'arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${RestoredTable}', \
                         !GetAtt Table.Arn]";

const PARAMETERS: &[Parameter] = &[
    text("Stack", "!Ref AWS::StackName"),
    text("Rollout", "!Ref Rollout"),
    text("Tracing", "!Ref Tracing"),
    text("Settings", "!Ref SettingsDigest"),
    text("AlarmTopicArn", "!Ref AlarmTopicArn"),
    text("LogGroup", "!Ref LogGroup"),
    text("FunctionPolicy", "!Ref FunctionPolicy"),
    text("CallersPolicy", "!Ref CallersPolicy"),
    text("ReadersPolicy", "!Ref ReadersPolicy"),
    text("WritersPolicy", "!Ref WritersPolicy"),
    text("AccountPolicy", "!Ref AccountPolicy"),
    text("NetworkPolicy", "!If [InVpc, !Ref NetworkPolicy, '']"),
    text("SubnetIds", "!Ref SubnetIds"),
    text("SecurityGroupIds", "!Ref SecurityGroupIds"),
    text("CloneHosts", "!If [HasPrivateHosts, !Ref PrivateHosts, public]"),
    text("TableName", "!If [Restored, !Ref RestoredTable, !Ref Table]"),
    text("TableArn", TABLE_ARN),
    text("Api", "!Ref Api"),
    text("ApiArn", "!Sub 'arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}'"),
    text("OidcIssuer", "!If [OwnUsers, !GetAtt SignIn.Outputs.Issuer, !Ref OidcIssuer]"),
    text("OidcAudience", "!Ref OidcAudience"),
    text("OidcClientIds", "!If [OwnUsers, !GetAtt SignIn.Outputs.PeopleClientId, '']"),
    text("DashboardClientId", "!If [OwnUsers, !GetAtt SignIn.Outputs.DashboardClientId, !Ref OidcDashboardClientId]"),
    text("ApiUrl", "!If [OnlyDomain, !Sub 'https://${DomainName}', !GetAtt Api.ApiEndpoint]"),
    text("QueueUrl", "!Ref Deployments"),
    text("QueueArn", "!GetAtt Deployments.Arn"),
    text("StatusQueueUrl", "!Ref Statuses"),
    text("StatusQueueArn", "!GetAtt Statuses.Arn"),
    text("HookQueueUrl", "!Ref HookDeliveries"),
    text("HookQueueArn", "!GetAtt HookDeliveries.Arn"),
    text("WebhookQueueUrl", "!Ref Webhooks"),
    text("WebhookQueueArn", "!GetAtt Webhooks.Arn"),
    text("DeadLettersUrl", "!Ref DeadLetters"),
    text("DeadLettersArn", "!GetAtt DeadLetters.Arn"),
    text("KeyArn", "!GetAtt Key.Arn"),
    text("Archive", "!Ref Archive"),
    text("ArchiveArn", "!GetAtt Archive.Arn"),
    text("BuildArchitecture", "!Ref BuildArchitecture"),
    text("BuildVpcId", "!Ref BuildVpcId"),
    text("BuildSubnetIds", "!Ref BuildSubnetIds"),
    text("BuildSecurityGroupIds", "!Ref BuildSecurityGroupIds"),
    text("BuildImages", "!Ref BuildImages"),
    text("LargestComputeType", "!Ref LargestComputeType"),
    text("PrivilegedBuilds", "!Ref PrivilegedBuilds"),
    text("BuildCaches", "!Ref BuildCaches"),
    text("BuildPolicyArn", "!Ref BuildPolicyArn"),
    text("ValuesFromAws", "!If [HasBuildPolicy, allowed, forbidden]"),
    number("ConsumerConcurrency", "!Ref ConsumerConcurrency"),
    number("ConcurrentBuilds", "!Ref ConcurrentBuilds"),
    number("HostConcurrency", "!Ref HostConcurrency"),
    text("ReservedConcurrency", "!Ref ReservedConcurrency"),
    number("LogRetentionDays", "!Ref LogRetentionDays"),
    text("Runner", "!Ref Runner"),
];

const fn text(name: &'static str, value: &'static str) -> Parameter {
    Parameter { name, kind: "String", value }
}

const fn number(name: &'static str, value: &'static str) -> Parameter {
    Parameter { name, kind: "Number", value }
}

/// Returns the parameters that a template refers to.
pub(super) fn of(template: &str) -> impl Iterator<Item = &'static Parameter> {
    let references = references(template);
    PARAMETERS.iter().filter(move |parameter| references.contains(parameter.name))
}

/// Returns the names in `!Ref X` and `${X}`.
fn references(template: &str) -> BTreeSet<String> {
    let lines = template.lines().filter(|line| !line.trim_start().starts_with('#'));
    let after = lines.flat_map(|line| ["!Ref ", "${"].into_iter().flat_map(|sign| line.split(sign).skip(1)));
    after.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
}
