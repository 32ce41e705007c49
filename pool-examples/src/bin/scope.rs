//! What a worker costs: its memory beside a parent that holds a large array of its own, and the time until all workers answer.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use pool_core::Pool;
use pool_examples::args::{self, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::memory::Memory;
use pool_examples::table;

/// Shows what worker processes cost: memory and time to start, for each start method.
///
/// Resident memory counts every page that a process has mapped; proportional memory divides the pages that several processes share
/// among them; private memory is what only this process holds.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Doubles in the unrelated array that the parent holds
    #[arg(long, default_value = "33554432", value_parser = args::count)]
    elements: usize,
    /// Worker processes
    #[arg(long, default_value = "4", value_parser = args::workers)]
    workers: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The task: every worker answers.
fn answer(i: usize) -> usize {
    i
}

/// An array of the parent's own.
fn hold(elements: usize) -> Result<Vec<f64>, Failure> {
    let mut array = Vec::new();
    array.try_reserve_exact(elements).map_err(|_| {
        let bytes = elements.saturating_mul(size_of::<f64>());
        Failure::input(format!(
            "cannot hold {elements} doubles: there is no memory for {}; lower --elements",
            table::bytes(bytes as u64)
        ))
    })?;
    // Written, or its pages would not be there.
    array.resize(elements, 1.0);
    Ok(array)
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let unrelated = hold(args.elements)?;
    let held = table::bytes(size_of_val(unrelated.as_slice()) as u64);
    std::hint::black_box(&unrelated);
    writeln!(
        out,
        "the parent holds an unrelated array of {} ({held})\n",
        table::count(args.elements, "double")
    )?;

    let mut memory = table::new(&[
        "start method",
        "process",
        "pid",
        "resident",
        "proportional",
        "private",
    ]);
    let mut times = table::new(&["start method", "workers", "time to start"]);
    for method in StartMethod::ALL {
        let start = Instant::now();
        let pool = Pool::builder()
            .workers(args.workers)
            .start_method(method.into())
            .build()?;
        pool.map(answer, 0..args.workers)?;
        let time = start.elapsed();
        times.add_row([
            method.to_string(),
            args.workers.to_string(),
            table::time(time),
        ]);

        let parent = Memory::of(std::process::id())?;
        let sizes = [parent.resident, parent.proportional, parent.private];
        memory.add_row(row(method, "parent", std::process::id(), sizes));
        // Workers that are threads have the parent's memory.
        let workers = pool
            .workers()
            .into_iter()
            .filter(|worker| worker.pid != std::process::id());
        for worker in workers {
            let sizes = [worker.resident, worker.proportional, worker.private];
            memory.add_row(row(
                method,
                &format!("worker {}", worker.id),
                worker.pid,
                sizes,
            ));
        }
    }
    drop(unrelated);
    writeln!(out, "{memory}\n\n{times}")?;
    Ok(())
}

fn row(method: StartMethod, process: &str, pid: u32, sizes: [u64; 3]) -> Vec<String> {
    let names = vec![method.to_string(), process.to_owned(), pid.to_string()];
    [names, sizes.map(table::bytes).to_vec()].concat()
}
