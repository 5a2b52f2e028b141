//! Buildspecs that are accepted, and the reasons to reject others.

use std::path::Path;

use deployment_consumer::buildspec::{Artifacts, Buildspec, BuildspecError, MAX_BYTES, OnFailure, PhaseName, Shell};
use proptest::prelude::*;

fn parse(source: &str) -> Buildspec {
    Buildspec::parse(source.as_bytes()).unwrap()
}

fn refusal(source: &str) -> BuildspecError {
    Buildspec::parse(source.as_bytes()).map(|buildspec| panic!("accepted: {buildspec:?}")).unwrap_err()
}

fn artifacts(section: &str) -> Artifacts {
    parse(&format!("version: 0.2\nphases: {{build: {{commands: [make]}}}}\nartifacts:\n{section}")).artifacts.unwrap()
}

fn place<'a>(artifacts: &Artifacts, file: &'a str) -> Option<&'a str> {
    artifacts.place(Path::new(file)).map(|path| path.to_str().unwrap())
}

#[test]
fn a_whole_buildspec() {
    let buildspec = parse(
        r#"
version: 0.2
env:
  shell: bash
  variables:
    TEXT: hello
    NUMBER: 1.10
    FLAG: yes
    QUOTED: "a: b"
    EMPTY: ""
  exported-variables: [TEXT]
  git-credential-helper: no
phases:
  install:
    runtime-versions:
      nodejs: 22
    commands: npm ci
    on-failure: CONTINUE
  build:
    commands:
      - true
      - |
        if test -f x; then
          make
        fi
    finally:
      - echo done
  post_build:
    commands: [echo bye]
    on-failure: ABORT
reports:
  unit: {files: ["**/*.xml"]}
cache:
  paths: [node_modules/**/*]
artifacts:
  files: ["**/*"]
  base-directory: dist
  name: site
  s3-prefix: x
"#,
    );
    let env: Vec<_> = buildspec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        env,
        [("EMPTY", ""), ("FLAG", "yes"), ("NUMBER", "1.10"), ("QUOTED", "a: b"), ("TEXT", "hello")],
        "scalars keep their spelling"
    );
    assert_eq!(buildspec.shell, Shell::Bash);
    let phases: Vec<_> = buildspec
        .phases
        .iter()
        .map(|phase| (phase.name, phase.commands.clone(), phase.finally.clone(), phase.on_failure))
        .collect();
    let strings = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        phases,
        [
            (PhaseName::Install, strings(&["npm ci"]), strings(&[]), OnFailure::Continue),
            (
                PhaseName::Build,
                strings(&["true", "if test -f x; then\n  make\nfi\n"]),
                strings(&["echo done"]),
                OnFailure::Continue
            ),
            (PhaseName::PostBuild, strings(&["echo bye"]), strings(&[]), OnFailure::Abort),
        ]
    );
    assert_eq!(buildspec.artifacts.unwrap().name.as_deref(), Some("site"));
    let ignored: Vec<_> = buildspec.notes.iter().map(|note| note.split('`').nth(1).unwrap()).collect();
    assert_eq!(
        ignored,
        ["cache", "reports", "env.exported-variables", "phases.install.runtime-versions", "artifacts.s3-prefix"]
    );
}

#[test]
fn only_a_failed_build_phase_is_followed_by_the_next_one() {
    let buildspec = parse(
        "version: '0.2'\nphases:\n  post_build: {commands: a}\n  build: {commands: a}\n  pre_build: {commands: a}\n  install: {commands: true}\n",
    );
    let phases: Vec<_> = buildspec.phases.iter().map(|phase| (phase.name, phase.on_failure)).collect();
    assert_eq!(
        phases,
        [
            (PhaseName::Install, OnFailure::Abort),
            (PhaseName::PreBuild, OnFailure::Abort),
            (PhaseName::Build, OnFailure::Continue),
            (PhaseName::PostBuild, OnFailure::Abort),
        ]
    );
    assert_eq!(buildspec.phases[0].commands, ["true"]);
    assert_eq!(buildspec.shell, Shell::Sh);
}

