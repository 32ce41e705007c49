//! The server without its sockets: what every message, every death and every moment does to sessions and objects.
//!
//! One thread owns all of it, so a message takes effect as a whole or not at all. The page of the protocol is `manager/README.md`.

pub(crate) mod containers;
pub(crate) mod effects;
mod hosted;
pub(crate) mod locks;
pub(crate) mod object;
pub(crate) mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use self::effects::{Effects, Who};
use self::hosted::Running;
pub(crate) use self::hosted::{Completion, Job, Produced, Work};
pub(crate) use self::object::Cell;
use self::object::{Body, Object};
use super::error::ManagerError;
use super::frame;
use super::message::{Make, Op, Reply, Request, Wait};

/// What holds for the whole life of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Of the manager: a number that no other has.
    pub(crate) manager: u64,
    pub(crate) executable: u64,
    pub(crate) lease: Duration,
    pub(crate) limit: u64,
}

/// What the server is to do with a connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Sends a reply; the connection may ask again.
    Reply {
        connection: u64,
        request: u64,
        reply: Reply,
    },
    /// Closes it.
    Close { connection: u64 },
}

#[derive(Debug, Default)]
struct Connection {
    session: Option<u64>,
    /// A request of it waits or runs; until that is answered it asks nothing else.
    is_busy: bool,
    /// If its last request was answered with an item of a queue: of which object, and the ticket.
    given: Option<(u64, u64)>,
}

/// A process that uses the manager.
#[derive(Debug)]
struct Session {
    secret: u64,
    pid: u32,
    connections: u64,
    same_executable: bool,
    /// How many proxies it holds of each object.
    refs: HashMap<u64, u64>,
}

/// An operation that waits. None of those that may wait brings values.
#[derive(Debug)]
struct Parked {
    object: u64,
    request: u64,
    who: Who,
    op: Op,
    deadline: Option<Instant>,
}

/// The state of the server.
#[derive(Debug)]
pub(crate) struct Engine {
    settings: Settings,
    connections: HashMap<u64, Connection>,
    sessions: HashMap<u64, Session>,
    objects: HashMap<u64, Object>,
    parked: HashMap<u64, Parked>,
    deadlines: BTreeSet<(Instant, u64)>,
    leases: BTreeSet<(Instant, u64)>,
    running: HashMap<u64, Running>,
    /// Sessions, objects and calls have numbers from here; none comes twice.
    last: u64,
    outputs: Vec<Output>,
    jobs: Vec<Job>,
    is_ended: bool,
}

