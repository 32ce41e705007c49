//! Tasks: calls over many items, one task at a time, and many in flight.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use pool_examples::failure::Failure;
use pool_shm::SharedArray;
use rayon::prelude::*;

use super::{busy, median, pause, pool, rayon, seconds};
use crate::case::{Case, Contender, OURS, Row, Setting, Target, Unit};

const GROUP: &str = "Tasks";
const POOLS: &[&str] = &[
    "multiprocessing.Pool",
    "ProcessPoolExecutor",
    "loky",
    "joblib",
    "mpire",
];

const ROWS: &[Row] = &[
    Row {
        name: "map-into",
        what: "map of 1,000,000 trivial indices into an array, per task",
        unit: Unit::Nanoseconds,
        target: Target::AtMostTimes(1.0, "rayon"),
        rounds: 25,
        contenders: map_into,
        python: &[],
    },
    Row {
        name: "map-indices",
        what: "the same into a new vector, per task",
        unit: Unit::Nanoseconds,
        target: Target::AtMostTimes(1.0, "rayon"),
        rounds: 25,
        contenders: map_indices,
        python: POOLS,
    },
    Row {
        name: "map-unit",
        what: "the same without results, per task",
        unit: Unit::Nanoseconds,
        target: Target::None,
        rounds: 25,
        contenders: map_unit,
        python: &[],
    },
    Row {
        name: "map-chunk-1",
        what: "the same, one index per claim, per task",
        unit: Unit::Nanoseconds,
        target: Target::AtMostTimes(0.5, "rayon"),
        rounds: 15,
        contenders: map_chunk_1,
        python: POOLS,
    },
    Row {
        name: "map-1000",
        what: "map of 1,000 indices, the whole call",
        unit: Unit::Microseconds,
        target: Target::AtMostTimes(1.0, "rayon"),
        rounds: 15,
        contenders: map_1000,
        python: &[],
    },
    Row {
        name: "map-strings",
        what: "map giving 1,000,000 strings, per task",
        unit: Unit::Nanoseconds,
        target: Target::AtMostTimes(2.5, "rayon"),
        rounds: 10,
        contenders: map_strings,
        python: &[],
    },
    Row {
        name: "map-tuples",
        what: "map over 1,000,000 tuples of 16 bytes, per task",
        unit: Unit::Nanoseconds,
        target: Target::AtMost(40.0),
        rounds: 10,
        contenders: map_tuples,
        python: POOLS,
    },
    Row {
        name: "map-uneven",
        what: "map of 2,000 tasks of uneven work, the whole call",
        unit: Unit::Microseconds,
        target: Target::None,
        rounds: 10,
        contenders: map_uneven,
        python: &[],
    },
    Row {
        name: "apply",
        what: "apply, one round trip, busy pool",
        unit: Unit::Microseconds,
        target: Target::AtMostTimes(1.0, "rayon"),
        rounds: 15,
        contenders: apply,
        python: POOLS,
    },
    Row {
        name: "apply-after-silence",
        what: "apply after 0.5 ms of silence",
        unit: Unit::Microseconds,
        target: Target::AtMost(10.0),
        rounds: 15,
        contenders: apply_after_silence,
        python: &[],
    },
    Row {
        name: "in-flight",
        what: "256 tasks in flight, per task",
        unit: Unit::Microseconds,
        target: Target::AtMost(1.0),
        rounds: 15,
        contenders: in_flight,
        python: POOLS,
    },
    Row {
        name: "idle",
        what: "processor time of an idle pool in a second",
        unit: Unit::Percent,
        target: Target::AtMost(0.01),
        rounds: 3,
        contenders: idle,
        python: &[],
    },
];

/// The cases of this group.
pub(crate) fn cases() -> Vec<Case> {
    Row::cases(GROUP, ROWS)
}

fn double(index: u64) -> u64 {
    index.wrapping_mul(2)
}

fn ignore(index: u64) {
    std::hint::black_box(index);
}

