//! The server's process: one thread for all sockets and all built-in objects, and threads for the user's code.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::remote;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::engine::{Engine, Output, Settings, random};
use super::error::ManagerError;
use super::frame::{self, Decoder};
use super::message::Reply;
use super::threads::{Mailbox, Threads};
use crate::sys::{self, Event, Interest, Peer, Poller};
use crate::wait::if_worth_it;

/// When a manager ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Lifetime {
    /// With the program that started it: when that ends or is killed, or holds neither the manager nor a proxy any more.
    #[default]
    Owner,
    /// When the last process that uses it is gone, whoever started it.
    LastClient,
    /// Never; [`Manager::shutdown`](super::Manager::shutdown) ends it.
    Explicit,
}

/// What the server's process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) address: Address,
    /// Where it says that it listens, or why not.
    pub(crate) ready: Address,
    pub(crate) lifetime: Lifetime,
    pub(crate) owner: u32,
    pub(crate) lease: Duration,
    pub(crate) limit: u64,
    pub(crate) connections: u64,
}

const LISTENER: u64 = 0;
const BELL: u64 = 1;
const FIRST: u64 = 2;
/// After the last message the server looks for more for so long before it sleeps: waking it would take longer.
const SPIN: Duration = Duration::from_micros(50);
/// How often it looks at the connection that spoke last before it looks at all of them.
const LOOKS: u32 = 16;
/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// Runs the server until it ends.
pub(crate) fn serve(order: Order) {
    let server = Server::new(&order);
    let (told, server) = match server {
        Ok(server) => (Ok(()), Some(server)),
        Err(error) => (Err(error.to_string()), None),
    };
    let bytes = postcard::to_stdvec::<Result<(), String>>(&told).unwrap_or_default();
    // If the starter is gone, so will be this process, or others use it.
    let _ = order
        .ready
        .connect()
        .and_then(|mut ready| ready.write_all(&bytes));
    if let Some(mut server) = server {
        let served = server.run();
        order.address.remove();
        drop(served); // nobody is left to be told
    }
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    peer: Peer,
    decoder: Decoder,
    /// What could not be sent yet begins here.
    unsent: Vec<u8>,
    interest: Interest,
    is_closing: bool,
}

#[derive(Debug)]
struct Server {
    engine: Engine,
    poller: Poller,
    listener: UnixListener,
    is_listening: bool,
    connections: HashMap<u64, Connection>,
    most: usize,
    limit: usize,
    next: u64,
    /// The connection that spoke last.
    last: u64,
    mailbox: Arc<Mailbox>,
    threads: Threads,
    lifetime: Lifetime,
    owner: u32,
    /// Somebody for whom it lives has come.
    is_used: bool,
    piece: Vec<u8>,
}

