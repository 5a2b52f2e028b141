//! The effects of `.gitattributes` at checkout.

use super::Case;
use super::entry::{Entry, executable, file};

const TEXT: &str = "one\ntwo\nthree\n";

pub(super) const CASES: &[Case] = &[
    ("line ends of Windows", |_| {
        with("*.txt text eol=crlf\n*.bat eol=crlf\n", &[("a.txt", TEXT), ("a.bat", TEXT), ("a.c", TEXT)])
    }),
    ("line ends of Windows in what is text", |_| line_ends("* text=auto eol=crlf\n")),
    ("line ends of Windows in everything", |_| line_ends("* text eol=crlf\n")),
    ("line ends of Unix", |_| line_ends("* text eol=lf\n")),
    ("text without line ends", |_| line_ends("* text\n")),
    ("text by itself", |_| line_ends("* text=auto\n")),
    ("text as input", |_| line_ends("* text=input eol=crlf\n")),
    ("no text", |_| line_ends("* -text eol=crlf\n")),
    ("line ends of an unknown kind", |_| line_ends("* text eol=mac\n")),
    ("the old attribute crlf", |_| {
        with(
            "*.a crlf\n*.b -crlf eol=crlf\n*.c crlf=input\n*.d crlf=auto eol=crlf\n*.e crlf eol=crlf\n",
            &[("x.a", TEXT), ("x.b", TEXT), ("x.c", TEXT), ("x.d", TEXT), ("x.e", TEXT)],
        )
    }),
    ("identities", |_| {
        with(
            "* ident\n*.raw -ident\n",
            &[
                ("plain", "$Id$\n"),
                ("two", "$Id$ and $Id$"),
                ("expanded", "$Id: 0123456789abcdef $\n"),
                ("spaced", "$Id:  x $ $Id:x$ $Id: x$"),
                ("foreign", "$Id: file,v 1.2 2001/01/01 ada Exp $\n$Id$\n"),
                ("broken", "$Id: a\nb $ $Id$"),
                ("open", "$Id: a"),
                ("short", "$Id"),
                ("empty", "$Id:$ $Id: $"),
                ("others", "$Ident$ $id$ $$Id$$ $Revision$"),
                ("none", "nothing here"),
                ("x.raw", "$Id$"),
            ],
        )
    }),
    ("identities with line ends", |_| with("* ident text eol=crlf\n", &[("a", "$Id$\nx\n"), ("b", "$Id: x\n$\n")])),
    ("identities in what is encoded", |_| with("* ident working-tree-encoding=UTF-16\n", &[("a", "$Id$ é\n")])),
    ("UTF-16", |_| {
        encoded(
            &["UTF-16", "utf-16", "UTF16", "UTF-16LE", "UTF-16BE", "utf-16le", "UTF-16LE-BOM", "UTF-16BE-BOM"],
            "é𝄞日本\n",
        )
    }),
    ("UTF-32", |_| encoded(&["UTF-32", "UTF-32LE", "UTF-32BE", "utf-32"], "é𝄞日本\n")),
    ("UTF-8", |_| encoded(&["UTF-8", "utf8", "UTF8"], "é𝄞日本\n")),
    ("encodings of Western Europe", |_| {
        encoded(&["ISO-8859-1", "latin1", "latin-1", "windows-1252", "CP1252", "ISO-8859-15"], "é ß ñ\n")
    }),
    ("the euro", |_| encoded(&["windows-1252", "ISO-8859-15", "ISO-8859-1", "US-ASCII"], "10 €\n")),
    ("Cyrillic encodings", |_| {
        encoded(&["KOI8-R", "windows-1251", "cp1251", "ISO-8859-5", "CP866", "KOI8-U"], "Привет, мир\n")
    }),
    ("Japanese encodings", |_| {
        encoded(&["SHIFT-JIS", "Shift_JIS", "EUC-JP", "ISO-2022-JP", "CP932"], "日本語カタカナ\n")
    }),
    ("Chinese and Korean encodings", |_| {
        [
            encoded(&["GBK", "GB18030", "GB2312", "CP936"], "中文\n"),
            encoded(&["EUC-KR", "CP949"], "한국어\n"),
            encoded(&["Big5"], "中文\n"),
        ]
        .concat()
    }),
    ("other encodings of Europe", |_| {
        [
            encoded(&["ISO-8859-2", "windows-1250"], "Zażółć\n"),
            encoded(&["ISO-8859-7", "windows-1253"], "Ελλάδα\n"),
            encoded(&["ISO-8859-9", "windows-1254"], "İstanbul\n"),
        ]
        .concat()
    }),
    ("an encoding that nobody knows", |_| encoded(&["no-such-encoding", "UTF-16LE-X", "UTF-7.5"], "é\n")),
    ("characters that an encoding lacks", |_| {
        encoded(&["ISO-8859-1", "windows-1252", "Shift_JIS", "KOI8-R", "ASCII"], "日本 é 🚀\n")
    }),
    ("content that is not UTF-8 with an encoding", |_| {
        vec![file(".gitattributes", "* working-tree-encoding=UTF-16\n"), file("a", b"\xff\xfe\xfd"), file("empty", "")]
    }),
    ("an encoding with line ends", |_| {
        with("* text eol=crlf working-tree-encoding=UTF-16LE-BOM\n", &[("a.reg", TEXT), ("empty", "")])
    }),
    ("an empty encoding", |_| {
        with("a working-tree-encoding=\nb !working-tree-encoding\n", &[("a", "é\n"), ("b", "é\n")])
    }),
    ("macros", |_| {
        with(
            "[attr]dos text eol=crlf\n[attr]wide dos working-tree-encoding=UTF-16\n*.d dos\n*.w wide\n*.n dos -text\n*.b binary eol=crlf\n",
            &[("a.d", TEXT), ("a.w", TEXT), ("a.n", TEXT), ("a.b", TEXT)],
        )
    }),
    ("a macro below the top", |_| {
        vec![file("sub/.gitattributes", "[attr]dos text eol=crlf\n* dos\n"), file("sub/a", TEXT)]
    }),
    ("attributes of folders", |_| {
        vec![
            file(".gitattributes", "* eol=crlf\n"),
            file("a/.gitattributes", "* eol=lf\n*.x !eol\n"),
            file("a/b/.gitattributes", "*.y -text\n"),
            file("top", TEXT),
            file("a/f", TEXT),
            file("a/f.x", TEXT),
            file("a/b/f.y", TEXT),
            file("a/b/f.x", TEXT),
            file("c/f", TEXT),
        ]
    }),
    ("patterns", |_| {
        let attributes = "/top eol=crlf\nsub/* eol=crlf\n**/deep/** eol=crlf\n*.[ch] eol=crlf\nfolder/ eol=crlf\n!no eol=crlf\n\\#hash eol=crlf\na?c eol=crlf\n";
        let paths = [
            "top",
            "x/top",
            "sub/a",
            "sub/b/c",
            "x/deep/y/z",
            "a.c",
            "a.h",
            "a.x",
            "folder/a",
            "no",
            "#hash",
            "abc",
            "a/c",
        ];
        with(attributes, &paths.map(|path| (path, TEXT)))
    }),
    ("quoted patterns", |_| {
        with(
            "\"a b\" eol=crlf\n\"caf\\303\\251\" eol=crlf\n\"tab\\tx\" eol=crlf\n",
            &[("a b", TEXT), ("café", TEXT), ("tab\tx", TEXT), ("a", TEXT)],
        )
    }),
    ("patterns with bytes", |_| {
        vec![
            file(".gitattributes", b"caf\xe9 eol=crlf\n*.\xff eol=crlf\n"),
            file(b"caf\xe9", TEXT),
            file(b"a.\xff", TEXT),
            file("café", TEXT),
        ]
    }),
    ("the last line wins", |_| {
        with("* eol=crlf\na eol=lf\nb eol=lf\nb eol=crlf\n", &[("a", TEXT), ("b", TEXT), ("c", TEXT)])
    }),
    ("comments, spaces and Windows line ends", |_| {
        with(
            "# a comment\r\n\r\n  *.a   eol=crlf  \r\n*.b\teol=crlf\r\n*.c eol=crlf",
            &[("x.a", TEXT), ("x.b", TEXT), ("x.c", TEXT)],
        )
    }),
    ("a byte order mark", |_| with("\u{feff}*.a eol=crlf\n*.b eol=crlf\n", &[("x.a", TEXT), ("x.b", TEXT)])),
    ("attributes that count elsewhere", |_| {
        with(
            "a export-ignore\nb export-subst\nc -diff merge=union linguist-generated\n",
            &[("a", TEXT), ("b", "$Format:%H$\n"), ("c", TEXT)],
        )
    }),
    ("filters without a program", |_| {
        with(
            "*.a filter=crypt diff=x\n*.b filter=crypt eol=crlf\n*.c filter\n*.d -filter\n",
            &[("x.a", TEXT), ("x.b", TEXT), ("x.c", TEXT), ("x.d", TEXT)],
        )
    }),
    ("files of Git LFS that are no pointers", |_| {
        with(
            "* filter=lfs diff=lfs merge=lfs -text\n",
            &[("a.bin", TEXT), ("empty", ""), ("almost", "version https://git-lfs.github.com/spec/v1\n")],
        )
    }),
    ("an executable with attributes", |_| {
        vec![executable(".gitattributes", "* eol=crlf\n"), executable("run", "#!/bin/sh\n"), file("a", TEXT)]
    }),
];

