//! The message by which a process that executes the program again learns what it is, and the two ends of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use pool_shm::{Segment, SegmentHandle};
use serde::{Deserialize, Serialize};

use super::fork_server::{self, Meeting, Template};
use crate::dispatch::control::{Control, Layout};
use crate::nest::Nest;
use crate::sys;
use crate::worker::{self, Maker, Terms, Worker};

/// Carries the process id of the pool's process.
pub(crate) const VARIABLE: &str = "POOL_CORE_WORKER_OF";
/// The same for a single process.
pub(crate) const PROCESS_VARIABLE: &str = "POOL_CORE_PROCESS_OF";
/// Changes with every change of [`Boot`].
const VERSION: u32 = 3;
/// The message is small; what is large travels in the control segment.
pub(crate) const LIMIT: usize = 64 << 10;

/// What a started process is told. Three descriptors come with it: control segment, life-line, kick.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    version: u32,
    pub(crate) role: Role,
    layout: Layout,
    setup: Setup,
}

/// What the process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    ForkServer {
        rendezvous: String,
        token: u64,
        /// The workers to begin with.
        first: Vec<Life>,
    },
    Worker(Life),
}

/// A life of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Its place in the control segment.
    pub(crate) slot: usize,
    /// Which life of that place it is.
    pub(crate) generation: u32,
    /// Its number in the pool.
    pub(crate) worker: usize,
}

/// What all workers of a pool have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The initializer and where its encoded argument is.
    pub(crate) initializer: Option<(u64, Place)>,
    pub(crate) seed: u64,
    pub(crate) name: String,
    /// Where workers run.
    pub(crate) nest: Nest,
    pub(crate) terms: Terms,
}

/// Where encoded bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// The first `len` bytes of a segment of their own.
    Segment { handle: SegmentHandle, len: usize },
    /// Here.
    Inline(Vec<u8>),
}

/// The descriptors that every process of a pool holds.
#[derive(Debug)]
pub(crate) struct Ties {
    /// Read end of the pipe whose other end the pool's process holds.
    pub(crate) lifeline: OwnedFd,
    pub(crate) kick: OwnedFd,
}

/// Starts a process and hands its message over. The process, and our end of the socket that the message went by.
pub(crate) fn launch(
    role: Role,
    setup: &Setup,
    env: &[(String, String)],
    control: &Control,
    ties: &Ties,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = sys::socketpair()?;
    tell(ours.as_fd(), role, setup, control, ties)?;
    let child = execute(theirs, env)?;
    Ok((child, ours))
}

/// Starts a process that waits for its message at the other end of `socket`.
pub(super) fn execute(socket: OwnedFd, env: &[(String, String)]) -> io::Result<Child> {
    program(socket, env)
        .env(VARIABLE, std::process::id().to_string())
        .spawn()
}

/// Sends a process its message.
pub(super) fn tell(
    socket: BorrowedFd<'_>,
    role: Role,
    setup: &Setup,
    control: &Control,
    ties: &Ties,
) -> io::Result<()> {
    let boot = Boot {
        version: VERSION,
        role,
        layout: control.layout(),
        setup: setup.clone(),
    };
    let bytes = postcard::to_stdvec(&boot).map_err(io::Error::other)?;
    let fds = [
        control.segment().fd(),
        ties.lifeline.as_fd(),
        ties.kick.as_fd(),
    ];
    sys::send_with_fds(socket, &bytes, &fds)
}

/// This program once more, which takes its message from `socket`.
pub(crate) fn program(socket: OwnedFd, env: &[(String, String)]) -> Command {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(sys::SELF_EXE);
    // Without `pre_exec` and the like std uses posix_spawn, whose cost does not grow with this process's memory.
    command
        .arg0(arguments.next().unwrap_or_default())
        .args(arguments)
        .stdin(Stdio::from(socket))
        .envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// The started process's end: becomes what the message says, and never returns.
pub(super) fn enter(parent: u32) -> ! {
    match receive(parent) {
        Ok((boot, control, ties, socket)) => {
            worker::keep_panics();
            match boot.role {
                Role::ForkServer {
                    rendezvous,
                    token,
                    first,
                } => {
                    let template = Template {
                        control: &control,
                        ties: &ties,
                        setup: &boot.setup,
                        is_copy: false,
                        maker: None,
                    };
                    let meeting = Meeting {
                        rendezvous: &rendezvous,
                        token,
                        socket,
                    };
                    fork_server::serve(meeting, first, &template)
                }
                Role::Worker(life) => {
                    drop(socket);
                    work(control, life, &boot.setup, ties, None)
                }
            }
        }
        Err(error) => {
            refuse(parent, VARIABLE, &error);
            sys::exit_now(FAILED)
        }
    }
}

/// Exit status of a process that could not become a worker.
pub(crate) const FAILED: i32 = 125;

/// There is nobody else to tell: the pool sees the exit status only.
#[expect(
    clippy::print_stderr,
    reason = "a process that cannot reach its pool has no other way to say why"
)]
pub(crate) fn refuse(parent: u32, mark: &str, error: &io::Error) {
    eprintln!(
        "this process was marked as a child of process {parent} by {mark} but cannot become one: {error}"
    );
}

