//! Secrets as common tools print them. Each tool runs in a build, as it would in a customer's.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use archive::Stream;

use crate::run::{Build, Ran};

/// The parts of each secret, which no escape changes. They are in no log, in whatever form the characters between them are.
const PARTS: [&str; 3] = ["QzHead9", "XkMid8", "VwTail7"];

/// Characters that some format escapes, alone and in combinations.
const BETWEEN: [&str; 22] = [
    "'",
    "\"",
    "\\",
    "$",
    "`",
    "!",
    "%",
    "&",
    "<>",
    "/",
    "+",
    " ",
    "~*()",
    "#{}",
    "\t",
    "é",
    "🔑",
    "\u{1b}",
    "\u{7f}",
    "'\"\\$`",
    "\\n\\u0041",
    "=&;?",
];

/// The tools that every machine has on which these tests run. A test of another one is left out where the tool is not installed.
const REQUIRED: [&str; 4] = ["sh", "bash", "python3", "base64"];

/// Returns whether a tool is installed. Fails for one that every machine has.
fn has(tool: &str) -> bool {
    let mut found = Command::new("sh");
    found.args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null());
    let is_installed = found.status().unwrap().success();
    assert!(is_installed || !REQUIRED.contains(&tool), "{tool} must be installed");
    if !is_installed {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    is_installed
}

/// Returns the secrets, by the names of their variables.
fn secrets() -> BTreeMap<String, String> {
    let [head, middle, tail] = PARTS;
    let mut secrets: BTreeMap<_, _> = BETWEEN
        .iter()
        .enumerate()
        .map(|(at, between)| (format!("SECRET_{at}"), format!("{head}{between}{middle}{between}{tail}")))
        .collect();
    secrets.insert("SECRET_LINES".to_owned(), format!("{head}'1\n{middle}\"2\n{tail}\\3\n"));
    secrets.insert("SECRET_ALL".to_owned(), format!("{head}{}{middle}é{tail}", BETWEEN.concat()));
    secrets
}

/// Runs commands with the secrets in the environment. Fails if the tool has failed, or if a part of a secret is in the log.
async fn run(tool: &str, shell: &str, commands: &[&str]) -> Ran {
    let list: String = commands.iter().map(|command| format!("      - {}\n", serde_json::json!(command))).collect();
    let mut build = Build::of(&format!("env: {{shell: {shell}}}\nphases:\n  build:\n    commands:\n{list}"));
    build.variables = secrets();
    // Fifty processes take their time on a busy machine.
    build.time_limit = Duration::from_secs(3600);
    let ran = build.run().await;
    ran.succeeded();
    let printed: Vec<_> = ran.lines.iter().filter(|line| line.0 != Stream::System).map(|line| &line.1).collect();
    let masked = printed.iter().filter(|line| line.contains("***")).count();
    assert!(masked >= build.variables.len(), "{tool}: {masked} lines are masked: {printed:#?}");
    for line in &ran.lines {
        for part in PARTS {
            assert!(!line.1.contains(part), "{tool}: {}", line.1);
        }
    }
    ran
}

