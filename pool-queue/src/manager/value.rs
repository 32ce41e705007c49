//! Values on their way to the server and back, and the proxies in them.
//!
//! While a value is serialised or read, this thread remembers for whom ([`Travel`]): a proxy that goes into a message to the server is
//! only listed there, since the server keeps count of what it holds; one that goes anywhere else needs a lease.

use std::any::type_name;
use std::cell::RefCell;
use std::sync::Arc;

use pool_core::remote::explain;
use pool_shm::transfer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::Address;
use super::error::ManagerError;
use super::message::{Blob, Reply, Request};
use super::session::{Session, unexpected};

/// Where the values go, or come from, that this thread serialises or reads now.
#[derive(Debug)]
enum Travel {
    /// Into a message to this manager; the proxies in it so far.
    Out { manager: u64, refs: Vec<u64> },
    /// Out of a message from this manager; the proxies in it that nobody has taken yet.
    In { manager: u64, refs: Vec<u64> },
    /// Into a queue in shared memory, an object of this manager; what was pinned so far.
    Put {
        manager: u64,
        holder: u64,
        pinned: Vec<u64>,
    },
    /// Out of such a queue.
    Got { manager: u64, holder: u64 },
    /// Out of such a queue, which has the value until it is done; what is pinned in it so far.
    Claimed { manager: u64, pinned: Vec<u64> },
}

thread_local! {
    /// Innermost last.
    static TRAVELS: RefCell<Vec<Travel>> = const { RefCell::new(Vec::new()) };
    /// Why the last proxy could not be read: the formats keep no text.
    static FAILURE: RefCell<Option<ManagerError>> = const { RefCell::new(None) };
}

/// Takes the entry off again, also after a panic of user code.
struct Entered;

impl Entered {
    fn new(travel: Travel) -> Entered {
        TRAVELS.with_borrow_mut(|travels| travels.push(travel));
        Entered
    }

    fn leave(self) -> Option<Travel> {
        std::mem::forget(self);
        TRAVELS.with_borrow_mut(Vec::pop)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        TRAVELS.with_borrow_mut(Vec::pop);
    }
}

/// Serialises a value for the server.
pub(crate) fn encode<T: Serialize + ?Sized>(
    session: &Session,
    value: &T,
) -> Result<Blob, ManagerError> {
    let entered = Entered::new(Travel::Out {
        manager: session.manager,
        refs: Vec::new(),
    });
    let bytes = encode_bytes(value);
    let refs = match entered.leave() {
        Some(Travel::Out { refs, .. }) => refs,
        _ => Vec::new(),
    };
    Ok(Blob {
        bytes: bytes?,
        refs,
    })
}

/// Keeps the cause for whoever serialises or reads the proxy, this module or another; its text.
fn note(error: ManagerError) -> String {
    let text = error.to_string();
    transfer::note_failure(&text);
    FAILURE.set(Some(error));
    text
}

/// Why the value that this thread put into a queue in shared memory last, or got from one, could not be serialised or read, if it was for a
/// proxy in it.
pub(crate) fn take_failure() -> Option<ManagerError> {
    FAILURE.take()
}

/// Serialises a value; its proxies get leases.
pub(crate) fn encode_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ManagerError> {
    FAILURE.take();
    transfer::take_failure(); // of something else
    postcard::to_stdvec(value).map_err(|error| {
        FAILURE.take().unwrap_or_else(|| ManagerError::Encode {
            reason: explain(&error),
        })
    })
}

/// Reads a value that came from the server.
pub(crate) fn decode<T: DeserializeOwned>(
    session: &Arc<Session>,
    blob: Blob,
) -> Result<T, ManagerError> {
    let entered = Entered::new(Travel::In {
        manager: session.manager,
        refs: blob.refs,
    });
    let value = decode_bytes(&blob.bytes);
    if let Some(Travel::In { refs, .. }) = entered.leave() {
        // They are this process's, but nothing has become of them.
        refs.into_iter().for_each(|id| session.close(id));
    }
    value
}

/// Reads a value; its proxies open their objects themselves.
pub(crate) fn decode_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ManagerError> {
    FAILURE.take();
    transfer::take_failure(); // of something else
    postcard::from_bytes(bytes).map_err(|error| {
        FAILURE.take().unwrap_or_else(|| ManagerError::Decode {
            type_name: type_name::<T>().to_owned(),
            reason: explain(&error),
        })
    })
}

/// Runs `put`, which serialises a value into a queue in shared memory. What it pinned is let go if it fails.
pub(crate) fn putting<R, E>(holder: &Object, put: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    FAILURE.take(); // of something else
    let entered = Entered::new(Travel::Put {
        manager: holder.session.manager,
        holder: holder.id,
        pinned: Vec::new(),
    });
    let result = put();
    let travel = entered.leave();
    if let (Err(_), Some(Travel::Put { pinned, .. })) = (&result, travel) {
        unpin(holder, pinned);
    }
    result
}

/// Runs `get`, which reads a value out of a queue in shared memory.
pub(crate) fn getting<R>(holder: &Object, get: impl FnOnce() -> R) -> R {
    FAILURE.take(); // of something else
    let _entered = Entered::new(Travel::Got {
        manager: holder.session.manager,
        holder: holder.id,
    });
    get()
}

