//! Dictionaries, sets and namespaces that the server holds.

use std::marker::PhantomData;
use std::sync::Arc;

use pool_core::Sendable;

use super::{expect_reply, proxy};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{DictOp, Make, Op, Reply, SetOp, Wait};
use crate::manager::value::{self, Object};

/// A dictionary, in the order in which keys came.
///
/// Keys are equal if they are serialised alike; so a key should not hold a `HashMap`, whose order differs from time to time. What is got is a
/// copy: change it with [`update`](Self::update), or hold proxies as values, which are the same object wherever they are.
///
/// ```
/// use pool_queue::Manager;
///
/// let manager = Manager::start()?;
/// let lists = manager.dict::<String, pool_queue::ListProxy<u32>>()?;
/// lists.insert("a".to_owned(), manager.list()?)?;
/// lists.get(&"a".to_owned())?.expect("it was put").push(2)?; // not lost: the list is an object of its own
/// assert_eq!(lists.get(&"a".to_owned())?.expect("it was put").to_vec()?, [2]);
/// # Ok::<(), pool_queue::ManagerError>(())
/// ```
pub struct DictProxy<K, V> {
    object: Arc<Object>,
    holds: PhantomData<fn(K) -> V>,
}

proxy!(DictProxy<K, V>);

/// Every method fails if the manager is gone, or a value cannot be serialised or read.
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand above"
)]
impl<K: Sendable, V: Sendable> DictProxy<K, V> {
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>, ManagerError> {
        let key = value::encode(&self.object.session, key)?;
        self.value(DictOp::Get(key))
    }

    /// Puts a value; what was there before.
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, ManagerError> {
        let session = &self.object.session;
        let (key, value) = (
            value::encode(session, &key)?,
            value::encode(session, &value)?,
        );
        self.value(DictOp::Set(key, value))
    }

    /// The value of `key`; if there is none, `value` becomes it.
    pub fn get_or_insert(&self, key: K, value: V) -> Result<V, ManagerError> {
        let session = &self.object.session;
        let (key, value) = (
            value::encode(session, &key)?,
            value::encode(session, &value)?,
        );
        let reply = self.operate(DictOp::SetDefault(key, value));
        let blob = expect_reply!(reply, Reply::Value(Some(blob)) => blob)?;
        value::decode(session, blob)
    }

    /// Takes the value of `key` out.
    pub fn remove(&self, key: &K) -> Result<Option<V>, ManagerError> {
        let key = value::encode(&self.object.session, key)?;
        self.value(DictOp::Remove(key))
    }

    /// Takes the entry out whose key came last.
    pub fn pop(&self) -> Result<Option<(K, V)>, ManagerError> {
        Ok(self.pairs(DictOp::PopItem)?.pop())
    }

    /// Whether there is an entry for `key`.
    pub fn contains_key(&self, key: &K) -> Result<bool, ManagerError> {
        let key = value::encode(&self.object.session, key)?;
        expect_reply!(self.operate(DictOp::Contains(key)), Reply::Bool(contains) => contains)
    }

    /// How many entries there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        expect_reply!(self.operate(DictOp::Len), Reply::Number(len) => len as usize)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Puts many entries in one step.
    pub fn extend(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        let session = &self.object.session;
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        let encoded = pairs
            .iter()
            .map(|(key, value)| Ok((value::encode(session, key)?, value::encode(session, value)?)));
        let encoded = encoded.collect::<Result<_, ManagerError>>()?;
        expect_reply!(self.operate(DictOp::Extend(encoded)), Reply::Done => ())
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), ManagerError> {
        expect_reply!(self.operate(DictOp::Clear), Reply::Done => ())
    }

