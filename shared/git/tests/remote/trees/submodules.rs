//! Submodules, which are beside the repository.

use std::path::Path;

use git::CommitSha;

use super::Case;
use super::entry::{self, Entry, executable, file, link, submodule};
use crate::origin::Origin;

pub(super) const CASES: &[Case] = &[
    ("a submodule", |origin| {
        let lib = library(origin, "lib");
        vec![file(".gitmodules", module("lib", "lib", "../lib")), submodule("lib", lib), file("a", "a")]
    }),
    ("a submodule in a folder, with another name", |origin| {
        let lib = library(origin, "lib");
        vec![
            file(".gitmodules", module("some/name", "third party/libs/x", "../lib")),
            submodule("third party/libs/x", lib),
        ]
    }),
    ("two submodules of one repository", |origin| {
        let lib = library(origin, "lib");
        vec![
            file(".gitmodules", module("one", "one", "../lib") + &module("two", "two", "../lib/")),
            submodule("one", lib),
            submodule("two", lib),
        ]
    }),
    ("a submodule at an earlier commit", |origin| {
        let earlier = library(origin, "lib");
        let lib = origin.beside("lib");
        entry::commit(&lib, &[file("later", "later")]);
        vec![file(".gitmodules", module("lib", "lib", "../lib")), submodule("lib", earlier)]
    }),
    ("submodules in submodules", |origin| {
        let inner = library(origin, "inner");
        let middle = entry::commit(
            &origin.beside("middle"),
            &[
                file(".gitmodules", module("deps/inner", "deps/inner", "../inner")),
                submodule("deps/inner", inner),
                file("middle", "middle"),
            ],
        );
        let outer = entry::commit(
            &origin.beside("outer"),
            &[file(".gitmodules", module("middle", "m", "../middle")), submodule("m", middle)],
        );
        vec![file(".gitmodules", module("outer", "o", "../outer")), submodule("o", outer)]
    }),
    ("a submodule that is left out", |origin| {
        let lib = library(origin, "lib");
        let modules = module("lib", "lib", "../lib") + "\tupdate = none\n" + &module("other", "other", "../lib");
        vec![file(".gitmodules", modules), submodule("lib", lib), submodule("other", lib)]
    }),
    ("ways to update a submodule", |origin| {
        let lib = library(origin, "lib");
        let modules = module("a", "a", "../lib")
            + "\tupdate = rebase\n"
            + &module("b", "b", "../lib")
            + "\tupdate = merge\n\tbranch = main\n\tshallow = true\n\tignore = all\n";
        vec![file(".gitmodules", modules), submodule("a", lib), submodule("b", lib)]
    }),
    ("a submodule without a description", |origin| {
        let lib = library(origin, "lib");
        vec![submodule("embedded/repository", lib), file("a", "a")]
    }),
    ("a description without a submodule", |origin| {
        library(origin, "lib");
        vec![
            file(".gitmodules", module("lib", "lib", "../lib") + &module("gone", "gone", "../gone")),
            file("lib/a", "own"),
        ]
    }),
    ("a submodule with a quoted name", |origin| {
        let lib = library(origin, "lib");
        vec![file(".gitmodules", module("it's \\\"x\\\" \\\\ y", "odd path/x", "../lib")), submodule("odd path/x", lib)]
    }),
    ("a submodule beside links", |origin| {
        let lib = library(origin, "lib");
        vec![
            file(".gitmodules", module("lib", "lib", "../lib")),
            submodule("lib", lib),
            link("into", "lib/plain"),
            link("library", "lib"),
            link("over", "lib/.git"),
        ]
    }),
    ("attributes do not reach into submodules", |origin| {
        let lib = library(origin, "lib");
        vec![
            file(".gitmodules", module("lib", "lib", "../lib")),
            file(".gitattributes", "* text eol=crlf\n"),
            submodule("lib", lib),
            file("a", "1\n2\n"),
        ]
    }),
];

/// Makes a repository beside the other one, with files of several kinds.
fn library(origin: &Origin, name: &str) -> CommitSha {
    let entries: [Entry; 6] = [
        file("plain", format!("of {name}\n")),
        executable("bin/run", "#!/bin/sh\n"),
        link("out", "/dev/null"),
        link("up", "../../x"),
        file(b"caf\xe9", "bytes"),
        file("sub/.gitattributes", "* eol=crlf\n"),
    ];
    let more = [file("sub/text", "1\n2\n")];
    entry::commit(&origin.beside(name), &[&entries[..], &more[..]].concat())
}

fn module(name: &str, path: &str, url: &str) -> String {
    assert!(Path::new(path).is_relative());
    format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n")
}