/// Results are written where they stay.
fn map_into(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let count = 1_000_000_u64;
    let (mut array, mut vector) = (SharedArray::<u64, _>::zeros(1_000_000)?, Vec::new());
    Ok(vec![
        Contender::new(OURS, move || {
            let map = || Ok(ours.map_into(double, 0..count, &mut array)?);
            Ok(unit.figure(seconds(map)?, count as f64))
        }),
        Contender::new("rayon", move || {
            let map = || {
                (0..count as usize)
                    .into_par_iter()
                    .map(|index| double(index as u64))
                    .collect_into_vec(&mut vector);
                Ok(())
            };
            Ok(unit.figure(seconds(|| theirs.install(map))?, count as f64))
        }),
    ])
}

fn map_indices(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs, threads) = (
        pool(setting.workers)?,
        rayon(setting.workers)?,
        setting.workers,
    );
    let count = 1_000_000_u64;
    let slow = setting.size(2_000, 500);
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(seconds(|| Ok(ours.map(double, 0..count)?))?, count as f64))
        }),
        Contender::new("rayon", move || {
            let map = || (0..count).into_par_iter().map(double).collect::<Vec<u64>>();
            Ok(unit.figure(seconds(|| Ok(theirs.install(map)))?, count as f64))
        }),
        Contender::new("threads", move || {
            Ok(unit.figure(
                seconds(|| Ok(map_by_threads(threads, count)))?,
                count as f64,
            ))
        }),
        procspawn_map(setting.workers, slow)?,
        channel_map(slow)?,
    ])
}

/// The least that can be done: equal parts, a thread each.
fn map_by_threads(threads: usize, count: u64) -> Vec<u64> {
    let mut results = vec![0; count as usize];
    let part = results.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, results) in results.chunks_mut(part).enumerate() {
            scope.spawn(move || {
                for (index, result) in results.iter_mut().enumerate() {
                    *result = double((number * part + index) as u64);
                }
            });
        }
    });
    results
}

/// Each task is a message of its own.
fn procspawn_map(workers: usize, count: usize) -> Result<Contender, Failure> {
    let pool = procspawn::Pool::new(workers)?;
    Ok(Contender::new("procspawn", move || {
        let all = || {
            let handles: Vec<_> = (0..count as u64)
                .map(|index| procspawn::spawn!(in pool, (index => index) || double(index)))
                .collect();
            let results: Result<Vec<u64>, _> = handles
                .into_iter()
                .map(procspawn::JoinHandle::join)
                .collect();
            Ok(results?)
        };
        Ok(Unit::Nanoseconds.figure(seconds(all)?, count as f64))
    }))
}

/// A process that answers each message, connected by nothing but `ipc-channel`.
struct Echo {
    requests: Option<IpcSender<u64>>,
    answers: IpcReceiver<u64>,
    process: Child,
}

impl Echo {
    fn start() -> Result<Self, Failure> {
        let (server, name) = IpcOneShotServer::new()?;
        let process = Command::new(std::env::current_exe()?)
            .args(["--echo", &name])
            .stdin(Stdio::null())
            .spawn()?;
        let (_, (requests, answers)) = server
            .accept()
            .map_err(|error| Failure::other(error.to_string()))?;
        Ok(Self {
            requests: Some(requests),
            answers,
            process,
        })
    }

    fn send(&self, index: u64) -> Result<(), Failure> {
        let requests = self.requests.as_ref();
        Ok(requests
            .ok_or_else(|| Failure::other("the echo has been closed"))?
            .send(index)?)
    }

    fn receive(&self) -> Result<u64, Failure> {
        self.answers
            .recv()
            .map_err(|error| Failure::other(format!("the echo is gone: {error}")))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // The end of its requests ends it.
        drop(self.requests.take());
        self.process.wait().ok();
    }
}

