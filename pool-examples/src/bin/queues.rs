//! Results that flow while a pool works: tasks put what they find into a manager's queue, and the program prints it as it comes. In Python
//! this is `Manager().Queue()` beside `pool.starmap`.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use pool_core::{Pool, current};
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use pool_queue::{Manager, QueueProxy};
use serde::{Deserialize, Serialize};

/// Counts primes by ranges in worker processes, and prints each range as soon as a worker has told of it through a queue.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Numbers below this are looked at
    #[arg(long, default_value = "500000", value_parser = args::count)]
    below: usize,
    /// Numbers of a range; the last range may have fewer
    #[arg(long, default_value = "25000", value_parser = args::at_least_one)]
    block: NonZeroUsize,
    /// Results that the queue holds; workers wait while it is full
    #[arg(long, default_value = "16", value_parser = |text: &str| args::number(text, 1..=1_000_000))]
    capacity: usize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
    /// How often a range is begun again after its worker died
    #[arg(long, default_value = "3", value_parser = |text: &str| args::number(text, 0..=1000))]
    retries: usize,
    /// How workers are started
    #[arg(long, value_enum, default_value_t)]
    start_method: StartMethod,
}

/// What a task tells of its range, and who has found it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Found {
    begin: usize,
    end: usize,
    primes: usize,
    worker: usize,
    pid: u32,
}

/// What the program has heard.
#[derive(Debug, Default)]
struct Heard {
    /// By the beginning of the range.
    ranges: BTreeMap<usize, Found>,
    /// Ranges that came once more: their worker died after it had told of them and before its task had ended.
    again: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The task: nothing is returned, all is told through the queue.
fn search((begin, end, queue): (usize, usize, QueueProxy<Found>)) {
    let found = Found {
        begin,
        end,
        primes: (begin..end).filter(|number| is_prime(*number)).count(),
        worker: current().map_or(0, |current| current.worker_id()),
        pid: std::process::id(),
    };
    queue
        .put(found)
        .expect("the queue is open as long as tasks run");
}

fn is_prime(number: usize) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let manager = Manager::start()?;
    let queue = manager.queue::<Found>(args.capacity)?;
    let pool = Pool::builder()
        .workers(args.workers)
        .start_method(args.start_method.into())
        .build()?;
    let ranges = (0..args.below).step_by(args.block.get()).map(|begin| {
        let end = args.below.min(begin.saturating_add(args.block.get()));
        (begin, end, queue.clone())
    });
    // The call has a thread of its own; this one listens until the queue is closed and empty.
    let heard = thread::scope(|scope| {
        let call = scope.spawn(|| {
            let called = pool.job(search).retries(args.retries as u32).map(ranges);
            queue.close()?;
            Ok::<_, Failure>(called?)
        });
        let heard = listen(&queue, out);
        if heard.is_err() {
            // Nobody listens any more. Workers would wait for room in the queue for ever.
            pool.terminate();
        }
        let called = call.join().expect("the call does not panic");
        heard.and_then(|heard| called.map(|_| heard))
    })?;
    writeln!(out, "\n{}\n", report(&heard))?;
    let primes: usize = heard.ranges.values().map(|found| found.primes).sum();
    let count = heard.ranges.len();
    writeln!(
        out,
        "{} below {}, in {}",
        table::count(primes, "prime"),
        args.below,
        table::count(count, "range")
    )?;
    let died = pool.stats().workers_died as usize;
    if died > 0 {
        writeln!(
            out,
            "{} died; {} told twice, counted once",
            table::count(died, "worker"),
            table::count(heard.again, "range")
        )?;
    }
    Ok(())
}

/// Prints what comes through the queue, at once, until the queue is closed and empty.
fn listen(queue: &QueueProxy<Found>, out: &mut dyn Write) -> Result<Heard, Failure> {
    let mut heard = Heard::default();
    for found in queue.iter() {
        let found = found?;
        let Found {
            begin,
            end,
            primes,
            worker,
            pid,
        } = found;
        let primes = table::count(primes, "prime");
        writeln!(
            out,
            "worker {worker} (pid {pid}): {primes} from {begin} to {}",
            end - 1
        )?;
        out.flush()?;
        if heard.ranges.insert(begin, found).is_some() {
            heard.again += 1;
        }
    }
    Ok(heard)
}

/// What each worker did; one that took the place of a dead one has a line of its own.
fn report(heard: &Heard) -> comfy_table::Table {
    let mut shares = BTreeMap::<(usize, u32), (usize, usize)>::new();
    for found in heard.ranges.values() {
        let (ranges, primes) = shares.entry((found.worker, found.pid)).or_default();
        *ranges += 1;
        *primes += found.primes;
    }
    let mut report = table::new(&["worker", "pid", "ranges", "primes"]);
    for ((worker, pid), (ranges, primes)) in shares {
        report.add_row([worker, pid as usize, ranges, primes].map(|number| number.to_string()));
    }
    report
}
