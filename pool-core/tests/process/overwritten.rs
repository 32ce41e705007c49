//! Shared words that are overwritten, as by a task that writes through an invalid pointer: an error, or nothing at all; never a hang,
//! a crash of the program, or a wrong result that is called right.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_core::{Pool, PoolError, Process, Sendable, StartMethod, TaskError};

use crate::common::{Board, Dice, Leftovers, METHODS};

const WORKERS: usize = 2;
/// Bytes of the arena and of a worker's ring: the end of the control segment.
const ARENA: usize = 256 << 20;
const RING: usize = 256 << 10;

/// The control segment of the one pool that this process has, as it is mapped here.
struct Control(Range<usize>);

impl Control {
    fn find() -> Control {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let range = |line: &str| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            Some(address(start)?..address(end)?)
        };
        let shared = maps.lines().filter(|line| line.contains("memfd:"));
        let mut large = shared.filter_map(range).filter(|range| range.len() > ARENA);
        let found = large.next().unwrap();
        assert_eq!(large.next(), None, "more than one pool");
        Control(found)
    }

    /// Offsets of header, slots, and table of tasks.
    fn words(&self) -> Range<usize> {
        0..self.0.len() - ARENA - WORKERS * RING
    }

    /// Offsets of the first pages of the arena, where claims and results of calls lie.
    fn arena(&self) -> Range<usize> {
        self.0.len() - ARENA..self.0.len() - ARENA + (1 << 18)
    }

    fn rings(&self) -> Range<usize> {
        self.words().end..self.arena().start
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < self.0.len());
        // SAFETY: the range is mapped and writable while the pool lives, and holds atomic words that every process may write.
        unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(self.0.start + offset) }
    }
}

fn within(dice: &mut Dice, range: &Range<usize>) -> usize {
    range.start + dice.roll(range.len() / 8) * 8
}

/// Random bits, few bits, or a small change.
fn value(dice: &mut Dice, before: u64) -> u64 {
    let word = dice.bits();
    match word % 4 {
        0 => word,
        1 => 0,
        2 => before ^ (1 << (word >> 58)),
        _ => u64::MAX,
    }
}

/// Whether the pool said that something was overwritten, or lost what that broke. It says no more after that.
fn is_told(error: &PoolError) -> bool {
    error.is_broken() || error.is_start() || error.is_memory() || error.task().is_some()
}

/// A call of which every result is known and lies neither in the table of tasks nor in the rings.
fn call(pool: &Pool<Board>) -> Result<(), PoolError> {
    let task = |_: &mut Board, i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let results = pool.job(task).chunk(3).try_map(0..200)?;
    for (i, result) in (0u64..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, i.wrapping_mul(0x9e37_79b9_7f4a_7c15), "of {i}"),
            Err(error) => assert_ne!(error, TaskError::Cancelled),
        }
    }
    Ok(())
}

fn pool(method: StartMethod, board: &Board) -> Pool<Board> {
    Pool::builder()
        .workers(WORKERS)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap()
}

/// Runs each case in a process of its own, which has one pool, all at once: mostly they wait until something is noticed. Their panics are
/// ours.
fn side_by_side<A: Sendable>(
    body: impl Fn(A) + Copy + 'static,
    cases: impl IntoIterator<Item = A>,
) {
    let guard = Leftovers::watch();
    let cases = cases.into_iter();
    let processes: Vec<_> = cases
        .map(|case| Process::spawn(body, case).unwrap())
        .collect();
    for process in processes {
        process.join().unwrap_or_else(|error| panic!("{error}"));
    }
    guard.assert_none();
}

/// Overwrites a word of `part` between two calls, again and again.
fn between_calls(seed: u64, part: fn(&Control) -> Range<usize>) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9));
    let board = Board::new();
    let pool = pool(METHODS[seed as usize % 2], &board);
    let control = Control::find();
    let range = part(&control);
    call(&pool).unwrap();
    for _ in 0..20 {
        let word = control.word(within(&mut dice, &range));
        word.store(
            value(&mut dice, word.load(Ordering::Relaxed)),
            Ordering::Relaxed,
        );
        if let Err(error) = call(&pool) {
            assert!(is_told(&error), "{error}");
            break;
        }
        // Values and results of these lie where was written: they end, whatever they give.
        let _ = pool.apply(|_: &mut Board, i: u32| i, 1);
        let _ = pool.try_map(
            |_: &mut Board, text: String| text,
            vec![String::from("x"); 50],
        );
    }
}

