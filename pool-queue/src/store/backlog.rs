//! What the queues on a store have in common: values in, values out.

use super::memory::{Entry, Store};
use super::plan::Plan;
use super::protocol::{Owner, Rules};
use crate::arrays;
use crate::queue::{
    Batch, DecodeError, GetError, GetManyError, Message, PutError, PutManyError, QueueError, Room,
    Taken, take, with_buffer,
};
use crate::wait::{Refusal, Wait};
use pool_shm::Segment;
use pool_shm::transfer::Exports;
use serde::{Deserialize, Deserializer};
use std::marker::PhantomData;
use std::sync::Arc;

/// A store of messages of type `T`.
pub(crate) struct Backlog<T> {
    pub(crate) store: Arc<Store>,
    message: PhantomData<fn(T) -> T>,
}

/// An item that was got.
#[derive(Debug)]
pub(super) struct Got<T> {
    pub(super) place: (u32, u64),
    pub(super) rank: u64,
    /// How often it had been taken before.
    pub(super) attempts: u32,
    pub(super) value: Result<T, DecodeError>,
}

impl<T> Clone for Backlog<T> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.store))
    }
}

impl<T> Backlog<T> {
    fn of(store: Arc<Store>) -> Self {
        Self {
            store,
            message: PhantomData,
        }
    }

    pub(super) fn create(plan: Plan, kind: u64) -> Result<Self, QueueError> {
        Ok(Self::of(Arc::new(Store::create(plan, kind)?)))
    }

    /// From a handle of a queue that has one of these rules.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        kind: u64,
        rules: &[Rules],
        type_name: &'static str,
    ) -> Result<Self, D::Error> {
        let segment = Segment::deserialize(deserializer)?;
        let known = |order| rules.iter().copied().find(|rules| rules.order() == order);
        let plan = Plan::read(&segment, kind, known, type_name);
        let store = plan.and_then(|plan| Store::attach(segment, plan));
        store
            .map(|store| Self::of(Arc::new(store)))
            .map_err(serde::de::Error::custom)
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        usize::try_from(self.store.plan().rules.bytes).unwrap_or(usize::MAX)
    }

    /// Items queued, and with consumers.
    pub(super) fn counts(&self) -> (usize, usize) {
        use std::sync::atomic::Ordering;
        self.store.look(|protocol| {
            let [queued, taken] = [&protocol.words.queued, &protocol.words.taken]
                .map(|count| count.load(Ordering::Relaxed) as usize);
            (queued, taken)
        })
    }

    fn room(&self) -> Room {
        Room {
            capacity: self.capacity_bytes(),
            apart_above: None,
        }
    }

    /// Whether not even an empty message has room.
    pub(super) fn is_full(&self) -> bool {
        let least = u64::from(self.capacity_bytes() > 0);
        self.store.look(|protocol| !protocol.has_room(least))
    }
}

impl<T: Message> Backlog<T> {
    pub(crate) fn put(&self, rank: u64, value: T, wait: Wait) -> Result<(), PutError<T>> {
        arrays::sweep();
        let outcome = with_buffer(|buffer| {
            let encoded = self.room().encode(&value, buffer)?;
            let entry = Entry {
                rank,
                bytes: encoded.bytes,
                table: encoded.table,
            };
            let mut places = Vec::new();
            self.store
                .push(&[entry], wait, &mut places)
                .map_err(|refusal| PutError::refused(refusal, ()))?;
            self.keep([encoded.exports], places);
            Ok(())
        });
        outcome.map_err(|error: PutError<()>| error.map(|()| value))
    }

    /// Puts the message that `part` finds in each value, with its rank.
    pub(super) fn put_many<V>(
        &self,
        values: impl IntoIterator<Item = V>,
        part: impl Fn(&V) -> (u64, &T),
        wait: Wait,
    ) -> Result<usize, PutManyError<V>> {
        let mut values = values.into_iter();
        let mut put = 0;
        loop {
            let mut piece = Vec::new();
            let (done, result) = self.put_piece(&mut values, &mut piece, &part, wait);
            put += done;
            match result {
                Ok(()) if piece.is_empty() => return Ok(put),
                Ok(()) => {}
                Err(error) => {
                    let rest = piece.split_off(done);
                    return Err(PutManyError { put, rest, error });
                }
            }
        }
    }

