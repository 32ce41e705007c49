//! A process as a client of a manager: its connections, and one call at a time on each.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use pool_core::{Process, remote};

use super::address::Address;
use super::error::ManagerError;
use super::frame::{self, Decoder, Frame};
use super::message::{Reply, Request, Wait};
use super::server::Lifetime;
use crate::sys;
use crate::wait::if_worth_it;

/// How much longer than asked for a call waits for an answer, before the server counts as stopped.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call looks for its answer before it sleeps: most come sooner than a sleeper wakes.
const SPIN: Duration = Duration::from_micros(30);
/// So long it does so without giving way: an idle server answers sooner.
const ALONE: Duration = Duration::from_micros(10);
/// After so many looks in vain only each [`PROBE`]th call looks again.
const MISSES: u32 = 4;
const PROBE: u64 = 16;
/// Bytes read at once.
const PIECE: usize = 16 << 10;
/// A buffer that held more than this is given back.
const KEPT: usize = 64 << 10;
/// Connections that are kept for the next calls.
const IDLE: usize = 8;
/// A server that its program does not need any more ends within this time, or is killed.
const FAREWELL: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    last: u64,
    /// What is sent, and a piece of what has come: kept for the next call.
    outgoing: Vec<u8>,
    piece: Box<[u8]>,
    /// How many looks for an answer were in vain, one after the other.
    misses: u32,
}

/// The server's process, if this one started it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) process: Process<()>,
    pub(crate) lifetime: Lifetime,
}

/// This process's account with a manager. It lasts as long as a proxy or the manager's handle does.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) address: Address,
    /// Of the manager.
    pub(crate) manager: u64,
    number: u64,
    secret: u64,
    /// Of this process: a copy of it has no account.
    pid: u32,
    limit: u64,
    idle: Mutex<Vec<Connection>>,
    gone: OnceLock<String>,
    child: Mutex<Option<Child>>,
}

