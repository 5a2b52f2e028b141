//! The frame of a page: head, header and navigation.

use crate::html::{Heading, Rendered, escaped};
use crate::{Page, reference};

/// The number of headings from which on a page has a table of contents.
const CONTENTS: usize = 3;

pub(crate) struct Layout<'a> {
    /// The URLs of the assets.
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
    pub(crate) index: String,
    pub(crate) pages: &'a [Page],
}

impl Layout<'_> {
    /// Returns the document of a page.
    pub(crate) fn page(&self, page: &Page, Rendered { html, headings }: &Rendered) -> String {
        let twin = format!("{}.md", page.path);
        let description = escaped(&page.summary.replace('`', ""));
        let head = format!(
            "<meta name=\"description\" content=\"{description}\">\n\
             <link rel=\"alternate\" type=\"text/markdown\" href=\"{twin}\">\n"
        );
        let main = format!(
            "<article>\n{html}</article>\n<footer><p><a href=\"{twin}\">This page as Markdown</a></p></footer>\n{}",
            contents(headings),
        );
        self.document(&page.title, &head, Some(page), &main)
    }

    /// Returns the page for a path that does not exist.
    pub(crate) fn not_found(&self) -> String {
        let main = "<article>\n<h1>Page not found</h1>\n<p>There is nothing at this address. Try the <a \
                    href=\"/docs\">documentation</a> or the <a href=\"/\">dashboard</a>.</p>\n</article>\n";
        self.document("Page not found", "", None, main)
    }

    fn document(&self, title: &str, head: &str, page: Option<&Page>, main: &str) -> String {
        let Self { style, script, icon, index, .. } = self;
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · .git API</title>\n{head}\
             <link rel=\"icon\" type=\"image/svg+xml\" href=\"{icon}\">\n<link rel=\"stylesheet\" href=\"{style}\">\n\
             <script type=\"module\" src=\"{script}\"></script>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#content\">Skip to the content</a>\n<header>\n\
             <a class=\"brand\" href=\"/docs\">.git <span>API documentation</span></a>\n\
             <form role=\"search\" data-index=\"{index}\" hidden>\n\
             <input type=\"search\" name=\"q\" placeholder=\"Search\" aria-label=\"Search the documentation\" \
             autocomplete=\"off\" spellcheck=\"false\" role=\"combobox\" aria-expanded=\"false\" aria-controls=\"found\">\n\
             <ul id=\"found\" role=\"listbox\" aria-label=\"Found pages\" hidden></ul>\n</form>\n\
             <a class=\"menu\" href=\"#navigation\">Menu</a>\n<a href=\"/\">Dashboard</a>\n</header>\n<div class=\"frame\">\n\
             <main id=\"content\" tabindex=\"-1\">\n{main}</main>\n\
             <nav id=\"navigation\" aria-label=\"Documentation\">\n{}</nav>\n</div>\n</body>\n</html>\n",
            escaped(title),
            self.navigation(page),
        )
    }

    /// Returns the list of all pages. The section of the current page is open.
    fn navigation(&self, current: Option<&Page>) -> String {
        let mut html = String::new();
        let mut sections: Vec<&str> = self.pages.iter().map(|page| page.section.as_str()).collect();
        sections.dedup();
        for section in sections {
            let is_open = current.map_or(section == "Guides", |page| page.section == section);
            let open = if is_open || section == "Guides" { " open" } else { "" };
            html += &format!("<details{open}><summary>{section}</summary><ul>\n");
            for page in self.pages.iter().filter(|page| page.section == section) {
                let here = current.is_some_and(|current| current.path == page.path);
                let here = if here { " aria-current=\"page\"" } else { "" };
                let title = escaped(page.short.as_ref().unwrap_or(&page.title));
                let title = if section == reference::ERRORS && page.short.is_none() {
                    format!("<code>{title}</code>")
                } else {
                    title
                };
                html += &format!("<li><a href=\"{}\"{here}>{title}</a></li>\n", page.path);
            }
            html += "</ul></details>\n";
        }
        html
    }
}

/// Returns the table of contents of a page with several headings.
fn contents(headings: &[Heading]) -> String {
    if headings.len() < CONTENTS {
        return String::new();
    }
    let item = |heading: &Heading| format!("<li><a href=\"#{}\">{}</a></li>\n", heading.id, escaped(&heading.text));
    let items: String = headings.iter().map(item).collect();
    format!("<aside aria-label=\"On this page\"><p>On this page</p><ul>\n{items}</ul></aside>\n")
}
