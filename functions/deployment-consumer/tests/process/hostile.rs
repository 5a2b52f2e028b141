//! Builds that mean harm, or have bad luck. Each ends as a build, and leaves nothing that runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use archive::Stream::{self, Stderr, Stdout, System};
use deployment_consumer::buildspec::PhaseName;
use deployment_consumer::process::{Exit, Folder, Outcome, Run};
use redaction::Redaction;
use shared::clock::Clock;
use tokio::sync::mpsc;

use crate::has_ended;
use crate::run::{Build, failed, nobody};

/// Returns a command that can wait until a file has content.
fn waiting(command: &str) -> String {
    format!("wait_for() {{ while [ ! -s \"$1\" ]; do sleep 0.02; done; }}; {command}")
}

/// Returns the command lines of the processes with a text in them. Those that have ended have none.
fn running_with(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

/// Returns a text that no other process has in its command line.
fn mark(build: &Build) -> String {
    build.folder.path().file_name().unwrap().to_str().unwrap().rsplit(' ').next().unwrap().to_owned()
}

/// Returns a build that runs a program of Python's, which it has in the file `program`, with the mark as its argument.
fn python(program: &str, commands: &[&str]) -> (Build, String) {
    let build = Build::with(commands);
    fs::write(build.source().join("program"), program).unwrap();
    let mark = mark(&build);
    fs::write(build.source().join("mark"), &mark).unwrap();
    (build, mark)
}

#[tokio::test]
async fn a_daemon_ends_with_its_build_and_reads_nothing_of_the_next_one() {
    let daemon =
        "trap '' HUP INT TERM; echo $$ > pid; while :; do cat /proc/[0-9]*/environ >> seen; echo >> seen; done";
    let first = Build::with(&[
        &format!("setsid sh -c '{}' >/dev/null 2>&1 &", daemon.replace('\'', r"'\''")),
        &waiting("wait_for pid; wait_for seen"),
    ]);
    first.run().await.succeeded();
    let pid = fs::read_to_string(first.source().join("pid")).unwrap();
    assert!(has_ended(pid.trim()), "it has ended before the run");
    let seen = fs::read(first.source().join("seen")).unwrap();
    assert!(!seen.is_empty());

    let mut next = Build::with(&["sleep 0.1; env >/dev/null"]);
    next.variables = [("NEXT".to_owned(), "of the next tenant".to_owned())].into();
    next.run().await.succeeded();
    assert!(fs::read(first.source().join("seen")).unwrap() == seen, "nothing was seen afterwards");
}

#[tokio::test]
async fn nothing_escapes_by_forks_sessions_groups_and_closed_files() {
    let ways = r#"
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
def daemon(name, leave):
    if os.fork() == 0:
        leave()
        os.environ.clear()
        os.closerange(0, 256)
        with open(name, "w") as ready: ready.write(str(os.getpid()))
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]], {})
def twice():
    os.setsid()
    if os.fork(): os._exit(0)
    os.setsid()
    os.chdir("/")
def stopped():
    if os.fork() == 0:
        with open("ready-stopped", "w") as ready: ready.write("x")
        os.execv("/bin/sh", ["sh", "-c", "kill -STOP $$; : " + sys.argv[1]])
here = os.getcwd()
daemon(here + "/ready-group", lambda: os.setpgid(0, 0))
daemon(here + "/ready-session", os.setsid)
daemon(here + "/ready-twice", twice)
stopped()
"#;
    let (build, mark) = python(
        ways,
        &[
            "python3 program $(cat mark)",
            &waiting("for name in group session twice stopped; do wait_for ready-$name; done; cat ready-*"),
        ],
    );
    let ran = build.run().await;
    ran.succeeded();
    assert_eq!(running_with(&mark), [""; 0], "{:?}", ran.lines);
}

/// A process that is replaced by its child all the time is never in the same place when one looks for it.
#[tokio::test]
async fn a_process_that_hops_from_one_id_to_the_next_is_caught() {
    let hopper = r#"
import os, sys, time
end = time.time() + 120
os.setsid()
open("ready", "w").write("x")
while time.time() < end:
    if os.fork(): os._exit(0)
    os.setsid()
"#;
    let (build, mark) = python(hopper, &[&waiting("python3 program $(cat mark) >/dev/null 2>&1 & wait_for ready")]);
    build.run().await.succeeded();
    for _ in 0..100 {
        assert_eq!(running_with(&mark), [""; 0]);
    }
}