    /// All entries as they were at one moment of this call.
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        self.pairs(DictOp::Items)
    }

    /// All keys as they were at one moment of this call.
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        Ok(self.items()?.into_iter().map(|(key, _)| key).collect())
    }

    /// All values as they were at one moment of this call.
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        Ok(self.items()?.into_iter().map(|(_, value)| value).collect())
    }

    /// Iterates over a snapshot, as of [`items`](Self::items).
    pub fn iter(&self) -> Result<std::vec::IntoIter<(K, V)>, ManagerError> {
        self.items().map(Vec::into_iter)
    }

    /// Replaces the value of `key` by what `change` makes of it, as one step: if somebody else changes it meanwhile, `change` is asked again
    /// with the new value. `None` is no entry, before and after.
    pub fn update(
        &self,
        key: &K,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<(), ManagerError> {
        let session = &self.object.session;
        loop {
            let key = value::encode(session, key)?;
            let there = self.operate(DictOp::Get(key.clone()));
            let there = expect_reply!(there, Reply::Value(there) => there)?;
            let old = there.as_ref().map(|blob| blob.bytes.clone());
            let there = there.map(|blob| value::decode(session, blob)).transpose()?;
            let new = change(there);
            let encoded = new
                .as_ref()
                .map(|new| value::encode(session, new))
                .transpose()?;
            let replace = DictOp::Replace {
                key,
                old,
                new: encoded,
            };
            if expect_reply!(self.operate(replace), Reply::Bool(same) => same)? {
                return Ok(());
            }
        }
    }

    fn value(&self, op: DictOp) -> Result<Option<V>, ManagerError> {
        let blob = expect_reply!(self.operate(op), Reply::Value(blob) => blob)?;
        blob.map(|blob| value::decode(&self.object.session, blob))
            .transpose()
    }

    fn pairs(&self, op: DictOp) -> Result<Vec<(K, V)>, ManagerError> {
        let pairs = expect_reply!(self.operate(op), Reply::Pairs(pairs) => pairs)?;
        let session = &self.object.session;
        let mut decoded = Vec::with_capacity(pairs.len());
        let mut failure = None;
        for (key, value) in pairs {
            // Each is read, also after one that cannot be: reading takes the proxies over.
            match (value::decode(session, key), value::decode(session, value)) {
                (Ok(key), Ok(value)) => decoded.push((key, value)),
                (Err(error), _) | (_, Err(error)) => failure = Some(error),
            }
        }
        failure.map_or(Ok(decoded), Err)
    }

    fn operate(&self, op: DictOp) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Dict(op), Wait::Now)
    }
}

/// A set, in the order in which its values came. Values are equal if they are serialised alike.
pub struct SetProxy<T> {
    object: Arc<Object>,
    holds: PhantomData<fn(T) -> T>,
}

proxy!(SetProxy<T>);

/// Every method fails if the manager is gone, or a value cannot be serialised or read.
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand above"
)]
impl<T: Sendable> SetProxy<T> {
    /// Adds a value; whether it is new.
    pub fn insert(&self, value: T) -> Result<bool, ManagerError> {
        self.question(&value, SetOp::Insert)
    }

    /// Takes a value out; whether it was there.
    pub fn remove(&self, value: &T) -> Result<bool, ManagerError> {
        self.question(value, SetOp::Remove)
    }

    /// Whether the value is there.
    pub fn contains(&self, value: &T) -> Result<bool, ManagerError> {
        self.question(value, SetOp::Contains)
    }

    /// How many values there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        expect_reply!(self.operate(SetOp::Len), Reply::Number(len) => len as usize)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Adds many values in one step; how many are new.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<usize, ManagerError> {
        let session = &self.object.session;
        let values: Vec<T> = values.into_iter().collect();
        let encoded = values.iter().map(|value| value::encode(session, value));
        let encoded = encoded.collect::<Result<_, ManagerError>>()?;
        expect_reply!(self.operate(SetOp::Extend(encoded)), Reply::Number(new) => new as usize)
    }

    /// Takes the value out that came last.
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        let blob = expect_reply!(self.operate(SetOp::Pop), Reply::Value(blob) => blob)?;
        blob.map(|blob| value::decode(&self.object.session, blob))
            .transpose()
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), ManagerError> {
        expect_reply!(self.operate(SetOp::Clear), Reply::Done => ())
    }

    /// All values as they were at one moment of this call.
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        let values =
            expect_reply!(self.operate(SetOp::All), Reply::Values { values, .. } => values)?;
        super::list::decode_all(&self.object.session, values)
    }

    /// Iterates over a snapshot, as of [`to_vec`](Self::to_vec).
    pub fn iter(&self) -> Result<std::vec::IntoIter<T>, ManagerError> {
        self.to_vec().map(Vec::into_iter)
    }

    fn question(
        &self,
        value: &T,
        op: impl FnOnce(crate::manager::message::Blob) -> SetOp,
    ) -> Result<bool, ManagerError> {
        let value = value::encode(&self.object.session, value)?;
        expect_reply!(self.operate(op(value)), Reply::Bool(answer) => answer)
    }

    fn operate(&self, op: SetOp) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Set(op), Wait::Now)
    }
}