/// Runs `get`, which reads a value out of a queue in shared memory that has it until it is done: the objects that the queue has pinned for it
/// so long. They are let go if it fails.
pub(crate) fn claiming<R, E>(
    holder: &Object,
    get: impl FnOnce() -> Result<R, E>,
) -> Result<(R, Vec<u64>), E> {
    FAILURE.take(); // of something else
    let entered = Entered::new(Travel::Claimed {
        manager: holder.session.manager,
        pinned: Vec::new(),
    });
    let result = get();
    let pinned = match entered.leave() {
        Some(Travel::Claimed { pinned, .. }) => pinned,
        _ => Vec::new(),
    };
    match result {
        Ok(got) => Ok((got, pinned)),
        Err(error) => {
            unpin(holder, pinned);
            Err(error)
        }
    }
}

/// Lets objects go that a queue in shared memory has pinned; if the manager is gone, so are they.
pub(crate) fn unpin(holder: &Object, pinned: impl IntoIterator<Item = u64>) {
    for object in pinned {
        let unpin = Request::Unpin {
            holder: holder.id,
            object,
        };
        if holder.session.call(&unpin).is_ok() {
            holder.session.close(object);
        }
    }
}

/// What every proxy holds: an object of a manager, which lives as long as this does.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) session: Arc<Session>,
    pub(crate) id: u64,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.session.close(self.id);
    }
}

/// A proxy as it travels.
#[derive(Serialize, Deserialize)]
struct Wire {
    address: Address,
    manager: u64,
    id: u64,
}

impl Object {
    /// An object that was opened for this process, and its place in shared memory if it has one.
    pub(crate) fn opened(
        session: Arc<Session>,
        reply: Reply,
        expected: &str,
    ) -> Result<(Object, Option<pool_shm::SegmentHandle>), ManagerError> {
        let Reply::Opened {
            id,
            type_name,
            shared,
        } = reply
        else {
            return Err(unexpected(reply));
        };
        let object = Object { session, id };
        if type_name == expected {
            Ok((object, shared))
        } else {
            let asked = expected.to_owned();
            Err(ManagerError::WrongType {
                id,
                asked,
                found: type_name,
            })
        }
    }

    /// The object once more, as something that lives in shared memory.
    pub(crate) fn reopen(
        &self,
        expected: &str,
    ) -> Result<(Object, Option<pool_shm::SegmentHandle>), ManagerError> {
        let reply = self.session.call(&Request::Open(self.id))?;
        Object::opened(Arc::clone(&self.session), reply, expected)
    }

    /// Writes the name of the object, and sees to it that the object lives until the name is read.
    pub(crate) fn export<S: Serializer>(
        self: &Arc<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        self.keep()
            .map_err(|error| serde::ser::Error::custom(note(error)))?;
        let wire = Wire {
            address: self.session.address.clone(),
            manager: self.session.manager,
            id: self.id,
        };
        wire.serialize(serializer)
    }

    fn keep(self: &Arc<Self>) -> Result<(), ManagerError> {
        let own = self.session.manager;
        let pin = TRAVELS.with_borrow_mut(|travels| match travels.last_mut() {
            Some(Travel::Out { manager, refs }) if *manager == own => {
                refs.push(self.id);
                None
            }
            Some(Travel::Put {
                manager,
                holder,
                pinned,
            }) if *manager == own => {
                pinned.push(self.id);
                Some(Request::Pin {
                    holder: *holder,
                    object: self.id,
                })
            }
            _ => {
                // The pool that sends it as an argument keeps it as long as the task lives.
                transfer::keep(Arc::clone(self) as Arc<dyn std::any::Any + Send + Sync>);
                Some(Request::Lease(self.id))
            }
        });
        pin.map_or(Ok(()), |request| self.session.call(&request).map(drop))
    }

    /// Reads the name of an object and gets hold of it.
    pub(crate) fn import<'de, D: Deserializer<'de>>(
        deserializer: D,
        expected: &str,
    ) -> Result<Object, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Object::take(&wire, expected).map_err(|error| serde::de::Error::custom(note(error)))
    }

    fn take(wire: &Wire, expected: &str) -> Result<Object, ManagerError> {
        let session = Session::reach(&wire.address, wire.manager)?;
        let id = wire.id;
        enum Way {
            Ours,
            Unpin(u64),
            Open,
        }
        let way = TRAVELS.with_borrow_mut(|travels| match travels.last_mut() {
            Some(Travel::In { manager, refs }) if *manager == wire.manager => {
                match refs.iter().position(|other| *other == id) {
                    Some(place) => {
                        refs.swap_remove(place);
                        Way::Ours
                    }
                    None => Way::Open,
                }
            }
            Some(Travel::Got { manager, holder }) if *manager == wire.manager => {
                Way::Unpin(*holder)
            }
            Some(Travel::Claimed { manager, pinned }) if *manager == wire.manager => {
                pinned.push(id);
                Way::Open
            }
            _ => Way::Open,
        });
        match way {
            Way::Ours => Ok(Object { session, id }),
            Way::Unpin(holder) => {
                session.call(&Request::Unpin { holder, object: id })?;
                Ok(Object { session, id })
            }
            Way::Open => {
                let reply = session.call(&Request::Open(id))?;
                Object::opened(session, reply, expected).map(|(object, _)| object)
            }
        }
    }

    /// Has the server do something with the object.
    pub(crate) fn operate(
        &self,
        op: super::message::Op,
        wait: super::message::Wait,
    ) -> Result<Reply, ManagerError> {
        let request = Request::Do {
            object: self.id,
            op,
            wait,
        };
        self.session.call(&request)
    }
}
