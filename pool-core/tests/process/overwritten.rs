//! Shared words that are overwritten, as by a task that writes through an invalid pointer: an error, or nothing at all; never a hang,
//! a crash of the program, or a wrong result that is called right.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_core::{Pool, PoolError, StartMethod, TaskError};

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

/// Overwrites a word of `part` between two calls, again and again, in pools one after the other; how many pools broke.
fn between_calls(seed: u64, part: fn(&Control) -> Range<usize>, pools: usize) -> usize {
    let mut dice = Dice(seed);
    let board = Board::new();
    let mut broken = 0;
    for round in 0..pools {
        let pool = pool(METHODS[round % 2], &board);
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
                broken += 1;
                break;
            }
            // Values and results of these lie where was written: they end, whatever they give.
            let _ = pool.apply(|_: &mut Board, i: u32| i, 1);
            let _ = pool.try_map(
                |_: &mut Board, text: String| text,
                vec![String::from("x"); 50],
            );
        }
        drop(pool);
    }
    broken
}

#[test]
fn overwritten_words_of_header_slots_and_tasks() {
    let guard = Leftovers::watch();
    between_calls(1, Control::words, 12);
    guard.assert_none();
}

#[test]
fn overwritten_rings() {
    let guard = Leftovers::watch();
    between_calls(2, Control::rings, 4);
    guard.assert_none();
}

/// Overwrites words while tasks of a call are held at a gate.
fn during_a_call(method: StartMethod, overwrite: impl Fn(&Control, &mut Dice), seed: u64) -> bool {
    let board = Board::new();
    let pool = pool(method, &board);
    let control = Control::find();
    let gated = |board: &mut Board, i: u64| {
        board.count(0);
        board.wait(1, 1);
        i + 7
    };
    let results = std::thread::scope(|scope| {
        let caller = scope.spawn(|| pool.job(gated).chunk(1).try_map(0..64));
        board.wait(0, WORKERS as u32);
        overwrite(&control, &mut Dice(seed));
        board.set(1, 1);
        caller.join().unwrap()
    });
    let is_right = |(i, result): (u64, &Result<u64, TaskError>)| match result {
        Ok(value) => {
            assert_eq!(*value, i + 7);
            true
        }
        Err(_) => false,
    };
    match results {
        Ok(results) => (0..).zip(&results).all(is_right),
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

#[test]
fn overwritten_claims_are_told_and_end_the_call() {
    let guard = Leftovers::watch();
    // Done, given up, claimed by nobody, free again: every chunk. The last is made good by those that run.
    for kind in [2u64 << 30, 3 << 30, (1 << 30) | (700 << 19), 0] {
        let overwrite = |control: &Control, _: &mut Dice| {
            for offset in claims(control) {
                control
                    .word(offset)
                    .store(kind << 32 | kind, Ordering::Relaxed);
            }
        };
        for method in METHODS {
            let is_right = during_a_call(method, overwrite, 1);
            assert!(kind == 0 || !is_right, "{kind:x}");
        }
    }
    guard.assert_none();
}

/// A pair of claim words, of which none says that a free chunk begins behind its first item: that is what the pool writes when a worker
/// died in the middle of a chunk, and it is believed.
fn without_starts(pair: u64) -> u64 {
    let half = |word: u64| if word < 1 << 30 { 0 } else { word };
    half(pair >> 32) << 32 | half(pair & u64::from(u32::MAX))
}

#[test]
fn overwritten_claims_at_random_end_the_call() {
    let guard = Leftovers::watch();
    let overwrite = |control: &Control, dice: &mut Dice| {
        let all: Vec<usize> = claims(control).collect();
        let offset = all[dice.roll(all.len())];
        let word = control.word(offset);
        let drawn = value(dice, word.load(Ordering::Relaxed));
        word.store(without_starts(drawn), Ordering::Relaxed);
    };
    for seed in 1..=8u64 {
        during_a_call(
            METHODS[seed as usize % 2],
            overwrite,
            seed.wrapping_mul(0x9e37_79b9),
        );
    }
    guard.assert_none();
}

#[test]
fn an_overwritten_header_ends_the_call() {
    let guard = Leftovers::watch();
    // What describes the pool, the bell and the jobs: all of it.
    let overwrite = |control: &Control, dice: &mut Dice| {
        for offset in (16..4096).step_by(8) {
            control.word(offset).store(dice.bits(), Ordering::Relaxed);
        }
    };
    for method in METHODS {
        assert!(!during_a_call(method, overwrite, 99));
    }
    guard.assert_none();
}