/// A number that others cannot guess.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Engine {
    pub(crate) fn new(settings: Settings) -> Engine {
        Engine {
            settings,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            objects: HashMap::new(),
            parked: HashMap::new(),
            deadlines: BTreeSet::new(),
            leases: BTreeSet::new(),
            running: HashMap::new(),
            last: 0,
            outputs: Vec::new(),
            jobs: Vec::new(),
            is_ended: false,
        }
    }

    /// What there is to send, and calls to run.
    pub(crate) fn take_outputs(&mut self) -> (Vec<Output>, Vec<Job>) {
        (
            std::mem::take(&mut self.outputs),
            std::mem::take(&mut self.jobs),
        )
    }

    /// Whether somebody asked the server to end.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The processes that use the manager.
    pub(crate) fn clients(&self) -> impl Iterator<Item = u32> {
        self.sessions.values().map(|session| session.pid)
    }

    /// Whether the connection waits for an answer, so that nothing more is read from it.
    pub(crate) fn is_busy(&self, connection: u64) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|connection| connection.is_busy)
    }

    /// A connection was accepted.
    pub(crate) fn open(&mut self, connection: u64) {
        self.connections.insert(connection, Connection::default());
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, u64)>| set.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.leases)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets what is due by now happen.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((at, connection)) =
            self.deadlines.first().copied().filter(|(at, _)| *at <= now)
        {
            self.deadlines.remove(&(at, connection));
            self.time_over(connection);
        }
        while let Some((at, id)) = self.leases.first().copied().filter(|(at, _)| *at <= now) {
            self.leases.remove(&(at, id));
            if let Some(object) = self.objects.get_mut(&id) {
                object.lease = None;
                object.refs += 1;
                self.release(vec![id]);
            }
        }
    }

    /// A frame came. `pid` is what the kernel says of the peer.
    pub(crate) fn frame(
        &mut self,
        connection: u64,
        pid: u32,
        request: u64,
        body: &[u8],
        now: Instant,
    ) {
        let Some(state) = self.connections.get(&connection) else {
            return;
        };
        let session = state.session;
        let (reply, keeps_to_protocol) = match (postcard::from_bytes::<Request>(body), session) {
            (Err(error), _) => {
                let reason = format!("a request makes no sense: {error}");
                (Err(ManagerError::refused(reason)), false)
            }
            (
                Ok(Request::Hello {
                    executable,
                    session,
                }),
                None,
            ) => {
                let reply = self.welcome(connection, pid, executable, session);
                let is_welcome = reply.is_ok();
                (reply, is_welcome)
            }
            (Ok(_), None) | (Ok(Request::Hello { .. }), Some(_)) => {
                let reason = "a connection begins with one greeting";
                (Err(ManagerError::refused(reason)), false)
            }
            (Ok(message), Some(session)) => {
                let who = Who {
                    session,
                    connection,
                };
                match self.request(who, request, message, now) {
                    Ok(None) => return,
                    Ok(Some(reply)) => (Ok(reply), true),
                    Err(error) => (Err(error), true),
                }
            }
        };
        self.answer(connection, request, reply);
        if !keeps_to_protocol {
            self.outputs.push(Output::Close { connection });
        }
    }

    fn welcome(
        &mut self,
        connection: u64,
        pid: u32,
        executable: u64,
        session: Option<(u64, u64)>,
    ) -> Result<Reply, ManagerError> {
        let (session, secret) = match session {
            Some((number, secret)) => {
                let own = self.sessions.get_mut(&number);
                let own = own.filter(|own| own.secret == secret && own.pid == pid);
                let own = own.ok_or_else(|| {
                    ManagerError::refused("there is no such session of this process")
                })?;
                own.connections += 1;
                (number, secret)
            }
            None => {
                let (number, secret) = (self.number(), random());
                let session = Session {
                    secret,
                    pid,
                    connections: 1,
                    same_executable: executable == self.settings.executable,
                    refs: HashMap::new(),
                };
                self.sessions.insert(number, session);
                (number, secret)
            }
        };
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.session = Some(session);
        }
        Ok(Reply::Welcome {
            session,
            secret,
            manager: self.settings.manager,
            executable: self.settings.executable,
            limit: self.settings.limit,
            lease: self.settings.lease,
        })
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Nothing is answered yet, or ever, if there is no reply.
    fn request(
        &mut self,
        who: Who,
        request: u64,
        message: Request,
        now: Instant,
    ) -> Result<Option<Reply>, ManagerError> {
        if let Some(connection) = self.connections.get_mut(&who.connection) {
            connection.given = None; // it has the last answer
        }
        for id in message.blobs().into_iter().flat_map(|blob| &blob.refs) {
            self.object(*id)?;
        }
        let message = match message {
            Request::Do { object, op, wait } => {
                return self.operate(who, request, object, op, wait, now);
            }
            Request::Call { .. }
            | Request::Make {
                make: Make::Hosted { .. },
                ..
            } => return self.run(who, request, message).map(|()| None),
            other => other,
        };
        match message {
            Request::Close(id) => {
                self.close(who.session, id);
                return Ok(None);
            }
            Request::Make { make, type_name } => {
                let body = Body::make(&make)?;
                return Ok(Some(self.insert(who.session, body, type_name)));
            }
            Request::Open(id) => {
                self.object(id)?;
                self.deliver(who.session, &[id]);
                return self.opened(id).map(Some);
            }
            Request::Lease(id) => self.lease(id, now)?,
            Request::Pin { holder, object } => self.pin(holder, object)?,
            Request::Unpin { holder, object } => self.unpin(who.session, holder, object)?,
            Request::ClearPoison(id) => {
                if let Body::Hosted(hosted) = &mut self.object(id)?.body {
                    hosted.poison = None;
                }
            }
            Request::Count => {
                let counts = (self.objects.len() as u64, self.sessions.len() as u64);
                return Ok(Some(Reply::Numbers(counts.0, counts.1)));
            }
            Request::Shutdown => self.is_ended = true,
            // Done above; and a greeting is the first message only.
            Request::Hello { .. } | Request::Do { .. } | Request::Call { .. } => {}
        }
        Ok(Some(Reply::Done))
    }

    /// Has a function of the user's run.
    fn run(&mut self, who: Who, request: u64, message: Request) -> Result<(), ManagerError> {
        match message {
            Request::Make {
                make:
                    Make::Hosted {
                        function,
                        argument,
                        parallel,
                    },
                type_name,
            } => {
                let work = Work::Make {
                    parallel,
                    type_name,
                };
                self.start(who, request, function, argument, work)
            }
            Request::Call {
                object,
                function,
                argument,
            } => self.start(who, request, function, argument, Work::Call { object }),
            _ => Ok(()),
        }
    }

    fn object(&mut self, id: u64) -> Result<&mut Object, ManagerError> {
        self.objects
            .get_mut(&id)
            .ok_or(ManagerError::NoObject { id })
    }

    fn insert(&mut self, session: u64, body: Body, type_name: String) -> Reply {
        let id = self.number();
        let object = Object {
            type_name,
            refs: 0,
            lease: None,
            body,
            parked: VecDeque::new(),
        };
        self.objects.insert(id, object);
        self.deliver(session, &[id]);
        self.opened(id).unwrap_or_else(Reply::Error)
    }

    fn opened(&mut self, id: u64) -> Result<Reply, ManagerError> {
        let object = self.object(id)?;
        let shared = match &object.body {
            Body::Shared(shared) => Some(shared.segment.handle()),
            _ => None,
        };
        Ok(Reply::Opened {
            id,
            type_name: object.type_name.clone(),
            shared,
        })
    }

    fn answer(&mut self, connection: u64, request: u64, reply: Result<Reply, ManagerError>) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        state.is_busy = false;
        self.outputs.push(Output::Reply {
            connection,
            request,
            reply: reply.unwrap_or_else(Reply::Error),
        });
    }

    /// What is put must come back in one message too, with a little around it.
    fn check_length(&self, op: &Op) -> Result<(), ManagerError> {
        let limit = self.settings.limit;
        let longest = op.blobs().iter().map(|blob| blob.bytes.len() as u64).max();
        match longest {
            Some(len) if len > limit.saturating_sub(frame::MARGIN) => {
                Err(ManagerError::TooLarge { len, limit })
            }
            _ => Ok(()),
        }
    }

    fn operate(
        &mut self,
        who: Who,
        request: u64,
        id: u64,
        mut op: Op,
        wait: Wait,
        now: Instant,
    ) -> Result<Option<Reply>, ManagerError> {
        self.check_length(&op)?;
        let object = self.object(id)?;
        let waits_in_line = object.body.keeps_order(&op) && !object.parked.is_empty();
        let mut effects = Effects::default();
        let done = if waits_in_line {
            None
        } else {
            object.body.attempt(who, &mut op, &mut effects)
        };
        if let Some(reply) = done {
            let reply = self.settle(who, id, reply, effects);
            self.wake(id);
            return reply.map(Some);
        }
        let deadline = match wait {
            Wait::Now => return Err(ManagerError::WouldBlock),
            Wait::For(time) => now.checked_add(time),
            Wait::Forever => None,
        };
        let object = self.object(id)?;
        object.parked.push_back(who.connection);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, who.connection));
        }
        if let Some(connection) = self.connections.get_mut(&who.connection) {
            connection.is_busy = true;
        }
        let parked = Parked {
            object: id,
            request,
            who,
            op,
            deadline,
        };
        self.parked.insert(who.connection, parked);
        // To wait at a condition is to let its lock go.
        self.wake(id);
        Ok(None)
    }

    /// Gives the proxies in a reply to the client, then lets those go that have left the object's keeping.
    fn settle(
        &mut self,
        who: Who,
        object: u64,
        reply: Result<Reply, ManagerError>,
        effects: Effects,
    ) -> Result<Reply, ManagerError> {
        if let Ok(reply) = &reply {
            let refs: Vec<u64> = reply.blobs().flat_map(|blob| blob.refs.clone()).collect();
            self.deliver(who.session, &refs);
            if let Reply::Item { ticket, .. } = reply
                && let Some(connection) = self.connections.get_mut(&who.connection)
            {
                connection.given = Some((object, *ticket));
            }
        }
        self.keep(&effects.kept);
        self.release(effects.released);
        reply
    }

    /// Lets those go on who wait for this object and can.
    fn wake(&mut self, id: u64) {
        let mut again = true;
        while std::mem::take(&mut again) {
            let waiting = self.objects.get(&id).map(|object| object.parked.clone());
            for connection in waiting.unwrap_or_default() {
                let Some(parked) = self.parked.get_mut(&connection) else {
                    continue;
                };
                let Some(object) = self.objects.get_mut(&id) else {
                    return;
                };
                let mut effects = Effects::default();
                let done = object
                    .body
                    .attempt(parked.who, &mut parked.op, &mut effects);
                let Some(reply) = done else {
                    if object.body.keeps_order(&parked.op) {
                        break;
                    }
                    continue;
                };
                if let Some(parked) = self.unpark(connection) {
                    let reply = self.settle(parked.who, id, reply, effects);
                    self.answer(connection, parked.request, reply);
                }
                again = true;
            }
        }
    }

    /// Its request waits no more.
    fn unpark(&mut self, connection: u64) -> Option<Parked> {
        let parked = self.parked.remove(&connection)?;
        if let Some(deadline) = parked.deadline {
            self.deadlines.remove(&(deadline, connection));
        }
        if let Some(object) = self.objects.get_mut(&parked.object) {
            object.parked.retain(|other| *other != connection);
        }
        Some(parked)
    }

    fn time_over(&mut self, connection: u64) {
        let Some(parked) = self.parked.get_mut(&connection) else {
            return;
        };
        let id = parked.object;
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        match object.body.time_over(&mut parked.op) {
            Some(error) => {
                if let Some(parked) = self.unpark(connection) {
                    self.answer(connection, parked.request, Err(error));
                }
            }
            None => parked.deadline = None,
        }
        self.wake(id);
    }

    /// A connection has ended: its request is forgotten, and with the last one its session.
    pub(crate) fn closed(&mut self, connection: u64) {
        let Some(state) = self.connections.remove(&connection) else {
            return;
        };
        if let Some(parked) = self.unpark(connection) {
            if let Some(object) = self.objects.get_mut(&parked.object) {
                object.body.abandon(&parked.op);
            }
            self.wake(parked.object);
        }
        self.forget_calls(connection);
        let Some(number) = state.session else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        session.connections -= 1;
        if session.connections > 0 {
            return;
        }
        let refs = self.sessions.remove(&number).map(|session| session.refs);
        let ids: Vec<u64> = self.objects.keys().copied().collect();
        for id in ids {
            if let Some(object) = self.objects.get_mut(&id) {
                object.body.forget(number);
            }
            self.wake(id);
        }
        let held = refs.into_iter().flatten();
        self.release(
            held.flat_map(|(id, count)| (0..count).map(move |_| id))
                .collect(),
        );
    }
}

