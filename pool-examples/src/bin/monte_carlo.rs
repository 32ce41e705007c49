//! An integral by random numbers that come out the same whoever draws them: each task has a stream of its own, which depends only on
//! the pool's seed and the task's index.

use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use pool_core::{Pool, current};
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Integrates exp(-x*x - y*y) over the unit square by random points; the digits do not depend on who draws them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Tasks, each with a random stream of its own
    #[arg(long, default_value = "1000", value_parser = args::at_least_one)]
    tasks: NonZeroUsize,
    /// Points that each task draws
    #[arg(long, default_value = "1000", value_parser = args::at_least_one)]
    points: NonZeroUsize,
    /// Worker processes
    #[arg(long, default_value = "2", value_parser = args::workers)]
    workers: usize,
    /// Tasks that a worker claims at a time [default: chosen by the pool]
    #[arg(long)]
    chunk: Option<u32>,
    /// Seed of all streams
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Index of a task that kills its worker when it is run for the first time
    #[arg(long)]
    crash: Option<u64>,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

/// What each worker knows of the call.
struct State {
    points: usize,
    crash: Option<u64>,
}

/// Sums of the integrand and of its square.
type Sums = (f64, f64);

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The task: its argument is not even looked at, its stream is what makes it what it is.
fn draw(state: &mut State, _: usize) -> Sums {
    let task = current().expect("a task is running");
    if state.crash == Some(task.index()) && task.attempt() == 0 {
        std::process::abort();
    }
    let mut random = StdRng::seed_from_u64(task.seed());
    (0..state.points).fold((0.0, 0.0), |(sum, squares), _| {
        let (x, y): (f64, f64) = (random.random(), random.random());
        let value = (-x * x - y * y).exp();
        (sum + value, squares + value * value)
    })
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.crash.is_some() && args.start_method == StartMethod::Thread {
        return Err(Failure::other(
            "a thread that crashes takes the program along: use another start method".to_owned(),
        ));
    }
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .seed(args.seed)
        .initializer(
            |(points, crash)| State { points, crash },
            (args.points.get(), args.crash),
        )
        .build()?;
    let mut job = pool.job(draw).retries(2);
    if let Some(chunk) = args.chunk {
        job = job.chunk(chunk);
    }
    let sums = job.map(0..args.tasks.get())?;
    // In the order of the tasks: the sum of floats depends on it.
    let add = |(a, b): Sums, (sum, squares): &Sums| (a + sum, b + squares);
    let (sum, squares) = sums.iter().fold((0.0, 0.0), add);
    let drawn = args.tasks.get() as f64 * args.points.get() as f64;
    let mean = sum / drawn;
    let error = ((squares / drawn - mean * mean) / drawn).max(0.0).sqrt();
    // (sqrt(pi) / 2 * erf(1))^2
    const EXACT: f64 = 0.557_746_285_351_034_3;
    let mut report = table::new(&["integral", "standard error", "exact", "difference"]);
    report.add_row([
        format!("{mean:.16}"),
        format!("{error:.2e}"),
        format!("{EXACT:.16}"),
        format!("{:.2e}", mean - EXACT),
    ]);
    writeln!(
        out,
        "exp(-x*x - y*y) over the unit square, {} in {}\n",
        table::count(drawn as usize, "point"),
        table::count(args.tasks.get(), "task")
    )?;
    writeln!(out, "{report}")?;
    Ok(())
}
