//! Rules of buildspecs that no single file shows. `corpus.rs` has the constructs.

use std::collections::BTreeMap;
use std::path::Path;

use deployment_consumer::buildspec::{Artifacts, Buildspec, BuildspecError, MAX_BYTES, OnFailure, PhaseName};
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
    let (selection, _) = artifacts.select(Path::new("/src"), &BTreeMap::new());
    selection.place(Path::new(file)).map(|path| path.to_str().unwrap())
}

#[test]
fn only_a_failed_build_phase_is_followed_by_the_next_one() {
    let buildspec = parse(
        "version: 0.2\nphases:\n  post_build: {commands: a}\n  build: {commands: a}\n  pre_build: {commands: a}\n  install: {commands: a}\n",
    );
    let phases: Vec<_> = buildspec.phases.iter().map(|phase| (phase.name, phase.on_failure())).collect();
    assert_eq!(
        phases,
        [
            (PhaseName::Install, OnFailure::Abort),
            (PhaseName::PreBuild, OnFailure::Abort),
            (PhaseName::Build, OnFailure::Continue),
            (PhaseName::PostBuild, OnFailure::Abort),
        ]
    );
}

#[test]
fn a_stored_variable_is_satisfied_by_one_of_the_deployment() {
    let buildspec = parse(
        "version: 0.2\nenv:\n  secrets-manager: {TOKEN: 'app:token'}\n  parameter-store:\n    LOGIN: /app/login\n    PORT: /app/port\nphases: {build: {commands: a}}\n",
    );
    let missing = |names: &[&str]| -> Vec<String> {
        let variables = names.iter().map(|name| ((*name).to_owned(), "value".to_owned())).collect();
        buildspec.missing_variables(&variables).iter().map(ToString::to_string).collect()
    };
    assert_eq!(missing(&["TOKEN", "LOGIN", "PORT", "OTHER"]), [""; 0]);
    assert_eq!(
        missing(&["LOGIN"]),
        [
            "line 3, column 21: `env.secrets-manager` takes TOKEN from AWS, which builds can't read; set TOKEN as a variable of the environment, the repository or the account, or in the deployment's `variables`",
            "line 6, column 5: `env.parameter-store` takes PORT from AWS, which builds can't read; set PORT as a variable of the environment, the repository or the account, or in the deployment's `variables`",
        ]
    );
}

#[test]
fn an_error_tells_all_problems_up_to_a_bound() {
    let commands = "      - a: b\n".repeat(25);
    let error = refusal(&format!("version: 0.2\nphases:\n  build:\n    commands:\n{commands}"));
    assert_eq!(error.problems.len(), 25);
    let text = error.to_string();
    assert!(text.starts_with("line 5, column 9: `phases.build.commands` must be a text, not a map; "), "{text}");
    assert!(text.contains("; line 24, column 9: ") && text.ends_with("; and 5 more"), "{text}");
    assert!(!text.contains("line 25,"), "{text}");
}

