//! The end of the program, however it comes: nothing of its pools stays behind. And what limits do to a program.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pool_core::{Pool, Schedule, StartMethod};
use pool_shm::SharedArray;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, setrlimit};

use crate::common::{
    ALL_METHODS, Board, Leftovers, METHODS, Process, alone, exit_of, is_stopped, parent_of,
};

/// Which program a re-executed test binary is to be, and its start method.
const PROGRAM: &str = "POOL_CORE_TESTS_PROGRAM";

/// Not a test by itself: the programs of the tests below.
#[test]
fn program() {
    let Ok(value) = std::env::var(PROGRAM) else {
        return;
    };
    let (name, method) = value.split_once(' ').unwrap();
    let method = ALL_METHODS
        .into_iter()
        .find(|known| known.to_string() == method)
        .unwrap();
    match name {
        "busy" if method == StartMethod::Fork => alone(|()| busy(StartMethod::Fork)),
        "busy" => busy(method),
        "handler" => handling(method),
        "deleted" => deleted(method),
        "descriptors" => limited(Some((Resource::Nofile, 64)), method),
        "processes" => limited(Some((Resource::Nproc, 6)), method),
        "space" => limited(Some((Resource::As, 200 << 20)), method),
        "group" => limited(None, method),
        "main" => main(method),
        "memory" => too_much(method),
        other => panic!("no program {other}"),
    }
}

struct Program {
    child: Child,
    /// None if it reads from a terminal.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(name: &str, method: StartMethod, adapt: impl FnOnce(&mut Command)) -> Option<Program> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "parent::program",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PROGRAM, format!("{name} {method}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        adapt(&mut command);
        let mut child = command.spawn().ok()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Program {
            child,
            input,
            output,
        })
    }

    /// What follows `>` in the next line that says something.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the program ended early"
            );
            if let Some((_, said)) = line.split_once("> ") {
                return said.trim_end().to_owned();
            }
        }
    }

    fn processes(&mut self) -> Vec<Process> {
        let pids = self.line();
        pids.split(' ')
            .map(|pid| Process::of_ours(pid.parse().unwrap()).unwrap())
            .collect()
    }

    fn go_on(&mut self) {
        writeln!(self.input.as_mut().unwrap(), "go on").unwrap();
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

#[expect(clippy::print_stdout, reason = "it is a program")]
fn say(text: &str) {
    println!("> {text}");
}

/// The workers and, if it is one, their parent.
fn pids<S: 'static>(pool: &Pool<S>) -> Vec<u32> {
    let mut pids: Vec<u32> = pool
        .workers()
        .into_iter()
        .map(|worker| worker.pid)
        .collect();
    pids.extend(Some(parent_of(pids[0])).filter(|parent| *parent != std::process::id()));
    pids
}

fn spin(board: &mut Board, _: u32) {
    board.count(0);
    loop {
        std::hint::spin_loop();
    }
}

/// One worker idle, one busy, one stopped.
fn busy(method: StartMethod) {
    let board = Board::new();
    let array = SharedArray::<u8, _>::zeros(100 << 20).unwrap();
    let text = format!("{array:?}");
    let inode = text
        .split("ino: ")
        .nth(1)
        .unwrap()
        .trim_end_matches([' ', '}']);
    say(inode);
    let pool = Pool::builder()
        .workers(3)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| pool.job(spin).chunk(1).map(0..2));
        board.wait(0, 2);
        let busy = pool
            .workers()
            .into_iter()
            .find(|worker| worker.state == pool_core::WorkerState::Busy)
            .unwrap();
        Process::open(busy.pid).unwrap().signal(Signal::STOP);
        while !is_stopped(busy.pid) {
            std::thread::yield_now();
        }
        let pids: Vec<String> = pids(&pool).iter().map(u32::to_string).collect();
        say(&pids.join(" "));
    });
    drop(array);
}

/// Says that it has begun, has work done by several workers, one of which dies, and by a single process, and says what came of it.
fn main(method: StartMethod) {
    say("begun");
    let pool = Pool::builder().workers(3).start_method(method);
    let pool = pool.build().unwrap();
    assert!(
        pool.apply(|()| std::process::abort(), ())
            .map(|(): ()| ())
            .is_err()
    );
    let sum: u32 = pool.map(|i: u32| i, 0..100).unwrap().iter().sum();
    let more = pool_core::Process::spawn(|i: u32| i + 1, sum).unwrap();
    say(&more.join().unwrap().to_string());
}

#[test]
fn a_worker_never_runs_the_main_of_its_program() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let mut program = Program::start("main", method, |_| ()).unwrap();
        let mut said = String::new();
        program.output.read_to_string(&mut said).unwrap();
        let said: Vec<&str> = said
            .lines()
            .filter_map(|line| Some(line.split_once("> ")?.1))
            .collect();
        assert_eq!(said, ["begun", "4951"]);
        program.end();
    }
    guard.assert_none();
}

