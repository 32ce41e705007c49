//! A random array that every worker sees through its initializer: sealed, so that no process can write it, and never copied.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ndarray::{ArrayView1, Ix1};
use pool_core::Pool;
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use pool_shm::{FrozenArray, SharedArray};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Sums a shared random array with the weights 1, 2 and 3, in worker processes and sequentially.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Elements of the array
    #[arg(long, default_value = "1000000", value_parser = args::count)]
    len: usize,
    /// Worker processes
    #[arg(long, default_value = "2", value_parser = args::workers)]
    workers: usize,
    /// Seed of the random numbers
    #[arg(long, default_value = "1")]
    seed: u64,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

/// What each worker holds.
struct State {
    data: FrozenArray<f64, Ix1>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

fn initialize(data: FrozenArray<f64, Ix1>) -> State {
    State { data }
}

/// The task.
fn weighted_sum(state: &mut State, weight: u32) -> f64 {
    sum_of_products(state.data.view(), weight)
}

fn sum_of_products(data: ArrayView1<'_, f64>, weight: u32) -> f64 {
    // From zero: the sum of nothing would be -0.
    let products = data.iter().map(|x| x * f64::from(weight));
    products.fold(0.0, |sum, product| sum + product)
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let data = SharedArray::<f64, Ix1>::from_shape_fn(args.len, |_| random.random())?.freeze()?;
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .initializer(initialize, data.clone())
        .build()?;
    let weights = 1..=3;
    let sums = pool.map(weighted_sum, weights.clone())?;

    let mut report = table::new(&["weight", "workers", "sequential", "difference"]);
    let mut worst = 0.0_f64;
    for (weight, sum) in weights.zip(sums) {
        let sequential = sum_of_products(data.view(), weight);
        worst = worst.max((sum - sequential).abs());
        let figures = [sum, sequential, sum - sequential].map(|figure| format!("{figure:.6}"));
        report.add_row([vec![weight.to_string()], figures.to_vec()].concat());
    }
    writeln!(
        out,
        "sum(array * weight), {}, {}\n",
        table::count(args.len, "random number"),
        table::count(args.workers, "worker")
    )?;
    writeln!(out, "{report}")?;
    if worst > 0.0 {
        return Err(Failure::other(format!(
            "workers and sequential sum differ by {worst:e}"
        )));
    }
    Ok(())
}
