//! Queues and locks.

use std::io::{Read, Write};

use ipc_channel::ipc;
use pool_core::Pool;
use pool_examples::failure::Failure;
use pool_queue::Queue;
use pool_shm::sync::Mutex;

use super::{pool, seconds};
use crate::case::{Case, Contender, OURS, Row, Setting, Target, Unit};

const GROUP: &str = "Queues and locks";
const QUEUES: &[&str] = &[
    "multiprocessing.Queue",
    "multiprocessing.SimpleQueue",
    "manager's queue",
];

const ROWS: &[Row] = &[
    Row {
        name: "lock",
        what: "lock and unlock, uncontended",
        unit: Unit::Nanoseconds,
        target: Target::AtMost(40.0),
        rounds: 15,
        contenders: lock,
        python: &["multiprocessing.Lock"],
    },
    Row {
        name: "queue-8",
        what: "queue of 8 bytes, streaming from a process, 1 x 1",
        unit: Unit::Millions,
        target: Target::AtLeast(4.0),
        rounds: 12,
        contenders: |setting| small(setting, 1),
        python: QUEUES,
    },
    Row {
        name: "queue-8-2x2",
        what: "queue of 8 bytes, streaming, 2 x 2",
        unit: Unit::Millions,
        target: Target::AtLeast(4.0),
        rounds: 12,
        contenders: |setting| small(setting, 2),
        python: &[],
    },
    Row {
        name: "queue-1k",
        what: "queue of 1 KiB messages, streaming",
        unit: Unit::Millions,
        target: Target::AtLeast(3.0),
        rounds: 12,
        contenders: kibibyte,
        python: QUEUES,
    },
    Row {
        name: "queue-1m",
        what: "queue of 1 MiB messages, streaming",
        unit: Unit::Gigabytes,
        target: Target::AtLeast(8.0),
        rounds: 12,
        contenders: mebibyte,
        python: QUEUES,
    },
    Row {
        name: "ping-pong",
        what: "queue ping-pong between processes",
        unit: Unit::Microseconds,
        target: Target::AtMost(5.0),
        rounds: 12,
        contenders: ping_pong,
        python: QUEUES,
    },
];

/// The cases of this group.
pub(crate) fn cases() -> Vec<Case> {
    Row::cases(GROUP, ROWS)
}

fn lock(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let count = setting.size(1_000_000, 200_000);
    let ours = Mutex::new(0_u64)?;
    let theirs = std::sync::Mutex::new(0_u64);
    Ok(vec![
        counting(OURS, count, move || {
            *ours.lock().map_err(text)? += 1;
            Ok(())
        }),
        counting("std::sync::Mutex", count, move || {
            *theirs.lock().map_err(text)? += 1;
            Ok(())
        }),
    ])
}

fn text(error: impl std::fmt::Display) -> Failure {
    Failure::other(error.to_string())
}

/// Does `one` step `count` times; the time of a step.
fn counting(
    name: &'static str,
    count: usize,
    one: impl Fn() -> Result<(), Failure> + 'static,
) -> Contender {
    Contender::new(name, move || {
        let time = seconds(|| (0..count).try_for_each(|_| one()))?;
        Ok(Unit::Nanoseconds.figure(time, count as f64))
    })
}

/// Puts the numbers below `count` one by one.
fn produce((queue, count): (Queue<u64>, u64)) -> bool {
    (0..count).all(|number| queue.put(number).is_ok())
}

/// Gets until the queue is closed; how many.
fn consume(queue: Queue<u64>) -> u64 {
    queue.iter().count() as u64
}

/// `ends` producers in processes, and as many consumers: this thread, and the others in processes.
fn small(setting: &Setting, ends: usize) -> Result<Vec<Contender>, Failure> {
    let pool = pool(2 * ends - 1)?;
    let count = setting.size(1_000_000, 200_000) as u64;
    Ok(vec![
        Contender::new(OURS, move || stream_small(&pool, ends, count)),
        pipe(8, count as usize, Unit::Millions)?,
        channel(8, count as usize / 10, Unit::Millions)?,
    ])
}

fn stream_small(pool: &Pool, ends: usize, count: u64) -> Result<f64, Failure> {
    let queue = Queue::<u64>::new(4096)?;
    let each = count / ends as u64;
    let time = seconds(|| {
        let producers: Result<Vec<_>, _> = (0..ends)
            .map(|_| pool.apply_async(produce, (queue.clone(), each)))
            .collect();
        let consumers: Result<Vec<_>, _> = (1..ends)
            .map(|_| pool.apply_async(consume, queue.clone()))
            .collect();
        let mine = if ends == 1 { drain(&queue, each)? } else { 0 };
        let own = std::thread::scope(|scope| {
            let own = (ends > 1).then(|| scope.spawn(|| consume(queue.clone())));
            for producer in producers? {
                if !producer.get()? {
                    return Err(Failure::other("a producer could not put"));
                }
            }
            queue.close();
            Ok(own.map_or(0, |own| own.join().unwrap_or(0)))
        })?;
        let mut got = mine + own;
        for consumer in consumers? {
            got += consumer.get()?;
        }
        if got == each * ends as u64 {
            Ok(())
        } else {
            Err(Failure::other(format!("{got} messages of {count} arrived")))
        }
    })?;
    Ok(Unit::Millions.figure(time, count as f64))
}

