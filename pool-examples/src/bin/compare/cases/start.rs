//! Starting pools, what their workers cost, and deaths.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pool_core::{Pool, StartMethod, WorkerState};
use pool_examples::failure::Failure;
use pool_examples::process::{Process, Status};

use super::{pause, pool, seconds};
use crate::case::{Case, Contender, OURS, Row, Setting, Target, Unit};

const GROUP: &str = "Start, memory, death";

const ROWS: &[Row] = &[
    Row {
        name: "start-4",
        what: "4 workers answer, fork server",
        unit: Unit::Milliseconds,
        target: Target::AtMost(2.0),
        rounds: 25,
        contenders: |_| Ok(start(4, 0)),
        python: &["fork", "spawn", "forkserver"],
    },
    Row {
        name: "start-4-spawn",
        what: "4 workers answer, spawn",
        unit: Unit::Milliseconds,
        target: Target::AtMost(4.0),
        rounds: 25,
        contenders: |_| Ok(start_by_spawn(4, 0)),
        python: &[],
    },
    Row {
        name: "start-64",
        what: "64 workers answer, beside 1 GiB, fork server",
        unit: Unit::Milliseconds,
        target: Target::AtMost(8.0),
        rounds: 15,
        contenders: |_| Ok(start(64, 1 << 30)),
        python: &[],
    },
    Row {
        name: "start-64-spawn",
        what: "64 workers answer, beside 1 GiB, spawn",
        unit: Unit::Milliseconds,
        target: Target::AtMost(60.0),
        rounds: 10,
        contenders: |_| Ok(start_by_spawn(64, 1 << 30)),
        python: &[],
    },
    Row {
        name: "memory",
        what: "memory of an idle worker of 4 (PSS), fork server",
        unit: Unit::Kibibytes,
        target: Target::AtMost(150.0),
        rounds: 3,
        contenders: |_| memory(StartMethod::ForkServer),
        python: &[],
    },
    Row {
        name: "memory-spawn",
        what: "memory of an idle worker of 4 (PSS), spawn",
        unit: Unit::Kibibytes,
        target: Target::AtMost(500.0),
        rounds: 3,
        contenders: |_| memory(StartMethod::Spawn),
        python: &[],
    },
    Row {
        name: "replace",
        what: "a killed worker is noticed and replaced",
        unit: Unit::Milliseconds,
        target: Target::AtMost(3.0),
        rounds: 25,
        contenders: replace,
        python: &[],
    },
    Row {
        name: "map-kills",
        what: "map of 1,000,000 under a kill every 3 ms",
        unit: Unit::Milliseconds,
        target: Target::AtMostTimes(1.5, "without kills"),
        rounds: 15,
        contenders: map_under_kills,
        python: &[],
    },
    Row {
        name: "orphans",
        what: "workers gone after their program's SIGKILL",
        unit: Unit::Milliseconds,
        target: Target::AtMost(1000.0),
        rounds: 5,
        contenders: orphans,
        python: &[],
    },
];

/// The cases of this group.
pub(crate) fn cases() -> Vec<Case> {
    Row::cases(GROUP, ROWS)
}

fn answer(index: u64) -> u64 {
    index
}

/// A pool that has answered, from the call of its builder on, with so much memory in this process.
fn starting(name: &'static str, method: StartMethod, workers: usize, beside: usize) -> Contender {
    let ballast = vec![1_u8; beside];
    Contender::new(name, move || {
        let call = || {
            let pool = Pool::builder()
                .workers(workers)
                .start_method(method)
                .build()?;
            pool.apply(answer, 1_u64)?;
            Ok(pool)
        };
        std::hint::black_box(&ballast);
        Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
    })
}

fn start(workers: usize, beside: usize) -> Vec<Contender> {
    vec![
        starting(OURS, StartMethod::ForkServer, workers, beside),
        procspawn_start(workers),
    ]
}

fn start_by_spawn(workers: usize, beside: usize) -> Vec<Contender> {
    vec![
        starting(OURS, StartMethod::Spawn, workers, beside),
        procspawn_start(workers),
    ]
}

fn procspawn_start(workers: usize) -> Contender {
    Contender::new("procspawn", move || {
        let call = || {
            let pool = procspawn::Pool::new(workers)?;
            // Its workers start when it is made, and are ready when each has answered.
            let handles: Vec<_> = (0..workers as u64)
                .map(|index| procspawn::spawn!(in pool, (index => index) || answer(index)))
                .collect();
            for handle in handles {
                handle.join()?;
            }
            Ok(pool)
        };
        Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
    })
}

