//! Markdown as HTML: headings with anchors, tables that scroll, code spans that lead to what they name, and samples of which one
//! is shown at a time.

use std::collections::BTreeMap;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// The languages of samples, by the words after the fence of their code blocks.
const LANGUAGES: [(&str, &str); 4] = [("sh", "curl"), ("python", "Python"), ("ts", "TypeScript"), ("rust", "Rust")];

/// The first words of tables of fields, whose rows are stacked on a narrow screen.
const FIELDS: [&str; 3] = ["FieldType", "NameType", "StatusCode"];

/// The HTML of a page, and its headings of the second level.
pub(crate) struct Rendered {
    pub(crate) html: String,
    pub(crate) headings: Vec<Heading>,
}

pub(crate) struct Heading {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Renders the page at a path. `links` has the pages that code spans lead to.
pub(crate) fn render(path: &str, markdown: &str, links: &BTreeMap<String, String>) -> Rendered {
    let parsed: Vec<_> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let (mut events, mut headings, mut samples) = (Vec::new(), Vec::new(), 0);
    let (mut at, mut is_link) = (0, false);
    while let Some(event) = parsed.get(at) {
        at += 1;
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let end = at
                    + parsed[at..]
                        .iter()
                        .position(|event| matches!(event, Event::End(TagEnd::Heading(_))))
                        .unwrap_or(0);
                let text = plain(&parsed[at..end]);
                let heading = Heading { id: anchor(&text), text };
                let mut inner = String::new();
                html::push_html(&mut inner, parsed[at..end].iter().cloned());
                let link = match *level as u8 {
                    1 => String::new(),
                    _ => format!(
                        " <a class=\"anchor\" href=\"#{}\" aria-label=\"Link to this section\">#</a>",
                        heading.id
                    ),
                };
                events.push(raw(format!("<{level} id=\"{}\">{inner}{link}</{level}>\n", heading.id)));
                if *level as u8 == 2 {
                    headings.push(heading);
                }
                at = end + 1;
            }
            Event::Start(Tag::Table(_)) => {
                let end =
                    parsed[at..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::TableHead))).count();
                let is_fields = FIELDS.iter().any(|head| plain(&parsed[at..at + end]).starts_with(head));
                let class = if is_fields { "table fields" } else { "table" };
                events
                    .push(raw(format!("<div class=\"{class}\" role=\"region\" aria-label=\"Table\" tabindex=\"0\">")));
                events.push(event.clone());
            }
            Event::End(TagEnd::Table) => {
                events.push(event.clone());
                events.push(raw("</div>\n".to_owned()));
            }
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => {
                is_link = matches!(event, Event::Start(_));
                events.push(event.clone());
            }
            Event::Code(code) if !is_link && links.get(&**code).is_some_and(|target| target != path) => {
                // A line may break before a slash, and nowhere else in a path.
                let text = escaped(code).replace('/', "<wbr>/");
                events.push(raw(format!("<a href=\"{}\"><code>{text}</code></a>", links[&**code])));
            }
            Event::Start(Tag::CodeBlock(_)) => {
                let (blocks, next) = code_blocks(&parsed, at - 1);
                let is_sample = |(language, _): &(String, String)| LANGUAGES.iter().any(|(name, _)| name == language);
                if blocks.len() > 1 && blocks.iter().all(is_sample) {
                    samples += 1;
                    events.push(raw(tabs(&blocks, samples)));
                    at = next;
                } else {
                    let (_, code) = &blocks[0];
                    events.push(raw(block(code)));
                    at +=
                        parsed[at..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::CodeBlock))).count()
                            + 1;
                }
            }
            // Comments mark generated parts.
            Event::Html(_) | Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
            other => events.push(other.clone()),
        }
    }
    let mut html = String::new();
    html::push_html(&mut html, events.into_iter());
    Rendered { html, headings }
}

/// Returns the code blocks that follow each other, each with its language, and the position after them.
fn code_blocks(events: &[Event<'_>], mut at: usize) -> (Vec<(String, String)>, usize) {
    let mut blocks = Vec::new();
    while let Some(Event::Start(Tag::CodeBlock(kind))) = events.get(at) {
        let language = match kind {
            CodeBlockKind::Fenced(language) => language.to_string(),
            CodeBlockKind::Indented => String::new(),
        };
        let end =
            at + events[at..].iter().position(|event| matches!(event, Event::End(TagEnd::CodeBlock))).unwrap_or(0);
        blocks.push((language, plain(&events[at..end])));
        at = end + 1;
    }
    (blocks, at)
}

/// Returns samples with a radio button for each language.
fn tabs(blocks: &[(String, String)], number: usize) -> String {
    let mut html = "<div class=\"samples\" role=\"group\" aria-label=\"Samples\">\n".to_owned();
    for (at, (language, _)) in blocks.iter().enumerate() {
        let title = LANGUAGES.iter().find(|(name, _)| name == language).map_or("", |(_, title)| title);
        let checked = if at == 0 { " checked" } else { "" };
        html += &format!(
            "<input type=\"radio\" name=\"sample-{number}\" id=\"sample-{number}-{language}\" value=\"{language}\"{checked}>\
             <label for=\"sample-{number}-{language}\">{title}</label>\n"
        );
    }
    for (_, code) in blocks {
        html += &format!("<div class=\"panel\">{}</div>\n", block(code));
    }
    html + "</div>\n"
}

fn block(code: &str) -> String {
    format!("<div class=\"code\"><pre tabindex=\"0\"><code>{}</code></pre></div>\n", escaped(code.trim_end()))
}

/// Returns the text of events without markup.
fn plain(events: &[Event<'_>]) -> String {
    let text = |event: &Event<'_>| match event {
        Event::Text(text) | Event::Code(text) => text.to_string(),
        Event::SoftBreak => " ".to_owned(),
        _ => String::new(),
    };
    events.iter().map(text).collect()
}

/// Returns the id of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn raw(html: String) -> Event<'static> {
    Event::Html(CowStr::from(html))
}

/// Returns text as it stands in HTML, also in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