fn with(attributes: &str, files: &[(&str, &str)]) -> Vec<Entry> {
    let files = files.iter().map(|(path, content)| file(path, content));
    std::iter::once(file(".gitattributes", attributes)).chain(files).collect()
}

/// Returns files with every mix of line ends.
fn line_ends(attributes: &str) -> Vec<Entry> {
    with(
        attributes,
        &[
            ("lf", TEXT),
            ("crlf", "one\r\ntwo\r\n"),
            ("mixed", "one\r\ntwo\nthree\n"),
            ("cr", "one\rtwo\n"),
            ("nul", "one\ntwo\0\n"),
            ("escape", "\u{1b}[1mbold\n\u{8}\u{c}\t\n"),
            ("mostly-control", "\u{1}\u{2}\u{3}\n"),
            ("ctrl-z", "one\ntwo\n\u{1a}"),
            ("delete", "\u{7f}\n"),
            ("empty", ""),
            ("one-newline", "\n"),
            ("no-newline", "one"),
        ],
    )
}

/// Returns a file for each encoding.
fn encoded(encodings: &[&str], content: &str) -> Vec<Entry> {
    encodings
        .iter()
        .flat_map(|encoding| {
            let attributes = format!("* working-tree-encoding={encoding}\n");
            [file(format!("{encoding}/.gitattributes"), attributes), file(format!("{encoding}/text"), content)]
        })
        .collect()
}
