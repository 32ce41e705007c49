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

/// With others among them that are killed at random.
#[test]
fn a_million_operations_of_64_clients_are_counted_exactly() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(std::time::Duration::ZERO)
        .start()
        .unwrap();
    let dict = manager.dict::<u64, u64>().unwrap();
    let queue = manager.unbounded_queue::<u64>().unwrap();
    let list = manager.list::<u64>().unwrap();
    let objects = (dict.clone(), queue.clone(), list.clone());
    let prey = Preys::new(&manager);
    let start = Figures::of(&manager);
    let clients: Vec<Process<u64>> = (0..CLIENTS)
        .map(|me| Process::spawn(work, (me, objects.clone())).unwrap())
        .collect();
    let mut alive: Vec<Process<()>> = (0..3).map(|_| prey.start()).collect();
    for kill in 0..60_usize {
        for _ in 0..(kill * 7919 + 13) % 40 {
            prey.queue.get_timeout(FOR_EVER).unwrap();
        }
        let place = kill % alive.len();
        alive[place].kill();
        alive[place] = prey.start();
    }
    drop(alive);
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
    prey.clear();
    dict.clear().unwrap();
    list.clear().unwrap();
    until(start.objects, || manager.objects().unwrap());
    start.check(&Figures::of(&manager), "after a million operations");
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

/// What those work with that are killed.
struct Preys {
    address: pool_queue::Address,
    mutex: MutexProxy,
    queue: QueueProxy<u64>,
    counter: CounterProxy,
    dict: DictProxy<u64, ListProxy<u64>>,
}

impl Preys {
    fn new(manager: &Manager) -> Self {
        Self {
            address: manager.address(),
            mutex: manager.mutex().unwrap(),
            queue: manager.unbounded_queue().unwrap(),
            counter: manager.counter(0).unwrap(),
            dict: manager.dict().unwrap(),
        }
    }

    fn start(&self) -> Process<()> {
        let objects = (
            self.address.clone(),
            self.mutex.clone(),
            self.queue.clone(),
            self.counter.clone(),
            self.dict.clone(),
        );
        Process::spawn(prey, objects).unwrap()
    }

    /// Takes everything out; how many values the queue had.
    fn clear(&self) -> i64 {
        self.dict.clear().unwrap();
        std::iter::from_fn(|| self.queue.try_get().ok()).count() as i64
    }
}

/// What the manager holds.
#[derive(Debug)]
struct Figures {
    objects: u64,
    descriptors: usize,
    kib: u64,
}

impl Figures {
    fn of(manager: &Manager) -> Self {
        let pid = manager.pid().unwrap();
        Self {
            objects: manager.objects().unwrap(),
            descriptors: descriptors(pid),
            kib: private_kib(pid),
        }
    }

    /// A leak of a few bytes for each operation is more than what the allocator keeps for later.
    fn check(&self, now: &Self, when: &str) {
        let begin = (self.objects, self.descriptors);
        assert_eq!((now.objects, now.descriptors), begin, "{when}");
        assert!(now.kib < self.kib + 6 * 1024, "{self:?}, {now:?} {when}");
    }
}

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
    let preys = Preys::new(&manager);
    let start = Figures::of(&manager);
    let (mut got, mut kills) = (0_i64, 0_i64);
    for turn in 0..2 {
        let mut alive: Vec<Process<()>> = (0..4).map(|_| preys.start()).collect();
        for kill in 0..30_usize {
            for _ in 0..(kill * 7919 + 13) % 60 {
                preys.queue.get_timeout(FOR_EVER).unwrap();
                got += 1;
            }
            let place = kill % alive.len();
            alive[place].kill();
            kills += 1;
            alive[place] = preys.start();
        }
        kills += alive.len() as i64;
        drop(alive);
        until(1, || manager.clients().unwrap());
        got += preys.clear();
        // A client may have been killed between the answer and its count.
        let surplus = got - preys.counter.get();
        assert!(
            (0..=kills).contains(&surplus),
            "{surplus} of {got} after {kills} kills"
        );
        let locked = preys.mutex.lock_timeout(FOR_EVER);
        assert!(locked.or_else(ManagedLockError::recover).is_ok());
        until(start.objects, || manager.objects().unwrap());
        start.check(&Figures::of(&manager), &format!("after turn {turn}"));
    }
}