#[test]
fn overwritten_words_of_header_slots_and_tasks() {
    side_by_side(|seed| between_calls(seed, Control::words), 1..=12);
}

#[test]
fn overwritten_rings() {
    side_by_side(|seed| between_calls(seed, Control::rings), 21..=24);
}

/// A task that waits at a gate, and gives a number, which is written in place.
fn number(board: &mut Board, i: u64) -> u64 {
    board.count(0);
    board.wait(1, 1);
    i + 7
}

/// The same; its result goes through the stream.
fn text(board: &mut Board, i: u64) -> String {
    number(board, i).to_string()
}

/// How many of these results are right. None is wrong: the others are errors.
fn right<R: ToString>(results: &[Result<R, TaskError>]) -> usize {
    let mut right = 0;
    for (i, result) in (0u64..).zip(results) {
        match result {
            Ok(value) => {
                assert_eq!(value.to_string(), (i + 7).to_string(), "of {i}");
                right += 1;
            }
            Err(error) => assert_ne!(*error, TaskError::Cancelled),
        }
    }
    right
}

const ITEMS: u64 = 192;
/// Items of a chunk.
const CHUNK: u32 = 3;

/// A call whose tasks wait at the gate; how many of its results are right.
type Call = fn(&Pool<Board>) -> Result<usize, PoolError>;

const OF_NUMBERS: Call = |pool| {
    let results = pool.job(number).chunk(CHUNK).try_map(0..ITEMS)?;
    Ok(right(&results))
};
const OF_TEXTS: Call = |pool| {
    let results = pool.job(text).chunk(CHUNK).try_map(0..ITEMS)?;
    Ok(right(&results))
};
/// Over values, which are tasks of the table.
const OF_VALUES: [Call; 2] = [
    |pool| {
        let items: Vec<u64> = (0..ITEMS).collect();
        Ok(right(&pool.job(number).chunk(CHUNK).try_map(items)?))
    },
    |pool| {
        let items: Vec<u64> = (0..ITEMS).collect();
        Ok(right(&pool.job(text).chunk(CHUNK).try_map(items)?))
    },
];

/// Overwrites words while tasks of a call are held at a gate; whether all its results are right.
fn during(method: StartMethod, call: Call, overwrite: impl FnOnce(&Control)) -> bool {
    let board = Board::new();
    let pool = pool(method, &board);
    let control = Control::find();
    let right = std::thread::scope(|scope| {
        let caller = scope.spawn(|| call(&pool));
        board.wait(0, WORKERS as u32);
        overwrite(&control);
        board.set(1, 1);
        caller.join().unwrap()
    });
    match right {
        Ok(right) => right == ITEMS as usize,
        Err(error) => {
            assert!(is_told(&error), "{error}");
            false
        }
    }
}

/// Where the claims of the first call lie: lines of the slots in use; then, behind the lines of all slots, one half word per chunk, as
/// far as they were touched and for half of its 64 chunks more, so that some which nobody has claimed are among them.
fn claims(control: &Control) -> impl Iterator<Item = usize> {
    let arena = control.arena();
    let lines = arena.start..arena.start + WORKERS * 128;
    let is_used = |offset: &usize| control.word(*offset).load(Ordering::Relaxed) != 0;
    let mut used = (lines.end..arena.end).step_by(8).filter(is_used);
    let first = used.next().unwrap();
    let last = used.next_back().unwrap_or(first);
    lines.chain(first..last + 8 + 32 * 4).step_by(8)
}

/// Kinds of claim words.
const FREE: u64 = 0;
const CLAIMED: u64 = 1 << 30;
const DONE: u64 = 2 << 30;
const VOID: u64 = 3 << 30;

/// Each of these with each method, by its number.
fn with_each_method(words: impl IntoIterator<Item = u64>) -> impl Iterator<Item = (u64, usize)> {
    let words = words.into_iter();
    words.flat_map(|word| (0..METHODS.len()).map(move |method| (word, method)))
}