/// The accounts of this process, by manager.
static SESSIONS: Mutex<Option<HashMap<u64, Weak<Session>>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// The account with the manager at `address`.
    pub(crate) fn connect(address: &Address) -> Result<Arc<Session>, ManagerError> {
        reap();
        let stream = open(address)?;
        let mut connection = Connection::new(stream);
        let greeting = Request::Hello {
            executable: remote::executable(),
            session: None,
        };
        let welcome = connection.call(&greeting, Some(PATIENCE), u64::MAX, address)?;
        let Reply::Welcome {
            session,
            secret,
            manager,
            limit,
            ..
        } = welcome
        else {
            return Err(unexpected(welcome));
        };
        connection.decoder = Decoder::new(usize::try_from(limit).unwrap_or(frame::LIMIT));
        let mut sessions = lock(&SESSIONS);
        let sessions = sessions.get_or_insert_default();
        if let Some(known) = sessions.get(&manager).and_then(Weak::upgrade)
            && known.pid == std::process::id()
        {
            return Ok(known); // and the new account ends with its only connection
        }
        let session = Arc::new(Session {
            address: address.clone(),
            manager,
            number: session,
            secret,
            pid: std::process::id(),
            limit,
            idle: Mutex::new(vec![connection]),
            gone: OnceLock::new(),
            child: Mutex::new(None),
        });
        sessions.retain(|_, known| known.strong_count() > 0);
        sessions.insert(manager, Arc::downgrade(&session));
        Ok(session)
    }

    /// The account with that manager, which must be at `address` if this process has none yet.
    pub(crate) fn reach(address: &Address, manager: u64) -> Result<Arc<Session>, ManagerError> {
        let known = lock(&SESSIONS)
            .as_ref()
            .and_then(|sessions| sessions.get(&manager)?.upgrade());
        if let Some(known) = known.filter(|known| known.pid == std::process::id()) {
            return Ok(known);
        }
        let session = Session::connect(address)?;
        if session.manager == manager {
            Ok(session)
        } else {
            Err(gone(address, "another manager listens there now"))
        }
    }

    /// This process has started the server.
    pub(crate) fn adopt(&self, child: Child) {
        *lock(&self.child) = Some(child);
    }

    /// The server's process id, if this process started it.
    pub(crate) fn child_pid(&self) -> Option<u32> {
        lock(&self.child).as_ref().map(|child| child.process.pid())
    }

    /// Asks, and waits for the answer.
    pub(crate) fn call(&self, request: &Request) -> Result<Reply, ManagerError> {
        let timeout = match request {
            Request::Do {
                wait: Wait::For(time),
                ..
            } => time.checked_add(PATIENCE),
            _ => None,
        };
        let mut connection = self.checkout()?;
        let reply = connection.call(request, timeout, self.limit, &self.address);
        match reply {
            Ok(Reply::Error(error)) => {
                self.put_back(connection);
                Err(error)
            }
            Ok(reply) => {
                self.put_back(connection);
                Ok(reply)
            }
            Err(error @ (ManagerError::TooLarge { .. } | ManagerError::Encode { .. })) => {
                self.put_back(connection); // nothing was sent
                Err(error)
            }
            Err(error) => Err(self.note(error)),
        }
    }

    /// Whether the manager of that number is there, as far as this process uses it.
    pub(crate) fn is_there(manager: u64) -> bool {
        let session = lock(&SESSIONS)
            .as_ref()
            .and_then(|sessions| sessions.get(&manager)?.upgrade());
        session.is_some_and(|session| session.check().is_ok())
    }

    /// Looks whether the manager is still there. A connection that waits for no answer can only be read when it has ended.
    pub(crate) fn check(&self) -> Result<(), ManagerError> {
        self.is_usable()?;
        // If all are in calls, those notice it.
        let Some(mut connection) = lock(&self.idle).pop() else {
            return Ok(());
        };
        match connection.receive(Some(Instant::now()), &self.address) {
            Ok(None) => {
                self.put_back(connection);
                Ok(())
            }
            Ok(Some(_)) => Err(self.note(gone(&self.address, "it spoke without being asked"))),
            Err(error) => Err(self.note(error)),
        }
    }

    /// One proxy less. That cannot fail for the one who drops it.
    pub(crate) fn close(&self, id: u64) {
        if self.pid != std::process::id() || self.gone.get().is_some() {
            return;
        }
        if let Ok(mut connection) = self.checkout()
            && connection
                .send(&Request::Close(id), self.limit, &self.address)
                .is_ok()
        {
            self.put_back(connection);
        }
    }

    /// Ends the server, and returns when it has ended.
    pub(crate) fn shutdown(&self) -> Result<(), ManagerError> {
        let mut connection = self.checkout()?;
        match connection.call(
            &Request::Shutdown,
            Some(PATIENCE),
            self.limit,
            &self.address,
        )? {
            Reply::Done => {}
            Reply::Error(error) => return Err(error),
            other => return Err(unexpected(other)),
        }
        // Its end closes the connection.
        let ended = connection.receive(Some(Instant::now() + PATIENCE), &self.address);
        if ended.is_ok_and(|frame| frame.is_none()) {
            return Err(self.unresponsive());
        }
        let _ = self.gone.set("it was shut down".to_owned());
        if let Some(child) = lock(&self.child).take() {
            end(child.process);
        }
        self.address.remove();
        Ok(())
    }

    fn unresponsive(&self) -> ManagerError {
        ManagerError::Unresponsive {
            address: self.address.to_string(),
        }
    }

    /// What is known once is not asked again.
    fn note(&self, error: ManagerError) -> ManagerError {
        if let ManagerError::Gone { reason, .. } = &error {
            let _ = self.gone.set(reason.clone());
        }
        error
    }

    fn is_usable(&self) -> Result<(), ManagerError> {
        if let Some(reason) = self.gone.get() {
            return Err(gone(&self.address, reason));
        }
        if self.pid != std::process::id() {
            let reason = "this process is a copy of the one that the proxy belongs to";
            return Err(ManagerError::refused(reason));
        }
        Ok(())
    }

    fn checkout(&self) -> Result<Connection, ManagerError> {
        self.is_usable()?;
        if let Some(connection) = lock(&self.idle).pop() {
            return Ok(connection);
        }
        let stream = open(&self.address).map_err(|error| self.note(error))?;
        let mut connection = Connection::new(stream);
        let greeting = Request::Hello {
            executable: remote::executable(),
            session: Some((self.number, self.secret)),
        };
        match connection.call(&greeting, Some(PATIENCE), u64::MAX, &self.address)? {
            Reply::Welcome { limit, .. } => {
                connection.decoder = Decoder::new(usize::try_from(limit).unwrap_or(frame::LIMIT));
                Ok(connection)
            }
            Reply::Error(error) => Err(error),
            other => Err(unexpected(other)),
        }
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        lock(&self.idle).clear(); // the server sees that this process has left
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        match child.take() {
            Some(child) if child.lifetime == Lifetime::Owner => {
                end(child.process);
                self.address.remove();
            }
            Some(child) => leave(child.process),
            None => {}
        }
    }
}

/// Servers that this process has started and uses no more. They are kept to be reaped: nothing else does that while this process lives.
static LEFT: Mutex<Vec<Process<()>>> = Mutex::new(Vec::new());

