//! Renders the site: the dashboard's files and the documentation, compressed and named by their content.
//!
//! The documentation comes from the OpenAPI document and from `infra/docs`. Each of its pages is made as Markdown, which is
//! served beside the HTML page that is rendered from it.

mod api;
mod assets;
mod bundle;
mod fields;
mod guides;
mod html;
mod json;
mod layout;
mod reference;
mod samples;
mod search;
mod site;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use self::api::Api;
use self::assets::Assets;
use self::layout::Layout;
use self::site::Site;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// A page of the documentation.
struct Page {
    /// The path of its URL.
    path: String,
    /// The title of its part of the navigation.
    section: String,
    title: String,
    /// The text of its link in the navigation, if that is not the title.
    short: Option<String>,
    /// One sentence for lists of pages.
    summary: String,
    /// Links lead to paths of the site.
    markdown: String,
}

fn main() -> Result<()> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkout = crate_folder.ancestors().nth(2).ok_or("the crate is in functions/get-dashboard")?;
    let sources = ["build", "page", "docs", "../get-openapi/openapi.json", "../../infra/docs"];
    for source in sources {
        println!("cargo:rerun-if-changed={}", crate_folder.join(source).display());
    }

    let mut site = Site::default();
    let mut dashboard = Assets::read(&crate_folder.join("page"))?.bundled("app.js")?;
    dashboard.publish(&mut site)?;
    site.add("/", dashboard.document("index.html")?);

    let api = Api::read(&crate_folder.join("../get-openapi/openapi.json"))?;
    let mut pages = guides::pages(checkout, &api)?;
    pages.extend(reference::pages(&api));
    let mut assets = Assets::read(&crate_folder.join("docs"))?;
    assets.publish(&mut site)?;
    let index = site.add_asset("search", "json", search::index(&pages, &api));
    let layout = Layout {
        style: assets.url("docs.css")?,
        script: assets.url("docs.js")?,
        icon: assets.url("icon.svg")?,
        index,
        pages: &pages,
    };
    let links = links(&api);
    for page in &pages {
        site.add(&page.path, layout.page(page, &html::render(&page.path, &page.markdown, &links)));
        site.add(&format!("{}.md", page.path), with_twins(&page.markdown)?);
    }
    site.add("404", layout.not_found());
    site.add("/llms.txt", search::llms(&pages));
    site.write(Path::new(&std::env::var("OUT_DIR")?))
}

/// Returns the pages that code spans lead to: operations by their route keys, and error codes.
fn links(api: &Api) -> BTreeMap<String, String> {
    let operations = api.operations().into_iter().map(|operation| (operation.key(), operation.url()));
    let errors = api.errors().into_iter().map(|error| (error.code.clone(), error.url()));
    operations.chain(errors).collect()
}

/// Leads the links of a page to the Markdown of other pages.
fn with_twins(markdown: &str) -> Result<String> {
    guides::with_links(markdown, |target| {
        let (page, anchor) = target.split_once('#').map_or((target, None), |(page, anchor)| (page, Some(anchor)));
        Some(match (page.starts_with("/docs"), anchor) {
            (true, Some(anchor)) => format!("{page}.md#{anchor}"),
            (true, None) => format!("{page}.md"),
            _ => target.to_owned(),
        })
    })
}