/// The kernel shows a process whose first thread has ended as a zombie.
#[tokio::test]
async fn a_process_whose_first_thread_has_ended_is_not_taken_for_one_that_has_ended() {
    let threads = r#"
import ctypes, os, platform, threading, time
def go_on():
    state = ""
    while state != "Z":
        with open("/proc/self/stat") as stat: state = stat.read().rsplit(") ")[1][0]
    with open("ready", "w") as ready: ready.write(str(os.getpid()))
    time.sleep(600)
os.setsid()
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"#;
    let (build, _) = python(threads, &[&waiting("python3 program >/dev/null 2>&1 & wait_for ready")]);
    build.run().await.succeeded();
    assert!(has_ended(&fs::read_to_string(build.source().join("ready")).unwrap()));
}

/// The bomb has at most 127 processes, so that it harms no machine. Each starts others in the place of those that end.
#[tokio::test]
async fn a_fork_bomb_ends_with_its_build() {
    let bomb = r#"
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end = time.time() + 120
def grow(generation):
    os.setsid()
    if generation == 6:
        open("full", "a").write("x")
        while time.time() < end: time.sleep(0.01)
        os._exit(0)
    children = set()
    while time.time() < end:
        while len(children) < 2:
            child = os.fork()
            if child == 0: grow(generation + 1)
            children.add(child)
        children.discard(os.wait()[0])
    os._exit(0)
if os.fork() == 0: grow(0)
"#;
    let (build, mark) = python(bomb, &[&waiting("python3 program $(cat mark) >/dev/null 2>&1; wait_for full")]);
    build.run().await.succeeded();
    assert_eq!(running_with(&mark), [""; 0]);
}

