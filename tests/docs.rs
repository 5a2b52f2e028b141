//! Compares the documentation with the repository: the links, paths, commands and tests that it names exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use tests::{checkout, read_file};

/// Folders that no page describes, below the repository's root.
const NOT_OURS: [&str; 4] = [".git", ".local", "node_modules", "target"];

/// The parts of a page that can go stale.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    /// The texts of code spans, and the lines of code blocks.
    code: Vec<String>,
    /// The anchors of its headings, as GitHub makes them.
    anchors: BTreeSet<String>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let (mut heading, mut block) = (None::<String>, None::<String>);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push(dest_url.into_string()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.anchors.extend(heading.take().map(|text| anchor(&text))),
                Event::Start(Tag::CodeBlock(_)) => block = Some(String::new()),
                Event::End(TagEnd::CodeBlock) => {
                    page.code.extend(block.take().unwrap_or_default().lines().map(str::to_owned));
                }
                Event::Text(text) => {
                    heading.iter_mut().chain(&mut block).for_each(|into| into.push_str(&text));
                }
                Event::Code(code) => {
                    heading.iter_mut().for_each(|into| into.push_str(&code));
                    page.code.push(code.into_string());
                }
                _ => {}
            }
        }
        page
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Returns the files of the repository with this extension.
fn files(extension: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![checkout().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = NOT_OURS.iter().all(|name| !path.ends_with(name));
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files
}

fn pages() -> BTreeMap<PathBuf, Page> {
    let page = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, Page::parse(&text))
    };
    files("md").into_iter().map(page).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.contains_key(&checkout().join("infra/docs/architecture.md")), "the documentation is found");
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((&**link, None), |(file, anchor)| (file, Some(anchor)));
            let target = match file {
                "" => path.clone(),
                _ => path.parent().unwrap().join(file).canonicalize().unwrap_or_default(),
            };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if let Some(anchor) = anchor {
                let page = pages.get(&target).unwrap_or_else(|| panic!("{}: {link} is no page", path.display()));
                assert!(page.anchors.contains(anchor), "{}: {link} leads to no heading", path.display());
            }
        }
    }
}

/// Paths begin with a folder of the repository's root. A name in angle brackets, as in `functions/<name>`, stands for
/// any name.
#[test]
fn every_path_that_is_named_exists() {
    for (page, Page { code, .. }) in pages() {
        for word in code.iter().flat_map(|code| code.split_whitespace()) {
            let word = word.trim_end_matches(['.', ',', ':', ';']).trim_end_matches("::");
            let is_path = ["functions/", "shared/", "infra/", "events/", "tests/", ".ci/", ".github/"]
                .iter()
                .any(|folder| word.starts_with(folder));
            if is_path && !word.contains('<') {
                assert!(checkout().join(word).exists(), "{}: {word} is not there", page.display());
            }
        }
    }
}

/// Commands are aliases of the repository, with a package that it has, or cargo's own and its plug-ins'.
#[test]
fn every_cargo_command_that_is_named_exists() {
    const OTHERS: [&str; 8] = ["build", "clippy", "deny", "doc", "fmt", "lambda", "nextest", "test"];
    let aliases = read_file(".cargo/config.toml");
    for (page, Page { code, .. }) in pages() {
        for (_, command) in
            code.iter().flat_map(|code| code.match_indices("cargo ").map(move |(at, _)| code.split_at(at)))
        {
            let words: Vec<_> = command.split_whitespace().collect();
            let Some(name) = words.get(1) else { continue };
            let is_alias = aliases.lines().any(|line| line.starts_with(&format!("{name} = ")));
            assert!(is_alias || OTHERS.contains(name), "{}: there is no `cargo {name}`", page.display());
        }
    }
}

/// A test is named by the path that `cargo test` filters by: its modules and its function.
#[test]
fn every_test_that_is_named_exists() {
    let sources = files("rs");
    let page = Page::parse(&read_file("infra/docs/architecture.md"));
    let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':');
    let named: Vec<_> = page.code.iter().filter(|code| code.contains("::") && code.chars().all(is_lower)).collect();
    assert!(named.len() > 20, "the invariants name their tests");
    for name in named {
        let (modules, function) = name.rsplit_once("::").unwrap();
        let file = format!("{}.rs", modules.replace("::", "/"));
        let mut files = sources.iter().filter(|path| path.ends_with(&file));
        let definition = format!("fn {function}(");
        assert!(
            files.any(|path| std::fs::read_to_string(path).unwrap().contains(&definition)),
            "there is no test {name}"
        );
    }
}
