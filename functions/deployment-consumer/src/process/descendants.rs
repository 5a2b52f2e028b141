//! Ends the processes that descend from a run, wherever they have gone.
//!
//! A process leaves its group and its session by `setsid`, and its parent by letting it end. On Linux this process is the reaper
//! of its descendants (`PR_SET_CHILD_SUBREAPER`): an orphan becomes a child of this process, so that `/proc` shows every descendant.
//! The end of a run stops all of its processes before it kills them, because a stopped process can't start another one, and looks
//! again until nothing is left.
//!
//! In a Lambda function, every descendant of this process is of the run: see [`own_all_descendants`]. Elsewhere, such as in the local
//! stack, the process has other children too, and several runs at once. There, a descendant is of the run whose group it or one of its
//! ancestors is in. An orphan in no run's group is of the run that ends, unless it is older than this run, is in the group of this
//! process, or has the source folder of another run in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper,
    waitpid,
};

use super::survivor::Survivor;

/// The number of looks after which processes are killed that appear faster than they are stopped.
const STOPS: usize = 100;
/// The number of looks in a row that must find nothing.
const CLEAN_LOOKS: usize = 2;

static OWNS_ALL: AtomicBool = AtomicBool::new(false);
/// The runs that have not ended. The lock is held while a run starts its first process, and while another run's processes are
/// signaled, so that a process is never taken for an orphan before its run is known.
static RUNS: Mutex<Vec<Arc<Members>>> = Mutex::new(Vec::new());

/// Declares that this process has no descendants but those of its runs, which it has one after another.
pub fn own_all_descendants() {
    OWNS_ALL.store(true, Ordering::Relaxed);
}

/// The processes of a run.
pub(super) struct Members {
    /// The ID of the run's process group, and of the process that started it.
    group: i32,
    /// The time at which that process started, in the kernel's unit.
    started: u64,
    /// A variable in the environment of the run's processes, unless they have removed it.
    variable: Vec<u8>,
    /// The children that somebody else waits for.
    awaited: Mutex<BTreeSet<i32>>,
}

#[derive(Clone, Copy)]
struct Process {
    id: i32,
    /// The time at which it started, which tells it from another one with the same ID.
    started: u64,
    parent: i32,
    group: i32,
    has_ended: bool,
}

/// All processes of the machine, as far as this process sees them.
struct Table {
    processes: BTreeMap<i32, Process>,
}

impl Members {
    /// Starts the first process of a run by `spawn`, which returns its ID. `variable` is in the environment of all others.
    pub(super) fn start<T>(
        variable: Vec<u8>,
        spawn: impl FnOnce() -> io::Result<(i32, T)>,
    ) -> io::Result<(Arc<Self>, T)> {
        set_child_subreaper(Some(getpid()))?;
        let mut runs = lock(&RUNS);
        let (group, first) = spawn()?;
        let started = Process::read(group).ok_or(io::ErrorKind::NotFound)?.started;
        let members = Arc::new(Self { group, started, variable, awaited: Mutex::default() });
        runs.push(members.clone());
        Ok((members, first))
    }

    /// Starts a child that the caller waits for.
    pub(super) fn spawn<T>(&self, spawn: impl FnOnce() -> io::Result<(Option<u32>, T)>) -> io::Result<T> {
        let mut awaited = lock(&self.awaited);
        let (id, child) = spawn()?;
        awaited.extend(id.and_then(|id| i32::try_from(id).ok()));
        Ok(child)
    }

    /// Waits for orphans that have ended. Until somebody waits for them, they count against the system's limit of processes. Children in
    /// the group of this process are its own, as long as the run goes on.
    pub(super) fn reap(&self) -> io::Result<()> {
        let (runs, awaited) = (lock(&RUNS), lock(&self.awaited));
        let table = Table::read()?;
        let is_own = |process: &Process| Some(process.group) == table.own_group();
        let members = table.members(self, &runs).filter(|process| process.has_ended && !is_own(process));
        for process in members {
            self.reap_one(process, &awaited);
        }
        Ok(())
    }