#[tokio::test]
async fn shells_print_no_secret() {
    for shell in ["sh", "bash"] {
        let each =
            "for name in $(env | sed -n 's/^\\(SECRET_[A-Z0-9]*\\)=.*/\\1/p'); do eval \"value=\\$$name\"; @; done";
        let with = |body: &str| each.replace('@', body);
        for (what, command) in [
            ("export -p", "export -p".to_owned()),
            ("set", "set".to_owned()),
            ("env", "env".to_owned()),
            ("printf", with("printf 'x%sy\\n' \"$value\"")),
            ("set -x", with("set -x; : \"$value\"; { set +x; } 2>/dev/null")),
        ] {
            run(&format!("{shell} {what}"), shell, &[&command]).await;
        }
    }
    let each = "for name in ${!SECRET_*}; do @; done";
    for (what, body) in [
        ("printf %q", r#"printf '%q\n' "${!name}""#),
        ("declare -p", r#"declare -p "$name""#),
        ("@Q", r#"value=${!name}; echo "${value@Q}""#),
        ("@A", r#"declare -n reference=$name; echo "${reference@A}"; unset -n reference"#),
    ] {
        run(&format!("bash {what}"), "bash", &[&each.replace('@', body)]).await;
    }
    if has("ls") && has("touch") {
        let file = r#"cd "$TMPDIR"; n=${!name%$'\n'}; n=${n//\//}; touch -- "x$n"; ls --quoting-style=@ -d -- "x$n""#;
        for style in ["literal", "shell-always", "shell-escape-always", "c", "escape"] {
            let command = each.replace('@', &file.replace('@', style));
            // A name can't have a slash, so the secrets with one are not printed here.
            run_without_slashes(&format!("ls {style}"), &command).await;
        }
    }
}

async fn run_without_slashes(tool: &str, command: &str) {
    let slash = |(_, value): &(&String, &String)| value.contains('/');
    let names: Vec<String> = secrets().iter().filter(slash).map(|(name, _)| name.clone()).collect();
    let list = [
        format!("unset {}", names.join(" ")),
        command.to_owned(),
        "for i in 1 2 3 4; do echo \"$SECRET_0\"; done".to_owned(),
    ];
    run(tool, "bash", &list.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn python_prints_no_secret() {
    assert!(has("python3"));
    for (what, program) in [
        ("repr", "print(repr(v))"),
        ("repr of bytes", "print(v.encode())"),
        ("ascii", "print(ascii(v))"),
        ("a dictionary", "print({n: [v]})"),
        ("json", "import json; print(json.dumps({n: v}))"),
        ("json in utf-8", "import json; print(json.dumps({n: v}, ensure_ascii=False, indent=1).replace('\\n', ' '))"),
        ("json in json", "import json; print(json.dumps({'body': json.dumps({n: v})}))"),
        ("quote", "import urllib.parse as u; print('https://example.com/?x=' + u.quote(v))"),
        ("quote with no safe character", "import urllib.parse as u; print(u.quote(v, safe=''))"),
        ("quote_plus", "import urllib.parse as u; print(u.quote_plus(v))"),
        ("urlencode", "import urllib.parse as u; print(u.urlencode({n: v, 'y': 'z'}))"),
        ("quote in json", "import urllib.parse as u, json; print(json.dumps('https://x/?' + u.quote(v, safe='')))"),
        ("shlex", "import shlex; print(shlex.join(['curl', '-u', 'me:' + v]))"),
        ("shlex of json", "import shlex, json; print(shlex.join(['curl', '-d', json.dumps({n: v})]))"),
        ("html", "import html; print('<p title=\"' + html.escape(v) + '\">')"),
        ("xml", "from xml.sax.saxutils import quoteattr; print('<x y=' + quoteattr(v) + '/>')"),
        ("csv", "import csv, sys; csv.writer(sys.stdout, quoting=csv.QUOTE_ALL).writerow([n, v])"),
        ("hex", "print(v.encode().hex())"),
        ("upper-case hex", "import base64; print(base64.b16encode(v.encode()).decode())"),
        ("base64", "import base64; print(base64.b64encode(v.encode()).decode())"),
        ("base64 in a URL", "import base64, urllib.parse as u; print(u.quote(base64.b64encode(v.encode())))"),
        ("an exception", "import traceback\ntry: raise ValueError(v)\nexcept ValueError as e: print(repr(e))"),
    ] {
        let program = format!(
            "import os\nfor n, v in os.environ.items():\n  if n.startswith('SECRET_'):\n    {}\n",
            program.replace('\n', "\n    ").replace("; ", "\n    ")
        );
        let command = format!("python3 - <<'END'\n{program}END");
        run(&format!("python {what}"), "sh", &[&command]).await;
    }
}

#[tokio::test]
async fn base64_shows_no_secret_wherever_it_begins() {
    assert!(has("base64"));
    let secret = "QzHead9?>XkMid8~~VwTail7";
    for before in ["", "a", "ab", "abc", "user:", "Basic user"] {
        for after in ["", "x", "xy", "xyz"] {
            let command = format!("printf '%s' \"{before}${{SECRET}}{after}\" | base64 -w 0; echo");
            let mut build = Build::with(&[&command]);
            build.variables = [("SECRET".to_owned(), secret.to_owned())].into();
            let ran = build.run().await;
            ran.succeeded();
            let line = ran.of(Stream::Stdout).concat();
            assert!(line.contains("***"), "{before} {after}: {line}");
            // Only characters that have bits of the surroundings are left.
            let left = line.replace("***", "").len();
            assert!(left <= (before.len() + after.len()) * 4 / 3 + 8, "{before} {after}: {line}");
        }
    }
    run("base64 of each", "bash", &["for name in ${!SECRET_*}; do printf %s \"${!name}\" | base64 -w 0; echo; done"])
        .await;
    run("base64 of echo", "bash", &["for name in ${!SECRET_*}; do echo \"${!name}\" | base64 -w 0; echo; done"]).await;
}

#[tokio::test]
async fn jq_prints_no_secret() {
    if !has("jq") {
        return;
    }
    let each = "env | to_entries[] | select(.key | startswith(\"SECRET_\"))";
    for filter in [
        "@json",
        "[.value] | @json",
        "{body: @json} | @json",
        ".value | @uri",
        "[.value] | @csv",
        "[.value] | @tsv",
        "[.value] | @sh",
        ".value | @html",
        ".value | @base64",
        "@text",
        ".value | tojson | tojson",
        "\"https://x/?q=\\(.value | @uri)\" | @json",
    ] {
        run(&format!("jq {filter}"), "sh", &[&format!("jq -nr '{each} | {filter}'")]).await;
    }
    run("jq --ascii-output", "sh", &[&format!("jq -nac '{each}'")]).await;
}

#[tokio::test]
async fn node_prints_no_secret() {
    if !has("node") {
        return;
    }
    for expression in [
        "encodeURIComponent(v)",
        "encodeURI('https://example.com/?' + v)",
        "new URLSearchParams({ [n]: v }).toString()",
        "new URL('https://example.com/?x=' + encodeURIComponent(v)).href",
        "JSON.stringify({ [n]: v })",
        "JSON.stringify(JSON.stringify({ [n]: v }))",
        "{ [n]: v }",
        "[v]",
        "require('util').inspect(v)",
        "Buffer.from(v).toString('base64')",
        "Buffer.from(v).toString('base64url')",
        "Buffer.from(v).toString('hex')",
        "require('querystring').stringify({ [n]: v })",
    ] {
        let program = format!(
            "for (const [n, v] of Object.entries(process.env)) if (n.startsWith('SECRET_')) console.log({expression});"
        );
        let command = format!("node --input-type=commonjs - <<'END'\n{program}\nEND");
        run(&format!("node {expression}"), "sh", &[&command]).await;
    }
}

#[tokio::test]
async fn other_tools_print_no_secret() {
    let each = "for name in ${!SECRET_*}; do @; done";
    for (tool, body) in [
        ("xxd", "printf %s \"${!name}\" | xxd -p"),
        ("perl", "perl -MData::Dumper -e '$Data::Dumper::Terse = 1; print Dumper($ENV{$ARGV[0]})' $name"),
        ("ruby", "ruby -e 'p ENV[ARGV[0]]' $name"),
        ("php", "php -r 'echo json_encode(getenv($argv[1])), \" \", rawurlencode(getenv($argv[1])), \"\\n\";' $name"),
        ("openssl", "printf %s \"${!name}\" | openssl base64"),
        ("base32", "printf %s \"${!name}\" | base32"),
        ("base32", "printf 'user:%s@host' \"${!name}\" | base32 -w 0; echo"),
    ] {
        if has(tool) {
            run(tool, "bash", &[&each.replace('@', body)]).await;
        }
    }
}

/// Runs a script that dumps each secret, here and in a build. Fails unless all but the offsets of the lines is masked in the build, and
/// so many characters, which stand for fewer bytes than are found at the end of a dump.
async fn dump(script: &str, left: usize) {
    let mut printed = Command::new("bash");
    printed.args(["-c", script]).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(secrets());
    let printed = String::from_utf8(printed.output().unwrap().stdout).unwrap();
    let ran = run(script, "bash", &[script]).await;
    let masked = ran.of(Stream::Stdout);
    assert_eq!(masked.len(), printed.lines().count(), "{script}");
    for (printed, masked) in printed.lines().zip(masked) {
        let rest = masked.replace("***", "");
        let is_offset = |word: &&str| word.trim_end_matches(':').len() >= 7 && printed.starts_with(*word);
        let characters = rest.split_whitespace().skip_while(is_offset).flat_map(str::bytes).count();
        assert!(characters <= left, "{script}: {masked} of {printed}");
    }
}

#[tokio::test]
async fn dumps_show_no_secret() {
    // The characters for three bytes, with those beside them and the signs around them.
    for (command, left) in [
        ("xxd", 9),
        ("xxd -u -c 32", 9),
        ("xxd -i", 18),
        ("xxd -b", 27),
        ("od", 12),
        ("od -c", 9),
        ("od -b", 9),
        ("od -x", 8),
        ("od -An -tx1", 6),
        ("od -tx1z -w12", 11),
        ("od -An -tu1", 9),
        ("od -tx4", 8),
        ("hexdump", 8),
        ("hexdump -C", 11),
        ("hexdump -ve '1/1 \"%02x:\"'", 9),
    ] {
        if has(command.split(' ').next().unwrap()) {
            dump(&format!("for name in ${{!SECRET_*}}; do printf %s \"${{!name}}\" | {command}; echo; done"), left)
                .await;
        }
    }
    for expression in ["list(v)", "v.hex(' ')"] {
        let program = "import os\nfor n, v in sorted(os.environb.items()):\n  if n.startswith(b'SECRET_'): print(@)\n";
        dump(&format!("python3 - <<'END'\n{}END", program.replace('@', expression)), 6).await;
    }
    if has("node") {
        for expression in ["Buffer.from(v)", "JSON.stringify(Buffer.from(v))", "[...Buffer.from(v)].join()"] {
            let program = "for (const [n, v] of Object.entries(process.env).sort()) \
                           if (n.startsWith('SECRET_')) console.log(@);\n";
            dump(&format!("node - <<'END'\n{}END", program.replace('@', expression)), 40).await;
        }
    }
}

/// Each split of the output comes to another place of an escaped secret.
#[tokio::test]
async fn an_escaped_secret_is_masked_across_the_pieces_of_a_long_line() {
    let secret = "QzHead9\"\\\nXkMid8é'VwTail7";
    let json = serde_json::json!({"key": secret}).to_string();
    let mut long = String::new();
    while long.len() < 400_000 {
        long.push_str(&json);
        long.push_str(&"-".repeat(long.len() % 41));
    }
    let mut build = Build::with(&["cat long"]);
    build.variables =
        [("SECRET".to_owned(), secret.to_owned()), ("OVERLAP".to_owned(), "VwTail7\"}-".to_owned())].into();
    fs::write(build.source().join("long"), &long).unwrap();
    let ran = build.run().await;
    ran.succeeded();
    let printed = ran.of(Stream::Stdout);
    assert!(printed.len() > 4, "{}", printed.len());
    let together = printed.concat();
    for part in PARTS {
        assert!(!together.contains(part), "{part}");
    }
    assert_eq!(together.matches("{\"key\":\"***").count(), long.matches("{\"key\":").count());
}

#[tokio::test]
async fn the_value_of_a_plain_variable_is_shown() {
    let mut build =
        Build::of("env: {variables: {PLAIN: visible-value}}\nphases: {build: {commands: 'echo $PLAIN $SECRET'}}\n");
    build.variables = [("SECRET".to_owned(), "hidden-value".to_owned())].into();
    assert_eq!(build.run().await.of(Stream::Stdout), ["visible-value ***"]);
}
