//! The heat equation on a plate: each step computes the next state by tiles, from the state before and a rim around each tile; then the two
//! arrays are swapped.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ndarray::{Array2, Ix2};
use pool_core::Pool;
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::plate::{self, Picture};
use pool_examples::table;
use pool_shm::SharedArray;

/// Lets the heat of a plate spread, by tiles in worker processes, and draws the plate before and after.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The picture to write, as PNG; none is drawn without it
    output: Option<PathBuf>,
    /// Rows of the plate
    #[arg(long, default_value = "512", value_parser = args::at_least_one)]
    rows: NonZeroUsize,
    /// Columns of the plate
    #[arg(long, default_value = "512", value_parser = args::at_least_one)]
    cols: NonZeroUsize,
    /// Steps to compute
    #[arg(long, default_value = "500", value_parser = args::count)]
    steps: usize,
    /// Rows and columns of a tile; the last tiles may have fewer
    #[arg(long, default_value = "128", value_parser = args::at_least_one)]
    tile: NonZeroUsize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let shape = (args.rows.get(), args.cols.get());
    let tile = (args.tile.get(), args.tile.get());
    let mut now = SharedArray::<f64, Ix2>::from_shape_fn(shape, |cell| plate::start(shape, cell))?;
    let mut next = SharedArray::<f64, Ix2>::zeros(shape)?;
    let before = now.view().to_owned();
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .build()?;

    let mut largest = 0.0;
    for _ in 0..args.steps {
        // Tasks write `next` and read all around their tiles in `now`, which nobody writes meanwhile.
        let tiles = (next.tiles_mut(tile), now.halo_tiles(tile, (1, 1)));
        let changes = pool.map_blocks(plate::step, tiles)?;
        largest = changes.into_iter().fold(0.0, f64::max);
        std::mem::swap(&mut now, &mut next);
    }

    if let Some(output) = &args.output {
        let picture = Picture {
            before: before.view(),
            after: now.view(),
            steps: args.steps,
        };
        picture.write(output)?;
    }
    report(args, out, &before, &now, largest)?;
    if let Some(output) = &args.output {
        writeln!(out, "picture: {}", output.display())?;
    }
    Ok(())
}

/// Tells how it ended, and compares it with the same computation in one piece.
fn report(
    args: &Args,
    out: &mut dyn Write,
    before: &Array2<f64>,
    after: &SharedArray<f64, Ix2>,
    largest: f64,
) -> Result<(), Failure> {
    writeln!(
        out,
        "{} x {} cells by tiles of {} x {}, {} ({})",
        args.rows,
        args.cols,
        args.tile,
        args.tile,
        table::count(args.workers, "worker"),
        args.start_method
    )?;
    let warmest = |plate: ndarray::ArrayView2<'_, f64>| plate.iter().copied().fold(0.0, f64::max);
    writeln!(
        out,
        "warmest: {:.3} degrees at the start, {:.3} after {}",
        warmest(before.view()),
        warmest(after.view()),
        table::count(args.steps, "step")
    )?;
    writeln!(out, "largest change in the last step: {largest:.6} degrees")?;
    let expected = plate::sequential(before.clone(), args.steps);
    let cells = after.view();
    let pairs = cells.iter().zip(&expected);
    let wrong = pairs
        .filter(|(cell, expected)| cell.to_bits() != expected.to_bits())
        .count();
    if wrong > 0 {
        return Err(Failure::other(format!(
            "{wrong} of {} cells differ from the computation in one piece",
            after.len()
        )));
    }
    writeln!(
        out,
        "equal to the computation in one piece, bit for bit: {}",
        table::count(after.len(), "cell")
    )?;
    Ok(())
}
