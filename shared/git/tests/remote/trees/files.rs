//! Names, modes and contents of files.

use super::Case;
use super::entry::{Entry, executable, file};

pub(super) const CASES: &[Case] = &[
    ("a commit without files", |_| Vec::new()),
    ("an empty file", |_| vec![file("empty", "")]),
    ("modes", |_| vec![file("plain", "a"), executable("run", "#!/bin/sh\n"), executable("bin/empty", "")]),
    ("deep folders", |_| vec![file(format!("{}file", "folder/".repeat(60)), "deep")]),
    ("a path of 3,000 bytes", |_| vec![file(format!("{}file", format!("{}/", "n".repeat(199)).repeat(15)), "long")]),
    ("a name of 255 bytes", |_| vec![file("n".repeat(255), "a"), file("é".repeat(127), "b")]),
    ("many files", |_| (0..700).map(|n| file(format!("{}/{n}", n % 7), n.to_string())).collect()),
    ("one content in many places", |_| (0..20).map(|n| file(format!("{n}/a"), "same")).collect()),
    ("spaces and quotes", |_| {
        names(&["a b", " a", "a ", "it's", "\"quoted\"", "`x`", "$HOME", "a;b", "a&b", "*", "?", "[a]"])
    }),
    ("control characters", |_| {
        names(&["tab\there", "line\nbreak", "return\r", "bell\u{7}", "escape\u{1b}[0m", "del\u{7f}"])
    }),
    ("separators of other systems", |_| names(&["back\\slash", "a:b", "C:\\x", "c:", "a|b", "<a>", "\\\\host\\share"])),
    ("reserved names of other systems", |_| {
        names(&["con", "aux.txt", "NUL", "com1", "a.", "b...", "c /d", "~1", "lpt9.x"])
    }),
    ("leading dashes and dots", |_| {
        names(&["-", "--help", "-rf", ".hidden", "...", "..a", ".-", "@", "@{1}", "HEAD", "#x", "~"])
    }),
    ("names beside git's own", |_| {
        names(&["git", ".gitx", ".github/x", ".git-x", "gitmodules", "a.git", "x.git/HEAD", ".gitignore", "g/.gitkeep"])
    }),
    ("composed and decomposed characters", |_| names(&["caf\u{e9}", "cafe\u{301}", "\u{212b}", "\u{c5}", "A\u{30a}"])),
    ("scripts of the world", |_| {
        names(&["日本語", "Привет/мир", "שלום", "مرحبا", "🚀/🧑‍🚀", "ﬁle", "\u{202e}txt.exe", "\u{feff}bom"])
    }),
    ("names that are not UTF-8", |_| {
        vec![
            file(b"caf\xe9", "latin-1"),
            file(b"\xff\xfe/\x80", "bytes"),
            file(b"\x93\xfa\x96\x7b", "shift_jis"),
            executable(b"na\xefve/run", "x"),
            file(b"overlong\xc0\xaf", "x"),
        ]
    }),
    ("names that differ in case", |_| names(&["a", "A", "Dir/x", "dir/x", "straße", "STRASSE"])),
    ("percent signs", |_| names(&["100%", "%2F", "a%20b", "%s%n", "+", "a+b"])),
    ("a file beside a folder of a similar name", |_| names(&["a", "a.b", "a-b/c", "a0", "ab/c", "a.b.c/d"])),
    ("every byte", |_| {
        let all: Vec<u8> = (0..=255).collect();
        vec![file("all", all.repeat(300)), file("nul", [0; 9]), file("no-newline", "x"), file("newlines", "\n\n\n")]
    }),
    ("line ends without attributes", |_| {
        vec![file("crlf", "a\r\nb\r\n"), file("cr", "a\rb\r"), file("mixed", "a\nb\r\n")]
    }),
    ("a large file", |_| vec![file("large", numbers(200_000)), file("zeros", vec![0; 2_000_000])]),
    ("deltas", |origin| {
        let entries = vec![file("a", numbers(5000)), file("b", [numbers(5000), b"more".to_vec()].concat())];
        super::entry::commit(origin, &entries);
        origin.git(&["repack", "-a", "-d", "-f", "--quiet"]);
        entries
    }),
];

fn names(names: &[&str]) -> Vec<Entry> {
    names.iter().map(|name| file(name, format!("content of {name}"))).collect()
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|n| format!("line {n}\n")).collect::<String>().into_bytes()
}