/// The other process of [`Echo`].
pub(crate) fn be_the_echo(name: &str) -> Result<(), Failure> {
    let server: IpcSender<(IpcSender<u64>, IpcReceiver<u64>)> =
        IpcSender::connect(name.to_owned())?;
    let (requests, inbox) = ipc::channel()?;
    let (outbox, answers) = ipc::channel()?;
    server.send((requests, answers))?;
    while let Ok(index) = inbox.recv() {
        outbox.send(double(index))?;
    }
    Ok(())
}

/// The same over a bare `ipc-channel`, a window of tasks ahead.
fn channel_map(count: usize) -> Result<Contender, Failure> {
    let echo = Echo::start()?;
    Ok(Contender::new("ipc-channel", move || {
        let all = || {
            let window = 64;
            for index in 0..count + window {
                if index < count {
                    echo.send(index as u64)?;
                }
                if index >= window {
                    echo.receive()?;
                }
            }
            Ok(())
        };
        Ok(Unit::Nanoseconds.figure(seconds(all)?, count as f64))
    }))
}

fn map_unit(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let count = 1_000_000_u64;
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(seconds(|| Ok(ours.map(ignore, 0..count)?))?, count as f64))
        }),
        Contender::new("rayon", move || {
            let call = || (0..count).into_par_iter().for_each(ignore);
            let call = || {
                theirs.install(call);
                Ok(())
            };
            Ok(unit.figure(seconds(call)?, count as f64))
        }),
    ])
}

fn map_chunk_1(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let count = setting.size(1_000_000, 200_000) as u64;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || Ok(ours.job(double).chunk(1).map(0..count)?);
            Ok(unit.figure(seconds(call)?, count as f64))
        }),
        Contender::new("rayon", move || {
            // Only ranges that know their length can be cut so; `usize` ones do.
            let map = || {
                let items = (0..count as usize).into_par_iter().with_max_len(1);
                items
                    .map(|index| double(index as u64))
                    .collect::<Vec<u64>>()
            };
            Ok(unit.figure(seconds(|| Ok(theirs.install(map)))?, count as f64))
        }),
    ])
}

fn map_1000(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Microseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let calls = setting.size(1_000, 300);
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(
                median(calls, || (), || Ok(ours.map(double, 0..1_000_u64)?))?,
                1.0,
            ))
        }),
        Contender::new("rayon", move || {
            let map = || {
                (0..1_000_u64)
                    .into_par_iter()
                    .map(double)
                    .collect::<Vec<u64>>()
            };
            Ok(unit.figure(median(calls, || (), || Ok(theirs.install(map)))?, 1.0))
        }),
    ])
}

fn name(index: u64) -> String {
    format!("item {index}")
}

fn map_strings(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let count = 1_000_000_u64;
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(seconds(|| Ok(ours.map(name, 0..count)?))?, count as f64))
        }),
        Contender::new("rayon", move || {
            let map = || {
                (0..count)
                    .into_par_iter()
                    .map(name)
                    .collect::<Vec<String>>()
            };
            Ok(unit.figure(seconds(|| Ok(theirs.install(map)))?, count as f64))
        }),
    ])
}

fn add((left, right): (u64, u64)) -> u64 {
    left.wrapping_add(right)
}

fn map_tuples(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Nanoseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let items: Vec<(u64, u64)> = (0..1_000_000).map(|index| (index, index + 1)).collect();
    let same = items.clone();
    let count = items.len() as f64;
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(
                seconds(|| Ok(ours.map(add, items.iter().copied())?))?,
                count,
            ))
        }),
        Contender::new("rayon", move || {
            let map = || same.par_iter().copied().map(add).collect::<Vec<u64>>();
            Ok(unit.figure(seconds(|| Ok(theirs.install(map)))?, count))
        }),
    ])
}

/// A few tasks are a hundred times as long as most.
fn uneven(index: u64) -> u64 {
    let turns = if index.is_multiple_of(97) {
        200_000
    } else {
        2_000
    };
    (0..turns).fold(index, |value, turn| {
        std::hint::black_box(value.wrapping_mul(31).wrapping_add(turn))
    })
}

