//! How the items of a job are cut into chunks: arithmetic alone, so that the pool and its workers agree on every chunk without
//! a table. Chunks are consecutive, none is empty, and together they are all items.

use std::ops::Range;

use super::word::MAX_CHUNK_ITEMS;

/// The cut of a job's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    items: u32,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Chunks of one length; the last may be shorter.
    Even { len: u32 },
    /// So many chunks, whose lengths differ by one at most, each meant for one worker.
    Parts { parts: u32 },
    /// Rounds of `round` chunks of one length. A round takes half of what is left, until its chunks would be shorter than
    /// `least`; the rest is cut evenly (factoring: Hummel, Schonberg and Flynn, CACM 1992).
    Falling { round: u32, least: u32 },
}

impl Cut {
    /// Into chunks of `len` items.
    pub(crate) fn even(items: u32, len: u32) -> Cut {
        let len = len.clamp(1, MAX_CHUNK_ITEMS);
        let shape = Shape::Even { len };
        Cut { items, shape }
    }

    /// Into one part for each of `workers`; fewer if there are fewer items.
    pub(crate) fn parts(items: u32, workers: u32) -> Cut {
        // A part that is longer than a chunk may be becomes two: such a job is never opened, but the arithmetic holds.
        let least = items.div_ceil(MAX_CHUNK_ITEMS);
        let parts = workers.max(least).clamp(1, items.max(1));
        let shape = Shape::Parts { parts };
        Cut { items, shape }
    }

    /// Into chunks that fall from a share of half the items for each of `workers` down to `least` items.
    pub(crate) fn falling(items: u32, workers: u32, least: u32) -> Cut {
        let round = workers.max(1);
        let least = least.clamp(1, MAX_CHUNK_ITEMS);
        let shape = Shape::Falling { round, least };
        Cut { items, shape }
    }

    /// The cut as two words of a job's description.
    pub(crate) fn words(self) -> (u32, u32) {
        match self.shape {
            Shape::Even { len } => (len, 0),
            Shape::Parts { parts } => (0, parts),
            Shape::Falling { round, least } => (least, round),
        }
    }

    /// The cut that these words describe, if it is one.
    pub(crate) fn from_words(items: u32, words: (u32, u32)) -> Option<Cut> {
        let cut = match words {
            (0, 0) => return None,
            (len, 0) => Cut::even(items, len),
            (0, parts) => Cut::parts(items, parts),
            (least, round) => Cut::falling(items, round, least),
        };
        (cut.words() == words).then_some(cut)
    }

    /// How many chunks there are.
    pub(crate) fn chunks(self) -> u32 {
        match self.shape {
            Shape::Even { len } => self.items.div_ceil(len),
            Shape::Parts { parts } => parts.min(self.items),
            Shape::Falling { least, .. } => {
                let (before, start) = self.last_round();
                before + (self.items - start).div_ceil(least)
            }
        }
    }

    /// The items of a chunk; empty for a chunk that does not exist.
    #[inline]
    pub(crate) fn range(self, chunk: u32) -> Range<u32> {
        let (start, end) = match self.shape {
            Shape::Even { len } => {
                let start = u64::from(chunk) * u64::from(len);
                (start, start + u64::from(len))
            }
            Shape::Parts { parts } => {
                let start = |part: u64| u64::from(self.items) * part / u64::from(parts);
                (start(chunk.into()), start(u64::from(chunk) + 1))
            }
            Shape::Falling { least, round } => self.range_falling(chunk, least, round),
        };
        let items = u64::from(self.items);
        start.min(items) as u32..end.min(items) as u32
    }

    fn range_falling(self, chunk: u32, least: u32, round: u32) -> (u64, u64) {
        let (mut before, mut from) = (0, 0);
        let len = loop {
            match self.round_at(from) {
                Some(len) if chunk - before >= round => {
                    (before, from) = (before + round, from + round * len);
                }
                Some(len) => break len,
                None => break least,
            }
        };
        let start = u64::from(from) + u64::from(chunk - before) * u64::from(len);
        (start, start + u64::from(len))
    }

