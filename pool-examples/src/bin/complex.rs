//! Complex numbers over real memory: a view of doubles as complex128 without a copy, then a large array copied into one by workers.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ndarray::{Axis, Ix1, Ix2};
use num_complex::Complex64;
use pool_core::Pool;
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use pool_shm::{Block, BlockMut, SharedArray};

/// Shows eighteen doubles as a complex matrix, and copies a real array into a complex one in worker processes.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Rows of the large array
    #[arg(long, default_value = "16", value_parser = args::count)]
    rows: usize,
    /// Columns of the large array
    #[arg(long, default_value = "1000000", value_parser = args::count)]
    cols: usize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| {
        show_view(out)?;
        copy(&args, out)
    })
}

/// Eighteen doubles are nine complex numbers: pairs along the last axis.
fn show_view(out: &mut dyn Write) -> Result<(), Failure> {
    let doubles = SharedArray::<f64, Ix1>::from_shape_fn(18, |i| i as f64)?;
    writeln!(out, "eighteen doubles:\n{}\n", doubles.view())?;
    let mut matrix = doubles.into_complex()?.into_shape((3, 3))?;
    writeln!(
        out,
        "the same memory, 3 x 3 complex128:\n{}\n",
        matrix.view()
    )?;
    matrix.view_mut()[[2, 2]] = Complex64::new(2.0, 3.0);
    writeln!(out, "after [2, 2] = 2 + 3i:\n{}\n", matrix.view())?;
    let doubles = matrix.into_shape(9)?.into_real()?;
    writeln!(out, "the eighteen doubles:\n{}\n", doubles.view())?;
    Ok(())
}

/// The task: rows of both arrays, cut alike.
fn copy_rows((real, mut complex): (Block<'_, f64, Ix2>, BlockMut<'_, Complex64, Ix2>)) -> usize {
    complex
        .view_mut()
        .zip_mut_with(&real.view(), |to, from| *to = Complex64::from(*from));
    real.range().len()
}

fn copy(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let shape = (args.rows, args.cols);
    let real =
        SharedArray::<f64, Ix2>::from_shape_fn(shape, |(row, col)| (row * args.cols + col) as f64)?;
    let mut complex = SharedArray::<Complex64, Ix2>::zeros(shape)?;
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .build()?;
    let rows = pool.map_blocks(
        copy_rows,
        (
            real.axis_chunks(Axis(0), 1),
            complex.axis_chunks_mut(Axis(0), 1),
        ),
    )?;

    let pairs = real.view().into_iter().zip(complex.view());
    let wrong = pairs
        .filter(|(from, to)| **to != Complex64::from(**from))
        .count();
    if wrong > 0 {
        return Err(Failure::other(format!(
            "{wrong} of {} elements are wrong",
            real.len()
        )));
    }
    let workers = table::count(args.workers, "worker");
    let (rows, cols) = (rows.iter().sum::<usize>(), args.cols);
    writeln!(
        out,
        "{rows} x {cols} doubles copied into complex128 by {workers}: all {} elements are right",
        real.len()
    )?;
    Ok(())
}
