//! `functions/<name>/function.yaml`: the facts about a function that the stack needs and can't derive.
//!
//! The sections have the names and the form that CloudFormation, SAM and IAM give them:
//!
//! - a property of `AWS::Serverless::Function`, for example `Timeout`;
//! - `ManagedPolicyArns`: policies of template.yaml that the role has besides those that follow from the route;
//! - `Statement`: the role's own permissions, each with `Effect: Allow`;
//! - `Rule`: the properties of an `AWS::Events::Rule` that invokes the function;
//! - `EventSourceMapping`: the properties of an `AWS::Lambda::EventSourceMapping` that feeds it;
//! - `SubscriptionFilter`: the properties of an `AWS::Logs::SubscriptionFilter` that invokes it, with a `LogGroupName` by `!Ref`;
//! - `ConnectsToHosts: true`: the function connects to hosts that users name, so that it is in the VPC of private hosts if the stack
//!   has one. If it answers requests, it also has the bound `HostConcurrency`;
//! - `AlarmDescription`: the reasons for an error of the function, if it returns errors by itself.
//!
//! A comment with a blank line below it is about the whole function.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use shared::InitError;

use super::read;

/// The properties of `AWS::Serverless::Function` that a function may set.
const PROPERTIES: [&str; 6] =
    ["Timeout", "MemorySize", "EphemeralStorage", "ReservedConcurrentExecutions", "RecursiveLoop", "Environment"];
/// The other sections.
const SECTIONS: [&str; 7] = [
    "ManagedPolicyArns",
    "Statement",
    "Rule",
    "EventSourceMapping",
    "SubscriptionFilter",
    "ConnectsToHosts",
    "AlarmDescription",
];
/// The elements of a statement.
const STATEMENT: [&str; 3] = ["Action", "Resource", "Condition"];

/// The beginning of a statement in its section.
const ITEM: &str = "  - ";

pub(super) struct Definition {
    /// The lines of the comment on the whole function.
    pub comment: Vec<String>,
    sections: Vec<Section>,
    values: BTreeMap<String, Value>,
}

struct Section {
    key: String,
    /// The comment above the key, the key, and the lines below it.
    text: String,
}

