//! One call of a task's entry function: what it gets, and how each item's result or error goes back.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::Ix1;
use pool_shm::transfer::Exports;
use pool_shm::{BlockMut, Element, LeaseCache};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outbox::{Link, Outbox};
use super::panic::error_of;
use crate::atomic::Ordering;
use crate::codec;
use crate::dispatch::clock::Stopped;
use crate::dispatch::control::Report;
use crate::dispatch::record::Target;
use crate::dispatch::tasks::{INLINE_BYTES, TaskEntry};
use crate::error::TaskError;
use crate::plain::Results;
use crate::sys;

/// Why a downcast of the state cannot fail.
const STATE: &str = "the pool's type says what its workers' state is";

/// What a worker has beside its place in the pool.
#[derive(Debug)]
pub(crate) struct Belongings {
    /// What the initializer returned.
    pub(crate) state: Box<dyn Any>,
    pub(crate) leases: LeaseCache,
    /// The arrays of the job over blocks that this worker is in, with the job's number.
    pub(crate) attached: Option<(u64, Box<dyn Any>)>,
    pub(crate) outbox: Outbox,
}

impl Belongings {
    /// Whether it has arrays mapped only for the next task, or of a job that may have ended.
    pub(crate) fn keeps_arrays(&self) -> bool {
        self.attached.is_some() || self.leases.has_arguments()
    }

    /// Lets go of them. What was lent for writing stays: its owner takes the memory out when it drops the array.
    pub(crate) fn forget_arrays(&mut self) {
        self.attached = None;
        self.leases.release_arguments();
    }
}

/// What an entry function works on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// Encoded arguments; with more than one item, behind a table of where each begins.
    /// `results` is where plain results go.
    Values {
        bytes: &'a [u8],
        items: u32,
        entry: &'a TaskEntry,
        results: Option<usize>,
    },
    /// Items of a job: integers from `base` on, or blocks of the arrays that `plan` describes.
    Job {
        number: u64,
        /// Index of item 0 in the call.
        first_index: u64,
        base: u64,
        plan: &'a [u8],
        results: Option<Results<'a>>,
    },
    /// The argument of the initializer.
    Initializer { bytes: &'a [u8] },
    /// The exit hook takes the state.
    ExitHook,
}