fn memory(method: StartMethod) -> Result<Vec<Contender>, Failure> {
    let pool = Pool::builder().workers(4).start_method(method).build()?;
    Ok(vec![Contender::new(OURS, move || {
        // They have worked, and have had nothing to do since.
        pause(Duration::from_millis(1_100));
        pool.map(answer, 0..1_000_u64)?;
        pause(Duration::from_millis(200));
        let workers = pool.workers();
        let proportional: u64 = workers.iter().map(|worker| worker.proportional).sum();
        Ok(Unit::Kibibytes.figure(0.0, proportional as f64 / workers.len() as f64))
    })])
}

fn replace(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(setting.workers)?;
    Ok(vec![Contender::new(OURS, move || {
        let victim = pool.apply(pid, ())?;
        let process = Process::open(Status::of(victim)?)?;
        let call = || {
            process.kill()?;
            let ready = |worker: &pool_core::WorkerInfo| {
                worker.pid != victim
                    && !matches!(worker.state, WorkerState::Dead | WorkerState::Starting)
            };
            while !pool.workers().iter().all(ready) {
                std::thread::yield_now();
            }
            Ok(())
        };
        Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
    })])
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

/// Work that outlasts a few kills.
fn work(index: u64) -> u64 {
    (0..20).fold(index, |value, turn| {
        std::hint::black_box(value.wrapping_mul(31).wrapping_add(turn))
    })
}

fn map_under_kills(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (pool, undisturbed) = (pool(setting.workers)?, pool(setting.workers)?);
    let count = 1_000_000_u64;
    Ok(vec![
        Contender::new(OURS, move || {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let killer = scope.spawn(|| kill_until(&done, &pool));
                let time = seconds(|| Ok(pool.job(work).retries(1_000).map(0..count)?));
                done.store(true, Ordering::Relaxed);
                match killer.join() {
                    Ok(killed) => killed?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
                Ok(Unit::Milliseconds.figure(time?, 1.0))
            })
        }),
        Contender::new("without kills", move || {
            let call = || Ok(undisturbed.job(work).retries(1_000).map(0..count)?);
            Ok(Unit::Milliseconds.figure(seconds(call)?, 1.0))
        }),
    ])
}

/// Kills one worker after the other, every 3 ms.
fn kill_until(done: &AtomicBool, pool: &Pool) -> Result<(), Failure> {
    for turn in 0_usize.. {
        pause(Duration::from_millis(3));
        if done.load(Ordering::Relaxed) {
            break;
        }
        let workers = pool.workers();
        let victim = &workers[turn % workers.len()];
        if matches!(victim.state, WorkerState::Idle | WorkerState::Busy)
            && let Ok(status) = Status::of(victim.pid)
            && let Ok(process) = Process::open(status)
        {
            process.kill()?;
        }
    }
    Ok(())
}

/// The other program of the case `orphans`: a busy pool, and the numbers of its workers on one line.
pub(crate) fn be_the_victim(workers: usize, out: &mut dyn Write) -> Result<(), Failure> {
    let pool = pool(workers)?;
    let pids: Vec<String> = pool
        .workers()
        .iter()
        .map(|worker| worker.pid.to_string())
        .collect();
    writeln!(out, "{}", pids.join(" "))?;
    out.flush()?;
    pool.map(endless, 0..workers as u64)?;
    Ok(())
}

fn endless(_: u64) {
    loop {
        std::hint::spin_loop();
    }
}

fn orphans(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let workers = setting.workers.to_string();
    Ok(vec![Contender::new(OURS, move || {
        let mut program = Command::new(std::env::current_exe()?)
            .args(["--victim", "--workers", &workers])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = program.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let open = |pid: &str| -> Result<Process, Failure> {
            let pid = pid
                .parse()
                .map_err(|_| Failure::other(format!("'{line}' names no processes")))?;
            Ok(Process::open(Status::of(pid)?)?)
        };
        let processes: Result<Vec<Process>, Failure> =
            line.split_ascii_whitespace().map(open).collect();
        let processes = processes?;
        let start = Instant::now();
        program.kill()?;
        for process in &processes {
            if !process.wait(Duration::from_secs(60))? {
                return Err(Failure::other("a worker outlives its program by a minute"));
            }
        }
        let time = start.elapsed().as_secs_f64();
        program.wait()?;
        Ok(Unit::Milliseconds.figure(time, 1.0))
    })])
}