    /// Whether each chunk is meant for one worker, which nobody else takes it from while that worker lives.
    pub(crate) fn is_dealt(self) -> bool {
        matches!(self.shape, Shape::Parts { .. })
    }

    /// How many chunks a worker takes for itself at once, of those that it could.
    pub(crate) fn batch(self, most: u32) -> u32 {
        match self.shape {
            Shape::Falling { .. } => 1, // the lengths are what balances
            _ => most,
        }
    }

    /// The length of the chunks of the round that begins at item `from`; none if the rest is cut evenly.
    fn round_at(self, from: u32) -> Option<u32> {
        let Shape::Falling { round, least } = self.shape else {
            return None;
        };
        let left = u64::from(self.items - from);
        let len = left.div_ceil(2 * u64::from(round)) as u32;
        (len > least).then_some(len)
    }

    /// How many chunks there are in rounds, and the item behind them.
    fn last_round(self) -> (u32, u32) {
        let Shape::Falling { round, .. } = self.shape else {
            return (0, 0);
        };
        let (mut before, mut from) = (0, 0);
        while let Some(len) = self.round_at(from) {
            (before, from) = (before + round, from + round * len);
        }
        (before, from)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lengths(cut: Cut) -> Vec<u32> {
        (0..cut.chunks())
            .map(|chunk| cut.range(chunk).len() as u32)
            .collect()
    }

    #[test]
    fn the_lengths_are_what_the_names_say() {
        assert_eq!(lengths(Cut::even(10, 4)), [4, 4, 2]);
        assert_eq!(lengths(Cut::parts(10, 4)), [2, 3, 2, 3]);
        assert_eq!(lengths(Cut::parts(2, 4)), [1, 1]);
        assert_eq!(
            lengths(Cut::falling(100, 2, 4)),
            [25, 25, 13, 13, 6, 6, 4, 4, 4]
        );
        assert_eq!(lengths(Cut::falling(5, 4, 1)), [1; 5]);
        assert_eq!(lengths(Cut::falling(5, 4, 9)), [5]);
        assert_eq!(lengths(Cut::even(0, 1)), [0; 0]);
    }

    fn any_cut() -> impl Strategy<Value = Cut> {
        let items = prop_oneof![0u32..2000, any::<u32>().prop_map(|items| items >> 10)];
        (items, 0..3, 1u32..2000, 1u32..70).prop_map(|(items, kind, len, workers)| match kind {
            0 => Cut::even(items, len),
            1 => Cut::parts(items, workers),
            _ => Cut::falling(items, workers, len),
        })
    }

    proptest! {
        #[test]
        fn chunks_are_consecutive_and_all_items(cut in any_cut()) {
            let mut next = 0;
            for chunk in 0..cut.chunks() {
                let range = cut.range(chunk);
                prop_assert!(range.start == next && range.end > next, "{:?} at {}", range, next);
                next = range.end;
            }
            prop_assert_eq!(next, cut.items);
            prop_assert_eq!(cut.range(cut.chunks()).len(), 0);
        }

        #[test]
        fn words_describe_it(cut in any_cut()) {
            prop_assert_eq!(Cut::from_words(cut.items, cut.words()), Some(cut));
        }

        #[test]
        fn any_words_are_refused_or_a_cut_within_the_items(items: u32, first: u32, second: u32, chunk: u32) {
            if let Some(cut) = Cut::from_words(items, (first, second)) {
                let range = cut.range(chunk.min(cut.chunks()));
                prop_assert!(range.start <= range.end && range.end <= items);
            }
        }

        #[test]
        fn lengths_fall(items in 1u32..100_000, workers in 1u32..20, least in 1u32..50) {
            let lengths = lengths(Cut::falling(items, workers, least));
            prop_assert!(lengths.is_sorted_by(|a, b| a >= b));
            prop_assert!(lengths[..lengths.len() - 1].iter().all(|len| *len >= least));
        }
    }
}