    /// Kills all processes of the run. Returns the processes that are left: another user's, or not ended within the time limit.
    pub(super) fn end(&self, limit: Duration) -> io::Result<Vec<Survivor>> {
        let began = Instant::now();
        let (mut stopped, mut of_others) = (BTreeSet::new(), BTreeSet::new());
        let (mut looks, mut clean_looks) = (0, 0);
        loop {
            looks += 1;
            let (runs, awaited) = (lock(&RUNS), lock(&self.awaited));
            let table = Table::read()?;
            let (mut out_of_reach, mut alive, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
            let mut has_reaped = false;
            for process in table.members(self, &runs) {
                if process.has_ended {
                    has_reaped |= self.reap_one(process, &awaited);
                    continue;
                }
                if of_others.contains(&process.key()) {
                    out_of_reach.push(process);
                    continue;
                }
                alive.push(process);
                if stopped.insert(process.key()) {
                    fresh.push(process);
                }
            }
            // A process that has ended may have left another one, which started after the look.
            clean_looks = if alive.is_empty() && !has_reaped { clean_looks + 1 } else { 0 };
            if clean_looks == CLEAN_LOOKS || began.elapsed() > limit {
                return Ok(out_of_reach.into_iter().chain(alive).filter_map(Process::survivor).collect());
            }
            if alive.is_empty() {
                continue;
            }
            let (signal, signaled) =
                if fresh.is_empty() || looks > STOPS { (Signal::KILL, alive) } else { (Signal::STOP, fresh) };
            let refused = signaled.into_iter().filter(|process| process.signal(signal) == Err(Errno::PERM));
            of_others.extend(refused.map(Process::key));
            drop((runs, awaited));
            if signal == Signal::KILL {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Forgets the run, whose processes have ended.
    pub(super) fn forget(&self) {
        lock(&RUNS).retain(|run| run.group != self.group);
    }

    /// Waits for a process that has ended, if it is an orphan, and returns whether it was. The first one of the group is left to its
    /// owner, so that its ID is not used again.
    fn reap_one(&self, process: Process, awaited: &BTreeSet<i32>) -> bool {
        let is_orphan = process.parent == own_id() && process.id != self.group && !awaited.contains(&process.id);
        // An error means that somebody else has waited for it.
        let reap = |id| waitpid(Some(id), WaitOptions::NOHANG).is_ok_and(|reaped| reaped.is_some());
        is_orphan && Pid::from_raw(process.id).is_some_and(reap)
    }

    /// Decides about a descendant by its line: itself, its parent, and so on until a child of this process.
    fn has(&self, line: &[Process], others: &[Arc<Self>], own_group: Option<i32>) -> bool {
        let is_in = |run: &Self| line.iter().any(|process| process.group == run.group);
        let mut others = others.iter().filter(|run| run.group != self.group);
        if is_in(self) {
            return true;
        }
        if others.clone().any(|run| is_in(run)) {
            return false;
        }
        if OWNS_ALL.load(Ordering::Relaxed) {
            return true;
        }
        let (Some(process), Some(child)) = (line.first(), line.last()) else { return false };
        Some(child.group) != own_group
            && child.started >= self.started
            && !others.any(|run| process.has_variable(&run.variable))
    }
}

impl Table {
    fn read() -> io::Result<Self> {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let id = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(process) = id.and_then(Process::read) {
                processes.insert(process.id, process);
            }
        }
        Ok(Self { processes })
    }

    /// Returns the processes of a run, some of which may have ended.
    fn members<'a>(&'a self, run: &'a Members, runs: &'a [Arc<Members>]) -> impl Iterator<Item = Process> + 'a {
        let lines = self.processes.values().filter_map(|process| self.line(*process));
        lines.filter(|line| run.has(line, runs, self.own_group())).filter_map(|line| line.first().copied())
    }

    /// Returns the group of this process. In a namespace of processes it is 0 if the group is outside.
    fn own_group(&self) -> Option<i32> {
        self.processes.get(&own_id()).map(|process| process.group)
    }

    /// Returns the process, its parent, and so on until a child of this process. `None` if it is no descendant.
    fn line(&self, process: Process) -> Option<Vec<Process>> {
        let mut line = vec![process];
        let mut last = process;
        while last.parent != own_id() {
            last = *self.processes.get(&last.parent)?;
            line.push(last);
            // An ID that was used again can close a circle.
            if line.len() > self.processes.len() {
                return None;
            }
        }
        Some(line)
    }
}

impl Process {
    /// Reads `/proc/{id}/stat`. Returns `None` if there is no such process any more.
    fn read(id: i32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        // The name of the program is in parentheses, and can have any characters itself.
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let fields: Vec<_> = str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        // A process whose first thread has ended is a zombie too, although its other threads go on.
        let has_ended = matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1;
        Some(Self { id, started: fields.get(19)?.parse().ok()?, parent: number(1)?, group: number(2)?, has_ended })
    }

    fn key(self) -> (i32, u64) {
        (self.id, self.started)
    }

    /// Sends a signal, unless the ID belongs to another process by now. Fails if the process has ended meanwhile, or is another user's.
    fn signal(self, signal: Signal) -> rustix::io::Result<()> {
        let id = Pid::from_raw(self.id).ok_or(Errno::SRCH)?;
        let opened = pidfd_open(id, PidfdFlags::empty());
        if Self::read(self.id).is_none_or(|now| now.key() != self.key()) {
            return Err(Errno::SRCH);
        }
        match opened {
            Err(Errno::NOSYS) => kill_process(id, signal),
            opened => pidfd_send_signal(opened?, signal),
        }
    }

    /// Reads `/proc/{id}/status`. Returns `None` if the process has ended.
    fn survivor(self) -> Option<Survivor> {
        let status = fs::read(format!("/proc/{}/status", self.id)).ok()?;
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // The second number is the effective user.
        let user_id = field("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Survivor { process_id: self.id, program: field("Name:")?.to_owned(), user_id })
    }

    fn has_variable(self, variable: &[u8]) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.id)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|set| set == variable)
    }
}

fn own_id() -> i32 {
    getpid().as_raw_nonzero().get()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn processes_that_do_not_end_within_the_limit_are_named() {
        let mut first = Command::new("sleep");
        first.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut first, 0);
        let (members, mut first) = Members::start(b"CODEBUILD_SRC_DIR=/nowhere".to_vec(), || {
            let first = first.spawn()?;
            Ok((first.id().cast_signed(), first))
        })
        .unwrap();
        // The first look finds it, and there is no time to signal it.
        let left = members.end(Duration::ZERO).unwrap();
        let user_id = rustix::process::geteuid().as_raw();
        assert_eq!(left, [Survivor { process_id: first.id().cast_signed(), program: "sleep".to_owned(), user_id }]);
        assert_eq!(members.end(Duration::from_secs(600)).unwrap(), []);
        assert!(!first.wait().unwrap().success());
        members.forget();
    }
}
