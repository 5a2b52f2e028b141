//! The index that the browser searches, and the list of pages for language models.

use serde_json::json;

use crate::Page;
use crate::api::Api;

/// Returns the index: for each page its title, path, section and the words that it is found by.
pub(crate) fn index(pages: &[Page], api: &Api) -> String {
    let operations = api.operations();
    let entries = pages.iter().map(|page| {
        let description = operations.iter().find(|operation| operation.url() == page.path);
        let description = description.map(|operation| operation.description()).unwrap_or_default();
        let is_heading = |line: &&str| line.starts_with("## ") || line.starts_with("### ");
        let of_every_operation = ["Request", "Errors", "Body", "Path parameters", "Query parameters", "Returned by"];
        let headings = page.markdown.lines().filter(is_heading).map(|line| line.trim_start_matches(['#', ' ']));
        let headings: Vec<_> = headings.filter(|heading| !of_every_operation.contains(heading)).collect();
        let words = format!("{} {description} {}", page.summary.replace('`', ""), headings.join(" "));
        json!([page.title, page.path, page.section, words.trim()])
    });
    serde_json::Value::from_iter(entries).to_string()
}

/// Returns the list of pages in the form of <https://llmstxt.org>.
pub(crate) fn llms(pages: &[Page]) -> String {
    let mut text =
        "# .git API\n\n> Deploys git repositories over HTTP and JSON: repositories, deployments, environments, \
                    tokens, teams and members of an account.\n\nEach page is Markdown. The OpenAPI document is at \
                    [/v1/openapi.json](/v1/openapi.json).\n"
            .to_owned();
    let mut section = "";
    for page in pages {
        if page.section != section {
            section = &page.section;
            text += &format!("\n## {section}\n\n");
        }
        text += &format!("- [{}]({}.md): {}\n", page.title, page.path, page.summary);
    }
    text
}