fn receive(parent: u32) -> io::Result<(Boot, Control, Ties, OwnedFd)> {
    sys::die_with_parent(parent);
    let socket = sys::take_stdin()?;
    let (bytes, fds) = sys::receive_with_fds(socket.as_fd(), LIMIT)?;
    let [control, lifeline, kick] = <[OwnedFd; 3]>::try_from(fds)
        .map_err(|fds| io::Error::other(format!("{} descriptors came instead of 3", fds.len())))?;
    let boot: Boot = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
    if boot.version != VERSION {
        return Err(io::Error::other(format!(
            "the pool speaks version {} of the start protocol, this is {VERSION}",
            boot.version
        )));
    }
    sys::close_others(&[
        control.as_fd(),
        lifeline.as_fd(),
        kick.as_fd(),
        socket.as_fd(),
    ]);
    sys::worker_signals();
    let segment = Segment::from_fd(control).map_err(io::Error::other)?;
    let control = Control::open(segment, boot.layout).map_err(io::Error::other)?;
    Ok((boot, control, Ties { lifeline, kick }, socket))
}

/// Works until the pool says to leave.
pub(super) fn work(
    control: Control,
    life: Life,
    setup: &Setup,
    ties: Ties,
    maker: Option<Maker<'_>>,
) -> ! {
    let place = control.slots().get(life.slot).map(|place| {
        place
            .pid
            .store(std::process::id(), std::sync::atomic::Ordering::Release)
    });
    #[cfg(feature = "inject")]
    crate::inject::enter_life(life.generation);
    sys::set_name(&setup.name, &format!("-{}", life.worker));
    setup.nest.enter_process();
    let Ties { lifeline, kick } = ties;
    let _line = tie(lifeline.as_fd());
    let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        place.expect("the pool has a place for each worker that it starts");
        Worker::new(control, life, &setup.terms, Some(kick))
            .of_own_process()
            .live(setup, maker);
    }));
    flush_output();
    if worked.is_err() {
        std::process::abort(); // a bug of ours, not of a task: the pool survives it like any death
    }
    sys::exit_now(0)
}

/// Ties this process to the pool's. Where there is no `/proc` the signal of the parent's death has to do.
pub(crate) fn tie(lifeline: BorrowedFd<'_>) -> Option<OwnedFd> {
    sys::arm_lifeline(lifeline)
        .inspect_err(|error| tracing::warn!(%error, "no life-line to the pool's process"))
        .ok()
}

/// What tasks printed without a line end would be lost otherwise.
pub(crate) fn flush_output() {
    use std::io::Write;
    // A closed standard output is no reason to fail.
    let _ = io::stdout().flush();
}

impl Place {
    /// Puts `bytes` where every process of the pool can read them; the segment has to be kept as long as one may.
    pub(crate) fn store(bytes: Vec<u8>) -> Result<(Place, Option<Segment>), pool_shm::ShmError> {
        if bytes.len() <= LIMIT / 4 {
            return Ok((Place::Inline(bytes), None));
        }
        let segment = Segment::create(bytes.len())?;
        segment.cells(0, bytes.len())?.write_from(0, &bytes);
        Ok((
            Place::Segment {
                handle: segment.handle(),
                len: bytes.len(),
            },
            Some(segment),
        ))
    }

    /// The bytes.
    ///
    /// # Panics
    ///
    /// If they are gone: the worker then dies before it is ready, which the pool reports.
    pub(crate) fn read(&self) -> Vec<u8> {
        match self {
            Place::Inline(bytes) => bytes.clone(),
            Place::Segment { handle, len } => {
                let segment = Segment::attach(handle)
                    .unwrap_or_else(|error| panic!("the initializer's argument: {error}"));
                let mut bytes = vec![0; *len];
                segment
                    .cells(0, *len)
                    .unwrap_or_else(|error| panic!("the initializer's argument: {error}"))
                    .read_into(0, &mut bytes);
                bytes
            }
        }
    }
}

/// For the fuzz target: any bytes as the message of a pool.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(boot) = postcard::from_bytes::<Boot>(bytes) else {
        return;
    };
    let segment = Segment::create(4096).expect("a page of memory");
    assert!(Control::open(segment, boot.layout).is_err());
}
