//! The example request of an operation, in four languages.

use serde_json::Value;

use crate::api::{self, Api, Operation};
use crate::json::{self, JSON, PYTHON};

/// Returns the samples as code blocks.
pub(crate) fn of(api: &Api, operation: &Operation<'_>) -> String {
    let samples = [
        ("sh", curl(api, operation)),
        ("python", python(api, operation)),
        ("ts", typescript(api, operation)),
        ("rust", rust(api, operation)),
    ];
    samples.map(|(language, code)| format!("```{language}\n{code}\n```\n\n")).concat()
}

fn url(api: &Api, operation: &Operation<'_>) -> String {
    format!("{}{}", api.server(), operation.example_path())
}

/// Returns the example of the body in a notation.
fn body(api: &Api, operation: &Operation<'_>, notation: json::Notation, before: usize) -> Option<String> {
    let media_type = operation.body()?;
    Some(json::write(api, &media_type["schema"], api::example(media_type)?, notation, before))
}

fn curl(api: &Api, operation: &Operation<'_>) -> String {
    let method = match operation.method {
        "get" => String::new(),
        method => format!("-X {} ", method.to_uppercase()),
    };
    let url = url(api, operation);
    let quote = if url.contains('?') { "'" } else { "" };
    let mut lines = vec![format!("curl {method}{quote}{url}{quote}")];
    if operation.needs_token() {
        lines.push("-H \"Authorization: Bearer $TOKEN\"".to_owned());
    }
    if operation.takes_a_form() {
        let fields = operation.body().and_then(api::example).and_then(Value::as_object).into_iter().flatten();
        lines.extend(fields.map(|(name, value)| format!("--data-urlencode '{name}={}'", api::text(value))));
    } else if let Some(body) = body(api, operation, JSON, 2) {
        lines.push("-H 'Content-Type: application/json'".to_owned());
        lines.push(format!("-d '{}'", body.replace('\'', r"'\''")));
    }
    lines.join(" \\\n  ")
}

fn python(api: &Api, operation: &Operation<'_>) -> String {
    let mut arguments = vec![format!("\"{}\"", url(api, operation))];
    let mut imports = "import requests";
    if operation.needs_token() {
        imports = "import os\n\nimport requests";
        arguments.push("headers={\"Authorization\": f\"Bearer {os.environ['TOKEN']}\"}".to_owned());
    }
    let kind = if operation.takes_a_form() { "data" } else { "json" };
    arguments.extend(body(api, operation, PYTHON, 4).map(|body| format!("{kind}={body}")));
    let arguments: String = arguments.iter().map(|argument| format!("    {argument},\n")).collect();
    let method = operation.method;
    format!(
        "{imports}\n\nresponse = requests.{method}(\n{arguments})\nresponse.raise_for_status()\nprint(response.json())"
    )
}

fn typescript(api: &Api, operation: &Operation<'_>) -> String {
    let body = body(api, operation, JSON, 2);
    let mut headers = Vec::new();
    headers.extend(operation.needs_token().then_some("    Authorization: `Bearer ${process.env.TOKEN}`,\n"));
    let is_json = body.is_some() && !operation.takes_a_form();
    headers.extend(is_json.then_some("    \"Content-Type\": \"application/json\",\n"));
    let mut options = String::new();
    if operation.method != "get" {
        options += &format!("  method: \"{}\",\n", operation.method.to_uppercase());
    }
    if !headers.is_empty() {
        options += &format!("  headers: {{\n{}  }},\n", headers.concat());
    }
    let encode = if operation.takes_a_form() { "new URLSearchParams" } else { "JSON.stringify" };
    options += &body.map(|body| format!("  body: {encode}({body}),\n")).unwrap_or_default();
    let url = url(api, operation);
    let call =
        if options.is_empty() { format!("fetch(\"{url}\")") } else { format!("fetch(\"{url}\", {{\n{options}}})") };
    format!(
        "const response = await {call};\nif (!response.ok) throw new Error(await response.text());\nconsole.log(await \
         response.json());"
    )
}

fn rust(api: &Api, operation: &Operation<'_>) -> String {
    let mut calls = vec![format!(".{}(\"{}\")", operation.method, url(api, operation))];
    if operation.needs_token() {
        calls.push(".bearer_auth(std::env::var(\"TOKEN\")?)".to_owned());
    }
    let kind = if operation.takes_a_form() { "form" } else { "json" };
    calls.extend(body(api, operation, JSON, 4).map(|body| format!(".{kind}(&serde_json::json!({body}))")));
    calls.extend([".send()", ".await?", ".error_for_status()?;"].map(str::to_owned));
    let calls = calls.join("\n    ");
    format!("let response = reqwest::Client::new()\n    {calls}\nprintln!(\"{{}}\", response.text().await?);")
}
