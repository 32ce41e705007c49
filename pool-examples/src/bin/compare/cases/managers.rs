//! Objects of a manager, and values under a lock, one operation after the other.

use pool_examples::failure::Failure;
use pool_queue::{Manager, ManagerError};
use pool_shm::SharedValue;

use super::seconds;
use crate::case::{Case, Contender, OURS, Row, Setting, Target, Unit};

const GROUP: &str = "Manager and values";

const ROWS: &[Row] = &[
    Row {
        name: "manager-queue",
        what: "manager: put and get of 8 bytes, by one client",
        unit: Unit::Microseconds,
        target: Target::AtMost(10.0),
        rounds: 12,
        contenders: queue,
        python: &["manager's queue"],
    },
    Row {
        name: "manager-dict",
        what: "manager: a dictionary's entry set",
        unit: Unit::Microseconds,
        target: Target::AtMost(10.0),
        rounds: 12,
        contenders: dict,
        python: &["manager's dict"],
    },
    Row {
        name: "manager-lock",
        what: "manager: lock and unlock",
        unit: Unit::Microseconds,
        target: Target::AtMost(10.0),
        rounds: 12,
        contenders: lock,
        python: &["manager's lock"],
    },
    Row {
        name: "shared-value",
        what: "a value raised by one under its lock",
        unit: Unit::Nanoseconds,
        target: Target::AtMost(60.0),
        rounds: 15,
        contenders: value,
        python: &["multiprocessing.Value"],
    },
];

/// The cases of this group.
pub(crate) fn cases() -> Vec<Case> {
    Row::cases(GROUP, ROWS)
}

/// How long each of `count` calls takes, in microseconds.
fn each(
    count: usize,
    mut call: impl FnMut(u64) -> Result<(), ManagerError> + 'static,
) -> impl FnMut() -> Result<f64, Failure> + 'static {
    move || {
        let all = || Ok((0..count as u64).try_for_each(&mut call)?);
        Ok(Unit::Microseconds.figure(seconds(all)?, count as f64))
    }
}

/// One that the server holds; and a bounded one, which lies in shared memory.
fn queue(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (manager, count) = (Manager::start()?, setting.size(20_000, 4_000));
    let held = manager.unbounded_queue::<u64>()?;
    let bounded = manager.queue::<u64>(16)?;
    Ok(vec![
        Contender::new(
            OURS,
            each(count, move |number| {
                held.put(number)?;
                held.get().map(drop)
            }),
        ),
        Contender::new(
            "pool, bounded queue",
            each(count, move |number| {
                bounded.put(number)?;
                bounded.get().map(drop)
            }),
        ),
    ])
}

fn dict(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (manager, count) = (Manager::start()?, setting.size(20_000, 4_000));
    let dict = manager.dict::<u64, u64>()?;
    let set = move |number| dict.insert(number % 100, number).map(drop);
    Ok(vec![Contender::new(OURS, each(count, set))])
}

/// In shared memory; and a semaphore of one permit, which the server holds.
fn lock(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let (manager, count) = (Manager::start()?, setting.size(20_000, 4_000));
    let mutex = manager.mutex()?;
    let permit = manager.bounded_semaphore(1)?;
    Ok(vec![
        Contender::new(
            OURS,
            each(count, move |_| match mutex.lock() {
                Ok(guard) => {
                    drop(guard);
                    Ok(())
                }
                Err(error) => error.recover().map(drop),
            }),
        ),
        Contender::new(
            "pool, semaphore",
            each(count, move |_| permit.acquire().map(drop)),
        ),
    ])
}

fn value(setting: &Setting) -> Result<Vec<Contender>, Failure> {
    let count = setting.size(1_000_000, 200_000);
    let value = SharedValue::new(0_u64)?;
    Ok(vec![Contender::new(OURS, move || {
        let raise = || {
            for _ in 0..count {
                let raised = value.update(|value| value + 1);
                raised.map_err(|error| Failure::other(error.to_string()))?;
            }
            Ok(())
        };
        Ok(Unit::Nanoseconds.figure(seconds(raise)?, count as f64))
    })])
}
