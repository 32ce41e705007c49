//! Lists that the server holds.

use std::marker::PhantomData;
use std::sync::Arc;

use pool_core::Sendable;

use super::{expect_reply, proxy};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Blob, ListOp, Make, Op, Reply, Wait};
use crate::manager::session::Session;
use crate::manager::value::{self, Object};

/// A list. What is got is a copy: change it with [`set`](Self::set) or [`update`](Self::update), or hold proxies.
///
/// Values are equal if they are serialised alike.
pub struct ListProxy<T> {
    object: Arc<Object>,
    holds: PhantomData<fn(T) -> T>,
}

proxy!(ListProxy<T>);

/// Every method fails if the manager is gone, or a value cannot be serialised or read; those that take a place also if it is beyond the end.
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand above"
)]
impl<T: Sendable> ListProxy<T> {
    /// Adds a value at the end.
    pub fn push(&self, value: T) -> Result<(), ManagerError> {
        let encoded = self.encode(&value)?;
        self.done(ListOp::Push(encoded))
    }

    /// Adds many values at the end in one step.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        // The values, and so the proxies in them, live until the server has them.
        let values: Vec<T> = values.into_iter().collect();
        let encoded = values.iter().map(|value| self.encode(value));
        let encoded = encoded.collect::<Result<_, ManagerError>>()?;
        self.done(ListOp::Extend(encoded))
    }

    /// Takes the last value out.
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.value(ListOp::Pop(None))
    }

    /// Takes the value at `index` out; the later ones move up.
    pub fn remove(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.value(ListOp::Pop(Some(index as u64)))
    }

    /// The value at `index`.
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.value(ListOp::Get(index as u64))
    }

    /// Puts a value at `index` in the place of the one there, which is returned.
    pub fn set(&self, index: usize, value: T) -> Result<Option<T>, ManagerError> {
        let encoded = self.encode(&value)?;
        self.value(ListOp::Set(index as u64, encoded))
    }

    /// Puts a value before the one at `index`, or at the end.
    pub fn insert(&self, index: usize, value: T) -> Result<(), ManagerError> {
        let encoded = self.encode(&value)?;
        self.done(ListOp::Insert(index as u64, encoded))
    }

    /// Takes the first value out that is equal; whether there was one.
    pub fn remove_value(&self, value: &T) -> Result<bool, ManagerError> {
        let value = self.encode(value)?;
        expect_reply!(self.operate(ListOp::RemoveValue(value)), Reply::Bool(was_there) => was_there)
    }

    /// Where the first equal value is.
    pub fn position(&self, value: &T) -> Result<Option<usize>, ManagerError> {
        let value = self.encode(value)?;
        expect_reply!(
            self.operate(ListOp::Index(value)),
            Reply::Numbers(found, index) => (found != 0).then_some(index as usize)
        )
    }

    /// How many values are equal.
    pub fn count(&self, value: &T) -> Result<usize, ManagerError> {
        let value = self.encode(value)?;
        expect_reply!(self.operate(ListOp::Count(value)), Reply::Number(count) => count as usize)
    }

    /// How many values there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        expect_reply!(self.operate(ListOp::Len), Reply::Number(len) => len as usize)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Turns the order round.
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.done(ListOp::Reverse)
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.done(ListOp::Clear)
    }

    /// All values as they were at one moment of this call.
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.snapshot().map(|(_, values)| values)
    }

    /// Iterates over a snapshot, as of [`to_vec`](Self::to_vec).
    pub fn iter(&self) -> Result<std::vec::IntoIter<T>, ManagerError> {
        self.to_vec().map(Vec::into_iter)
    }

    /// Replaces the list by what `change` makes of it, as one step: if somebody else changes it meanwhile, `change` is asked again with what
    /// is there then.
    ///
    /// ```
    /// let manager = pool_queue::Manager::start()?;
    /// let list = manager.list::<u32>()?;
    /// list.extend([3, 1, 2])?;
    /// list.update(|values| values.sort())?;
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok::<(), pool_queue::ManagerError>(())
    /// ```
    pub fn update<R>(&self, mut change: impl FnMut(&mut Vec<T>) -> R) -> Result<R, ManagerError> {
        loop {
            let (version, mut values) = self.snapshot()?;
            let result = change(&mut values);
            let session = &self.object.session;
            let encoded = values.iter().map(|value| value::encode(session, value));
            let encoded = encoded.collect::<Result<_, ManagerError>>()?;
            let replace = ListOp::Replace {
                version,
                values: encoded,
            };
            if expect_reply!(self.operate(replace), Reply::Bool(same) => same)? {
                return Ok(result);
            }
        }
    }

    /// Sorts the list.
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.update(|values| values.sort())
    }

    fn snapshot(&self) -> Result<(u64, Vec<T>), ManagerError> {
        let reply = self.operate(ListOp::All);
        let (version, values) =
            expect_reply!(reply, Reply::Values { version, values } => (version, values))?;
        Ok((version, decode_all(&self.object.session, values)?))
    }

    fn encode(&self, value: &T) -> Result<Blob, ManagerError> {
        value::encode(&self.object.session, value)
    }

    fn value(&self, op: ListOp) -> Result<Option<T>, ManagerError> {
        let blob = expect_reply!(self.operate(op), Reply::Value(blob) => blob)?;
        blob.map(|blob| value::decode(&self.object.session, blob))
            .transpose()
    }

    fn done(&self, op: ListOp) -> Result<(), ManagerError> {
        expect_reply!(self.operate(op), Reply::Done => ())
    }

    fn operate(&self, op: ListOp) -> Result<Reply, ManagerError> {
        self.object.operate(Op::List(op), Wait::Now)
    }
}

/// Reads many values; each of them, also after one that cannot be read, since reading takes the proxies over.
pub(super) fn decode_all<T: Sendable>(
    session: &Arc<Session>,
    blobs: Vec<Blob>,
) -> Result<Vec<T>, ManagerError> {
    let decoded: Vec<_> = blobs
        .into_iter()
        .map(|blob| value::decode(session, blob))
        .collect();
    decoded.into_iter().collect()
}

impl Manager {
    /// An empty list.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn list<T: Sendable>(&self) -> Result<ListProxy<T>, ManagerError> {
        Ok(ListProxy::of(self.make::<ListProxy<T>>(Make::List)?))
    }
}
