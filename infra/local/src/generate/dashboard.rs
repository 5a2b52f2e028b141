//! The dashboard, with a metric of every function. Its body is one text, in which no comment could mark a part.

use crate::functions::FUNCTIONS;

/// The dashboard without its functions.
const DASHBOARD: &str = include_str!("dashboard.yaml");

/// Returns the resource of template.yaml.
pub(super) fn resource() -> String {
    let metrics = FUNCTIONS.iter().enumerate().map(|(number, function)| {
        let shared = if number == 0 { r#""AWS/Lambda", "Errors", "FunctionName""# } else { r#""...""# };
        format!("                [{shared}, \"${{AWS::StackName}}-{}\"]", function.name)
    });
    DASHBOARD.replace("<functions>", &metrics.collect::<Vec<_>>().join(",\n"))
}