#[test]
fn overwritten_claims_are_told_and_end_the_call() {
    // Done, given up, claimed by nobody, free again, free from behind the first item or all of them: every chunk. One that is free
    // from its beginning is made good by those that run.
    let words = [DONE, VOID, CLAIMED | (700 << 19), FREE, FREE | 1, FREE | 3];
    let body = |(word, method): (u64, usize)| {
        let overwrite = |control: &Control| {
            for offset in claims(control) {
                control
                    .word(offset)
                    .store(word << 32 | word, Ordering::Relaxed);
            }
        };
        let is_right = during(METHODS[method], [OF_NUMBERS, OF_TEXTS][method], overwrite);
        assert!(word == FREE || !is_right, "{word:x}");
    };
    side_by_side(body, with_each_method(words));
}

#[test]
fn a_chunk_that_is_said_to_begin_further_on_is_told() {
    let body = |(first, method): (u64, usize)| {
        // One that nobody has claimed: what lies behind those that are.
        let overwrite = |control: &Control| {
            let free = claims(control).last().unwrap();
            let word = control.word(free);
            assert_eq!(word.load(Ordering::Relaxed), FREE);
            word.store(first, Ordering::Relaxed);
        };
        let call = [OF_TEXTS, OF_NUMBERS][method];
        assert!(!during(METHODS[method], call, overwrite), "{first}");
    };
    side_by_side(body, with_each_method([1, 2, 3, 1 << 28]));
}

#[test]
fn overwritten_claims_at_random_end_the_call() {
    let body = |seed: u64| {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9));
        let overwrite = |control: &Control| {
            let all: Vec<usize> = claims(control).collect();
            let word = control.word(all[dice.roll(all.len())]);
            let drawn = value(&mut dice, word.load(Ordering::Relaxed));
            word.store(drawn, Ordering::Relaxed);
        };
        let call = [OF_NUMBERS, OF_TEXTS][seed as usize / 2 % 2];
        during(METHODS[seed as usize % 2], call, overwrite);
    };
    side_by_side(body, 1..=8);
}

/// Where the words of the tasks of the table lie: those that were never used are void, and have no items.
fn tasks(control: &Control) -> Vec<usize> {
    let unused = |offset: &usize| control.word(*offset).load(Ordering::Relaxed) == VOID;
    let mut from_last = control.words().step_by(8).rev().filter(unused);
    let last = from_last.next().unwrap();
    let entry = last - from_last.next().unwrap();
    (0..1024).map(|task| last - task * entry).collect()
}

#[test]
fn overwritten_tasks_are_told_and_end_the_call() {
    let body = |(kind, method): (u64, usize)| {
        // Those that nobody has claimed.
        let overwrite = |control: &Control| {
            let mut free = 0;
            for offset in tasks(control) {
                let word = control.word(offset);
                let before = word.load(Ordering::Relaxed);
                if before as u32 == 0 && before != 0 {
                    word.store(before | kind, Ordering::Relaxed);
                    free += 1;
                }
            }
            assert!(free > 0);
        };
        let is_right = during(METHODS[method], OF_VALUES[method], overwrite);
        assert!(!is_right, "{kind:x}");
    };
    let kinds = [DONE, VOID, CLAIMED | (700 << 19), FREE | 1, FREE | 3];
    side_by_side(body, with_each_method(kinds));
}

#[test]
fn overwritten_tasks_at_random_end_the_call() {
    let body = |seed: u64| {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9));
        let overwrite = |control: &Control| {
            let is_used = |offset: &usize| control.word(*offset).load(Ordering::Relaxed) != VOID;
            let used: Vec<usize> = tasks(control).into_iter().filter(is_used).collect();
            let word = control.word(used[dice.roll(used.len())]);
            let before = word.load(Ordering::Relaxed);
            // The state alone: how many items a task has is not checked against anything.
            let drawn = value(&mut dice, before) as u32;
            word.store(before >> 32 << 32 | u64::from(drawn), Ordering::Relaxed);
        };
        let call = OF_VALUES[seed as usize / 2 % 2];
        during(METHODS[seed as usize % 2], call, overwrite);
    };
    side_by_side(body, 1..=8);
}

#[test]
fn an_overwritten_header_ends_the_call() {
    let guard = Leftovers::watch();
    // What describes the pool, the bell and the jobs: all of it.
    let overwrite = |control: &Control| {
        let mut dice = Dice(99);
        for offset in (16..4096).step_by(8) {
            control.word(offset).store(dice.bits(), Ordering::Relaxed);
        }
    };
    for method in METHODS {
        assert!(!during(method, OF_NUMBERS, overwrite));
    }
    guard.assert_none();
}