#[test]
fn anchors_and_merge_keys_work() {
    let buildspec = parse(
        "version: 0.2\nphases:\n  pre_build: &p\n    commands:\n      - &c make check\n      - *c\n  build:\n    <<: *p\n    finally: *c\n",
    );
    assert_eq!(buildspec.phases[1].commands, ["make check", "make check"]);
    assert_eq!(buildspec.phases[1].finally, ["make check"]);
}

#[test]
fn refusals_name_the_key_and_the_line() {
    const BUILD: &str = "phases:\n  build:\n    commands:\n      - make\n";
    for (source, line, words) in [
        ("", 1, "unexpected end of input"),
        ("- a\n", 1, "expected mapping start"),
        ("version: 0.2\nphases: [\n", 2, ""),
        ("version: 0.2\n\tphases: 1\n", 1, "tab"),
        ("version: 0.1\nphases:\n  build: {commands: a}\n", 1, "`version` must be 0.2"),
        ("phases:\n  build: {commands: a}\n", 1, "`version` is missing"),
        ("version: 0.2\n", 1, "`phases` is missing"),
        ("version: 0.2\nversion: 0.2\n", 2, "`version` is given twice"),
        ("version: 0.2\nphases:\n  build: {commands: a}\n---\nversion: 0.2\n", 4, "too complex"),
        ("version: 0.2\nphases:\n  deploy:\n    commands: a\n", 3, "unknown key `deploy`"),
        ("version: 0.2\nphases:\n  build:\n    command: a\n", 4, "unknown key `command`"),
        ("version: 0.2\nphase: {}\n", 2, "unknown key `phase`"),
        ("version: 0.2\nphases:\n  build:\n    commands:\n      - a\n      - echo b: c\n", 6, "quote a string"),
        ("version: 0.2\nphases:\n  build:\n    commands:\n      - a\n      -\n", 6, "null"),
        ("version: 0.2\nphases:\n  build:\n    commands:\n      - \"a\\0b\"\n", 5, "NUL"),
        ("version: 0.2\nphases:\n  build:\n    commands: 5\n", 4, "expected a string or a list of strings"),
        ("version: 0.2\nphases:\n  build:\n    commands: a\n    on-failure: RETRY\n", 5, "`phases.build.on-failure`"),
        ("version: 0.2\nphases:\n  build:\n    commands: a\n    on-failure: abort\n", 5, "`phases.build.on-failure`"),
        ("version: 0.2\nphases:\n  build:\n    run-as: root\n    commands: a\n", 4, "`phases.build.run-as`"),
        ("version: 0.2\nphases:\n  build:\n    runtime-versions: {go: 1}\n", 4, "`phases.build.runtime-versions`"),
        ("version: 0.2\nrun-as: root\n@", 2, "`run-as` is not supported"),
        ("version: 0.2\nproxy:\n  logs: yes\n@", 3, "`proxy` is not supported"),
        ("version: 0.2\nbatch:\n  fast-fail: true\n@", 3, "`batch` is not supported"),
        ("version: 0.2\nenv:\n  shell: zsh\n@", 3, "`env.shell`"),
        ("version: 0.2\nenv:\n  parameter-store:\n    A: b\n@", 4, "`env.parameter-store`"),
        ("version: 0.2\nenv:\n  secrets-manager:\n    A: b\n@", 4, "`env.secrets-manager`"),
        ("version: 0.2\nenv:\n  git-credential-helper: yes\n@", 3, "`env.git-credential-helper`"),
        ("version: 0.2\nenv:\n  variable:\n    A: b\n@", 3, "unknown key `variable`"),
        ("version: 0.2\nenv:\n  variables:\n    A: [1]\n@", 4, "expected a string"),
        ("version: 0.2\nenv:\n  variables:\n    A:\n@", 4, "null"),
        ("version: 0.2\nenv:\n  variables:\n    A-B: c\n@", 4, "\"A-B\" must match"),
        ("version: 0.2\nenv:\n  variables:\n    1A: c\n@", 4, "\"1A\" must match"),
        ("version: 0.2\nenv:\n  variables:\n    A: 1\n    A: 2\n@", 5, "`A` is given twice"),
        ("version: 0.2\nenv:\n  variables:\n    A: \"\\0\"\n@", 4, "NUL"),
        ("version: 0.2\nenv:\n  variables:\n    CODEBUILD_SRC_DIR: /\n@", 4, "reserved"),
        ("version: 0.2\nartifacts:\n  name: x\n@", 3, "`files` is missing"),
        ("version: 0.2\nartifacts:\n  files: []\n@", 3, "`artifacts.files` is empty"),
        ("version: 0.2\nartifacts:\n  files: a\n  secondary-artifacts: {b: {files: c}}\n@", 4, "secondary-artifacts"),
        ("version: 0.2\nartifacts:\n  files: a\n  enable-symlinks: yes\n@", 4, "enable-symlinks"),
        ("version: 0.2\nartifacts:\n  files: a\n  discard-paths: maybe\n@", 4, "must be yes or no"),
        ("version: 0.2\nartifacts:\n  files: [a, ../b]\n@", 3, "\"../b\" must stay in the source folder"),
        ("version: 0.2\nartifacts:\n  files:\n    - /etc/passwd\n@", 4, "must stay in the source folder"),
        ("version: 0.2\nartifacts:\n  files:\n    - $HOME/x\n@", 4, "must not contain `$`"),
        ("version: 0.2\nartifacts:\n  files: .\n@", 3, "must name files"),
        ("version: 0.2\nartifacts:\n  files: 'a[b'\n@", 3, "`artifacts.files`"),
        ("version: 0.2\nartifacts:\n  files: a\n  base-directory: a/../..\n@", 4, "`artifacts.base-directory`"),
        ("version: 0.2\nartifacts:\n  files: a\n  base-directory: '**'\n@", 4, "`artifacts.base-directory`"),
        ("version: 0.2\nartifacts:\n  files: a\n  exclude-paths: [b, /c]\n@", 4, "`artifacts.exclude-paths`"),
    ] {
        let source = source.replace('@', BUILD);
        let refusal = refusal(&source);
        assert!(refusal.message.contains(words), "{source}\n{refusal}");
        assert_eq!(refusal.line, Some(line), "{source}\n{refusal}");
        assert!(!refusal.message.contains(" line "), "the line is said once: {refusal}");
    }
    assert_eq!(BuildspecError::CODE, "buildspec_invalid");
    assert_eq!(
        refusal("version: 0.2\nrun-as: root\nphases: {}\n").to_string(),
        "line 2: `run-as` is not supported: all commands run as the same user"
    );
}