/// The lives of objects.
impl Engine {
    fn keep(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(object) = self.objects.get_mut(id) {
                object.refs += 1;
            }
        }
    }

    /// A client gets proxies.
    fn deliver(&mut self, session: u64, ids: &[u64]) {
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        for id in ids {
            if let Some(object) = self.objects.get_mut(id) {
                object.refs += 1;
                *session.refs.entry(*id).or_default() += 1;
            }
        }
    }

    /// A client drops a proxy, if it has one.
    fn close(&mut self, session: u64, id: u64) {
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(count) = session.refs.get_mut(&id) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            session.refs.remove(&id);
        }
        self.release(vec![id]);
    }

    /// Proxies are gone; so are objects of which none is left, and what these kept.
    fn release(&mut self, mut ids: Vec<u64>) {
        while let Some(id) = ids.pop() {
            let Some(object) = self.objects.get_mut(&id) else {
                continue;
            };
            object.refs = object.refs.saturating_sub(1);
            if object.refs > 0 || object.lease.is_some() {
                continue;
            }
            let Some(object) = self.objects.remove(&id) else {
                continue;
            };
            ids.extend(object.body.keeps());
            for connection in object.parked {
                if let Some(parked) = self.unpark(connection) {
                    self.answer(
                        connection,
                        parked.request,
                        Err(ManagerError::NoObject { id }),
                    );
                }
            }
            if let Body::Hosted(hosted) = object.body {
                // Its destructor is code of the user's.
                self.jobs.push(Job::Drop(hosted.cell));
            }
        }
    }

    fn lease(&mut self, id: u64, now: Instant) -> Result<(), ManagerError> {
        let until = now.checked_add(self.settings.lease);
        let object = self.object(id)?;
        let before = std::mem::replace(&mut object.lease, until);
        if let Some(before) = before {
            self.leases.remove(&(before, id));
        }
        if let Some(until) = until {
            self.leases.insert((until, id));
        }
        Ok(())
    }

    fn pin(&mut self, holder: u64, id: u64) -> Result<(), ManagerError> {
        self.object(id)?;
        if let Body::Shared(shared) = &mut self.object(holder)?.body {
            *shared.pins.entry(id).or_default() += 1;
            self.keep(&[id]);
        }
        Ok(())
    }

    /// A proxy comes out of a queue in shared memory: it is the client's now.
    fn unpin(&mut self, session: u64, holder: u64, id: u64) -> Result<(), ManagerError> {
        self.object(id)?;
        self.deliver(session, &[id]);
        let Ok(Object {
            body: Body::Shared(shared),
            ..
        }) = self.object(holder)
        else {
            return Ok(());
        };
        let Some(count) = shared.pins.get_mut(&id) else {
            return Ok(());
        };
        *count -= 1;
        if *count == 0 {
            shared.pins.remove(&id);
        }
        self.release(vec![id]);
        Ok(())
    }
}