#[test]
fn large_deep_and_exploding_files_are_refused() {
    let start = "version: 0.2\nphases:\n  build:\n    commands:\n";
    let padded = |length: usize| format!("{start}      - {}", "x".repeat(length - start.len() - 8));
    assert_eq!(parse(&padded(MAX_BYTES)).phases[0].commands[0].len(), MAX_BYTES - start.len() - 8);
    assert_eq!(refusal(&padded(MAX_BYTES + 1)).to_string(), "the file is larger than 64 KiB");

    let too_complex = |source: &str| {
        let error = refusal(source).to_string();
        assert!(error.ends_with("the file is nested too deeply or repeats too much by aliases"), "{error}");
    };
    too_complex(&format!("version: 0.2\ncache: {}", "[".repeat(30_000)));
    let deep: String = (1..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    too_complex(&format!("version: 0.2\ncache:\n{deep}"));
    let long = format!("{start}      - &a '{}'\n{}", "x".repeat(30_000), "      - *a\n".repeat(2_000));
    too_complex(&long);
    too_complex(&format!("{start}      - &a '{}'\n{}", "x".repeat(30_000), "      - *a\n".repeat(4)));

    for depth in [255, 300, 10_000] {
        let braces = format!("'{}{}'", "{a,".repeat(depth), "}".repeat(depth));
        for artifacts in [format!("{{files: {braces}}}"), format!("{{files: a, base-directory: {braces}}}")] {
            let error = refusal(&format!("version: 0.2\nphases: {{build: {{commands: a}}}}\nartifacts: {artifacts}\n"));
            assert_eq!(error.problems[0].at.unwrap().line, 3, "{error}");
        }
    }
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

    let nested = artifacts("  files: ['**/*']\n  base-directory: '**/dist'\n");
    assert_eq!(place(&nested, "web/dist/lib/dist/a"), Some("lib/dist/a"), "the outermost folder counts");
    assert_eq!(place(&nested, "web/dist"), None);
}

#[test]
fn patterns_take_variables_and_never_lead_out_of_the_source_folder() {
    let variables = BTreeMap::from(
        [("OUT", "dist"), ("CODEBUILD_SRC_DIR", "/src"), ("HOME", "/root"), ("GLOB", "*.j?")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (section, file, placed) in [
        ("  files: $OUT/a\n", "dist/a", Some("dist/a")),
        ("  files: '${OUT}s/a'\n", "dists/a", Some("dists/a")),
        ("  files: a$OUTs\n", "a", Some("a")),
        ("  files: 'a$'\n", "a$", Some("a$")),
        ("  files: 'a$1'\n", "a$1", Some("a$1")),
        ("  files: $GLOB\n", "a.js", Some("a.js")),
        ("  files: /src/a\n", "a", Some("a")),
        ("  files: a/../b\n", "b", Some("b")),
        ("  files: '**/*'\n  base-directory: $CODEBUILD_SRC_DIR/dist\n", "dist/a", Some("a")),
        ("  files: '**/*'\n  base-directory: $CODEBUILD_SRC_DIR\n", "dist/a", Some("dist/a")),
        ("  files: '**/*'\n  exclude-paths: $OUT/**\n", "dist/a", None),
    ] {
        let (selection, left_out) = artifacts(section).select(Path::new("/src"), &variables);
        assert_eq!((selection.place(Path::new(file)), left_out), (placed.map(Path::new), vec![]), "{section}");
    }
    for (section, why) in [
        ("  files: [a, $HOME/a]\n", "\"/root/a\" leads out of the source folder"),
        ("  files: [a, $GONE/a]\n", "\"/a\" leads out of the source folder"),
        ("  files: [a, /src2/a]\n", "\"/src2/a\" leads out of the source folder"),
        ("  files: [a, ../a]\n", "\"../a\" leads out of the source folder"),
        ("  files: [a, 'b/../../a']\n", "\"b/../../a\" leads out of the source folder"),
    ] {
        let (selection, left_out) = artifacts(section).select(Path::new("/src"), &variables);
        assert_eq!((selection.place(Path::new("a")), left_out), (Some(Path::new("a")), vec![why.to_owned()]));
    }
    let (selection, left_out) = artifacts("  files: a\n  base-directory: /tmp\n").select(Path::new("/src"), &variables);
    assert_eq!(selection.place(Path::new("a")), None);
    assert_eq!(left_out, ["\"/tmp\" leads out of the source folder"]);

    let broken = BTreeMap::from([("OUT".to_owned(), "a[b".to_owned())]);
    let (selection, left_out) = artifacts("  files: [a, $OUT]\n").select(Path::new("/src"), &broken);
    assert_eq!(selection.place(Path::new("a")), Some(Path::new("a")), "one pattern does not spoil the others");
    assert_eq!(left_out, ["\"a[b\" is no pattern; check its brackets and braces"]);
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
