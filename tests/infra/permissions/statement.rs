//! The statements of a role, and whether they allow a call.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Template, text};

/// One statement of a role's policies.
#[derive(Debug)]
pub(super) struct Statement {
    actions: Vec<String>,
    resources: Vec<String>,
    /// The condition's key and the patterns that each of the request's values must match one of.
    pub(super) condition: Option<(String, Vec<String>)>,
}

/// An action on a resource, with one pattern of its condition.
pub(super) type Permission = (String, String, Option<String>);

/// A call as IAM sees it, in the template's names for resources.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) keys: BTreeSet<String>,
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(|value| text(value).to_owned()).collect(),
        value => vec![text(value).to_owned()],
    }
}

impl Statement {
    fn read(statement: &Value) -> Self {
        assert_eq!(statement["Effect"], "Allow");
        let condition = statement.get("Condition").map(|condition| {
            let (_, keys) = condition.as_object().unwrap().iter().next().unwrap();
            let (key, patterns) = keys.as_object().unwrap().iter().next().unwrap();
            (key.clone(), list(patterns))
        });
        Self { actions: list(&statement["Action"]), resources: list(&statement["Resource"]), condition }
    }

    /// Returns whether Lambda itself needs the statement, to write the function's log and traces.
    fn is_of_the_platform(&self) -> bool {
        let log = (["logs:CreateLogStream", "logs:PutLogEvents"], "LogGroup.Arn");
        let traces = (["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*");
        [log, traces].iter().any(|(actions, resource)| self.actions == *actions && self.resources == [*resource])
    }

    pub(super) fn permissions(&self) -> BTreeSet<Permission> {
        let patterns: Vec<_> = match &self.condition {
            Some((_, patterns)) => patterns.iter().cloned().map(Some).collect(),
            None => vec![None],
        };
        let pairs =
            self.actions.iter().flat_map(|action| self.resources.iter().map(move |resource| (action, resource)));
        pairs.flat_map(|(a, r)| patterns.iter().map(move |p| (a.clone(), r.clone(), p.clone()))).collect()
    }

    /// Returns the permissions that the call uses, if the statement allows it.
    pub(super) fn allows(&self, call: &Call) -> Option<BTreeSet<Permission>> {
        let action = self.actions.iter().find(|action| **action == call.action)?;
        let resource = self.resources.iter().find(|resource| matches(resource, &call.resource))?;
        let permission = |pattern: Option<&String>| (action.clone(), resource.clone(), pattern.cloned());
        match &self.condition {
            None => Some([permission(None)].into()),
            Some((_, patterns)) => {
                let used =
                    call.keys.iter().map(|key| patterns.iter().find(|p| matches(p, key)).map(|p| permission(Some(p))));
                used.collect()
            }
        }
    }
}

/// Matches a text with a pattern, like IAM's StringLike.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text.chars();
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let after = &pattern[1..];
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(after, &text[at..]))
        }
        Some(first) => {
            rest.next().is_some_and(|c| first == '?' || first == c)
                && matches(&pattern[first.len_utf8()..], rest.as_str())
        }
    }
}

/// Returns the statements of a function's role, without those that the platform needs.
pub(super) fn statements(template: &Template, function: &str) -> Vec<Statement> {
    let role = template.properties(&format!("{function}Role"));
    let managed = list(&role["ManagedPolicyArns"]);
    // The policy of a function in a VPC is left out by its condition.
    let managed =
        managed.iter().filter(|id| *id != "AWS::NoValue").map(|id| &template.properties(id)["PolicyDocument"]);
    let own = role["Policies"].as_array().into_iter().flatten().map(|policy| &policy["PolicyDocument"]);
    let documents = managed.chain(own).flat_map(|document| document["Statement"].as_array().unwrap());
    let (platform, own): (Vec<_>, Vec<_>) = documents.map(Statement::read).partition(Statement::is_of_the_platform);
    assert_eq!(platform.len(), 2, "{function} must be able to write its own log and its traces");
    own
}