#[tokio::test]
async fn a_build_that_kills_what_watches_it_ends_all_the_same() {
    let build = Build::with(&[
        &waiting("setsid sh -c 'echo $$ > pid; sleep 600' >/dev/null 2>&1 & wait_for pid"),
        // The first process of the group, whose ID the group has.
        "kill -9 $(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3); echo on",
    ]);
    let ran = build.run().await;
    ran.succeeded();
    assert_eq!(ran.of(Stdout), ["on"]);
    assert!(has_ended(fs::read_to_string(build.source().join("pid")).unwrap().trim()));
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_no_daemon() {
    let build = Build::with(&["setsid sh -c 'echo $$ > pid; sleep 600' & sleep 600"]);
    let pid = build.source().join("pid");
    let started = async {
        while !fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ran = build.run() => panic!("{:?}", ran.outcome),
        () = started => {}
    }
    assert!(has_ended(fs::read_to_string(&pid).unwrap().trim()));
}

/// The local stack has several builds at once, and each has its daemons.
#[tokio::test]
async fn a_daemon_of_another_build_goes_on() {
    let long = Build::with(&[
        &waiting("setsid sh -c 'echo $$ > pid; while :; do sleep 0.05; done' >/dev/null 2>&1 & wait_for pid"),
        &waiting("echo x > ready; wait_for go; kill -0 $(cat pid) && echo alive"),
    ]);
    let source = long.source();
    let others = async {
        while !source.join("ready").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..3 {
            Build::with(&["setsid sleep 600 & sleep 600 & true"]).run().await.succeeded();
        }
        fs::write(source.join("go"), "x").unwrap();
    };
    let (ran, ()) = tokio::join!(long.run(), others);
    ran.succeeded();
    assert_eq!(ran.of(Stdout), ["alive"]);
    assert!(has_ended(fs::read_to_string(source.join("pid")).unwrap().trim()));
}

/// Orphans that have ended count against the limit of processes until this process waits for them.
#[tokio::test]
async fn orphans_that_have_ended_are_no_zombies_while_the_build_goes_on() {
    let children = format!("^[0-9]+ [(].*[)] Z {} ", std::process::id());
    let build = Build::with(&[
        "group=$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3)",
        "i=0; while [ $i -lt 50 ]; do (true & (setsid true &)) ; i=$((i + 1)); done",
        &format!(
            "zombies() {{ cat /proc/[0-9]*/stat 2>/dev/null | grep -E '{children}' | sed 's/.*) //' | awk -v group=$group '$3 == group' | wc -l; }}"
        ),
        "while [ $(zombies) -gt 0 ]; do sleep 0.1; done; echo none",
    ]);
    let ran = build.run().await;
    ran.succeeded();
    assert_eq!(ran.of(Stdout), ["none"], "{:?}", ran.of(Stderr));
}

#[tokio::test]
async fn what_takes_the_place_of_the_source_folder_is_not_read() {
    for link in ["/proc/self", "/etc", "/nowhere"] {
        let build = Build::of(&format!(
            "phases: {{build: {{commands: 'echo own > environ; cd ..; mv source aside; ln -s {link} source'}}}}\nartifacts: {{files: ['**/*']}}\n"
        ));
        let ran = build.run().await;
        let names: Vec<_> = ran.succeeded().iter().map(|artifact| artifact.name.as_str()).collect();
        assert_eq!(names, ["environ"], "{link}");
    }
}

/// The folder of the shell's state is no secret: it is beside the home folder.
#[tokio::test]
async fn a_build_that_damages_its_own_surroundings_fails_or_succeeds_but_is_no_fault_of_the_machine() {
    let state = "\"$HOME/../state\"";
    let damages = [
        format!("rm -rf {state}"),
        format!("rm -rf {state}; ln -s / {state}"),
        format!("rm -rf {state}; mkfifo {state}"),
        format!("trap '' EXIT; cd {state}; mkdir next-variables; pwd > next-directory"),
        format!("trap '' EXIT; cd {state}; rm -f variables; mkdir -p variables/x; mkfifo values kept-variables"),
        format!("trap '' EXIT; cd {state}; ln -sf /dev/full next-variables; ln -sf /dev/full next-directory"),
        format!("trap '' EXIT; printf '/proc/self/mem' > {state}/next-directory"),
        format!("trap '' EXIT; head -c 300000 /dev/zero > {state}/next-directory"),
        "ulimit -f 0; echo full > file".to_owned(),
        "rm -rf \"$HOME\" \"$TMPDIR\" \"$CODEBUILD_SRC_DIR\" \"$HOME/..\"".to_owned(),
        "cd ..; rm -rf source; mkfifo source".to_owned(),
        "mkdir closed; cd closed; chmod 000 .".to_owned(),
    ];
    for damage in &damages {
        let mut build = Build::of(&format!(
            "env: {{exported-variables: [ONE]}}\nphases:\n  build:\n    on-failure: RETRY-1\n    commands: [{one:?}, {damage:?}, {two:?}]\n  post_build: {{commands: {post:?}}}\nartifacts: {{files: '**/*'}}\n",
            one = "ONE=1",
            two = "echo two",
            post = "echo post",
        ));
        // A shell that opens a pipe waits for somebody to write into it, and the time limit ends it.
        build.time_limit = Duration::from_secs(3);
        let ran = build.try_run().await;
        assert!(ran.is_ok(), "{damage}: {:?}", ran.err());
    }
}

#[tokio::test]
async fn a_command_whose_folder_is_gone_fails_as_a_command() {
    let build = Build::with(&["rm -rf \"$CODEBUILD_SRC_DIR\"; exit 0", "echo two"]);
    let ran = build.run().await;
    assert_eq!(ran.outcome, failed(PhaseName::Build, "echo two", Exit::Code(126)));
    let said = ran.of(System);
    assert!(said.iter().any(|line| line.starts_with("The command can't be started: ")), "{said:?}");
}

/// The lines go to a receiver that forgets them, as a log does beyond its bound.
#[tokio::test]
async fn ten_million_lines_are_passed_on_one_by_one() {
    const LINES: usize = 10_000_000;
    let build = Build::with(&[&format!("yes '' | head -n {LINES}"), "echo done"]);
    let (sender, mut receiver) = mpsc::channel::<(Stream, String)>(256);
    let source = Folder::open(&build.source()).unwrap();
    let run = Run {
        buildspec: &build.buildspec,
        source: &source,
        scratch: &build.folder.path().join("scratch"),
        variables: &build.variables,
        reserved: &build.reserved,
        redaction: Redaction::new(["a secret"]),
        clock: Clock::system(),
        time_limit: Duration::from_secs(3600),
        grace: Duration::ZERO,
        survivors: nobody(),
    };
    let count = async {
        let (mut empty, mut last) = (0, String::new());
        while let Some((stream, text)) = receiver.recv().await {
            match text.is_empty() {
                true => empty += 1,
                false if stream == Stdout => last = text,
                false => {}
            }
        }
        (empty, last)
    };
    let (ran, counted) = tokio::join!(run.run(sender, &build.cancel), count);
    assert!(matches!(ran.unwrap().0, Outcome::Succeeded { .. }));
    assert_eq!(counted, (LINES, "done".to_owned()));
}

#[tokio::test]
async fn names_that_are_no_text_are_left_out_of_the_artifacts_and_said() {
    let build = Build::of("phases: {build: {commands: 'true'}}\nartifacts: {files: '**/*'}\n");
    for name in [&b"caf\xe9"[..], b"caf\xe8", b"new\nline", b"fine"] {
        use std::os::unix::ffi::OsStrExt;
        fs::write(build.source().join(Path::new(std::ffi::OsStr::from_bytes(name))), "x").unwrap();
    }
    let ran = build.run().await;
    let names: Vec<_> = ran.succeeded().iter().map(|artifact| artifact.name.as_str()).collect();
    assert_eq!(names, ["fine"]);
    assert_eq!(ran.of(System).iter().filter(|line| line.starts_with("Left out of the artifacts: ")).count(), 3);
}
