//! The manager as programs see it.

use std::any::type_name;
use std::fmt;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{Process, StartMethod, remote};

use super::address::Address;
use super::engine::random;
use super::error::ManagerError;
use super::frame;
use super::message::{Make, Reply, Request};
use super::server::{self, Lifetime, Order};
use super::session::{Child, Session, unexpected};
use super::value::Object;
use crate::sys;

/// How long a server may take to begin.
const START: Duration = Duration::from_secs(60);

/// A process that holds objects for all who know them: queues, containers, locks, and values of types of yours.
///
/// Each object is used through a proxy. Proxies are values: clone them, send them to other processes as arguments and results of tasks, put
/// them into containers of the manager. An object lives as long as a proxy of it does, anywhere.
///
/// # Guarantees
/// * **Deaths**: a client may be killed at any instruction. What it had asked for is done as a whole or not at all; locks that it held are free
///   again, and the next holder is told; what it waited for is forgotten; objects that only it knew are gone.
/// * **The manager's death** is [`ManagerError::Gone`] for everybody who uses or waits for one of its objects.
/// * **Security**: only processes of the same user are served. Functions that are called must be in the executable that the manager runs.
///
/// # Examples
/// ```
/// use pool_queue::Manager;
///
/// let manager = Manager::start()?;
/// let ages = manager.dict::<String, u32>()?;
/// ages.insert("Ada".to_owned(), 36)?; // here, or in any process that got the proxy
/// assert_eq!(ages.get(&"Ada".to_owned())?, Some(36));
/// # Ok::<(), pool_queue::ManagerError>(())
/// ```
#[derive(Clone)]
pub struct Manager {
    pub(crate) session: Arc<Session>,
}

/// Options of a manager. Made by [`Manager::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder starts a manager only when `start` is called"]
pub struct ManagerBuilder {
    address: Option<Address>,
    method: StartMethod,
    lifetime: Lifetime,
    lease: Duration,
    limit: usize,
    connections: usize,
}

impl ManagerBuilder {
    /// How its process is started. Default: [`StartMethod::Spawn`], the program is executed anew. [`StartMethod::ForkServer`] means the same:
    /// there is one process to start. With [`StartMethod::Fork`] it is a copy of this one and holds all that this one holds, its open files too.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Where it listens. Default: a random name in no file system.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Listens on a socket at this path. Its directory is made if there is none; it must be yours and closed to others (mode 700).
    pub fn path(self, path: impl Into<std::path::PathBuf>) -> Self {
        self.address(Address::Path(path.into()))
    }

    /// Listens under this name, which is in no file system and is free again when the manager ends.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.address(Address::Name(name.into()))
    }

    /// When it ends by itself. Default: [`Lifetime::Owner`].
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How long an object lives after one of its proxies was serialised for somebody else than the manager, if nobody holds one: the
    /// time that the message has to arrive. Default: one minute. Arguments of tasks need no lease, the pool keeps their proxies.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The longest message in bytes, and so the largest value. Default: 64 MiB.
    pub fn message_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes.clamp(4096, u32::MAX as usize);
        self
    }

    /// How many connections it serves; who comes later waits until one is free. A process has one, and one more for each further thread
    /// that is in a call. Default: 4096, and never more than there are descriptors.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Starts the manager's process and waits until it listens.
    ///
    /// # Errors
    ///
    /// [`ManagerError::System`] if the process or its socket cannot be had: the address may be in use, or there are other threads and it is to be a
    /// fork. [`ManagerError::Refused`] for a start method that makes no process.
    pub fn start(self) -> Result<Manager, ManagerError> {
        let generated = || Address::Name(format!("pool-manager-{:016x}", random()));
        let address = self.address.clone().unwrap_or_else(generated);
        let ready = Address::Name(format!("pool-manager-ready-{:016x}", random()));
        let system = |error: std::io::Error| ManagerError::system("cannot start a manager", error);
        let listener = ready.listen().map_err(system)?;
        let order = Order {
            address: address.clone(),
            ready,
            lifetime: self.lifetime,
            owner: std::process::id(),
            lease: self.lease,
            limit: self.limit as u64,
            connections: self.connections as u64,
        };
        let builder = remote::service(
            Process::builder().name("manager"),
            self.lifetime != Lifetime::Owner,
        );
        let process = match self.method {
            StartMethod::Spawn | StartMethod::ForkServer => builder.spawn(server::serve, order),
            StartMethod::Fork => builder.fork(|| server::serve(order)),
            other => {
                let reason = format!("a manager is a process of its own, {other:?} makes none");
                return Err(ManagerError::refused(reason));
            }
        };
        let process =
            process.map_err(|error| ManagerError::system("cannot start a manager", error))?;
        await_ready(&listener, &process).map_err(|reason| ManagerError::System {
            what: format!("cannot start a manager at {address}"),
            reason,
        })?;
        let session = Session::connect(&address)?;
        session.adopt(Child {
            process,
            lifetime: self.lifetime,
        });
        Ok(Manager { session })
    }
}

