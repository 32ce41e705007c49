//! The fork server: a clean process with one thread that forks workers on request, and its client in the pool's process.
//!
//! They talk by `ipc-channel`, request and reply in turn: requests are sent by the pool's watcher alone. The server reaps a
//! worker only when it is told to, so a worker's process id stays its own until the pool holds a pidfd of it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, channel};
use ipc_channel::{IpcError, TryRecvError};
use serde::{Deserialize, Serialize};

use super::boot::{self, Life, Role, Setup, Ties};
use crate::dispatch::control::Control;
use crate::error::WorkerExit;
use crate::worker::{self, Maker};
use crate::{start, sys};

/// What the pool asks.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Workers for these lives.
    Fork(Vec<Life>),
    /// How this worker ended, which it has.
    Reap(u32),
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// Process ids in the order of the request, or the system's number of the error.
    Forked(Vec<Result<u32, i32>>),
    Reaped(WorkerExit),
}

/// The server's first message.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    token: u64,
    requests: IpcSender<Request>,
    replies: IpcReceiver<Reply>,
    /// As in [`Reply::Forked`].
    first: Vec<Result<u32, i32>>,
}

/// The process ids of workers, or why there is none.
pub(crate) type Forked = Vec<io::Result<u32>>;

/// What a server says of `count` workers that it was to fork.
fn forked(pids: Vec<Result<u32, i32>>, count: usize) -> io::Result<Forked> {
    if pids.len() != count {
        return Err(io::Error::other(format!(
            "the fork server answers for {} workers instead of {count}",
            pids.len()
        )));
    }
    let pids = pids.into_iter();
    Ok(pids
        .map(|pid| pid.map_err(io::Error::from_raw_os_error))
        .collect())
}

/// The longest that a healthy server takes to answer; a stopped one is given up after it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pool's end.
#[derive(Debug)]
pub(crate) struct ForkServer {
    requests: IpcSender<Request>,
    replies: IpcReceiver<Reply>,
    pidfd: OwnedFd,
    /// As std knows it; a copy of this process it does not.
    child: Option<Child>,
}

/// What a worker is made of, in the process that forks it.
#[derive(Clone, Copy)]
pub(crate) struct Template<'a> {
    pub(crate) control: &'a Control,
    pub(crate) ties: &'a Ties,
    pub(crate) setup: &'a Setup,
    /// The server is a copy of the program.
    pub(crate) is_copy: bool,
    /// Makes the state of each worker there.
    pub(crate) maker: Option<Maker<'a>>,
}

/// Where a server says that it is there.
pub(super) struct Meeting<'a> {
    pub(super) rendezvous: &'a str,
    pub(super) token: u64,
    /// One byte on it says that it has connected.
    pub(super) socket: OwnedFd,
}

