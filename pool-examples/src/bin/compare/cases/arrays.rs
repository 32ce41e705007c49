//! Arrays: making them, populating them by block, handing them to tasks, freezing them.

use std::path::Path;
use std::process::{Command, Stdio};

use memmap2::MmapMut;
use ndarray::{Array1, Array2, ArrayViewMut2, Axis, Ix1, Ix2};
use pool_core::Pool;
use pool_examples::failure::Failure;
use pool_shm::{BlockMut, FrozenArray, SharedArray};

use super::{median, pool, seconds};
use crate::case::{Case, Contender, OURS, Row, Setting, Target, Unit};

const GROUP: &str = "Arrays";
/// Doubles in a row of a matrix: a row is 8 KiB.
const COLUMNS: usize = 1024;
/// Rows of a block: 2 MiB.
const BLOCK: usize = 256;

const ROWS: &[Row] = &[
    Row {
        name: "populate-new",
        what: "populate a new array of 1 GiB by block, creation included",
        unit: Unit::Gigabytes,
        target: Target::AtLeastTimes(0.95, "threads"),
        rounds: 6,
        contenders: populate_new,
        python: &["multiprocessing.Pool"],
    },
    Row {
        name: "populate-again",
        what: "populate it again",
        unit: Unit::Gigabytes,
        target: Target::AtLeastTimes(0.95, "threads"),
        rounds: 9,
        contenders: populate_again,
        python: &["multiprocessing.Pool"],
    },
    Row {
        name: "populate-next",
        what: "populate the next array of that size (in the memory of the last)",
        unit: Unit::Gigabytes,
        target: Target::AtLeast(10.0),
        rounds: 6,
        contenders: populate_next,
        python: &[],
    },
    Row {
        name: "from-array",
        what: "copy an array of 1 GiB into shared memory",
        unit: Unit::Gigabytes,
        target: Target::AtLeastTimes(0.91, "copy into a fresh mapping"),
        rounds: 6,
        contenders: from_array,
        python: &[],
    },
    Row {
        name: "array-first",
        what: "hand an array of 64 MiB to a task, first time",
        unit: Unit::Microseconds,
        target: Target::AtMost(30.0),
        rounds: 6,
        contenders: array_first,
        python: &[],
    },
    Row {
        name: "array-again",
        what: "hand an array of 64 MiB to a task, again",
        unit: Unit::Microseconds,
        target: Target::AtMost(1.0),
        rounds: 9,
        contenders: array_again,
        python: &[],
    },
    Row {
        name: "array-100mb",
        what: "100 MB made in shared memory to 8 tasks",
        unit: Unit::Milliseconds,
        target: Target::AtMost(1.0),
        rounds: 9,
        contenders: array_100mb,
        python: &[],
    },
    Row {
        name: "array-100mb-copied",
        what: "an ordinary array of 100 MB to 8 tasks, copy included",
        unit: Unit::Milliseconds,
        target: Target::AtMost(60.0),
        rounds: 9,
        contenders: array_100mb_copied,
        python: &["multiprocessing.Pool", "loky", "joblib"],
    },
    Row {
        name: "freeze",
        what: "freeze an array of 1 GiB that workers populated",
        unit: Unit::Milliseconds,
        target: Target::AtMost(1.0),
        rounds: 5,
        contenders: freeze,
        python: &[],
    },
    Row {
        name: "freeze-small",
        what: "freeze an array of 1 MiB that workers populated",
        unit: Unit::Milliseconds,
        target: Target::AtMost(1.0),
        rounds: 15,
        contenders: freeze_small,
        python: &[],
    },
    Row {
        name: "program",
        what: "the program `populate`, from exec to exit",
        unit: Unit::Milliseconds,
        target: Target::AtMost(10.0),
        rounds: 9,
        contenders: program,
        python: &["multiprocessing.Pool"],
    },
];

/// The cases of this group.
pub(crate) fn cases() -> Vec<Case> {
    Row::cases(GROUP, ROWS)
}

