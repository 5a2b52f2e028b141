//! The reference: a page for each operation and for each error code, and their lists.

use crate::Page;
use crate::api::{self, Api, ErrorCode, Operation};
use crate::json::{self, JSON};
use crate::{fields, samples};

/// The title of the error codes in the navigation.
pub(crate) const ERRORS: &str = "Errors";

/// Returns all pages, in the order of the navigation.
pub(crate) fn pages(api: &Api) -> Vec<Page> {
    let mut pages = vec![operations(api)];
    for tag in api.tags() {
        let own = api.operations().into_iter().filter(|operation| operation.tag() == tag.name);
        pages.extend(own.map(|one| operation(api, &one)));
    }
    pages.push(errors(api));
    pages.extend(api.errors().iter().map(|code| error(api, code)));
    pages
}

/// Returns the list of all operations.
fn operations(api: &Api) -> Page {
    let mut markdown = "# Reference\n\nEvery operation of the API. Programs read the same from the \
                        [OpenAPI document](/v1/openapi.json).\n\n"
        .to_owned();
    for tag in api.tags() {
        markdown += &format!("## {}\n\n{}.\n\n| Operation | Request |\n|---|---|\n", tag.name, tag.description);
        for operation in api.operations().iter().filter(|operation| operation.tag() == tag.name) {
            markdown += &format!("| [{}]({}) | `{}` |\n", operation.summary(), operation.url(), operation.key());
        }
        markdown.push('\n');
    }
    Page {
        path: "/docs/reference".to_owned(),
        section: "Reference".to_owned(),
        title: "Reference".to_owned(),
        short: Some("All operations".to_owned()),
        summary: "Every operation of the API.".to_owned(),
        markdown,
    }
}

fn operation(api: &Api, operation: &Operation<'_>) -> Page {
    let mut markdown = format!("# {}\n\n`{}`\n\n{}\n\n", operation.summary(), operation.key(), operation.description());
    markdown += &match (operation.needs_token(), operation.scope()) {
        (_, Some(scope)) => format!("The token needs the scope `{scope}`.\n\n"),
        (true, None) => "Any valid token will do.\n\n".to_owned(),
        (false, None) => "No token is needed.\n\n".to_owned(),
    };
    markdown += &format!("## Request\n\n{}", samples::of(api, operation));
    for (place, title) in [("path", "Path parameters"), ("query", "Query parameters"), ("header", "Headers")] {
        let parameters = operation.parameters(place);
        if !parameters.is_empty() {
            markdown += &format!("### {title}\n\n{}", fields::of_parameters(api, &parameters));
        }
    }
    if let Some(body) = operation.body() {
        markdown += &format!("### Body\n\n{}", fields::of_body(api, &body["schema"]));
    }
    for (status, response) in operation.responses().filter(|(status, _)| status.starts_with('2')) {
        markdown += &answer(api, status, response);
    }
    markdown += "## Errors\n\n| Status | Code | Meaning |\n|---|---|---|\n";
    let codes = operation.codes();
    for code in api.errors().iter().filter(|code| codes.contains(&code.code.as_str())) {
        markdown += &format!("| {} | `{}` | {} |\n", code.status, code.code, code.meaning.replace('|', "\\|"));
    }
    Page {
        path: operation.url(),
        section: operation.tag().to_owned(),
        title: operation.summary().to_owned(),
        short: None,
        summary: format!("`{}`", operation.key()),
        markdown,
    }
}

/// Returns the part about a success.
fn answer(api: &Api, status: &str, response: &serde_json::Value) -> String {
    let mut markdown = format!("## Response: {status} {}\n\n", api::text(&response["description"]));
    if let Some(media_type) = response.pointer("/content/application~1json") {
        let schema = &media_type["schema"];
        if let Some(example) = api::example(media_type) {
            markdown += &format!("```json\n{}\n```\n\n", json::write(api, schema, example, JSON, 0));
        }
        markdown += &fields::of_response(api, schema);
    }
    // The headers of every response are described once, in the guides.
    let special = ["ETag", "Link", "Location", "Idempotent-Replayed", "X-Poll-Interval", "Retry-After"];
    let headers = response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let rows = headers.filter(|name| special.contains(name));
    let rows: String = rows.map(|name| format!("| `{name}` | {}. |\n", api.header(name))).collect();
    if !rows.is_empty() {
        markdown += &format!("| Header | |\n|---|---|\n{rows}\n");
    }
    markdown
}

