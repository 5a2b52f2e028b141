//! Markdown as HTML: headings with anchors, tables that scroll, code spans that lead to what they name, and samples of which one
//! is shown at a time.

use std::collections::BTreeMap;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

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
    let mut renderer = Renderer { path, links, events: Vec::new(), headings: Vec::new(), samples: 0, is_link: false };
    let mut rest = &parsed[..];
    while !rest.is_empty() {
        rest = renderer.take(rest);
    }
    let mut html = String::new();
    html::push_html(&mut html, renderer.events.into_iter());
    // A header without a text names nothing.
    Rendered { html: html.replace("<th></th>", "<td></td>"), headings: renderer.headings }
}

/// A page while it is rendered.
struct Renderer<'a> {
    path: &'a str,
    links: &'a BTreeMap<String, String>,
    events: Vec<Event<'a>>,
    headings: Vec<Heading>,
    /// The number of groups of samples so far.
    samples: usize,
    /// Whether the text is that of a link.
    is_link: bool,
}

impl<'a> Renderer<'a> {
    /// Renders what the events begin with. Returns the events after it.
    fn take<'e>(&mut self, events: &'e [Event<'a>]) -> &'e [Event<'a>] {
        let (event, rest) = events.split_first().expect("there is an event");
        match event {
            Event::Start(Tag::Heading { level, .. }) => return self.heading(*level, rest),
            Event::Start(Tag::CodeBlock(_)) => return self.code_blocks(events),
            Event::Start(Tag::Table(_)) => self.table(event, rest),
            Event::End(TagEnd::Table) => {
                self.events.push(event.clone());
                self.raw("</div>\n".to_owned());
            }
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => {
                self.is_link = matches!(event, Event::Start(_));
                self.events.push(event.clone());
            }
            Event::Code(code) => match self.links.get(&**code).filter(|target| *target != self.path && !self.is_link) {
                // A line may break before a slash, and nowhere else in a path.
                Some(target) => {
                    let text = escaped(code).replace('/', "<wbr>/");
                    self.raw(format!("<a href=\"{target}\"><code>{text}</code></a>"));
                }
                None => self.events.push(event.clone()),
            },
            // Comments mark generated parts.
            Event::Html(_) | Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
            other => self.events.push(other.clone()),
        }
        rest
    }

    fn heading<'e>(&mut self, level: HeadingLevel, events: &'e [Event<'a>]) -> &'e [Event<'a>] {
        let (inner, rest) = until(events, TagEnd::Heading(level));
        let text = plain(inner);
        let heading = Heading { id: anchor(&text), text };
        let mut html = String::new();
        html::push_html(&mut html, inner.iter().cloned());
        if level != HeadingLevel::H1 {
            let label = "aria-label=\"Link to this section\"";
            html += &format!(" <a class=\"anchor\" href=\"#{}\" {label}>#</a>", heading.id);
        }
        self.raw(format!("<{level} id=\"{}\">{html}</{level}>\n", heading.id));
        if level == HeadingLevel::H2 {
            self.headings.push(heading);
        }
        rest
    }

    fn table(&mut self, start: &Event<'a>, events: &[Event<'a>]) {
        let (head, _) = until(events, TagEnd::TableHead);
        let head = plain(head);
        let class = if FIELDS.iter().any(|fields| head.starts_with(fields)) { "table fields" } else { "table" };
        self.raw(format!("<div class=\"{class}\">"));
        self.events.push(start.clone());
    }

    /// Renders a code block, and if it is a sample all samples that follow it.
    fn code_blocks<'e>(&mut self, mut events: &'e [Event<'a>]) -> &'e [Event<'a>] {
        let (mut blocks, mut rest) = (Vec::new(), events);
        while let Some((Event::Start(Tag::CodeBlock(kind)), inner)) = events.split_first() {
            let title = title(kind);
            let (inner, after) = until(inner, TagEnd::CodeBlock);
            if !blocks.is_empty() && title.is_none() {
                break;
            }
            blocks.push((title, plain(inner)));
            (events, rest) = (after, after);
            if title.is_none() {
                break;
            }
        }
        match &blocks[..] {
            [(_, code)] => self.raw(block(code)),
            samples => {
                self.samples += 1;
                self.raw(tabs(samples, self.samples));
            }
        }
        rest
    }

    fn raw(&mut self, html: String) {
        self.events.push(Event::Html(CowStr::from(html)));
    }
}

/// Returns the events before an end, and those after it.
fn until<'e, 'a>(events: &'e [Event<'a>], end: TagEnd) -> (&'e [Event<'a>], &'e [Event<'a>]) {
    let at = events.iter().position(|event| *event == Event::End(end)).expect("the parser closes what it opens");
    (&events[..at], &events[at + 1..])
}

/// Returns the title of a code block that is a sample.
fn title(kind: &CodeBlockKind<'_>) -> Option<&'static str> {
    let CodeBlockKind::Fenced(language) = kind else { return None };
    LANGUAGES.iter().find(|(name, _)| **name == **language).map(|(_, title)| *title)
}

/// Returns samples with a radio button for each language.
fn tabs(samples: &[(Option<&str>, String)], number: usize) -> String {
    let mut html = "<div class=\"samples\" role=\"group\" aria-label=\"Samples\">\n".to_owned();
    for (at, (title, _)) in samples.iter().enumerate() {
        let title = title.unwrap_or_default();
        let (id, checked) = (format!("sample-{number}-{at}"), if at == 0 { " checked" } else { "" });
        html += &format!("<input type=\"radio\" name=\"sample-{number}\" id=\"{id}\" value=\"{title}\"{checked}>");
        html += &format!("<label for=\"{id}\">{title}</label>\n");
    }
    for (_, code) in samples {
        html += &format!("<div class=\"panel\">{}</div>\n", block(code));
    }
    html + "</div>\n"
}

fn block(code: &str) -> String {
    format!("<div class=\"code\"><pre><code>{}</code></pre></div>\n", escaped(code.trim_end()))
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

/// Returns text as it stands in HTML, also in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