/// Waits until the server says that it listens, or has ended.
fn await_ready(listener: &UnixListener, process: &Process<()>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let descriptors = [listener.as_fd(), process.as_fd()];
    let came = loop {
        let came = sys::wait_readable(&descriptors, Some(START)).map_err(text)?;
        if came.contains(&true) {
            break came;
        }
        if !process.is_alive() {
            break vec![false];
        }
    };
    if came.first() != Some(&true) {
        return Err(format!("its process ended ({:?})", process.exit()));
    }
    let (mut stream, _) = listener.accept().map_err(text)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(text)?;
    postcard::from_bytes::<Result<(), String>>(&bytes)
        .unwrap_or_else(|_| Err("its process ended before it listened".to_owned()))
}

/// The manager itself; what it can hold stands with the objects.
impl Manager {
    /// Starts a manager with the default options.
    ///
    /// # Errors
    ///
    /// As for [`ManagerBuilder::start`].
    pub fn start() -> Result<Manager, ManagerError> {
        Manager::builder().start()
    }

    /// Options for a manager.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder {
            address: None,
            method: StartMethod::Spawn,
            lifetime: Lifetime::default(),
            lease: Duration::from_secs(60),
            limit: frame::LIMIT,
            connections: 4096,
        }
    }

    /// Connects to a manager that runs, started by any program of the same user. A program that is another executable can use all built-in
    /// objects, but cannot [`host`](Manager::host) or call.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Gone`] if none listens there; [`ManagerError::Refused`] if it is another user's or another version.
    pub fn connect(address: impl Into<Address>) -> Result<Manager, ManagerError> {
        let session = Session::connect(&address.into())?;
        Ok(Manager { session })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        self.session.address.clone()
    }

    /// Its process id, if this process started it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.session.child_pid()
    }

    /// How many objects it holds.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn objects(&self) -> Result<u64, ManagerError> {
        self.counts().map(|(objects, _)| objects)
    }

    /// How many processes use it.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn clients(&self) -> Result<u64, ManagerError> {
        self.counts().map(|(_, clients)| clients)
    }

    fn counts(&self) -> Result<(u64, u64), ManagerError> {
        match self.session.call(&Request::Count)? {
            Reply::Numbers(objects, clients) => Ok((objects, clients)),
            other => Err(unexpected(other)),
        }
    }

    /// Ends the manager, whoever uses it, and returns when its process has ended.
    ///
    /// # Errors
    ///
    /// If it is gone already, or does not answer.
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        self.session.shutdown()
    }

    /// Makes an object.
    pub(crate) fn make<P>(&self, make: Make) -> Result<Arc<Object>, ManagerError> {
        self.make_shared::<P>(make)
            .map(|(object, _)| Arc::new(object))
    }

    pub(crate) fn make_shared<P>(
        &self,
        make: Make,
    ) -> Result<(Object, Option<pool_shm::SegmentHandle>), ManagerError> {
        let expected = type_name::<P>();
        let request = Request::Make {
            make,
            type_name: expected.to_owned(),
        };
        let reply = self.session.call(&request)?;
        Object::opened(Arc::clone(&self.session), reply, expected)
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("address", &self.session.address)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
