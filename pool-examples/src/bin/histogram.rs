//! A type of the program's own, hosted by a manager: all workers merge what they have counted into one histogram, exactly once each.

use std::collections::BTreeSet;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pool_core::{Pool, current};
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::histogram::{Histogram, draw};
use pool_examples::table;
use pool_queue::{Manager, Proxy};
use serde::{Deserialize, Serialize};

/// Counts random values in worker processes, in one histogram that a manager holds, and draws it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The picture to write, as PNG; none is drawn without it
    output: Option<PathBuf>,
    /// Tasks, each with a random stream of its own
    #[arg(long, default_value = "100", value_parser = args::at_least_one)]
    tasks: NonZeroUsize,
    /// Values that each task draws
    #[arg(long, default_value = "10000", value_parser = args::count)]
    values: usize,
    /// Bins of the histogram, from -5 to 5
    #[arg(long, default_value = "80", value_parser = |text: &str| args::number(text, 1..=10_000))]
    bins: usize,
    /// Prints the counts of all bins
    #[arg(long)]
    counts: bool,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// Seed of all streams
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Task whose worker dies when it has merged what it counted; another worker runs the task again
    #[arg(long)]
    crash: Option<usize>,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

/// What the manager hosts. It knows what is in the histogram already, so a task that is run again does not count twice.
#[derive(Serialize, Deserialize)]
struct Collected {
    histogram: Histogram,
    shares: BTreeSet<usize>,
}

impl Collected {
    /// Takes a share in, unless it was taken before; whether it was not.
    fn merge(&mut self, share: usize, counted: Histogram) -> bool {
        let is_new = self.shares.insert(share);
        if is_new {
            self.histogram.merge(&counted);
        }
        is_new
    }

    fn histogram(&self) -> Histogram {
        self.histogram.clone()
    }
}

/// What each worker holds.
struct State {
    collected: Proxy<Collected>,
    empty: Histogram,
    seed: u64,
    values: usize,
    crash: Option<usize>,
}

/// What one task did: its worker, and whether its share was new.
type Done = (usize, bool);

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The task: counts on its own, then merges in one call. The manager runs one such call at a time.
fn count(state: &mut State, share: usize) -> Done {
    let task = current().expect("a task is running");
    let mut counted = state.empty.clone();
    draw(state.seed, share, state.values).for_each(|value| counted.add(value));
    let merged = state.collected.call(Collected::merge, (share, counted));
    if state.crash == Some(share) && task.attempt() == 0 {
        std::process::abort();
    }
    (
        task.worker_id(),
        merged.expect("the manager lives as long as the pool"),
    )
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.crash.is_some() && args.start_method == StartMethod::Thread {
        return Err(Failure::other(
            "a thread that crashes takes the program along: use another start method",
        ));
    }
    let bins = NonZeroUsize::new(args.bins).unwrap_or(NonZeroUsize::MIN);
    let empty = Histogram::new(-5.0..5.0, bins);
    let manager = Manager::start()?;
    let collected = manager.host(Collected {
        histogram: empty.clone(),
        shares: BTreeSet::new(),
    })?;
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .initializer(
            |(collected, empty, (seed, values, crash))| State {
                collected,
                empty,
                seed,
                values,
                crash,
            },
            (
                collected.clone(),
                empty.clone(),
                (args.seed, args.values, args.crash),
            ),
        )
        .build()?;
    let done = pool.job(count).retries(2).map(0..args.tasks.get())?;
    let histogram = collected.call(Collected::histogram, ())?;
    if let Some(output) = &args.output {
        histogram.write(output)?;
    }

    writeln!(out, "{}\n", report(args, &done))?;
    if args.counts {
        writeln!(out, "{}\n", counts(&histogram))?;
    }
    compare(args, out, empty, &histogram)?;
    if let Some(output) = &args.output {
        writeln!(out, "picture: {}", output.display())?;
    }
    Ok(())
}

/// Who did what.
fn report(args: &Args, done: &[Done]) -> comfy_table::Table {
    let mut report = table::new(&["worker", "shares", "values", "merged before"]);
    for worker in 0..args.workers {
        let own = done.iter().filter(|(by, _)| *by == worker);
        let (shares, before) = (
            own.clone().count(),
            own.filter(|(_, is_new)| !is_new).count(),
        );
        report.add_row(
            [worker, shares, shares * args.values, before].map(|number| number.to_string()),
        );
    }
    report
}

fn counts(histogram: &Histogram) -> comfy_table::Table {
    let mut counts = table::new(&["from", "to", "count"]);
    for (bin, count) in histogram.bins().zip(histogram.counts()) {
        counts.add_row([
            format!("{:.3}", bin.start),
            format!("{:.3}", bin.end),
            count.to_string(),
        ]);
    }
    counts
}

/// Counts once more, in this process alone: each bin must have the same.
fn compare(
    args: &Args,
    out: &mut dyn Write,
    mut alone: Histogram,
    all: &Histogram,
) -> Result<(), Failure> {
    for share in 0..args.tasks.get() {
        draw(args.seed, share, args.values).for_each(|value| alone.add(value));
    }
    if alone != *all {
        let pairs = alone.counts().iter().zip(all.counts());
        let wrong = pairs.filter(|(alone, all)| alone != all).count();
        return Err(Failure::other(format!(
            "{wrong} of {} bins differ from the counts of one process; {} values were counted, not {}",
            args.bins,
            all.total(),
            alone.total()
        )));
    }
    writeln!(
        out,
        "equal to the counts of one process: {} in {}, {} outside",
        table::count(all.total() as usize, "value"),
        table::count(args.bins, "bin"),
        all.outside()
    )?;
    Ok(())
}