/// Names with values of any types.
///
/// ```
/// use pool_queue::Manager;
///
/// let manager = Manager::start()?;
/// let settings = manager.namespace()?;
/// settings.set("rate", 44_100_u32)?;
/// settings.set("title", "chirp".to_owned())?;
/// assert_eq!(settings.get::<u32>("rate")?, Some(44_100));
/// assert!(settings.get::<String>("rate").is_err(), "it is another type");
/// # Ok::<(), pool_queue::ManagerError>(())
/// ```
pub struct NamespaceProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(NamespaceProxy);

/// Every method fails if the manager is gone, or a value cannot be serialised or read.
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand above"
)]
impl NamespaceProxy {
    /// Gives `name` a value, of any type.
    pub fn set<T: Sendable>(&self, name: &str, value: T) -> Result<(), ManagerError> {
        let session = &self.object.session;
        let typed = (std::any::type_name::<T>(), &value);
        let (key, value) = (
            value::encode(session, name)?,
            value::encode(session, &typed)?,
        );
        let reply = self.operate(DictOp::Set(key, value));
        if let Some(old) = expect_reply!(reply, Reply::Value(old) => old)? {
            old.refs.into_iter().for_each(|id| session.close(id));
        }
        Ok(())
    }

    /// The value of `name`, which must be of the type that was set.
    pub fn get<T: Sendable>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let session = &self.object.session;
        let key = value::encode(session, name)?;
        let blob = expect_reply!(self.operate(DictOp::Get(key)), Reply::Value(blob) => blob)?;
        let Some(mut blob) = blob else {
            return Ok(None);
        };
        let (found, rest) = match postcard::take_from_bytes::<String>(&blob.bytes) {
            Ok((found, rest)) => (found, rest.to_vec()),
            Err(error) => return Err(ManagerError::refused(error)),
        };
        if found != std::any::type_name::<T>() {
            blob.refs.into_iter().for_each(|id| session.close(id));
            return Err(ManagerError::WrongType {
                id: self.object.id,
                asked: std::any::type_name::<T>().to_owned(),
                found,
            });
        }
        blob.bytes = rest;
        value::decode(session, blob).map(Some)
    }

    /// Takes `name` away; whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        let session = &self.object.session;
        let key = value::encode(session, name)?;
        let blob = expect_reply!(self.operate(DictOp::Remove(key)), Reply::Value(blob) => blob)?;
        let Some(blob) = blob else {
            return Ok(false);
        };
        blob.refs.into_iter().for_each(|id| session.close(id));
        Ok(true)
    }

    /// All names as they were at one moment of this call.
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        let session = &self.object.session;
        let pairs = expect_reply!(self.operate(DictOp::Items), Reply::Pairs(pairs) => pairs)?;
        let names = pairs.into_iter().map(|(name, value)| {
            value.refs.into_iter().for_each(|id| session.close(id));
            value::decode(session, name)
        });
        names.collect()
    }

    fn operate(&self, op: DictOp) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Dict(op), Wait::Now)
    }
}

impl Manager {
    /// An empty dictionary.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn dict<K: Sendable, V: Sendable>(&self) -> Result<DictProxy<K, V>, ManagerError> {
        Ok(DictProxy::of(self.make::<DictProxy<K, V>>(Make::Dict)?))
    }

    /// An empty set.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn set<T: Sendable>(&self) -> Result<SetProxy<T>, ManagerError> {
        Ok(SetProxy::of(self.make::<SetProxy<T>>(Make::Set)?))
    }

    /// A namespace without names.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn namespace(&self) -> Result<NamespaceProxy, ManagerError> {
        Ok(NamespaceProxy::of(self.make::<NamespaceProxy>(Make::Dict)?))
    }
}
