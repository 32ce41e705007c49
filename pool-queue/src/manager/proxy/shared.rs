//! Things in shared memory that the manager keeps: it is asked where they are, once; everything else goes there directly.

use std::any::type_name;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use pool_core::Sendable;
use pool_shm::{SegmentHandle, transfer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Make, Wait};
use crate::manager::session::Session;
use crate::manager::value::{self, Object};
use crate::wait::{self, Watch};

/// Something that lives in a segment of shared memory, a [`Mutex`](pool_shm::sync::Mutex) or a [`Queue`](crate::Queue) say, and is kept by a
/// manager: it lives as long as a proxy does, whoever made it.
///
/// It is used as what it is, without the manager: operations take nanoseconds, and go on when the manager is gone.
///
/// ```
/// use pool_queue::Manager;
/// use pool_shm::sync::Mutex;
///
/// let manager = Manager::start()?;
/// let sum = manager.share(Mutex::new(0.0_f64)?)?;
/// *sum.lock().expect("no holder has died") += 2.5;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shared<S> {
    pub(super) object: Arc<Object>,
    thing: S,
}

impl<S> Shared<S> {
    /// How long an operation may wait, and not longer than the manager is there: with it those may be gone who are waited for.
    pub(super) fn patience(&self, wait: Wait) -> wait::Wait {
        let watch = Watch {
            number: self.object.session.manager,
            is_there: Session::is_there,
        };
        match wait {
            Wait::Now => wait::Wait::No,
            Wait::For(time) => wait::Wait::Beside(Instant::now().checked_add(time), watch),
            Wait::Forever => wait::Wait::Beside(None, watch),
        }
    }

    /// What has come of such a wait: its time is over also when the manager is gone.
    pub(super) fn explain<R>(&self, done: Result<R, ManagerError>) -> Result<R, ManagerError> {
        if let Err(ManagerError::Timeout) = done {
            self.object.session.check()?;
        }
        done
    }
}

impl<S: Sendable> Shared<S> {
    pub(super) fn share(manager: &Manager, thing: &S) -> Result<(Object, S), ManagerError> {
        // The segment is kept until the manager has it.
        let (bytes, exports) = transfer::export(|| value::encode_bytes(thing));
        let handles = exports.handles();
        let [handle] = handles.as_slice() else {
            return Err(no_single_segment::<S>());
        };
        if bytes? != value::encode_bytes(handle)? {
            return Err(no_single_segment::<S>());
        }
        let (object, shared) = manager.make_shared::<Self>(Make::Shared(handle.clone()))?;
        let thing = attach(shared)?;
        Ok((object, thing))
    }
}

fn no_single_segment<S>() -> ManagerError {
    ManagerError::refused(format!(
        "a {} is not one segment of shared memory; host it instead",
        type_name::<S>()
    ))
}

/// What lives in the segment.
fn attach<S: Sendable>(handle: Option<SegmentHandle>) -> Result<S, ManagerError> {
    let handle =
        handle.ok_or_else(|| ManagerError::refused("the object is not in shared memory"))?;
    value::decode_bytes(&value::encode_bytes(&handle)?)
}

impl<S> Deref for Shared<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.thing
    }
}

impl<S: Clone> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self {
            object: Arc::clone(&self.object),
            thing: self.thing.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.thing).finish()
    }
}

impl<S> Serialize for Shared<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.object.export(serializer)
    }
}

impl<'de, S: Sendable> Deserialize<'de> for Shared<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = type_name::<Self>();
        let object = Object::import(deserializer, expected)?;
        let opened = object.reopen(expected);
        let attached = opened.and_then(|(object, handle)| Ok((object, attach(handle)?)));
        let (object, thing) = attached.map_err(serde::de::Error::custom)?;
        let object = Arc::new(object);
        Ok(Self { object, thing })
    }
}

impl Manager {
    /// Has the manager keep something that lives in one segment of shared memory: a lock, a value, a queue of this crate or of
    /// [`pool_shm::sync`].
    ///
    /// # Errors
    ///
    /// [`ManagerError::Refused`] for anything else; the memory cannot be attached; the manager is gone.
    pub fn share<S: Sendable>(&self, thing: S) -> Result<Shared<S>, ManagerError> {
        let (object, thing) = Shared::share(self, &thing)?;
        Ok(Shared {
            object: Arc::new(object),
            thing,
        })
    }
}
