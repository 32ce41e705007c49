//! The spectrogram of a recording: the samples are sealed and seen by all workers, spectra and levels are computed by blocks of frames into
//! shared matrices, and the levels are drawn.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PathBufValueParser, TypedValueParser};
use ndarray::{ArrayView1, Axis, Ix2};
use num_complex::Complex64;
use pool_core::Pool;
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::picture::Spectrogram;
use pool_examples::progress::{BETWEEN, Bar};
use pool_examples::replace::is_same_file;
use pool_examples::spectrum::{Peak, highest, initialize, level_block, transform_block};
use pool_examples::table;
use pool_examples::transform::{Settings, Window};
use pool_examples::wav::Recording;
use pool_shm::SharedArray;

/// Frames of a block: enough work for a task, small enough to balance.
const FRAMES: usize = 64;

/// Draws the spectrogram of a WAV file: time, frequency, and level as a colour.
#[derive(Debug, Parser)]
#[command(version, allow_missing_positional = true)]
struct Args {
    /// A WAV file: PCM of 8 to 32 bits or floats of 32 or 64, any number of channels; without it, a chirp is made
    input: Option<PathBuf>,
    /// The picture to write: a name that ends in .png
    #[arg(value_parser = PathBufValueParser::new().try_map(picture_name))]
    output: PathBuf,
    /// Samples in a frame
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u32).range(2..=1 << 24))]
    fft_size: u32,
    /// Samples from a frame to the next [default: a quarter of a frame]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    hop: Option<u32>,
    /// How a frame fades in and out
    #[arg(long, value_enum, default_value_t = Window::Hann)]
    window: Window,
    /// Decibels between the darkest and the brightest colour
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u8).range(1..=180))]
    range: u8,
    /// Pixels from left to right
    #[arg(long, default_value = "1200", value_parser = clap::value_parser!(u32).range(400..=16_384))]
    width: u32,
    /// Pixels from top to bottom
    #[arg(long, default_value = "640", value_parser = clap::value_parser!(u32).range(300..=16_384))]
    height: u32,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            fft_size: self.fft_size as usize,
            hop: self.hop.unwrap_or((self.fft_size / 4).max(1)) as usize,
            window: self.window,
        }
    }
}

/// A recording that is given alone would be taken for the picture, and be lost.
fn picture_name(path: PathBuf) -> Result<PathBuf, String> {
    let ending = path.extension().unwrap_or_default();
    if ending.eq_ignore_ascii_case("png") {
        return Ok(path);
    }
    Err("the picture's name must end in .png; a recording comes before it: spectrogram in.wav out.png".to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(input) = args.input.as_deref() {
        keep_apart(input, &args.output)?;
    }
    let recording = args
        .input
        .as_deref()
        .map_or_else(|| Ok(Recording::chirp()), Recording::read)?;
    let settings = args.settings();
    let (levels, peak) = levels(args, &recording)?;

    let top = (peak.level / 5.0).ceil() * 5.0;
    // Silence is dark: the brightest colour is for what can be heard.
    let top = top.max(f32::from(args.range) - 200.0);
    let hertz = f64::from(recording.rate);
    let picture = Spectrogram {
        levels: levels.view(),
        seconds: recording.seconds(),
        frame_step: settings.hop as f64 / hertz,
        hertz: hertz / 2.0,
        bin_step: hertz / settings.fft_size as f64,
        range: top - f32::from(args.range)..top,
        caption: caption(args, &recording),
    };
    picture.write(&args.output, args.width, args.height)?;

    let (frames, bins) = levels.view().dim();
    let (second, frequency) = (
        (peak.frame * settings.hop) as f64 / hertz,
        peak.bin as f64 * hertz / settings.fft_size as f64,
    );
    writeln!(
        out,
        "{}, {:.3} s",
        recording.description,
        recording.seconds()
    )?;
    writeln!(
        out,
        "{} x {bins} frequencies, {}",
        table::count(frames, "frame"),
        table::count(args.workers, "worker")
    )?;
    writeln!(
        out,
        "loudest: {:.1} dB at {frequency:.1} Hz, {second:.3} s",
        peak.level
    )?;
    writeln!(
        out,
        "picture: {} ({} x {})",
        args.output.display(),
        args.width,
        args.height
    )?;
    Ok(())
}

/// A recording is not overwritten, whatever its name.
fn keep_apart(input: &Path, output: &Path) -> Result<(), Failure> {
    if !is_same_file(input, output) {
        return Ok(());
    }
    let (input, output) = (input.display(), output.display());
    Err(Failure::input(format!(
        "{output} is the recording {input} itself; the picture needs another name"
    )))
}

/// The level of each frame and frequency, and the highest.
fn levels(args: &Args, recording: &Recording) -> Result<(SharedArray<f32, Ix2>, Peak), Failure> {
    let settings = args.settings();
    let samples = SharedArray::from_array(&ArrayView1::from(&recording.samples))?.freeze()?;
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .initializer(initialize, (samples, settings))
        .build()?;

    let shape = (settings.frames(recording.samples.len()), settings.bins());
    let mut spectra = SharedArray::<Complex64, Ix2>::zeros(shape)?;
    // Each block of frames is transformed, and then its levels are taken.
    let bar = Bar::new(2 * shape.0.div_ceil(FRAMES) as u64);
    pool.job(transform_block)
        .progress(BETWEEN, bar.call())
        .map_blocks(spectra.axis_chunks_mut(Axis(0), FRAMES))?;

    let mut levels = SharedArray::<f32, Ix2>::zeros(shape)?;
    let blocks = (
        spectra.axis_chunks(Axis(0), FRAMES),
        levels.axis_chunks_mut(Axis(0), FRAMES),
    );
    let peaks = pool
        .job(level_block)
        .progress(BETWEEN, bar.call())
        .map_blocks(blocks)?;
    let peak = highest(peaks.into_iter().flatten())
        .ok_or_else(|| Failure::input("the recording holds no samples"))?;
    Ok((levels, peak))
}

fn caption(args: &Args, recording: &Recording) -> String {
    let name = args
        .input
        .as_deref()
        .and_then(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    match name {
        Some(name) => format!("{name}: {}", recording.description),
        None => recording.description.clone(),
    }
}
