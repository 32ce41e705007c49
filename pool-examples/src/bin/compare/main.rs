//! Compares this project with its peers, side by side in one run.
//!
//! A *case* is one thing to measure; its *contenders* measure it in turns, a round each, so that what disturbs the machine disturbs all of
//! them. What is written are medians with the least and the greatest figure, and the ratio of medians.

mod case;
mod cases;
mod charts;
mod machine;
mod measure;
mod python;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use case::{Case, Setting};
use clap::Parser;
use machine::Machine;
use measure::Outcome;
use pool_examples::args;
use pool_examples::failure::{self, Failure};
use python::Python;

/// Measures this project beside its peers and writes a table, a CSV file and pictures.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// List the cases and measure nothing
    #[arg(long)]
    list: bool,
    /// Measure only the cases whose name begins so; may be given several times
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// Fewer rounds of smaller work: under three minutes for everything on two cores
    #[arg(long)]
    quick: bool,
    /// Measure peers from Python too; makes a virtual environment beside the program, which needs `python3` and its package index
    #[arg(long)]
    with_python: bool,
    /// Workers of each pool and threads of each peer
    #[arg(long, default_value = "2", value_parser = args::workers)]
    workers: usize,
    /// Where the table, the figures and the pictures go; without it, nothing but the table is written
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Be the program that is killed in the case `orphans`
    #[arg(long, hide = true)]
    victim: bool,
    /// Be the other side of a bare channel
    #[arg(long, hide = true)]
    echo: Option<String>,
}

fn main() -> ExitCode {
    // Workers of procspawn are entered here.
    procspawn::init();
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.victim {
        return cases::start::be_the_victim(args.workers, out);
    }
    if let Some(name) = &args.echo {
        return cases::tasks::be_the_echo(name);
    }
    let cases = select(cases::all(), &args.only)?;
    if args.list {
        return report::list(&cases, out);
    }
    let setting = Setting {
        workers: args.workers,
        quick: args.quick,
        python: args.with_python.then(Python::start).transpose()?,
    };
    let before = machine::noise();
    let outcomes = measure_all(&cases, &setting)?;
    let machine = Machine::here(&setting, [before, machine::noise()]);
    let text = report::markdown(&outcomes, &machine)?;
    out.write_all(text.as_bytes())?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::input(format!("cannot make {}: {error}", folder.display()))
        })?;
        report::write(folder, &text, &outcomes)?;
        charts::write(folder, &outcomes)?;
        writeln!(out, "written to {}", folder.display())?;
    }
    Ok(())
}

/// The cases whose names begin with one of `only`; all if there is none.
fn select(cases: Vec<Case>, only: &[String]) -> Result<Vec<Case>, Failure> {
    for wanted in only {
        if !cases
            .iter()
            .any(|case| case.name.starts_with(wanted.as_str()))
        {
            return Err(Failure::input(format!(
                "no case begins with '{wanted}'; `compare --list` shows all {}",
                cases.len()
            )));
        }
    }
    let is_wanted = |case: &Case| {
        only.is_empty()
            || only
                .iter()
                .any(|wanted| case.name.starts_with(wanted.as_str()))
    };
    Ok(cases.into_iter().filter(is_wanted).collect())
}

fn measure_all(cases: &[Case], setting: &Setting) -> Result<Vec<Outcome>, Failure> {
    let cases: Vec<&Case> = cases
        .iter()
        .filter(|case| !(setting.quick && case.is_long))
        .collect();
    let bar = indicatif::ProgressBar::new(cases.len() as u64).with_style(
        indicatif::ProgressStyle::with_template("{pos}/{len} {wide_msg} {elapsed}")
            .map_err(|error| Failure::other(format!("the progress bar is wrong: {error}")))?,
    );
    let mut outcomes = Vec::new();
    for case in cases {
        bar.set_message(case.name);
        outcomes.push(measure::measure(case, setting)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(outcomes)
}
