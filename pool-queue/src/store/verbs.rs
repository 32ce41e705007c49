//! The verbs that the queues on a store share, written once.

/// The putting verbs of a queue whose items have one rank.
macro_rules! putting {
    ($queue:ident) => {
        /// Putting.
        impl<T: Message> $queue<T> {
            /// Puts a value, waiting for room as long as it takes.
            ///
            /// # Errors
            /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Damaged`], each with the value.
            pub fn put(&self, value: T) -> Result<(), PutError<T>> {
                self.backlog.put(0, value, Wait::Forever)
            }

            /// Puts a value if there is room now.
            ///
            /// # Errors
            /// [`PutError::Full`]; and those of [`put`](Self::put). If a peer that is stopped holds the queue's lock: [`PutError::Timeout`], after a tenth of a second.
            pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
                self.backlog.put(0, value, Wait::No)
            }

            /// Puts a value, waiting for room for `timeout` at most.
            ///
            /// # Errors
            /// [`PutError::Timeout`]; and those of [`put`](Self::put).
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
                self.backlog.put(0, value, Wait::within(timeout))
            }

            /// Puts all values of an iterator in order, waiting for room as long as it takes; returns how many.
            ///
            /// # Errors
            /// [`PutManyError`] says how many were put, why it stopped, and holds those that were taken from the iterator and not put.
            pub fn put_many(
                &self,
                values: impl IntoIterator<Item = T>,
            ) -> Result<usize, PutManyError<T>> {
                self.backlog
                    .put_many(values, |value| (0, value), Wait::Forever)
            }

            /// Puts values of an iterator in order as long as there is room now; returns how many it put if it put all.
            ///
            /// # Errors
            /// As for [`put_many`](Self::put_many); [`PutError::Full`] when there is no room for the next.
            pub fn try_put_many(
                &self,
                values: impl IntoIterator<Item = T>,
            ) -> Result<usize, PutManyError<T>> {
                self.backlog.put_many(values, |value| (0, value), Wait::No)
            }

            /// Puts all values of an iterator in order, waiting for room for `timeout` at most in all.
            ///
            /// # Errors
            /// As for [`put_many`](Self::put_many); [`PutError::Timeout`] when the time is over.
            pub fn put_many_timeout(
                &self,
                values: impl IntoIterator<Item = T>,
                timeout: Duration,
            ) -> Result<usize, PutManyError<T>> {
                let wait = Wait::within(timeout);
                self.backlog.put_many(values, |value| (0, value), wait)
            }
        }
    };
}

/// The getting verbs, what can be asked, and how a handle travels. The queue has `one` and `several`, which get.
macro_rules! getting {
    ($queue:ident<$($kind:ident: $bound:ident),*>, $item:ty, $kind_of:ty, $rules:expr) => {
        /// Getting.
        impl<$($kind: $bound),*> $queue<$($kind),*> {
            /// Gets the first in the queue's order, waiting for it as long as it takes.
            ///
            /// # Errors
            /// [`GetError::Closed`] when the queue is closed and empty; [`GetError::Decode`], [`GetError::Arrays`], [`GetError::Damaged`].
            pub fn get(&self) -> Result<$item, GetError> {
                self.one(Wait::Forever)
            }

            /// Gets the first in the queue's order if there is one now.
            ///
            /// # Errors
            /// [`GetError::Empty`]; and those of [`get`](Self::get). If a peer that is stopped holds the queue's lock: [`GetError::Timeout`], after a tenth of a second.
            pub fn try_get(&self) -> Result<$item, GetError> {
                self.one(Wait::No)
            }

            /// Gets the first in the queue's order, waiting for it for `timeout` at most.
            ///
            /// # Errors
            /// [`GetError::Timeout`]; and those of [`get`](Self::get).
            pub fn get_timeout(&self, timeout: Duration) -> Result<$item, GetError> {
                self.one(Wait::within(timeout))
            }

            /// Gets up to `max`, in the queue's order, waiting for the first as long as it takes. `max` 0 gives none at once.
            ///
            /// # Errors
            /// [`GetManyError::Decode`] with the values that could be decoded; or the errors of [`get`](Self::get).
            pub fn get_many(&self, max: usize) -> Result<Vec<$item>, GetManyError<$item>> {
                self.several(max, Wait::Forever)
            }

            /// Gets up to `max` that are there now.
            ///
            /// # Errors
            /// As for [`get_many`](Self::get_many); [`GetError::Empty`].
            pub fn try_get_many(&self, max: usize) -> Result<Vec<$item>, GetManyError<$item>> {
                self.several(max, Wait::No)
            }

            /// Gets up to `max`, waiting for the first for `timeout` at most.
            ///
            /// # Errors
            /// As for [`get_many`](Self::get_many); [`GetError::Timeout`].
            pub fn get_many_timeout(
                &self,
                max: usize,
                timeout: Duration,
            ) -> Result<Vec<$item>, GetManyError<$item>> {
                self.several(max, Wait::within(timeout))
            }

            /// All that comes, until the queue is closed and empty; waits for each.
            pub fn iter(&self) -> impl Iterator<Item = Result<$item, GetError>> + '_ {
                std::iter::from_fn(|| until_the_end(self.get()))
            }

            /// All that is there; ends when there is none at the moment.
            pub fn try_iter(&self) -> impl Iterator<Item = Result<$item, GetError>> + '_ {
                std::iter::from_fn(|| until_the_end(self.try_get()))
            }
        }

        /// What can be asked of it, and closing.
        impl<$($kind: $bound),*> $queue<$($kind),*> {
            /// The number of items in the queue at one moment of this call. While a process that is stopped holds the queue's lock: as it last left it.
            #[must_use]
            pub fn len(&self) -> usize {
                self.backlog.counts().0
            }

            /// Whether there was none at one moment of this call.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there was no room at one moment of this call.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.backlog.is_full()
            }

            /// The number of items that it holds at most.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.backlog.store.plan().items as usize
            }

            /// The number of bytes that its items take at most, serialised, in all.
            #[must_use]
            pub fn capacity_bytes(&self) -> usize {
                self.backlog.capacity_bytes()
            }

            /// Ends all putting, here and everywhere; what is in the queue can still be got. Wakes everybody who waits.
            ///
            /// Closing again does nothing.
            pub fn close(&self) {
                // A damaged queue is marked closed all the same; whoever uses it learns of the damage there.
                let _ = self.backlog.store.close();
            }

            /// Whether it was closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.backlog.store.is_closed()
            }
        }

        impl<$($kind),*> std::fmt::Debug for $queue<$($kind),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut fields = f.debug_struct(stringify!($queue));
                fields
                    .field("type", &std::any::type_name::<$item>())
                    .field("segment", &self.backlog.store.segment().id());
                fields
                    .field("capacity", &self.backlog.store.plan().items)
                    .field("held", &self.backlog.counts())
                    .finish_non_exhaustive()
            }
        }

        impl<$($kind),*> serde::Serialize for $queue<$($kind),*> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.backlog.store.segment().serialize(serializer)
            }
        }

        impl<'de, $($kind: $bound),*> serde::Deserialize<'de> for $queue<$($kind),*> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let kind = fingerprint::<$kind_of>();
                let name = std::any::type_name::<Self>();
                Backlog::deserialize(deserializer, kind, $rules, name).map(Self::of)
            }
        }
    };
}

pub(super) use {getting, putting};