/// A call of an entry function.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) link: Link<'a>,
    pub(crate) belongings: &'a mut Belongings,
    pub(crate) input: Input<'a>,
    /// Items `first..end` are to be run.
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) target: Target,
    /// How long each item may take, in nanoseconds; 0: as long as it likes.
    limit: u64,
    /// Whether the heading was sent.
    headed: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        link: Link<'a>,
        belongings: &'a mut Belongings,
        input: Input<'a>,
        items: Range<u32>,
        target: Target,
    ) -> Self {
        Call {
            link,
            belongings,
            input,
            first: items.start,
            end: items.end,
            target,
            limit: 0,
            headed: false,
        }
    }

    /// Turns to other items of the same job.
    pub(crate) fn turn_to(&mut self, items: Range<u32>, target: Target) {
        (self.first, self.end) = (items.start, items.end);
        (self.target, self.headed) = (target, false);
    }

    /// Each item may take `limit` nanoseconds (0: as long as it likes).
    pub(crate) fn limited(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Runs `body` for every item. An error that it returns, or a panic, is the item's outcome; the next item is begun.
    pub(crate) fn each(&mut self, mut body: impl FnMut(&mut Self, u32) -> Result<(), TaskError>) {
        let (report, limit) = (self.link.report, self.limit);
        let mut next = self.first;
        while next < self.end {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                for item in next..self.end {
                    report.item.store(2 * item + 1, Ordering::Release); // SYNC: item-begun
                    start_clock(report, limit);
                    body(self, item)?;
                }
                Ok(())
            }));
            if matches!(outcome, Ok(Ok(()))) {
                return;
            }
            next = self.resume(next, outcome);
        }
    }

    /// The same for results that are written in place: `run` gets the worker's state and the attached arrays.
    pub(crate) fn each_in_place<S: 'static, R: 'static>(
        &mut self,
        results: Results<'_>,
        run: impl Fn(&mut S, Option<&dyn Any>, u32) -> Result<R, TaskError> + Copy,
    ) {
        let (report, limit) = (self.link.report, self.limit);
        let mut next = self.first;
        while next < self.end {
            let Belongings {
                state, attached, ..
            } = &mut *self.belongings;
            let state: &mut S = state.downcast_mut().expect(STATE);
            let attached = attached.as_ref().map(|(_, attached)| &**attached);
            let range = next..self.end;
            // Everything is moved, so that nothing has to be read again after a task that may have written anywhere.
            let outcome = catch_unwind(AssertUnwindSafe(move || {
                for item in range {
                    report.item.store(2 * item + 1, Ordering::Release); // SYNC: item-begun
                    start_clock(report, limit);
                    let result = run(state, attached, item)?;
                    stop_clock(report, limit);
                    results.set(item as usize, result);
                }
                Ok(())
            }));
            if matches!(outcome, Ok(Ok(()))) {
                return;
            }
            next = self.resume(next, outcome);
        }
    }

    /// The same for results that are written into an array: `open` gives the elements of a range of items.
    pub(crate) fn each_into<S: 'static, T: Element>(
        &mut self,
        open: impl for<'b> Fn(&'b dyn Any, Range<u32>) -> Option<BlockMut<'b, T, Ix1>>,
        run: impl Fn(&mut S, u32) -> T + Copy,
    ) {
        let (report, limit) = (self.link.report, self.limit);
        let mut next = self.first;
        while next < self.end {
            let Belongings {
                state, attached, ..
            } = &mut *self.belongings;
            let state: &mut S = state.downcast_mut().expect(STATE);
            let attached = attached.as_ref().map(|(_, attached)| &**attached);
            let items = next..self.end;
            let Some(mut block) = attached.and_then(|attached| open(attached, items.clone()))
            else {
                let message = format!("the array has no elements {items:?}");
                return self.fail_all(&TaskError::DecodeArgument { message });
            };
            let mut output = block.view_mut();
            let mut one = move |item: u32, place: &mut T| {
                report.item.store(2 * item + 1, Ordering::Release); // SYNC: item-begun
                start_clock(report, limit);
                let result = run(state, item);
                stop_clock(report, limit);
                *place = result;
            };
            let outcome = catch_unwind(AssertUnwindSafe(move || {
                // Elements that lie one after the other are counted faster.
                match output.as_slice_mut() {
                    Some(places) => items.zip(places).for_each(|(item, place)| one(item, place)),
                    None => items
                        .zip(&mut output)
                        .for_each(|(item, place)| one(item, place)),
                }
                Ok(())
            }));
            if matches!(outcome, Ok(Ok(()))) {
                return;
            }
            next = self.resume(next, outcome);
        }
    }

    /// Sends the error of the item that was begun last, if there is one; where to go on.
    #[cold]
    fn resume(&mut self, next: u32, outcome: std::thread::Result<Result<(), TaskError>>) -> u32 {
        let error = match outcome {
            Ok(Ok(())) => return self.end,
            Ok(Err(error)) => error,
            Err(payload) => error_of(&*payload),
        };
        let item = self.link.report.item.load(Ordering::Relaxed) / 2;
        let item = item.clamp(next, self.end - 1);
        self.fail(item, &error);
        item + 1
    }

    /// Whether anything was sent to the pool.
    pub(crate) fn has_sent(&self) -> bool {
        self.headed
    }

    /// Sends that `item` has no result.
    pub(crate) fn fail(&mut self, item: u32, error: &TaskError) {
        stop_clock(self.link.report, self.limit);
        self.head();
        self.belongings.outbox.failed(&self.link, item, error);
    }

    /// Gives every item that is to be run the same error.
    pub(crate) fn fail_all(&mut self, error: &TaskError) {
        for item in self.first..self.end {
            self.fail(item, error);
        }
    }

    /// Whether the results are numbers that are written in place.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(
            self.input,
            Input::Job {
                results: Some(_),
                ..
            } | Input::Values {
                results: Some(_),
                ..
            }
        )
    }

    /// Keeps segments that the results name until the pool has them.
    pub(crate) fn keep(&mut self, exports: Exports) {
        self.head();
        self.belongings.outbox.keep(&self.link, exports);
    }

    /// Says where it begins, before it does: for items in the middle of a chunk or task, which the pool compares with what it knows.
    pub(crate) fn head(&mut self) {
        if !self.headed {
            self.headed = true;
            self.belongings.outbox.heading(&self.link, self.target);
        }
    }

    /// The state that the initializer made.
    pub(crate) fn state<S: 'static>(&mut self) -> &mut S {
        self.belongings.state.downcast_mut().expect(STATE)
    }

    /// Sends the result of the item that was run last.
    pub(crate) fn emit<R: Serialize>(&mut self, result: &R) -> Result<(), TaskError> {
        let encoded = self.belongings.outbox.encode(result)?;
        stop_clock(self.link.report, self.limit);
        if let Input::Values {
            items: 1, entry, ..
        } = &self.input
            && encoded.payload().len() <= INLINE_BYTES
        {
            store_inline(entry, encoded.payload());
            self.belongings.outbox.recycle(encoded);
            return Ok(());
        }
        self.head();
        self.belongings.outbox.item(&self.link, encoded);
        Ok(())
    }
}