/// The shape of a matrix of so many bytes.
fn shape(bytes: usize) -> (usize, usize) {
    (bytes / 8 / COLUMNS, COLUMNS)
}

fn fill(mut block: BlockMut<'_, f64, Ix2>) {
    let offset = block.start() as f64;
    block.view_mut().fill(offset);
}

fn fill_by_pool(pool: &Pool, array: &mut SharedArray<f64, Ix2>) -> Result<(), Failure> {
    pool.map_blocks(fill, array.axis_chunks_mut(Axis(0), BLOCK))?;
    Ok(())
}

/// The same by threads, each with the next block.
fn fill_by_threads(threads: usize, mut matrix: ArrayViewMut2<'_, f64>) {
    let blocks = crossbeam::queue::SegQueue::new();
    for (number, block) in matrix.axis_chunks_iter_mut(Axis(0), BLOCK).enumerate() {
        blocks.push(((number * BLOCK) as f64, block));
    }
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((offset, mut block)) = blocks.pop() {
                    block.fill(offset);
                }
            });
        }
    });
}

fn populate_new(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (pool, threads) = (pool(setting.workers)?, setting.workers);
    let bytes = 1 << 30;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || {
                let mut array = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
                fill_by_pool(&pool, &mut array)?;
                Ok(array)
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
        Contender::new("threads", move || {
            let call = || {
                let mut array = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
                fill_by_threads(threads, array.view_mut());
                Ok(array)
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
        Contender::new("threads, private memory", move || {
            let call = || {
                let mut array = Array2::<f64>::zeros(shape(bytes));
                fill_by_threads(threads, array.view_mut());
                Ok(array)
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
    ])
}

fn populate_again(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (pool, threads) = (pool(setting.workers)?, setting.workers);
    let bytes = 1 << 30;
    let mut ours = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
    let mut theirs = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(Unit::Gigabytes.figure(seconds(|| fill_by_pool(&pool, &mut ours))?, bytes as f64))
        }),
        Contender::new("threads", move || {
            let call = || {
                fill_by_threads(threads, theirs.view_mut());
                Ok(())
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
    ])
}

fn populate_next(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (reusing, dropping) = (pool(setting.workers)?, pool(setting.workers)?);
    let bytes = 1 << 30;
    let mut last = None;
    Ok(vec![
        Contender::new(OURS, move || {
            let mut first = match last.take() {
                Some(array) => array,
                None => SharedArray::<f64, Ix2>::zeros(shape(bytes))?,
            };
            fill_by_pool(&reusing, &mut first)?;
            let call = || {
                let mut next = first.recycle::<f64, Ix2>(shape(bytes))?;
                fill_by_pool(&reusing, &mut next)?;
                last = Some(next);
                Ok(())
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
        Contender::new("in fresh memory", move || {
            let mut first = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
            fill_by_pool(&dropping, &mut first)?;
            drop(first);
            let call = || {
                let mut next = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
                fill_by_pool(&dropping, &mut next)?;
                Ok(next)
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
    ])
}

fn from_array(_: &Setting) -> Result<Vec<Contender>, Failure> {
    let bytes = 1 << 30;
    let source = Array2::<f64>::ones(shape(bytes));
    let same = source.clone();
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || Ok(SharedArray::from_array(&source)?);
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
        Contender::new("copy into a fresh mapping", move || {
            let call = || {
                let mut fresh = MmapMut::map_anon(bytes)?;
                let source = same
                    .as_slice()
                    .ok_or_else(|| Failure::other("the source is contiguous"))?;
                fresh.copy_from_slice(bytemuck::cast_slice(source));
                Ok(fresh)
            };
            Ok(Unit::Gigabytes.figure(seconds(call)?, bytes as f64))
        }),
    ])
}

fn first_element(array: FrozenArray<f64, Ix1>) -> f64 {
    array.view()[0]
}

fn frozen(bytes: usize) -> Result<FrozenArray<f64, Ix1>, Failure> {
    let array = SharedArray::<f64, Ix1>::from_array(&Array1::ones(bytes / 8))?;
    Ok(array.freeze()?)
}

/// The call with a fresh array less the call with one that the worker knows.
fn array_first(_: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(1)?;
    let known = frozen(64 << 20)?;
    Ok(vec![Contender::new(OURS, move || {
        let fresh: Result<Vec<_>, Failure> = (0..9).map(|_| frozen(64 << 20)).collect();
        let fresh = fresh?;
        let mut next = fresh.iter();
        let again = median(200, || (), || Ok(pool.apply(first_element, known.clone())?))?;
        let first = median(
            fresh.len(),
            || (),
            || {
                let array = next
                    .next()
                    .ok_or_else(|| Failure::other("as many arrays as calls"))?;
                Ok(pool.apply(first_element, array.clone())?)
            },
        )?;
        Ok(Unit::Microseconds.figure((first - again).max(0.0), 1.0))
    })])
}

/// Tasks with an array as their argument less tasks with a number.
fn array_again(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(1)?;
    let array = frozen(64 << 20)?;
    let count = setting.size(20_000, 5_000);
    Ok(vec![Contender::new(OURS, move || {
        let plain = seconds(|| Ok(pool.map(f64::sqrt, vec![2.0; count])?))?;
        let with = seconds(|| Ok(pool.map(first_element, vec![array.clone(); count])?))?;
        Ok(Unit::Microseconds.figure((with - plain).max(0.0), count as f64))
    })])
}

/// A task that looks at a part of an array: every thousandth element.
fn part((array, part): (FrozenArray<f64, Ix1>, usize)) -> f64 {
    let view = array.view();
    let size = view.len().div_ceil(8);
    let part = view.slice(ndarray::s![
        part * size..((part + 1) * size).min(view.len())
    ]);
    part.iter().step_by(1000).sum()
}

fn parts(pool: &Pool, array: &FrozenArray<f64, Ix1>) -> Result<f64, Failure> {
    let sums = pool.map(part, (0..8_usize).map(|part| (array.clone(), part)))?;
    Ok(sums.iter().sum())
}

fn array_100mb(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(setting.workers)?;
    let array = frozen(100_000_000)?;
    Ok(vec![Contender::new(OURS, move || {
        Ok(Unit::Milliseconds.figure(seconds(|| parts(&pool, &array))?, 1.0))
    })])
}

fn array_100mb_copied(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(setting.workers)?;
    let source = Array1::<f64>::ones(12_500_000);
    Ok(vec![Contender::new(OURS, move || {
        let call = || {
            let array = SharedArray::from_array(&source)?.freeze()?;
            parts(&pool, &array)
        };
        Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
    })])
}

fn freeze(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    freezing(setting, 1 << 30)
}

fn freeze_small(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    freezing(setting, 1 << 20)
}

fn freezing(setting: &Setting, bytes: usize) -> Result<Vec<Contender>, Failure> {
    let pool = pool(setting.workers)?;
    Ok(vec![Contender::new(OURS, move || {
        let mut array = SharedArray::<f64, Ix2>::zeros(shape(bytes))?;
        fill_by_pool(&pool, &mut array)?;
        Ok(Unit::Milliseconds.figure(seconds(|| Ok(array.freeze()?))?, 1.0))
    })])
}

/// The example beside this program; its own default is to pretend some work, which is left out.
fn program(_: &Setting) -> Result<Vec<Contender>, Failure> {
    let own = std::env::current_exe()?;
    let populate = own.parent().unwrap_or(Path::new(".")).join("populate");
    if !populate.exists() {
        return Err(Failure::input(format!(
            "{} is not there; `cargo build --release --bin populate` makes it",
            populate.display()
        )));
    }
    Ok(vec![Contender::new(OURS, move || {
        let call = || {
            let status = Command::new(&populate)
                .args(["--work", "0"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()?;
            if status.success() {
                Ok(())
            } else {
                Err(Failure::other(format!("populate: {status}")))
            }
        };
        Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
    })])
}
