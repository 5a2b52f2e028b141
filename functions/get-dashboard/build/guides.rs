//! The pages that are written by hand, in `infra/docs`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::api::Api;
use crate::{Page, Result};

/// The files below `infra/docs` that are published, by the sections of the navigation. A guide that is not there is left out.
const SECTIONS: [(&str, &[&str]); 2] = [
    (
        "Guides",
        &[
            "guides/overview.md",
            "guides/quick-start.md",
            "guides/authentication.md",
            "guides/deploying-from-ci.md",
            "guides/environments-and-approvals.md",
            "guides/following-a-deployment.md",
            "guides/rate-limits-and-retries.md",
            "guides/versions.md",
        ],
    ),
    (
        "Topics",
        &[
            "api.md",
            "repositories.md",
            "connections.md",
            "deployments.md",
            "environments.md",
            "variables.md",
            "protection-rules.md",
            "buildspec.md",
            "hooks.md",
            "webhooks.md",
            "commit-statuses.md",
            "trusts.md",
            "audit-log.md",
            "oauth2.md",
        ],
    ),
];
/// The page that `/docs` leads to.
const START: &str = "guides/overview.md";
const FOLDER: &str = "infra/docs";
const DOCUMENT: &str = "functions/get-openapi/openapi.json";

/// Returns all pages, in the order of the navigation.
pub(crate) fn pages(checkout: &Path, api: &Api) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    for (section, files) in SECTIONS {
        for file in files.iter().filter(|file| checkout.join(FOLDER).join(file).exists()) {
            let source = Path::new(FOLDER).join(file);
            let text = fs::read_to_string(checkout.join(&source))?;
            let text = without_generated(&text.replace("https://api.git.dev", api.server()));
            let markdown = with_links(&text, |target| published(checkout, &source, target))?;
            let (title, summary) = head(&markdown);
            pages.push(Page {
                path: path_of(file),
                section: section.to_owned(),
                title,
                short: None,
                summary,
                markdown,
            });
        }
    }
    Ok(pages)
}

fn path_of(file: &str) -> String {
    if file == START { "/docs".to_owned() } else { format!("/docs/{}", file.trim_end_matches(".md")) }
}

/// Returns the target of a link on the site, or `None` if the site lacks it.
fn published(checkout: &Path, page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with(['#', '/']) {
        return Some(target.to_owned());
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = normalized(&page.parent()?.join(file));
    if path == Path::new(DOCUMENT) {
        return Some("/v1/openapi.json".to_owned());
    }
    let file = path.strip_prefix(FOLDER).ok()?.to_str()?.to_owned();
    let is_published = SECTIONS.iter().any(|(_, files)| files.contains(&file.as_str()));
    let path = (is_published && checkout.join(&path).exists()).then(|| path_of(&file))?;
    Some(anchor.map_or(path.clone(), |anchor| format!("{path}#{anchor}")))
}

/// Replaces the parts that the generator writes for readers of the repository. The site has the reference for them.
fn without_generated(markdown: &str) -> String {
    let mut written = String::new();
    let mut is_generated = false;
    for line in markdown.split_inclusive('\n') {
        if line.starts_with("<!-- generated: ") {
            is_generated = true;
            written += "The [reference](/docs/reference) describes each of them.\n";
        }
        if !is_generated {
            written += line;
        }
        is_generated &= !line.starts_with("<!-- end of ");
    }
    written
}

/// Returns a path without `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normalized.pop()),
            other => normalized.push(other),
        }
    }
    normalized
}

/// Replaces the targets of links. A link without a target becomes its text.
pub(crate) fn with_links(markdown: &str, target: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut written = String::new();
    let mut end = 0;
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
        let link = &markdown[range.clone()];
        let Some((text, _)) = link.strip_prefix('[').and_then(|link| link.rsplit_once("](")) else { continue };
        written += &markdown[end..range.start];
        written += &match target(&dest_url) {
            Some(target) => format!("[{text}]({target})"),
            None => text.to_owned(),
        };
        end = range.end;
    }
    Ok(written + &markdown[end..])
}

/// Returns the first heading and the first sentence of a page.
fn head(markdown: &str) -> (String, String) {
    let (mut title, mut summary, mut into) = (String::new(), String::new(), 0);
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Heading { .. }) if into == 0 => into = 1,
            Event::End(TagEnd::Heading(_)) => into = 2,
            Event::End(TagEnd::Paragraph) => break,
            Event::Text(text) | Event::Code(text) if into == 1 => title.push_str(&text),
            Event::Text(text) | Event::Code(text) if into == 2 => summary.push_str(&text),
            Event::SoftBreak if into == 2 => summary.push(' '),
            _ => {}
        }
    }
    let sentence = summary.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned();
    (title, sentence)
}