/// An item begins that may take `limit` nanoseconds; with 0 it has no clock. Inlined into the loops over items, which have no other
/// call beside the task.
#[inline]
fn start_clock(report: &Report, limit: u64) {
    if limit != 0 {
        start_timed(report, limit);
    }
}

#[cold]
fn start_timed(report: &Report, limit: u64) {
    if report.clock.start(sys::now_nanos().saturating_add(limit)) == Stopped::Late {
        sys::kill_self();
    }
}

/// The item is over: from here on it cannot be late. If the pool was first it has no result, and this process ends, as the pool
/// means it to.
#[inline]
fn stop_clock(report: &Report, limit: u64) {
    if limit != 0 {
        stop_timed(report);
    }
}

#[cold]
fn stop_timed(report: &Report) {
    if report.clock.stop() == Stopped::Late {
        sys::kill_self();
    }
}

/// The argument of `item`, one of `items` that `bytes` holds.
pub(crate) fn argument<A: DeserializeOwned>(
    bytes: &[u8],
    items: u32,
    item: u32,
) -> Result<A, TaskError> {
    let found = argument_bytes(bytes, items, item).ok_or_else(|| TaskError::DecodeArgument {
        message: format!(
            "item {item} is not where the table of {items} arguments in {} bytes says",
            bytes.len()
        ),
    });
    decode(found?)
}

/// Decodes an argument.
pub(crate) fn decode<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, TaskError> {
    codec::read(bytes).map_err(|message| TaskError::DecodeArgument { message })
}

/// The bytes of argument `item`: all of them for a single one; otherwise `items` offsets (u32, little endian) come first.
fn argument_bytes(bytes: &[u8], items: u32, item: u32) -> Option<&[u8]> {
    if items == 1 {
        return Some(bytes);
    }
    let (table, rest) = bytes.split_at_checked(items as usize * 4)?;
    let offset = |item: u32| {
        table[item as usize * 4..]
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
    };
    let start = offset(item)?;
    let end = if item + 1 < items {
        offset(item + 1)?
    } else {
        rest.len()
    };
    rest.get(start..end)
}

fn store_inline(entry: &TaskEntry, payload: &[u8]) {
    for (word, bytes) in entry.result.iter().zip(payload.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
    }
    entry
        .result_len
        .store(payload.len() as u32 + 1, Ordering::Relaxed); // published with the entry's word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_of_arguments_are_read_within_their_bytes(bytes: Vec<u8>, items in 1u32..64, item in 0u32..64) {
            if let Some(argument) = argument_bytes(&bytes, items, item % items) {
                prop_assert!(argument.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn each_argument_is_found() {
        let mut bytes = Vec::new();
        for offset in [0u32, 2, 2] {
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend(b"abcd");
        let all: Vec<_> = (0..3)
            .map(|item| argument_bytes(&bytes, 3, item).unwrap())
            .collect();
        assert_eq!(all, [&b"ab"[..], b"", b"cd"]);
    }
}
