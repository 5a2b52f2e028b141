//! Symbolic links. Git writes them wherever they lead.

use super::Case;
use super::entry::{executable, file, link};

pub(super) const CASES: &[Case] = &[
    ("a link to a file", |_| {
        vec![file("a/file", "x"), link("link", "a/file"), link("a/beside", "file"), link("b/up", "../a/file")]
    }),
    ("a link to a folder", |_| {
        vec![file("a/b/file", "x"), link("folder", "a/b"), link("slash", "a/b/"), link("here", ".")]
    }),
    ("a link to nothing", |_| vec![link("dangling", "nowhere"), link("deep/dangling", "../no/where")]),
    ("a link to a device", |_| {
        vec![link("null", "/dev/null"), link("systemd/x.service", "/dev/null"), link("zero", "/dev/zero")]
    }),
    ("a link to a place of the system", |_| {
        vec![
            link("etc/resolv.conf", "/run/resolv.conf"),
            link("passwd", "/etc/passwd"),
            link("root", "/"),
            link("proc", "/proc/self/environ"),
        ]
    }),
    ("a link out of the tree", |_| {
        vec![link("up", ".."), link("x", "../../x"), link("a/b", "../../../.ssh/id"), link("a/c", "b/../../..")]
    }),
    ("loops", |_| {
        vec![
            link("self", "self"),
            link("one", "two"),
            link("two", "one"),
            link("a/b", "../a"),
            link("long", "long/long"),
        ]
    }),
    ("a chain of links", |_| {
        vec![file("file", "x"), link("1", "file"), link("2", "1"), link("3", "2"), link("out", "3/../..")]
    }),
    ("targets that are not UTF-8", |_| {
        vec![file(b"caf\xe9", "x"), link("link", b"caf\xe9"), link(b"l\xefnk", b"\xff\xfe")]
    }),
    ("targets with odd characters", |_| {
        vec![
            link("newline", "a\nb\n"),
            link("space", " a "),
            link("quote", "\"a\""),
            link("back", "a\\b"),
            link("tilde", "~/x"),
        ]
    }),
    ("a long target", |_| vec![link("long", "x/".repeat(2000)), link("name", "n".repeat(300))]),
    ("links beside what they hide", |_| {
        vec![link("a", "b"), file("a.txt", "x"), file("b/c", "y"), link("b0", "b/c"), executable("b-x", "z")]
    }),
    ("links that git reads itself", |_| {
        vec![
            link(".gitignore", "/etc/passwd"),
            link(".mailmap", "x"),
            link("sub/.gitattributes", "../attributes"),
            file("attributes", "* eol=crlf\n"),
            file("sub/a", "1\n2\n"),
        ]
    }),
    ("a link with attributes", |_| {
        vec![file(".gitattributes", "* text eol=crlf ident\n"), link("link", "a\nb"), file("a", "x\n")]
    }),
];