#[test]
fn a_buildspec_without_a_command_is_refused() {
    for phases in ["{}", "{build: }", "{build: {commands: []}}", "{install: {runtime-versions: {go: 1}}}"] {
        let refusal = refusal(&format!("version: 0.2\nphases: {phases}\n"));
        assert_eq!(refusal.to_string(), "`phases` must contain a command", "{phases}");
    }
    parse("version: 0.2\nphases: {build: {finally: a}}\n");
}

#[test]
fn large_deep_and_exploding_files_are_refused() {
    let start = "version: 0.2\nphases:\n  build:\n    commands:\n";
    let padded = |length: usize| format!("{start}      - {}", "x".repeat(length - start.len() - 8));
    assert_eq!(parse(&padded(MAX_BYTES)).phases[0].commands[0].len(), MAX_BYTES - start.len() - 8);
    assert_eq!(refusal(&padded(MAX_BYTES + 1)).message, "the file is larger than 64 KiB");

    refusal(&format!("version: 0.2\ncache: {}", "[".repeat(30_000)));
    let deep: String = (1..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(refusal(&format!("version: 0.2\ncache:\n{deep}")).message.starts_with("the file is too complex"));

    let mut laughs = "version: 0.2\ncache:\n  a: &a [1,1,1,1,1,1,1,1,1]\n".to_owned();
    for (name, of) in ["ba", "cb", "dc", "ed"].map(|pair| pair.split_at(1)) {
        laughs += &format!("  {name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(","));
    }
    assert!(refusal(&laughs).message.starts_with("the file is too complex"));

    let long = format!("{start}      - &a '{}'\n{}", "x".repeat(30_000), "      - *a\n".repeat(2_000));
    assert!(refusal(&long).message.starts_with("the file is too complex"));

    for depth in [255, 300, 10_000] {
        let braces = format!("'{}{}'", "{a,".repeat(depth), "}".repeat(depth));
        for artifacts in [format!("{{files: {braces}}}"), format!("{{files: a, base-directory: {braces}}}")] {
            let refusal =
                refusal(&format!("version: 0.2\nphases: {{build: {{commands: a}}}}\nartifacts: {artifacts}\n"));
            assert_eq!(refusal.line, Some(3), "{refusal}");
        }
    }

    assert_eq!(Buildspec::parse(b"version: \xff").unwrap_err().message, "the file is not UTF-8");
}

#[test]
fn artifacts_are_placed_as_codebuild_places_them() {
    // The examples of CodeBuild's reference.
    let one = artifacts("  files: ['*/my-file3.txt']\n  base-directory: my-build2\n");
    assert_eq!(place(&one, "my-build2/my-subdirectory/my-file3.txt"), Some("my-subdirectory/my-file3.txt"));
    assert_eq!(place(&one, "my-build2/my-file2.txt"), None);
    assert_eq!(place(&one, "my-build1/my-subdirectory/my-file3.txt"), None);

    let flat = artifacts("  files: ['**/*']\n  base-directory: 'my-build*'\n  discard-paths: yes\n");
    assert_eq!(place(&flat, "my-build1/my-file1.txt"), Some("my-file1.txt"));
    assert_eq!(place(&flat, "my-build2/my-subdirectory/my-file3.txt"), Some("my-file3.txt"));
    assert_eq!(place(&flat, "other/my-file3.txt"), None);
    assert_eq!(place(&flat, "my-build1"), None);

    let stars = artifacts("  files: ['target/*', ./one.txt, 'lib/**/*.so']\n  exclude-paths: 'lib/skip/**'\n");
    for (file, placed) in [
        ("target/app", true),
        ("target/deep/app", false),
        ("one.txt", true),
        ("deep/one.txt", false),
        ("lib/a.so", true),
        ("lib/x/y/a.so", true),
        ("lib/skip/a.so", false),
        ("lib/a.txt", false),
    ] {
        assert_eq!(place(&stars, file), placed.then_some(file), "{file}");
    }

    let deep = artifacts("  files: ['**/*']\n  base-directory: ./target/release/\n");
    assert_eq!(place(&deep, "target/release/.hidden"), Some(".hidden"));
    assert_eq!(place(&deep, "target/debug/app"), None);
    assert_eq!(place(&deep, "app"), None);

    let here = artifacts("  files: ['*']\n  base-directory: .\n");
    assert_eq!(place(&here, "app"), Some("app"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_accepted_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Buildspec::parse(&bytes);
    }

    #[test]
    fn any_text_is_accepted_or_refused(text in "\\PC{0,200}") {
        let _ = Buildspec::parse(text.as_bytes());
    }

    /// Words and signs of the format in any order come much further into the parser than arbitrary text.
    #[test]
    fn shuffled_buildspecs_are_accepted_or_refused(words in proptest::collection::vec(
        prop_oneof![
            Just("version: 0.2\n"), Just("phases:\n"), Just("  build:\n"), Just("    commands:\n"), Just("      - "),
            Just("artifacts:\n"), Just("  files: "), Just("  base-directory: "), Just("env:\n"), Just("  variables:\n"),
            Just("    A: "), Just("make"), Just("'**/*'"), Just("[{a,b"), Just("]}"), Just("&a "), Just("*a"), Just("<<: "),
            Just("|\n"), Just("\n"), Just("\""), Just("'"), Just("- "), Just("? "), Just(": "), Just("!!binary "), Just("---\n"),
            Just("\t"), Just("  "), Just("#"), Just("\u{feff}"), Just("%YAML 1.1\n"), Just("on-failure: "), Just("../"), Just("\\0"),
        ],
        0..40,
    )) {
        let text = words.concat();
        let _ = Buildspec::parse(text.as_bytes());
        let _ = Buildspec::parse(format!("version: 0.2\nphases:\n  build:\n    commands:\n      - make\n{text}").as_bytes());
    }
}