fn drain(queue: &Queue<u64>, count: u64) -> Result<u64, Failure> {
    for _ in 0..count {
        queue.get()?;
    }
    Ok(count)
}

/// Puts `count` messages of `bytes`.
fn produce_bytes((queue, count, bytes): (Queue<Vec<u8>>, usize, usize)) -> bool {
    (0..count).all(|_| queue.put(vec![7; bytes]).is_ok())
}

fn kibibyte(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    messages(setting.size(500_000, 100_000), 1 << 10, Unit::Millions)
}

fn mebibyte(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    messages(setting.size(2_000, 400), 1 << 20, Unit::Gigabytes)
}

fn messages(count: usize, bytes: usize, unit: Unit) -> Result<Vec<Contender>, Failure> {
    let pool = pool(1)?;
    let of = if unit == Unit::Gigabytes {
        count * bytes
    } else {
        count
    } as f64;
    Ok(vec![
        Contender::new(OURS, move || {
            // For 1024 messages, or 16 MiB: a ring of small ones stays in the caches.
            let queue = Queue::<Vec<u8>>::builder()
                .items(4096)
                .bytes((1024 * bytes).min(16 << 20))
                .build()?;
            let call = || {
                let producer = pool.apply_async(produce_bytes, (queue.clone(), count, bytes))?;
                for _ in 0..count {
                    queue.get()?;
                }
                if producer.get()? {
                    Ok(())
                } else {
                    Err(Failure::other("a message could not be put"))
                }
            };
            Ok(unit.figure(seconds(call)?, of))
        }),
        pipe(bytes, count, unit)?,
        channel(bytes, count.min(20_000), unit)?,
    ])
}

/// The kernel's pipe between this thread and another, each message with one call of each.
fn pipe(bytes: usize, count: usize, unit: Unit) -> Result<Contender, Failure> {
    let of = if unit == Unit::Gigabytes {
        count * bytes
    } else {
        count
    } as f64;
    Ok(Contender::new("pipe", move || {
        let (mut reader, mut writer) = std::io::pipe()?;
        let call = || {
            std::thread::scope(|scope| {
                let written = scope.spawn(move || {
                    let message = vec![7; bytes];
                    (0..count).try_for_each(|_| writer.write_all(&message))
                });
                let mut message = vec![0; bytes];
                for _ in 0..count {
                    reader.read_exact(&mut message)?;
                }
                written
                    .join()
                    .map_err(|_| Failure::other("the writer panicked"))??;
                Ok(())
            })
        };
        Ok(unit.figure(seconds(call)?, of))
    }))
}

/// A bare `ipc-channel` from a thread: its figures between processes are the same.
fn channel(bytes: usize, count: usize, unit: Unit) -> Result<Contender, Failure> {
    let of = if unit == Unit::Gigabytes {
        count * bytes
    } else {
        count
    } as f64;
    Ok(Contender::new("ipc-channel", move || {
        let (sender, receiver) = ipc::bytes_channel()?;
        let call = || {
            std::thread::scope(|scope| {
                let sent = scope.spawn(move || {
                    let message = vec![7; bytes];
                    (0..count).try_for_each(|_| sender.send(&message))
                });
                for _ in 0..count {
                    receiver
                        .recv()
                        .map_err(|error| Failure::other(error.to_string()))?;
                }
                sent.join()
                    .map_err(|_| Failure::other("the sender panicked"))??;
                Ok(())
            })
        };
        Ok(unit.figure(seconds(call)?, of))
    }))
}

/// Sends back what it gets.
fn pong((there, back, count): (Queue<u64>, Queue<u64>, usize)) -> bool {
    (0..count).all(|_| there.get().is_ok_and(|number| back.put(number).is_ok()))
}

fn ping_pong(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let pool = pool(1)?;
    let count = setting.size(20_000, 4_000);
    Ok(vec![Contender::new(OURS, move || {
        let (there, back) = (Queue::<u64>::new(16)?, Queue::<u64>::new(16)?);
        let call = || {
            let other = pool.apply_async(pong, (there.clone(), back.clone(), count))?;
            for number in 0..count as u64 {
                there.put(number)?;
                back.get()?;
            }
            if other.get()? {
                Ok(())
            } else {
                Err(Failure::other("the other side gave up"))
            }
        };
        Ok(Unit::Microseconds.figure(seconds(call)?, count as f64))
    })])
}