/// Processes of whatever user that can be looked at and have the memory file with this inode open or mapped.
fn users_of(inode: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let uses = |process: &PathBuf| {
        let maps = std::fs::read_to_string(process.join("maps")).unwrap_or_default();
        let is_mapped = maps.lines().any(|line| {
            line.contains("memfd:") && line.split_ascii_whitespace().nth(4) == Some(inode)
        });
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        let is_it = |entry: std::fs::DirEntry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let metadata = std::fs::metadata(entry.path());
            target.to_string_lossy().contains("memfd:")
                && metadata.is_ok_and(|metadata| metadata.ino().to_string() == inode)
        };
        is_mapped || open.flatten().any(is_it)
    };
    processes
        .filter(uses)
        .map(|process| process.display().to_string())
        .collect()
}

#[test]
fn killing_the_program_ends_its_workers_and_frees_its_memory() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let mut program = Program::start("busy", method, |_| ()).unwrap();
        let inode = program.line();
        let processes = program.processes();
        assert_eq!(users_of(&inode), [format!("/proc/{}", program.child.id())]);
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        processes.iter().for_each(Process::await_end);
        // A memory file has no name: what nobody has open is gone.
        assert!(users_of(&inode).is_empty());
    }
    guard.assert_none_after_end();
}

fn own_group(command: &mut Command) {
    command.process_group(0);
}

extern "C" fn nothing(_: libc::c_int) {}

fn handle_interrupts() {
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGINT, nothing as *const () as libc::sighandler_t) };
}

/// The start methods that make processes, and the one that needs a program with one thread.
const WITH_FORK: [StartMethod; 3] = [
    StartMethod::ForkServer,
    StartMethod::Spawn,
    StartMethod::Fork,
];
/// Counters of the program that handles interrupts: tasks that have begun; what holds them.
const BEGUN: usize = 0;
const GATE: usize = 1;

