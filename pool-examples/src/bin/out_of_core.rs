//! An array larger than memory: a `.npy` file populated by block and reduced by block, under a limit that it would not fit into.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use ndarray::{Array2, ArrayView2, Axis, Ix2, s};
use pool_core::Pool;
use pool_examples::args;
use pool_examples::failure::{self, Failure};
use pool_examples::limit::{LEAST, Limit};
use pool_examples::replace::replace;
use pool_shm::{Block, BlockMut, FileArray, SharedArray};

/// Rows and columns of the reduced array, and so of the picture.
const PIXELS: usize = 512;

/// Populates a matrix in a file, larger than the memory that the program allows itself, and reduces it to a picture.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The file, which must not exist; without one, a temporary file is made and removed
    file: Option<PathBuf>,
    /// Where to write the picture, a PNG
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Elements of the reduced matrix along each axis of the file's; the file has 512 times as many rows and columns
    #[arg(long, default_value = "16", value_parser = args::at_least_one)]
    scale: NonZeroUsize,
    /// Memory that the program allows itself and its workers, in MiB
    #[arg(long, default_value = "64", value_parser = |text: &str| args::number(text, (LEAST >> 20) as usize..=1 << 30))]
    limit: usize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The height of the waves at a place: two sources, and one far away.
fn wave(row: usize, col: usize, side: usize) -> f32 {
    let place = |index: usize| (index as f32 + 0.5) / side as f32;
    let (x, y) = (place(col), place(row));
    let from = |px: f32, py: f32| (220.0 * (x - px).hypot(y - py)).cos();
    from(0.3, 0.3) + from(0.75, 0.6) + (60.0 * (x + 2.0 * y)).cos()
}

/// The first task: the rows of a block.
fn populate(mut block: BlockMut<'_, f32, Ix2>) -> usize {
    let (first, side) = (block.start(), block.shape()[1]);
    for ((row, col), height) in block.view_mut().indexed_iter_mut() {
        *height = wave(first + row, col, side);
    }
    side * block.range().len()
}

/// The second task: the mean of each square of a row of squares.
fn reduce((rows, mut means): (Block<'_, f32, Ix2>, BlockMut<'_, f32, Ix2>)) -> f64 {
    let (rows, mut means) = (rows.view(), means.view_mut());
    let scale = rows.nrows();
    let squares = rows.axis_chunks_iter(Axis(1), scale);
    for (square, mean) in squares.zip(means.iter_mut()) {
        *mean = square.sum() / square.len() as f32;
    }
    rows.iter().map(|height| f64::from(*height)).sum()
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let scale = args.scale.get();
    let side = PIXELS
        .checked_mul(scale)
        .ok_or_else(|| Failure::input("the scale is too large"))?;
    let limit = Limit::set((args.limit as u64) << 20)
        .map_err(|error| Failure::other(format!("cannot limit this program's memory: {error}")))?;
    let path = match &args.file {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("out_of_core-{}.npy", std::process::id())),
    };
    let mut matrix = FileArray::<f32, Ix2>::create(&path, (side, side))?;
    let bytes = matrix.len() * size_of::<f32>();
    writeln!(
        out,
        "{side} x {side} floats: {} MiB, under a limit of {} MiB",
        bytes >> 20,
        args.limit
    )?;
    writeln!(out, "the limit is {}", limit.describe())?;

    let pool = Pool::new(args.workers)?;
    let populated = pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), scale))?;
    writeln!(
        out,
        "populated {} elements in {} blocks",
        populated.iter().sum::<usize>(),
        populated.len()
    )?;
    let mut means = SharedArray::<f32, Ix2>::zeros((PIXELS, PIXELS))?;
    let lent = (
        matrix.axis_chunks(Axis(0), scale),
        means.axis_chunks_mut(Axis(0), 1),
    );
    let sums = pool.map_blocks(reduce, lent)?;
    let mean = sums.iter().sum::<f64>() / (side * side) as f64;
    writeln!(out, "reduced to {PIXELS} x {PIXELS}; the mean is {mean:.6}")?;
    check(&matrix.view(), &means.view())?;
    if let Some(peak) = limit.peak() {
        writeln!(
            out,
            "the most memory in use was {} MiB",
            peak.div_ceil(1 << 20)
        )?;
    }
    drop(pool);
    if args.file.is_some() {
        matrix.finish()?;
        writeln!(out, "written to {}", path.display())?;
    }
    match &args.picture {
        Some(picture) => draw(picture, &means.view()),
        None => Ok(()),
    }
}

/// Computes some squares again, in this process.
fn check(matrix: &ArrayView2<'_, f32>, means: &ArrayView2<'_, f32>) -> Result<(), Failure> {
    let side = matrix.nrows();
    let scale = side / PIXELS;
    for (row, col) in [(0, 0), (100, 300), (PIXELS - 1, PIXELS - 1)] {
        let (top, left) = (row * scale, col * scale);
        let square = Array2::from_shape_fn((scale, scale), |(i, j)| wave(top + i, left + j, side));
        let same = matrix.slice(s![top..top + scale, left..left + scale]) == square;
        let mean = square.sum() / square.len() as f32;
        if !same || (mean - means[[row, col]]).abs() > 1e-4 {
            return Err(Failure::other(format!(
                "the square at {row}, {col} is wrong"
            )));
        }
    }
    Ok(())
}

/// Draws means from -3 to 3 as colours.
fn draw(path: &Path, means: &ArrayView2<'_, f32>) -> Result<(), Failure> {
    let colour = |mean: &f32| {
        let colour = colorous::INFERNO.eval_continuous(f64::from(mean / 6.0 + 0.5).clamp(0.0, 1.0));
        [colour.r, colour.g, colour.b]
    };
    let pixels: Vec<u8> = means.iter().flat_map(colour).collect();
    let side = PIXELS as u32;
    replace(path, |file| {
        PngEncoder::new(file)
            .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
            .map_err(io::Error::other)
    })
    .map_err(|error| Failure::input(format!("cannot write {}: {error}", path.display())))
}