impl Server {
    fn new(order: &Order) -> io::Result<Server> {
        let listener = order.address.listen()?;
        listener.set_nonblocking(true)?;
        let poller = Poller::new()?;
        let mailbox = Arc::new(Mailbox::new()?);
        poller.add(&listener, LISTENER, Interest::Read)?;
        poller.add(mailbox.bell(), BELL, Interest::Read)?;
        let settings = Settings {
            manager: random(),
            executable: remote::executable(),
            lease: order.lease,
            limit: order.limit,
        };
        Ok(Server {
            engine: Engine::new(settings),
            poller,
            listener,
            is_listening: true,
            connections: HashMap::new(),
            most: usize::try_from(order.connections).unwrap_or(usize::MAX),
            limit: usize::try_from(order.limit).unwrap_or(frame::LIMIT),
            next: FIRST,
            last: FIRST,
            threads: Threads::new(Arc::clone(&mailbox)),
            mailbox,
            lifetime: order.lifetime,
            owner: order.owner,
            is_used: false,
            piece: vec![0; PIECE],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        let mut busy_until = Instant::now();
        let spin = if_worth_it(SPIN);
        while !self.is_over() {
            let now = Instant::now();
            self.engine.tick(now);
            self.settle(VecDeque::new());
            let due = self.engine.next_deadline();
            let timeout = if now < busy_until {
                Some(Duration::ZERO)
            } else {
                due.map(|due| due.saturating_duration_since(now))
            };
            events.clear();
            self.poller.wait(&mut events, timeout)?;
            if events.is_empty() {
                if self.look_at_last() {
                    busy_until = Instant::now() + spin;
                }
                continue;
            }
            busy_until = Instant::now() + spin;
            for event in &events {
                self.handle(*event);
            }
        }
        self.flush_all();
        Ok(())
    }

    /// Looks at the connection that spoke last, without asking the system which it may be: mostly it is the one that goes on. Whether it did.
    fn look_at_last(&mut self) -> bool {
        for _ in 0..LOOKS {
            let connection = self.connections.get(&self.last);
            let is_read = connection.is_some_and(|last| last.interest == Interest::Read);
            if is_read && self.read(self.last) {
                self.settle(VecDeque::from([self.last]));
                return true;
            }
        }
        std::thread::yield_now();
        false
    }

    /// Whether nobody is left for whom it lives.
    fn is_over(&mut self) -> bool {
        let own = std::process::id();
        let is_wanted = match self.lifetime {
            Lifetime::Owner => self.engine.clients().any(|pid| pid == self.owner),
            // The server is a client of itself while hosted values hold proxies.
            Lifetime::LastClient => self.engine.clients().any(|pid| pid != own),
            Lifetime::Explicit => true,
        };
        self.is_used |= is_wanted;
        self.engine.is_ended() || self.is_used && !is_wanted
    }

    fn handle(&mut self, event: Event) {
        match event.token {
            LISTENER => self.accept(),
            BELL => {
                for completion in self.mailbox.take() {
                    self.engine.finish(completion);
                }
                self.settle(VecDeque::new());
            }
            token => self.serve_connection(token, event),
        }
    }

    fn accept(&mut self) {
        loop {
            if self.connections.len() >= self.most {
                return self.listen(false);
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    // No descriptor is left: whoever connects waits until one is.
                    _ => return self.listen(false),
                },
            };
            // One that cannot be served is closed by being dropped.
            let _ = self.admit(stream);
        }
    }

    fn admit(&mut self, stream: UnixStream) -> io::Result<()> {
        let peer = sys::peer(stream.as_fd())?;
        if peer.uid != sys::own_user() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        stream.set_nonblocking(true)?;
        let token = self.next;
        self.poller.add(&stream, token, Interest::Read)?;
        self.next += 1;
        self.engine.open(token);
        let connection = Connection {
            stream,
            peer,
            decoder: Decoder::new(self.limit),
            unsent: Vec::new(),
            interest: Interest::Read,
            is_closing: false,
        };
        self.connections.insert(token, connection);
        Ok(())
    }

    fn listen(&mut self, is_listening: bool) {
        if std::mem::replace(&mut self.is_listening, is_listening) != is_listening {
            let interest = if is_listening {
                Interest::Read
            } else {
                Interest::Nothing
            };
            // Fails only for a descriptor that is not watched.
            let _ = self.poller.change(&self.listener, LISTENER, interest);
        }
    }

    fn serve_connection(&mut self, token: u64, event: Event) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        if event.writable && connection.send().is_err() {
            return self.close(token);
        }
        if event.readable && connection.interest == Interest::Read {
            self.last = token;
            self.read(token);
        } else if event.hung_up {
            return self.close(token);
        }
        self.settle(VecDeque::from([token]));
    }

    /// Takes what has come on a connection, or its end; whether anything had.
    fn read(&mut self, token: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else {
            return false;
        };
        match connection.stream.read(&mut self.piece) {
            Ok(count @ 1..) => {
                let piece = self.piece.get(..count).unwrap_or_default();
                connection.decoder.feed(piece);
            }
            Err(error) if is_transient(&error) => return false,
            Ok(_) | Err(_) => self.close(token),
        }
        true
    }

