//! How figures grow with the number of items, of workers, and with the size of arrays.

use ndarray::{Axis, Ix1};
use pool_examples::failure::Failure;
use pool_shm::{BlockMut, SharedArray};
use rayon::prelude::*;

use super::{pool, rayon, seconds};
use crate::case::{Case, Contender, OURS, Setting, Target, Unit};

const GROUP: &str = "Growth";

const INDICES: [(&str, &str, u64); 6] = [
    ("grow-indices-1e3", "map of 10^3 indices, per task", 1_000),
    ("grow-indices-1e4", "map of 10^4 indices, per task", 10_000),
    ("grow-indices-1e5", "map of 10^5 indices, per task", 100_000),
    (
        "grow-indices-1e6",
        "map of 10^6 indices, per task",
        1_000_000,
    ),
    (
        "grow-indices-1e7",
        "map of 10^7 indices, per task",
        10_000_000,
    ),
    (
        "grow-indices-1e8",
        "map of 10^8 indices, per task",
        100_000_000,
    ),
];
const WORKERS: [(&str, &str, usize); 5] = [
    ("grow-workers-1", "1 index per claim, 1 worker, per task", 1),
    (
        "grow-workers-2",
        "1 index per claim, 2 workers, per task",
        2,
    ),
    (
        "grow-workers-4",
        "1 index per claim, 4 workers, per task",
        4,
    ),
    (
        "grow-workers-16",
        "1 index per claim, 16 workers, per task",
        16,
    ),
    (
        "grow-workers-64",
        "1 index per claim, 64 workers, per task",
        64,
    ),
];
const ARRAYS: [(&str, &str, usize); 6] = [
    (
        "grow-array-1k",
        "fill an array of 1 KiB by 8 blocks",
        1 << 10,
    ),
    (
        "grow-array-32k",
        "fill an array of 32 KiB by 8 blocks",
        1 << 15,
    ),
    (
        "grow-array-1m",
        "fill an array of 1 MiB by 8 blocks",
        1 << 20,
    ),
    (
        "grow-array-32m",
        "fill an array of 32 MiB by 8 blocks",
        1 << 25,
    ),
    (
        "grow-array-1g",
        "fill an array of 1 GiB by 8 blocks",
        1 << 30,
    ),
    (
        "grow-array-4g",
        "fill an array of 4 GiB by 8 blocks",
        1 << 32,
    ),
];

/// The cases of this group: a point of a curve each.
pub(crate) fn cases() -> Vec<Case> {
    let indices = INDICES.map(|(name, what, count)| {
        let make = move |setting: &Setting| by_indices(setting, count);
        let case =
            case(name, what, Unit::Nanoseconds, make).growth("indices", "indices", count as f64);
        if count > 10_000_000 {
            case.long()
        } else {
            case
        }
    });
    let workers = WORKERS.map(|(name, what, workers)| {
        let make = move |setting: &Setting| by_workers(setting, workers);
        case(name, what, Unit::Nanoseconds, make).growth("workers", "workers", workers as f64)
    });
    let arrays = ARRAYS.map(|(name, what, bytes)| {
        let make = move |setting: &Setting| by_bytes(setting, bytes);
        let case =
            case(name, what, Unit::Microseconds, make).growth("arrays", "bytes", bytes as f64);
        if bytes > 1 << 25 { case.long() } else { case }
    });
    indices.into_iter().chain(workers).chain(arrays).collect()
}

fn case(
    name: &'static str,
    what: &'static str,
    unit: Unit,
    contenders: impl Fn(&Setting) -> Result<Vec<Contender>, Failure> + 'static,
) -> Case {
    Case::new(GROUP, name, what, unit, Target::None, 7, contenders)
}

fn ignore(index: u64) {
    std::hint::black_box(index);
}

/// Without results: those of 10^8 tasks would be a measurement of memory.
fn by_indices(setting: &Setting, count: u64) -> Result<Vec<Contender>, Failure> {
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let calls = (1_000_000 / count).clamp(1, 300);
    let unit = Unit::Nanoseconds;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || {
                for _ in 0..calls {
                    ours.map(ignore, 0..count)?;
                }
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, (calls * count) as f64))
        }),
        Contender::new("rayon", move || {
            let call = || {
                for _ in 0..calls {
                    theirs.install(|| (0..count).into_par_iter().for_each(ignore));
                }
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, (calls * count) as f64))
        }),
    ])
}

fn by_workers(setting: &Setting, workers: usize) -> Result<Vec<Contender>, Failure> {
    let (ours, theirs) = (pool(workers)?, rayon(workers)?);
    let count = setting.size(1_000_000, 100_000) as u64;
    let unit = Unit::Nanoseconds;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || Ok(ours.job(ignore).chunk(1).map(0..count)?);
            Ok(unit.figure(seconds(call)?, count as f64))
        }),
        Contender::new("rayon", move || {
            let call = || {
                let items = (0..count as usize).into_par_iter().with_max_len(1);
                items.for_each(|index| ignore(index as u64));
            };
            let call = || {
                theirs.install(call);
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, count as f64))
        }),
    ])
}

fn fill(mut block: BlockMut<'_, f64, Ix1>) {
    let offset = block.start() as f64;
    block.view_mut().fill(offset);
}

fn by_bytes(setting: &Setting, bytes: usize) -> Result<Vec<Contender>, Failure> {
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let length = bytes / 8;
    let mut shared = SharedArray::<f64, Ix1>::zeros(length)?;
    let mut private = vec![0.0_f64; length];
    let calls = ((1 << 22) / bytes).clamp(1, 300);
    let unit = Unit::Microseconds;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || {
                for _ in 0..calls {
                    ours.map_blocks(fill, shared.axis_chunks_mut(Axis(0), length / 8))?;
                }
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, calls as f64))
        }),
        Contender::new("rayon", move || {
            let call = || {
                for _ in 0..calls {
                    theirs.install(|| {
                        let blocks = private.par_chunks_mut(length / 8).enumerate();
                        blocks
                            .for_each(|(number, block)| block.fill((number * (length / 8)) as f64));
                    });
                }
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, calls as f64))
        }),
    ])
}