    fn put_piece<V>(
        &self,
        values: &mut impl Iterator<Item = V>,
        piece: &mut Vec<V>,
        part: &impl Fn(&V) -> (u64, &T),
        wait: Wait,
    ) -> (usize, Result<(), PutError<()>>) {
        arrays::sweep();
        let mut batch = Batch::default();
        let trouble = batch.fill(values, piece, |value| part(value).1, self.room());
        let mut exports = std::mem::take(&mut batch.exports).into_iter();
        let entries: Vec<Entry<'_>> = batch
            .payloads()
            .into_iter()
            .zip(&*piece)
            .map(|(payload, value)| Entry {
                rank: part(value).0,
                bytes: payload.bytes,
                table: payload.table,
            })
            .collect();
        let mut done = 0;
        while done < entries.len() {
            let mut places = Vec::new();
            match self.store.push(&entries[done..], wait, &mut places) {
                Ok(count) => {
                    done += count;
                    self.keep(exports.by_ref().take(count), places);
                }
                Err(refusal) => return (done, Err(PutError::refused(refusal, ()))),
            }
        }
        (done, trouble)
    }

    /// Gets an item; into the hands of `owner`, if there is one.
    pub(super) fn get(&self, owner: Option<Owner>, wait: Wait) -> Result<Got<T>, GetError> {
        let mut got = self.get_many(1, owner, wait)?;
        Ok(got.pop().expect("one item was popped"))
    }

    pub(super) fn get_many(
        &self,
        max: usize,
        owner: Option<Owner>,
        wait: Wait,
    ) -> Result<Vec<Got<T>>, GetError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let got = with_buffer(|buffer| {
            buffer.clear();
            let (mut taken, mut trouble) = (Vec::new(), None);
            let popped = self.store.pop(max, owner, wait, |message| {
                match take::<T>(message, buffer) {
                    Ok(one) => taken.push((message.item, one)),
                    Err(error) => trouble = Some(error),
                }
                trouble.is_none()
            });
            popped?;
            match trouble {
                Some(error) if taken.is_empty() => Err(GetError::Arrays(error)),
                _ => Ok(taken
                    .into_iter()
                    .map(|(item, one)| Got::of(item, one, buffer))
                    .collect()),
            }
        });
        arrays::sweep();
        got
    }

    /// Keeps what items name until they have left the store.
    fn keep(&self, exports: impl IntoIterator<Item = Exports>, places: Vec<(u32, u64)>) {
        for (exports, place) in exports.into_iter().zip(places) {
            if !exports.is_empty() {
                let store = Arc::clone(&self.store);
                arrays::keep(exports, move || store.has_passed(place));
            }
        }
    }
}

impl<T: Message> Got<T> {
    fn of(item: super::protocol::Item, taken: Taken<T>, buffer: &[u8]) -> Self {
        Self {
            place: (item.slot, item.number),
            rank: item.rank,
            attempts: item.attempts,
            value: taken.decode(buffer),
        }
    }
}

/// The values, or those that could be decoded with what was wrong with the others.
pub(super) fn all_or_some<T>(
    got: impl IntoIterator<Item = Result<T, DecodeError>>,
) -> Result<Vec<T>, GetManyError<T>> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for one in got {
        match one {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(values)
    } else {
        Err(GetManyError::Decode { values, errors })
    }
}

/// For whoever asks about damage where nothing else can be wrong.
pub(super) fn damage(refusal: Refusal) -> Option<crate::Damage> {
    match refusal {
        Refusal::Damaged(damage) => Some(damage),
        _ => None,
    }
}
