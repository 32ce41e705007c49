//! Many clients at once, and clients killed at random: everything is counted, nothing is left.

use pool_core::Process;
use pool_queue::{
    CounterProxy, DictProxy, ListProxy, ManagedLockError, Manager, MutexProxy, QueueProxy,
};

use crate::common::{FOR_EVER, Leftovers, descriptors, private_kib, until};

const CLIENTS: u64 = 64;
/// Operations of each client: a million in all.
const ROUNDS: u64 = 1_000_000 / CLIENTS / 5;

type Objects = (DictProxy<u64, u64>, QueueProxy<u64>, ListProxy<u64>);

#[test]
fn a_million_operations_of_64_clients_are_counted_exactly() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<u64, u64>().unwrap();
    let queue = manager.unbounded_queue::<u64>().unwrap();
    let list = manager.list::<u64>().unwrap();
    let objects = (dict.clone(), queue.clone(), list.clone());
    let clients: Vec<Process<u64>> = (0..CLIENTS)
        .map(|me| Process::spawn(work, (me, objects.clone())).unwrap())
        .collect();
    let got: u64 = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert_eq!(
        got,
        CLIENTS * ROUNDS * (ROUNDS + 1) / 2,
        "what was put was got, once"
    );
    assert_eq!(dict.items().unwrap(), sorted(&dict));
    assert!(dict.values().unwrap().iter().all(|count| *count == ROUNDS));
    assert_eq!((queue.len(), list.len()), (Ok(0), Ok(CLIENTS as usize)));
    until(1, || manager.clients().unwrap());
}

fn sorted(dict: &DictProxy<u64, u64>) -> Vec<(u64, u64)> {
    let items = dict.items().unwrap();
    assert_eq!(items.len() as u64, CLIENTS);
    items
}

/// Five operations a round.
fn work((me, (dict, queue, list)): (u64, Objects)) -> u64 {
    let mut sum = 0;
    for round in 1..=ROUNDS {
        assert_eq!(
            dict.insert(me, round).unwrap(),
            (round > 1).then_some(round - 1)
        );
        assert_eq!(dict.get(&me), Ok(Some(round)));
        queue.put(round).unwrap();
        sum += queue.get_timeout(FOR_EVER).unwrap();
        assert_eq!(dict.contains_key(&me), Ok(true));
    }
    list.push(me).unwrap();
    sum
}

type Prey = (
    pool_queue::Address,
    MutexProxy,
    QueueProxy<u64>,
    CounterProxy,
    DictProxy<u64, ListProxy<u64>>,
);

/// Does a bit of everything until it is killed.
fn prey((address, mutex, queue, counter, dict): Prey) {
    let manager = Manager::connect(address).unwrap();
    for i in 0.. {
        let held = mutex.lock().or_else(ManagedLockError::recover).unwrap();
        // The counter lies in shared memory: it counts what the manager has acknowledged.
        queue.put(i).unwrap();
        counter.add(1);
        drop(held);
        let list = manager.list().unwrap();
        list.push(i).unwrap();
        dict.insert(i % 8, list).unwrap();
        drop(dict.get(&((i + 1) % 8)).unwrap());
        drop(manager.queue::<u64>(4).unwrap());
    }
}

#[test]
fn kills_at_random_leave_counts_exact_and_memory_as_at_the_start() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(std::time::Duration::ZERO)
        .start()
        .unwrap();
    let pid = manager.pid().unwrap();
    let mutex = manager.mutex().unwrap();
    let queue = manager.unbounded_queue::<u64>().unwrap();
    let counter = manager.counter(0).unwrap();
    let dict = manager.dict().unwrap();
    let prey_for = || {
        let objects = (
            manager.address(),
            mutex.clone(),
            queue.clone(),
            counter.clone(),
            dict.clone(),
        );
        Process::spawn(prey, objects).unwrap()
    };
    let mut measured = None;
    let (mut got, mut kills) = (0_i64, 0_i64);
    for turn in 0..2 {
        let mut alive: Vec<Process<()>> = (0..4).map(|_| prey_for()).collect();
        for kill in 0..30_usize {
            for _ in 0..(kill * 7919 + 13) % 60 {
                queue.get_timeout(FOR_EVER).unwrap();
                got += 1;
            }
            let place = kill % alive.len();
            alive[place].kill();
            kills += 1;
            alive[place] = prey_for();
        }
        kills += alive.len() as i64;
        drop(alive);
        until(1, || manager.clients().unwrap());
        while queue.try_get().is_ok() {
            got += 1;
        }
        // A client may have been killed between the answer and its count.
        let surplus = got - counter.get();
        assert!(
            (0..=kills).contains(&surplus),
            "{surplus} of {got} after {kills} kills"
        );
        let locked = mutex.lock_timeout(FOR_EVER);
        assert!(locked.or_else(ManagedLockError::recover).is_ok());
        dict.clear().unwrap();
        until(4, || manager.objects().unwrap());
        let now = (descriptors(pid), private_kib(pid));
        let (open, memory) = *measured.get_or_insert(now);
        assert_eq!(now.0, open, "descriptors after turn {turn}");
        assert!(
            now.1 < memory + 4096,
            "{memory} KiB became {} after turn {turn}",
            now.1
        );
    }
}