/// Returns the list of all error codes.
fn errors(api: &Api) -> Page {
    let mut markdown = "# Errors\n\nEvery response whose status is not 2xx has an `error` with one of these codes. \
                        [Errors](/docs/api#errors) describes the envelope. Its `doc_url` leads to the page of the code. \
                        Codes may be added, so treat one that you don't know like others of its status.\n\n\
                        | Status | Code | Meaning |\n|---|---|---|\n"
        .to_owned();
    for code in api.errors() {
        markdown += &format!("| {} | `{}` | {} |\n", code.status, code.code, code.meaning.replace('|', "\\|"));
    }
    Page {
        path: "/docs/errors".to_owned(),
        section: ERRORS.to_owned(),
        title: ERRORS.to_owned(),
        short: Some("All error codes".to_owned()),
        summary: "Every error code with its meaning.".to_owned(),
        markdown,
    }
}

fn error(api: &Api, code: &ErrorCode) -> Page {
    let mut markdown =
        format!("# `{}`\n\n**Status {}.** {}.\n\n{}\n\n", code.code, code.status, code.meaning, advice(code));
    markdown += &format!(
        "```json\n{{\n  \"error\": {{\n    \"code\": \"{}\",\n    \"message\": \"…\",\n    \"request_id\": \"req_7a2b9c\",\n    \
         \"doc_url\": \"{}\"\n  }}\n}}\n```\n\n",
        code.code,
        code.url()
    );
    let operations = api.operations();
    let returning: Vec<_> = operations.iter().filter(|one| one.codes().contains(&code.code.as_str())).collect();
    markdown += &match returning.len() {
        0 => "## Returned by\n\nPaths that have no operation for the request.\n".to_owned(),
        count if count == operations.len() => "## Returned by\n\nEvery operation.\n".to_owned(),
        _ => {
            let row = |operation: &&Operation<'_>| {
                format!("| [{}]({}) | `{}` |\n", operation.summary(), operation.url(), operation.key())
            };
            format!(
                "## Returned by\n\n| Operation | Request |\n|---|---|\n{}",
                returning.iter().map(row).collect::<String>()
            )
        }
    };
    Page {
        path: code.url(),
        section: ERRORS.to_owned(),
        title: code.code.clone(),
        short: None,
        summary: format!("{}.", code.meaning),
        markdown,
    }
}

/// Returns the advice that holds for all codes of a status.
fn advice(code: &ErrorCode) -> &'static str {
    match code.status {
        400 | 413 | 415 | 422 => {
            "The request changed nothing. Correct it before you send it again: a repetition gets the same answer."
        }
        401 => "Send a valid token in `Authorization`; see [authentication](/docs/guides/authentication).",
        403 => {
            "Another token or another person may be allowed to do this; see \
                [who may do what](/docs/api#roles-permissions-and-teams)."
        }
        404 => "Check the ID or the name. What the caller may not see is answered like what does not exist.",
        405 => "Use a method that `Allow` lists.",
        409 | 412 => {
            "The request is valid, and it conflicts with the present state. Read the resource again, and decide whether \
                      the request still makes sense."
        }
        429 => {
            "Wait for the seconds in `Retry-After`; see [rate limits and retries](/docs/guides/rate-limits-and-retries)."
        }
        500 | 503 => {
            "Send the request again after a while. For a write, see \
                      [how to do this safely](/docs/guides/rate-limits-and-retries#repeat-a-write)."
        }
        _ => "The request changed nothing.",
    }
}