/// Handles SIGINT, and says whether its workers are still the same after it, and what they were doing when it came.
fn handling(method: StartMethod) {
    handle_interrupts();
    let board = Board::new();
    let process = (method == StartMethod::Fork).then(|| {
        let body = |board: Board| worked_on(StartMethod::Fork, &board);
        pool_core::Process::spawn(body, board.clone()).unwrap()
    });
    std::thread::scope(|scope| {
        let here = process
            .is_none()
            .then(|| scope.spawn(|| worked_on(method, &board)));
        board.wait(BEGUN, 1);
        say("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        board.set(GATE, 1);
        if let Some(here) = here {
            here.join().unwrap();
        }
    });
    if let Some(process) = process {
        process.join().unwrap();
    }
}

/// One worker is busy and one idle while the signal comes.
fn worked_on(method: StartMethod, board: &Board) {
    handle_interrupts();
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap();
    let before = pids(&pool);
    let held = |board: &mut Board, i: u32| {
        board.count(BEGUN);
        board.wait(GATE, 1);
        i + 1
    };
    assert_eq!(pool.apply(held, 6).unwrap(), 7);
    let results = pool.map(|_: &mut Board, i: u32| i, 0..1000).unwrap();
    assert_eq!(results, (0..1000).collect::<Vec<_>>());
    say(if pids(&pool) == before {
        "the same"
    } else {
        "others"
    });
}

#[test]
fn workers_do_not_die_of_an_interrupt() {
    let guard = Leftovers::watch();
    for method in WITH_FORK {
        let mut program = Program::start("handler", method, own_group).unwrap();
        assert_eq!(program.line(), "ready");
        let group = Pid::from_child(&program.child);
        kill_process_group(group, Signal::INT).unwrap();
        program.go_on();
        assert_eq!(program.line(), "the same");
        program.end();
    }
    guard.assert_none();
}

/// A terminal: what a person types into, and what a program is started at; none where there are none.
fn terminal() -> Option<(File, File)> {
    let typed = File::options()
        .read(true)
        .write(true)
        .open("/dev/ptmx")
        .ok()?;
    let locked: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the kernel reads one number.
    let unlocked = unsafe { libc::ioctl(typed.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open, and the flags are a number.
    let peer = unsafe { libc::ioctl(typed.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if unlocked != 0 || peer < 0 {
        return None;
    }
    // SAFETY: the kernel has just made it, for us alone.
    let peer = unsafe { File::from_raw_fd(peer) };
    Some((typed, peer))
}

/// The program leads a session of its own, whose terminal this one is, and reads from it.
fn at_terminal(command: &mut Command, terminal: &File) {
    command.stdin(terminal.try_clone().unwrap());
    let become_leader = || {
        // SAFETY: takes nothing.
        if unsafe { libc::setsid() } == -1 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: takes a number.
        match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the copy makes two system calls.
    unsafe { command.pre_exec(become_leader) };
}

/// The key that interrupts.
const CONTROL_C: &[u8] = &[3];

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn an_interrupt_typed_at_a_terminal_is_left_to_the_program() {
    if terminal().is_none() {
        eprintln!("skipped: no terminal can be made here");
        return;
    }
    let guard = Leftovers::watch();
    for method in WITH_FORK {
        let (mut keys, screen) = terminal().unwrap();
        let at = |command: &mut Command| at_terminal(command, &screen);
        let mut program = Program::start("handler", method, at).unwrap();
        assert_eq!(program.line(), "ready");
        keys.write_all(CONTROL_C).unwrap();
        // The terminal echoes the key once the group has its signal.
        keys.read_exact(&mut [0; 2]).unwrap();
        keys.write_all(b"go on\n").unwrap();
        assert_eq!(program.line(), "the same");
        program.end();
        // One without handling.
        let mut program = Program::start("busy", method, at).unwrap();
        program.line();
        let processes = program.processes();
        keys.write_all(CONTROL_C).unwrap();
        assert!(!program.child.wait().unwrap().success());
        processes.iter().for_each(Process::await_end);
    }
    guard.assert_none_after_end();
}

/// Whether this process was started so that SIGINT is ignored, as in the background of a script: what it starts ignores it too.
fn ignores_interrupts() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 2 != 0
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn an_interrupted_program_leaves_nothing() {
    if ignores_interrupts() {
        eprintln!("skipped: SIGINT is ignored here");
        return;
    }
    let guard = Leftovers::watch();
    for method in WITH_FORK {
        let mut program = Program::start("busy", method, own_group).unwrap();
        program.line();
        let processes = program.processes();
        kill_process_group(Pid::from_child(&program.child), Signal::INT).unwrap();
        assert!(!program.child.wait().unwrap().success());
        processes.iter().for_each(Process::await_end);
    }
    guard.assert_none_after_end();
}

/// Makes its pool when its file is gone.
fn deleted(method: StartMethod) {
    say("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .build()
        .unwrap();
    let error = pool
        .apply(|()| std::process::exit(5), ())
        .map(|(): ()| ())
        .unwrap_err();
    assert_eq!(
        exit_of(error.task().unwrap().1),
        Some(pool_core::WorkerExit::Code(5))
    );
    say(&format!("{:?}", pool.map(|i: u32| i * i, 0..4).unwrap()));
}

#[test]
fn a_program_whose_file_was_deleted() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let copy: PathBuf = std::env::temp_dir().join("copy");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut command = Command::new(&copy);
        command
            .args([
                "--exact",
                "parent::program",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PROGRAM, format!("deleted {method}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (
            child.stdin.take(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        let mut program = Program {
            child,
            input,
            output,
        };
        assert_eq!(program.line(), "ready");
        std::fs::remove_file(&copy).unwrap();
        program.go_on();
        assert_eq!(program.line(), "[0, 1, 4, 9]");
        program.end();
    }
    guard.assert_none();
}

/// Makes a pool that cannot be made, says why, and that nothing of it is left.
fn limited(limit: Option<(Resource, u64)>, method: StartMethod) {
    if let Some((resource, limit)) = limit {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).unwrap();
    }
    let before = open_descriptors();
    for _ in 0..3 {
        let error = Pool::builder()
            .workers(60)
            .start_method(method)
            .build()
            .err();
        let error = error.map_or("no error".to_owned(), |error| error.to_string());
        assert_eq!(open_descriptors(), before, "{error}");
        say(&error);
    }
    // SAFETY: asks for the end of any child, of which there is none; the null pointer says that its status is not wanted.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    say(if child == -1 { "no child" } else { "a child" });
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Starts a limited program and checks that each error that it says has one of `parts` in it.
fn check_limit(name: &str, parts: &[&str], adapt: impl Fn(&mut Command)) {
    let guard = Leftovers::watch();
    for method in METHODS {
        let Some(mut program) = Program::start(name, method, &adapt) else {
            continue; // another user may not execute it
        };
        for _ in 0..3 {
            let error = program.line();
            assert!(
                parts.iter().any(|part| error.contains(part)),
                "{method}: {error}"
            );
        }
        assert_eq!(program.line(), "no child");
        program.end();
    }
    guard.assert_none_after_end();
}

#[test]
fn too_few_descriptors() {
    check_limit("descriptors", &["ulimit -n"], |_| ());
}

#[test]
fn too_few_processes() {
    // The limit does not hold for root, so it becomes somebody else.
    let is_root = rustix::process::geteuid().is_root();
    check_limit(
        "processes",
        &["temporarily unavailable", "ulimit -u"],
        |command| {
            if is_root {
                command.uid(65_534).env("TMPDIR", "/tmp");
            }
        },
    );
}

#[test]
fn too_little_address_space() {
    check_limit("space", &["ulimit -v"], |_| ());
}

/// A control group with a limit.
struct Group(PathBuf);

impl Group {
    /// Makes one, if this user may: with this limit, whatever the file is called in either version of control groups.
    fn make(controller: &str, files: &[&str], limit: u64) -> Option<Group> {
        let name = format!("pool-core-tests-{}", std::process::id());
        let root = PathBuf::from("/sys/fs/cgroup");
        let folders = [root.join(controller), root];
        let made = |folder: PathBuf| {
            let group = Group(folder.join(&name));
            std::fs::create_dir(&group.0).ok()?;
            let mut files = files.iter().map(|file| group.0.join(file));
            // Only the kernel's own file: nothing else is to be made there.
            let file = files.find(|file| file.exists())?;
            std::fs::write(file, limit.to_string()).ok()?;
            Some(group)
        };
        folders.into_iter().find_map(made)
    }

    /// Puts what the command starts into it.
    fn hold(&self, command: &mut Command) {
        let members = self.0.join("cgroup.procs");
        // SAFETY: between fork and exec the copy only opens and writes a file, by system calls; it allocates nothing but what `fs::write`
        // needs for the path, and the test has no thread that could hold the allocator's lock across the fork: glibc sees to that.
        unsafe { command.pre_exec(move || std::fs::write(&members, "0")) };
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn too_few_processes_in_a_control_group() {
    let Some(group) = Group::make("pids", &["pids.max"], 8) else {
        // The limit of the test above has to do.
        eprintln!("skipped: no control group with few processes can be made here");
        return;
    };
    check_limit("group", &["pids.max"], |command| group.hold(command));
}

const GROUP_MEMORY: u64 = 64 << 20;

/// A call whose results are more at once than there is memory for, and one that is not.
fn too_much(method: StartMethod) {
    let pool = Pool::builder().workers(2).start_method(method);
    let pool = pool.build().unwrap();
    for _ in 0..3 {
        // All of them lie in shared memory at once, before any is taken from there.
        let job = pool.job(|i: u64| u128::from(i)).schedule(Schedule::Static);
        let items = GROUP_MEMORY / size_of::<u128>() as u64;
        let error = job.try_map(0..items).map(drop).unwrap_err();
        assert!(error.is_memory(), "{error}");
        say(&error.to_string());
        assert_eq!(pool.map(|i: u32| i, 0..3).unwrap(), [0, 1, 2]);
    }
    drop(pool);
    // SAFETY: asks for the end of any child, of which there is none; the null pointer says that its status is not wanted.
    let child = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    say(if child == -1 { "no child" } else { "a child" });
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn too_little_memory_in_a_control_group() {
    let files = ["memory.max", "memory.limit_in_bytes"];
    let Some(group) = Group::make("memory", &files, GROUP_MEMORY) else {
        eprintln!("skipped: no control group with little memory can be made here");
        return;
    };
    check_limit("memory", &["available to the cgroup"], |command| {
        group.hold(command);
    });
}

mod later {
    //! A constructor of the program, which the linker may put behind the one that enters workers.

    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn construct() {
        CONSTRUCTED.fetch_add(1, Ordering::SeqCst);
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = construct;
}

#[test]
fn workers_see_what_constructors_did() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(1)
            .start_method(method)
            .build()
            .unwrap();
        let count = || later::CONSTRUCTED.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(
            (
                count(),
                pool.apply(
                    |()| later::CONSTRUCTED.load(std::sync::atomic::Ordering::SeqCst),
                    ()
                )
                .unwrap()
            ),
            (1, 1)
        );
    }
    guard.assert_none();
}

#[test]
fn a_dropped_pool_is_gone_whatever_it_was_doing() {
    let guard = Leftovers::watch();
    for method in METHODS {
        drop(
            Pool::builder()
                .workers(3)
                .start_method(method)
                .build()
                .unwrap(),
        );
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|board: Board| board, board.clone())
            .build()
            .unwrap();
        assert!(pool.map(|i: u32| 1 / i, 0..100).is_err());
        hold_and_stop(&pool);
        drop(pool);
    }
    guard.assert_none();
}

/// Stops an idle worker: it cannot leave by itself then.
fn hold_and_stop(pool: &Pool<Board>) {
    Process::of_ours(pool.workers()[0].pid)
        .unwrap()
        .signal(Signal::STOP);
}