fn map_uneven(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Microseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(seconds(|| Ok(ours.map(uneven, 0..2_000_u64)?))?, 1.0))
        }),
        Contender::new("rayon", move || {
            let map = || {
                (0..2_000_u64)
                    .into_par_iter()
                    .map(uneven)
                    .collect::<Vec<u64>>()
            };
            Ok(unit.figure(seconds(|| Ok(theirs.install(map)))?, 1.0))
        }),
    ])
}

fn apply(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let calls = setting.size(2_000, 500);
    round_trips(setting, calls, || ())
}

fn apply_after_silence(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let calls = setting.size(400, 100);
    round_trips(setting, calls, || busy(Duration::from_micros(500)))
}

fn round_trips(setting: &Setting, calls: usize, before: fn()) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Microseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let processes = procspawn::Pool::new(setting.workers)?;
    let echo = Echo::start()?;
    Ok(vec![
        Contender::new(OURS, move || {
            Ok(unit.figure(
                median(calls, before, || Ok(ours.apply(double, 7_u64)?))?,
                1.0,
            ))
        }),
        Contender::new("rayon", move || {
            Ok(unit.figure(
                median(calls, before, || Ok(theirs.install(|| double(7))))?,
                1.0,
            ))
        }),
        thread_echo(calls, before),
        Contender::new("procspawn", move || {
            let call =
                || Ok(procspawn::spawn!(in processes, (7_u64 => index) || double(index)).join()?);
            Ok(unit.figure(median(calls, before, call)?, 1.0))
        }),
        Contender::new("ipc-channel", move || {
            let call = || {
                echo.send(7)?;
                echo.receive()
            };
            Ok(unit.figure(median(calls, before, call)?, 1.0))
        }),
    ])
}

/// A thread that answers over crossbeam's channels.
fn thread_echo(calls: usize, before: fn()) -> Contender {
    let (requests, inbox) = crossbeam::channel::unbounded::<u64>();
    let (outbox, answers) = crossbeam::channel::unbounded::<u64>();
    // Ends with its channel.
    std::thread::spawn(move || {
        inbox
            .iter()
            .map(double)
            .try_for_each(|answer| outbox.send(answer))
    });
    Contender::new("crossbeam", move || {
        let call = || {
            requests.send(7)?;
            Ok(answers.recv()?)
        };
        Ok(Unit::Microseconds.figure(median(calls, before, call)?, 1.0))
    })
}

fn in_flight(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let unit = Unit::Microseconds;
    let (ours, theirs) = (pool(setting.workers)?, rayon(setting.workers)?);
    let rounds = setting.size(100, 30);
    let count = 256_u64;
    Ok(vec![
        Contender::new(OURS, move || {
            let call = || {
                let handles: Result<Vec<_>, _> = (0..count)
                    .map(|index| ours.apply_async(double, index))
                    .collect();
                let results: Result<Vec<u64>, _> = handles?
                    .into_iter()
                    .map(pool_core::TaskHandle::get)
                    .collect();
                Ok(results?)
            };
            Ok(unit.figure(median(rounds, || (), call)?, count as f64))
        }),
        Contender::new("rayon", move || {
            let call = || {
                let (sender, receiver) = crossbeam::channel::unbounded();
                for index in 0..count {
                    let sender = sender.clone();
                    theirs.spawn(move || {
                        sender.send(double(index)).ok();
                    });
                }
                drop(sender);
                Ok(receiver.iter().count())
            };
            Ok(unit.figure(median(rounds, || (), call)?, count as f64))
        }),
    ])
}

fn idle(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let ours = pool(setting.workers)?;
    Ok(vec![Contender::new(OURS, move || {
        ours.map(double, 0..1_000_u64)?;
        let used = || -> Duration { ours.workers().iter().map(|worker| worker.cpu_time).sum() };
        pause(Duration::from_millis(100));
        let (before, start) = (used(), Instant::now());
        pause(Duration::from_secs(1));
        let time = start.elapsed().as_secs_f64();
        Ok(Unit::Percent.figure((used() - before).as_secs_f64(), time))
    })])
}