impl ForkServer {
    /// Starts a server that forks a worker for each of these lives at once, and waits until it answers. With it come the workers'
    /// process ids in the same order, or why there is none.
    pub(crate) fn start(
        setup: &Setup,
        env: &[(String, String)],
        control: &Control,
        ties: &Ties,
        first: &[Life],
    ) -> io::Result<(ForkServer, Forked)> {
        let (socket, theirs) = sys::socketpair()?;
        let mut child = boot::execute(theirs, env)?;
        // What follows is done while the program is loaded.
        let token = RandomState::new().build_hasher().finish();
        let begun = meeting_place(token).and_then(|(rendezvous, name)| {
            let role = Role::ForkServer {
                rendezvous: name,
                token,
                first: first.to_vec(),
            };
            match boot::tell(socket.as_fd(), role, setup, control, ties) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {} // it has ended, which `greet` sees
                told => told?,
            }
            let pidfd = sys::pidfd_open(child.id())?;
            let hello = greet(rendezvous, token, &socket)?;
            let pids = forked(hello.first, first.len())?;
            Ok((pidfd, hello.requests, hello.replies, pids))
        });
        match begun {
            Ok((pidfd, requests, replies, pids)) => {
                let server = ForkServer {
                    requests,
                    replies,
                    pidfd,
                    child: Some(child),
                };
                Ok((server, pids))
            }
            Err(error) => {
                child.kill()?;
                let exit = child.wait()?;
                Err(io::Error::new(
                    error.kind(),
                    format!("the fork server did not get ready: {error}; it ended with {exit}"),
                ))
            }
        }
    }

    /// Copies this process, which has one thread, and waits until the copy answers: it is the fork server, so each worker is a copy of
    /// what the program holds now.
    pub(crate) fn copy(
        template: &Template<'_>,
        env: &[(String, String)],
        life: BorrowedFd<'_>,
    ) -> io::Result<ForkServer> {
        let token = RandomState::new().build_hasher().finish();
        let (rendezvous, name) = meeting_place(token)?;
        let (ours, theirs) = sys::socketpair()?;
        let program = std::process::id();
        let pid = sys::fork_alone(|| {
            start::after_fork();
            sys::die_with_parent(program);
            sys::close_copies(&[life, ours.as_fd()]);
            worker::keep_panics();
            sys::worker_signals();
            for (name, value) in env {
                sys::set_variable(name, value);
            }
            match sys::take_stdin().and_then(|_| theirs.try_clone()) {
                Ok(socket) => {
                    let meeting = Meeting {
                        rendezvous: &name,
                        token,
                        socket,
                    };
                    serve(meeting, Vec::new(), template)
                }
                Err(_) => sys::exit_now(boot::FAILED),
            }
        })?;
        drop(theirs);
        let pidfd = sys::pidfd_open(pid)?;
        match greet(rendezvous, token, &ours) {
            Ok(hello) => Ok(ForkServer {
                requests: hello.requests,
                replies: hello.replies,
                pidfd,
                child: None,
            }),
            Err(error) => {
                sys::kill(pidfd.as_fd());
                let exit = sys::reap_child(pidfd.as_fd());
                Err(io::Error::new(
                    error.kind(),
                    format!(
                        "the copy of the program did not get ready: {error}; it ended with {exit}"
                    ),
                ))
            }
        }
    }

    /// Becomes readable when the server ends.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Forks a worker for each life; process ids in the same order, or why there is none.
    pub(crate) fn fork(&self, workers: Vec<Life>) -> io::Result<Forked> {
        let count = workers.len();
        match self.ask(Request::Fork(workers))? {
            Reply::Forked(pids) => forked(pids, count),
            other => Err(io::Error::other(format!(
                "the fork server gave the wrong answer {other:?}"
            ))),
        }
    }

    /// How the worker `pid`, which has ended, ended.
    pub(crate) fn reap(&self, pid: u32) -> WorkerExit {
        match self.ask(Request::Reap(pid)) {
            Ok(Reply::Reaped(exit)) => exit,
            _ => WorkerExit::Unknown,
        }
    }

    fn ask(&self, request: Request) -> io::Result<Reply> {
        self.requests.send(request).map_err(io::Error::other)?;
        loop {
            match self.replies.try_recv_timeout(PATIENCE) {
                Ok(reply) => return Ok(reply),
                Err(TryRecvError::Empty) => return Err(io::Error::from(io::ErrorKind::TimedOut)),
                Err(TryRecvError::IpcError(IpcError::Io(error)))
                    if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryRecvError::IpcError(error)) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Ends the server, and with it every worker that it forked.
    pub(crate) fn end(mut self) -> WorkerExit {
        sys::kill(self.pidfd.as_fd());
        let exit = sys::reap_child(self.pidfd.as_fd());
        // Reaped above: this only tells std's `Child` so.
        let _ = self.child.as_mut().map(Child::try_wait);
        exit
    }
}

/// Where the server connects to: a socket in the folder for temporary files, which is gone once it has.
fn meeting_place(token: u64) -> io::Result<(IpcOneShotServer<Hello>, String)> {
    let folder = std::env::temp_dir();
    let refused = |why: String| {
        let folder = folder.display();
        io::Error::other(format!(
            "no socket can be made in {folder} ({why}): TMPDIR has to name a folder that can be written"
        ))
    };
    // First, since where the folder does not do `ipc-channel` panics, or keeps a descriptor.
    check_folder(&folder, token).map_err(refused)?;
    // If it panics all the same: who waits for the pool would wait for ever.
    let made = std::panic::catch_unwind(IpcOneShotServer::new);
    made.map_err(|_| refused("`ipc-channel` panicked".to_owned()))?
        .map_err(|error: io::Error| refused(error.to_string()))
}

/// Whether a socket can be made in a folder of its own in this one; why not.
fn check_folder(folder: &Path, token: u64) -> Result<(), String> {
    /// Bytes that the address of a socket has for its path, without what `ipc-channel` appends: `/.tmpXXXXXX/socket` and a zero.
    const ROOM: usize = 108 - 19;
    let name = folder.to_str().ok_or("its name is not UTF-8")?;
    if name.len() > ROOM {
        let len = name.len();
        return Err(format!(
            "its name has {len} bytes, the address of a socket has room for {ROOM}"
        ));
    }
    let probe = folder.join(format!(".pool-{token:016x}"));
    let made = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
    made.map_err(|error| error.to_string())
}

/// Waits until the server has connected, which it says by one byte on `socket`, and takes its channels.
///
/// `accept` alone would wait for ever for a server that died before it connected.
fn greet(rendezvous: IpcOneShotServer<Hello>, token: u64, socket: &OwnedFd) -> io::Result<Hello> {
    let ready = sys::poll_readable(&[socket.as_fd()], Some(PATIENCE))?;
    if !ready[0] {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    if sys::read_byte(socket.as_fd())?.is_none() {
        return Err(io::Error::other("it ended before it could connect"));
    }
    let (_, hello) = rendezvous.accept().map_err(io::Error::other)?;
    if hello.token == token {
        Ok(hello)
    } else {
        Err(io::Error::other("somebody else connected in its place"))
    }
}

/// The server: forks workers for the `first` lives, says that it is there, and answers until the pool is gone.
pub(super) fn serve(meeting: Meeting<'_>, first: Vec<Life>, template: &Template<'_>) -> ! {
    sys::set_name(&template.setup.name, "-forks");
    let _line = boot::tie(template.ties.lifeline.as_fd());
    let fork_all = |lives: Vec<Life>| lives.into_iter().map(|life| fork(life, template)).collect();
    let served = connect(meeting, fork_all(first)).and_then(|(requests, replies)| {
        loop {
            let reply = match requests.recv() {
                Ok(Request::Fork(lives)) => Reply::Forked(fork_all(lives)),
                Ok(Request::Reap(pid)) => Reply::Reaped(sys::reap_pid(pid)),
                Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(()), // the pool is gone
            };
            replies.send(reply).map_err(io::Error::other)?;
        }
    });
    sys::exit_now(if served.is_ok() { 0 } else { boot::FAILED })
}

fn connect(
    meeting: Meeting<'_>,
    first: Vec<Result<u32, i32>>,
) -> io::Result<(IpcReceiver<Request>, IpcSender<Reply>)> {
    let (their_requests, requests) = channel()?;
    let (replies, their_replies) = channel()?;
    let hello = IpcSender::connect(meeting.rendezvous.to_owned())?;
    hello
        .send(Hello {
            token: meeting.token,
            requests: their_requests,
            replies: their_replies,
            first,
        })
        .map_err(io::Error::other)?;
    sys::write_byte(meeting.socket.as_fd())?;
    Ok((requests, replies))
}

/// Forks one worker.
fn fork(life: Life, template: &Template<'_>) -> Result<u32, i32> {
    let server = std::process::id();
    // SAFETY: this process has one thread, and the copy goes to `become_worker`, which never returns.
    match unsafe { sys::fork() } {
        Ok(Some(pid)) => Ok(pid),
        Ok(None) => become_worker(server, life, template),
        Err(error) => Err(error.raw_os_error().unwrap_or_default()),
    }
}

/// The copy: lets go of the server's channels and works.
fn become_worker(server: u32, life: Life, template: &Template<'_>) -> ! {
    sys::die_with_parent(server);
    let ties = template.ties;
    // A copy of the program keeps what the program had open. It keeps the server's channels with it, but ends when the server does.
    if !template.is_copy {
        sys::close_others(&[
            template.control.segment().fd(),
            ties.lifeline.as_fd(),
            ties.kick.as_fd(),
        ]);
    }
    // The server's own ties are never dropped here: the copies made below are the worker's.
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
    let own = copy(ties.lifeline.as_fd()).and_then(|lifeline| {
        Ok(Ties {
            lifeline,
            kick: copy(ties.kick.as_fd())?,
        })
    });
    match own {
        Ok(own) => boot::work(
            template.control.clone(),
            life,
            template.setup,
            own,
            template.maker,
        ),
        Err(_) => sys::exit_now(boot::FAILED),
    }
}