/// What went wrong after the fact.
impl Engine {
    /// A reply was too long to be sent: the proxies in it are not the client's, nor is the item, if it was one.
    pub(crate) fn take_back(&mut self, connection: u64, reply: &Reply) {
        if self.not_delivered(connection) {
            return;
        }
        let session = self
            .connections
            .get(&connection)
            .and_then(|own| own.session);
        for id in reply.blobs().flat_map(|blob| &blob.refs) {
            self.close(session.unwrap_or_default(), *id);
        }
    }

    /// The last reply did not arrive, or not as a whole. If it was an item of a joinable queue, which knows it still, that goes back with the
    /// proxies in it.
    pub(crate) fn not_delivered(&mut self, connection: u64) -> bool {
        let Some(state) = self.connections.get_mut(&connection) else {
            return false;
        };
        let (Some((id, ticket)), Some(session)) = (state.given.take(), state.session) else {
            return false;
        };
        let Some(Object {
            body: Body::Queue(queue),
            ..
        }) = self.objects.get_mut(&id)
        else {
            return false;
        };
        let Some(refs) = queue.give_back(session, ticket) else {
            return false;
        };
        refs.into_iter().for_each(|id| self.close(session, id));
        self.wake(id);
        true
    }
}

#[cfg(fuzzing)]
impl Engine {
    /// Whether nobody uses it and nothing is left but containers that hold each other's proxies, or their own.
    pub(crate) fn is_empty(&self) -> bool {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for kept in self.objects.values().flat_map(|object| object.body.keeps()) {
            *counts.entry(kept).or_default() += 1;
        }
        let is_held_by_others =
            |(id, object): (&u64, &Object)| object.refs > 0 && counts.get(id) == Some(&object.refs);
        self.connections.is_empty()
            && self.sessions.is_empty()
            && self.objects.iter().all(is_held_by_others)
            && self.parked.is_empty()
            && self.deadlines.is_empty()
            && self.leases.is_empty()
            && self.running.is_empty()
    }
}