impl Definition {
    pub(super) fn read(checkout: &Path, function: &str) -> Result<Self, InitError> {
        let path = format!("functions/{function}/function.yaml");
        Self::parse(&read(checkout, &path)?).map_err(|error| format!("{path}: {error}").into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let values: Option<BTreeMap<String, Value>> =
            serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let (comment, sections) = split(text);
        let definition = Self { comment, sections, values: values.unwrap_or_default() };
        definition.check()?;
        Ok(definition)
    }

    fn check(&self) -> Result<(), String> {
        for key in self.values.keys() {
            if !PROPERTIES.iter().chain(&SECTIONS).any(|known| known == key) {
                return Err(format!("unknown section {key:?}"));
            }
        }
        let statements = self.list("Statement");
        for statement in statements {
            let elements = statement.as_object().ok_or("a statement is a mapping")?;
            if let Some(element) = elements.keys().find(|key| !STATEMENT.contains(&key.as_str())) {
                return Err(format!("unknown element {element:?} in a statement; `Effect: Allow` is implied"));
            }
        }
        // The sections are copied by their lines, so the lines must be those that the parser reads.
        let mut found: Vec<_> = self.sections.iter().map(|section| &section.key).collect();
        found.sort();
        if found != self.values.keys().collect::<Vec<_>>() {
            return Err("each section begins a line with its unquoted name".to_owned());
        }
        let items = self.text("Statement").map_or(0, |text| text.matches(&format!("\n{ITEM}")).count());
        if items != statements.len() {
            return Err(format!("each statement begins a line with `{ITEM}`"));
        }
        Ok(())
    }

    fn list(&self, key: &str) -> &[Value] {
        self.values.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.sections.iter().find(|section| section.key == key).map(|section| section.text.as_str())
    }

    /// Returns the properties of the function, as they are written.
    pub(super) fn properties(&self) -> String {
        let properties = self.sections.iter().filter(|section| PROPERTIES.contains(&section.key.as_str()));
        properties.map(|section| section.text.as_str()).collect()
    }

    /// Returns the statements as a list, each with its effect.
    pub(super) fn statements(&self) -> String {
        let lines = self.below("Statement").unwrap_or_default();
        let with_effect = |line: &str| match line.strip_prefix("- ") {
            Some(rest) => format!("- Effect: Allow\n  {rest}\n"),
            None => format!("{line}\n"),
        };
        lines.lines().map(with_effect).collect()
    }

    /// Returns the lines below the key of a section, without its indentation.
    pub(super) fn below(&self, key: &str) -> Option<String> {
        let lines = self.text(key)?.lines().filter_map(|line| line.strip_prefix("  "));
        Some(lines.map(|line| format!("{line}\n")).collect())
    }

    /// Returns the policies of template.yaml that the function names.
    pub(super) fn managed_policies(&self) -> impl Iterator<Item = &str> {
        self.list("ManagedPolicyArns").iter().filter_map(Value::as_str)
    }

    /// Returns whether the function connects to hosts that users name.
    pub(super) fn connects_to_hosts(&self) -> bool {
        self.values.get("ConnectsToHosts").is_some_and(|value| value == true)
    }

    pub(super) fn alarm_description(&self) -> Option<&str> {
        self.values.get("AlarmDescription")?.as_str()
    }
}

/// Splits a file into the comment on the whole function and the sections.
fn split(text: &str) -> (Vec<String>, Vec<Section>) {
    let is_comment = |line: &str| line.starts_with('#');
    let head = text.lines().take_while(|line| is_comment(line)).count();
    let is_of_the_function = text.lines().nth(head).is_none_or(str::is_empty);
    let head = if is_of_the_function { head } else { 0 };
    let comment = text.lines().take(head).map(str::to_owned).collect();

    let mut sections: Vec<Section> = Vec::new();
    let mut above = String::new();
    for line in text.lines().skip(head).filter(|line| !line.is_empty()) {
        if is_comment(line) {
            above.push_str(&format!("{line}\n"));
        } else if line.starts_with(' ') {
            if let Some(section) = sections.last_mut() {
                section.text.push_str(&format!("{line}\n"));
            }
        } else {
            let key = line.split(':').next().unwrap_or_default().to_owned();
            sections.push(Section { key, text: format!("{above}{line}\n") });
            above.clear();
        }
    }
    (comment, sections)
}

#[cfg(test)]
mod tests {
    use super::Definition;

    #[test]
    fn a_section_is_copied_with_its_comments_and_a_statement_gets_its_effect() {
        let definition = Definition::parse(
            "# Runs at night.\n\n# Long enough.\nTimeout: 60\nStatement:\n  # Only the one.\n  - Action: sqs:SendMessage\n    \
             Resource: !Ref QueueArn\nRule:\n  ScheduleExpression: rate(1 day)\n",
        )
        .unwrap();
        assert_eq!(definition.comment, ["# Runs at night."]);
        assert_eq!(definition.properties(), "# Long enough.\nTimeout: 60\n");
        assert_eq!(
            definition.statements(),
            "# Only the one.\n- Effect: Allow\n  Action: sqs:SendMessage\n  Resource: !Ref QueueArn\n"
        );
        assert_eq!(definition.below("Rule").unwrap(), "ScheduleExpression: rate(1 day)\n");
    }

    #[test]
    fn a_function_may_need_nothing() {
        for (text, comment) in [("", &[][..]), ("# Everything follows.\n", &["# Everything follows."])] {
            let definition = Definition::parse(text).unwrap();
            assert_eq!(definition.comment, comment);
            assert_eq!((definition.properties(), definition.statements()), (String::new(), String::new()));
        }
    }

    #[test]
    fn a_section_that_no_template_has_is_refused() {
        for (text, reason) in [
            ("Timeuot: 5\n", "unknown section \"Timeuot\""),
            ("Timeout: [\n", "unclosed bracket"),
            ("'Timeout': 5\n", "each section begins a line with its unquoted name"),
            ("Statement: [{Action: 'sqs:*', Resource: '*'}]\n", "each statement begins a line with `  - `"),
            ("Statement:\n  - Effect: Deny\n    Action: 'sqs:*'\n", "unknown element \"Effect\" in a statement"),
        ] {
            let Err(error) = Definition::parse(text) else { panic!("{text} is accepted") };
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