    /// Handles the frames that have arrived on these connections, and whatever follows from them.
    fn settle(&mut self, mut ready: VecDeque<u64>) {
        loop {
            self.dispatch(&mut ready);
            let Some(token) = ready.pop_front() else {
                return;
            };
            self.pump(token, &mut ready);
        }
    }

    /// Handles one frame of a connection, if it may ask.
    fn pump(&mut self, token: u64, ready: &mut VecDeque<u64>) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        if connection.is_closing && connection.unsent.is_empty() {
            return self.close(token);
        }
        if !connection.is_closing && connection.unsent.is_empty() && !self.engine.is_busy(token) {
            match connection.decoder.next() {
                Ok(Some(frame)) => {
                    let pid = connection.peer.pid;
                    let now = Instant::now();
                    self.engine
                        .frame(token, pid, frame.request, &frame.body, now);
                    ready.push_back(token);
                    return;
                }
                Ok(None) => {}
                Err(error) => {
                    let reply = Reply::Error(ManagerError::refused(error));
                    self.reply(token, 0, &reply);
                    if let Some(connection) = self.connections.get_mut(&token) {
                        connection.is_closing = true;
                        ready.push_back(token);
                    }
                    return;
                }
            }
        }
        self.watch(token);
    }

    /// Watches a connection for what can happen next.
    fn watch(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let interest = if !connection.unsent.is_empty() {
            Interest::Write
        } else if self.engine.is_busy(token) {
            Interest::Nothing
        } else {
            Interest::Read
        };
        if connection.interest != interest {
            connection.interest = interest;
            // Fails only for a descriptor that is not watched.
            let _ = self.poller.change(&connection.stream, token, interest);
        }
    }

    fn dispatch(&mut self, ready: &mut VecDeque<u64>) {
        loop {
            let (outputs, jobs) = self.engine.take_outputs();
            if outputs.is_empty() && jobs.is_empty() {
                return;
            }
            jobs.into_iter().for_each(|job| self.threads.run(job));
            for output in outputs {
                match output {
                    Output::Reply {
                        connection,
                        request,
                        reply,
                    } => {
                        self.reply(connection, request, &reply);
                        ready.push_back(connection);
                    }
                    Output::Close { connection } => {
                        if let Some(connection) = self.connections.get_mut(&connection) {
                            connection.is_closing = true;
                        }
                        ready.push_back(connection);
                    }
                }
            }
        }
    }

    fn reply(&mut self, token: u64, request: u64, reply: &Reply) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let start = connection.unsent.len();
        let written = frame::append_message(request, reply, &mut connection.unsent);
        let len = written.unwrap_or(usize::MAX);
        if len > self.limit {
            self.engine.take_back(token, reply);
            connection.unsent.truncate(start);
            let error = Reply::Error(ManagerError::TooLarge {
                len: len as u64,
                limit: self.limit as u64,
            });
            // A few bytes to a vector: nothing can go wrong.
            let _ = frame::append_message(request, &error, &mut connection.unsent);
        }
        if connection.send().is_err() {
            self.close(token);
        }
    }

    fn close(&mut self, token: u64) {
        if let Some(connection) = self.connections.remove(&token) {
            // It vanishes with its last descriptor in any case.
            let _ = self.poller.remove(&connection.stream);
            if !connection.unsent.is_empty() {
                self.engine.not_delivered(token);
            }
            drop(connection);
            self.engine.closed(token);
            self.listen(true);
        }
    }

    /// The last replies go out, as far as that can be done without waiting.
    fn flush_all(&mut self) {
        for connection in self.connections.values_mut() {
            // Who does not read finds the connection closed.
            let _ = connection.send();
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Connection {
    /// Sends what can be sent without waiting.
    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() && self.unsent.capacity() > PIECE {
            self.unsent = Vec::new();
        }
        Ok(())
    }
}