/// Lets a server go on without this process.
fn leave(process: Process<()>) {
    reap();
    lock(&LEFT).push(process);
}

/// Forgets the servers that have ended.
fn reap() {
    lock(&LEFT).retain(|process| process.is_alive());
}

/// Waits for the end of a server that is about to end; one that does not is killed.
fn end(process: Process<()>) {
    // How it ended makes no difference any more.
    let _ = process.join_timeout(FAREWELL);
}

fn open(address: &Address) -> Result<UnixStream, ManagerError> {
    let connected = address.connect().and_then(|stream| {
        let peer = sys::peer(stream.as_fd())?;
        Ok((stream, peer))
    });
    let (stream, peer) = connected.map_err(|error| gone(address, error))?;
    if peer.uid != sys::own_user() {
        return Err(ManagerError::refused(format!(
            "the manager at {address} belongs to user {}",
            peer.uid
        )));
    }
    let prepared = stream.set_nonblocking(true);
    prepared.map_err(|error| gone(address, error))?;
    Ok(stream)
}

pub(crate) fn gone(address: &Address, reason: impl ToString) -> ManagerError {
    ManagerError::Gone {
        address: address.to_string(),
        reason: reason.to_string(),
    }
}

pub(crate) fn unexpected(reply: Reply) -> ManagerError {
    match reply {
        Reply::Error(error) => error,
        other => ManagerError::refused(format!("the manager gave the wrong answer {other:?}")),
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            decoder: Decoder::new(frame::LIMIT),
            last: 0,
            outgoing: Vec::new(),
            misses: 0,
            piece: vec![0; PIECE].into_boxed_slice(),
        }
    }

    fn call(
        &mut self,
        request: &Request,
        timeout: Option<Duration>,
        limit: u64,
        address: &Address,
    ) -> Result<Reply, ManagerError> {
        self.send(request, limit, address)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(frame) = self.receive(deadline, address)? else {
            let address = address.to_string();
            return Err(ManagerError::Unresponsive { address });
        };
        if frame.request != self.last {
            // It may be the refusal of a frame that could not be read.
            let refusal = postcard::from_bytes(&frame.body);
            return Err(refusal.map_or_else(|error| gone(address, error), unexpected));
        }
        postcard::from_bytes(&frame.body).map_err(|error| gone(address, error))
    }

    fn send(
        &mut self,
        request: &Request,
        limit: u64,
        address: &Address,
    ) -> Result<(), ManagerError> {
        let mut frame = std::mem::take(&mut self.outgoing);
        frame.clear();
        self.last += 1;
        let written = frame::append_message(self.last, request, &mut frame);
        let len = written.map_err(|error| ManagerError::Encode {
            reason: error.to_string(),
        })? as u64;
        // What was put must come back in one message too.
        if len > limit.saturating_sub(frame::MARGIN) {
            return Err(ManagerError::TooLarge { len, limit });
        }
        self.write(&frame).map_err(|error| gone(address, error))?;
        if frame.capacity() <= KEPT {
            self.outgoing = frame;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sys::wait_writable(self.stream.as_fd(), None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long to look for an answer this time. Where answers never come so soon, as with more clients than processors, looking only keeps
    /// the server from running.
    fn spin(&self) -> Duration {
        if self.misses < MISSES || self.last.is_multiple_of(PROBE) {
            if_worth_it(SPIN)
        } else {
            Duration::ZERO
        }
    }

    /// The next frame; none if the time is over.
    fn receive(
        &mut self,
        deadline: Option<Instant>,
        address: &Address,
    ) -> Result<Option<Frame>, ManagerError> {
        let (began, mut spin) = (Instant::now(), self.spin());
        loop {
            let frame = self.decoder.next();
            if let Some(frame) = frame.map_err(|error| gone(address, error))? {
                self.misses = if spin.is_zero() { self.misses } else { 0 };
                return Ok(Some(frame));
            }
            match self.stream.read(&mut self.piece) {
                Ok(0) => return Err(gone(address, "it closed the connection")),
                Ok(count) => self
                    .decoder
                    .feed(self.piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    let looked = now.duration_since(began);
                    if looked < spin {
                        if looked > ALONE {
                            std::thread::yield_now();
                        }
                        continue;
                    }
                    self.misses += u32::from(!spin.is_zero());
                    spin = Duration::ZERO;
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
                    if left == Some(Duration::ZERO) {
                        return Ok(None);
                    }
                    sys::wait_readable(&[self.stream.as_fd()], left)
                        .map_err(|error| gone(address, error))?;
                }
                Err(error) => return Err(gone(address, error)),
            }
        }
    }
}
