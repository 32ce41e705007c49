//! Populates a shared matrix by blocks: each task gets a block of rows, owned while it runs, and fills it with the number of its first row.

use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ndarray::{Axis, Ix2};
use num_complex::Complex64;
use pool_core::{Pool, WorkerInfo};
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::progress::{BETWEEN, Bar};
use pool_examples::table;
use pool_shm::{BlockMut, Element, SharedArray};
use serde::{Deserialize, Serialize};

/// Populates a shared matrix by blocks in worker processes.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Rows of the matrix
    #[arg(long, default_value = "2000", value_parser = args::count)]
    rows: usize,
    /// Columns of the matrix
    #[arg(long, default_value = "10", value_parser = args::count)]
    cols: usize,
    /// Rows of a block; the last block may have fewer
    #[arg(long, default_value = "100", value_parser = args::at_least_one)]
    block: NonZeroUsize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// Type of the elements
    #[arg(long, value_enum, default_value_t = DType::F64)]
    dtype: DType,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
    /// How often the matrix is populated
    #[arg(long, default_value = "1", value_parser = args::at_least_one)]
    repeat: NonZeroUsize,
    /// How often a block is begun again after its worker died
    #[arg(long, default_value = "3", value_parser = |text: &str| args::number(text, 0..=1000))]
    retries: usize,
    /// Milliseconds of pretended computing for each block, up to an hour: filling alone ends before a second worker has woken up
    #[arg(long, default_value = "1", value_parser = |text: &str| args::number(text, 0..=3_600_000))]
    work: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DType {
    /// Floating point, 8 bytes
    F64,
    /// Complex floating point, 16 bytes
    Complex128,
}

/// What one task did: its worker, and how many rows its block had.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Done {
    worker: usize,
    rows: usize,
}

/// What one worker did.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    blocks: usize,
    rows: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| match args.dtype {
        DType::F64 => program::<f64>(&args, "f64", out),
        DType::Complex128 => program::<Complex64>(&args, "complex128", out),
    })
}

/// What each worker holds.
struct State {
    work: Duration,
}

/// Runs in each worker before its first task; what it returns is the worker's state.
fn initialize(work: Duration) -> State {
    State { work }
}

/// The task. It owns its block while it runs, so it needs no lock and no `unsafe`.
fn populate<T: Element + From<f64>>(state: &mut State, mut block: BlockMut<'_, T, Ix2>) -> Done {
    let offset = block.start();
    block.view_mut().fill(T::from(offset as f64));
    pretend_to_compute(state.work);
    Done {
        worker: pool_core::current().map_or(0, |current| current.worker_id()),
        rows: block.range().len(),
    }
}

/// Keeps the processor busy.
fn pretend_to_compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn program<T: Element + From<f64> + std::fmt::Display>(
    args: &Args,
    dtype: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Args {
        rows,
        cols,
        block,
        workers,
        start_method,
        ..
    } = args;
    let mut matrix = SharedArray::<T, Ix2>::zeros((*rows, *cols))?;
    let blocks = rows.div_ceil(block.get()).saturating_mul(args.repeat.get());
    let bar = Bar::new(blocks as u64);
    let pool = Pool::builder()
        .workers(*workers)
        .start_method((*start_method).into())
        .initializer(initialize, Duration::from_millis(args.work as u64))
        .build()?;
    writeln!(
        out,
        "{rows} x {cols} {dtype} by blocks of {}, {} ({start_method})",
        table::count(block.get(), "row"),
        table::count(*workers, "worker")
    )?;
    out.flush()?;

    let mut shares = vec![Share::default(); *workers];
    for _ in 0..args.repeat.get() {
        // Filling a block again gives the same, so a block whose worker died may simply be filled by another.
        let job = pool
            .job(populate::<T>)
            .retries(args.retries as u32)
            .progress(BETWEEN, bar.call());
        for done in job.map_blocks(matrix.axis_chunks_mut(Axis(0), block.get()))? {
            shares[done.worker].blocks += 1;
            shares[done.worker].rows += done.rows;
        }
    }
    drop(bar);

    writeln!(out, "\n{}\n", matrix.view())?;
    writeln!(out, "{}", report(&pool.workers(), &shares))?;
    Ok(())
}

/// Who did what.
fn report(workers: &[WorkerInfo], shares: &[Share]) -> comfy_table::Table {
    let mut report = table::new(&["worker", "pid", "blocks", "rows", "CPU time", "memory"]);
    for (worker, share) in workers.iter().zip(shares) {
        // Of a thread, the system would tell what the whole process has.
        let (cpu_time, memory) = if worker.pid == std::process::id() {
            ("-".to_owned(), "-".to_owned())
        } else {
            (table::time(worker.cpu_time), table::bytes(worker.private))
        };
        report.add_row([
            worker.id.to_string(),
            worker.pid.to_string(),
            share.blocks.to_string(),
            share.rows.to_string(),
            cpu_time,
            memory,
        ]);
    }
    report
}
