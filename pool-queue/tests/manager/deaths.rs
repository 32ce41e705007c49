//! Clients that are killed: what they held is free, what they waited for forgotten, what only they knew gone.

use std::cell::Cell;
use std::time::Duration;

use pool_core::{Pool, Process, Sendable};
use pool_queue::{
    BarrierProxy, ConditionProxy, DictProxy, EventProxy, JoinableQueueProxy, ListProxy,
    ManagedLockError, Manager, ManagerError, MutexProxy, QueueProxy, ReentrantLockProxy,
    RwLockProxy, SemaphoreProxy,
};

use crate::common::{FOR_EVER, Leftovers, until};

/// Starts a client that sets the event when it is where it should be.
fn start<F, A>(manager: &Manager, body: F, argument: A) -> Process<()>
where
    F: Fn((EventProxy, A)) + Copy + 'static,
    A: Sendable,
{
    let ready = manager.event().unwrap();
    let process = Process::spawn(body, (ready.clone(), argument)).unwrap();
    ready.wait_timeout(FOR_EVER).unwrap();
    process
}

/// The same, and kills it there.
fn kill_there<F, A>(manager: &Manager, body: F, argument: A)
where
    F: Fn((EventProxy, A)) + Copy + 'static,
    A: Sendable,
{
    let process = start(manager, body, argument);
    process.kill();
    process.join().unwrap_err();
}

fn stay(ready: &EventProxy) {
    ready.set().unwrap();
    std::thread::park_timeout(FOR_EVER);
}

#[test]
fn a_lock_held_by_a_client_that_dies_is_released_with_owner_died() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let mutex = manager.mutex().unwrap();
    let rlock = manager.rlock().unwrap();
    let rwlock = manager.rwlock().unwrap();
    let condition = manager.condition().unwrap();
    type Locks = (MutexProxy, ReentrantLockProxy, RwLockProxy, ConditionProxy);
    kill_there(
        &manager,
        |(ready, (mutex, rlock, rwlock, condition)): (EventProxy, Locks)| {
            let _held = (
                mutex.lock().unwrap(),
                rlock.lock().unwrap(),
                rlock.lock().unwrap(),
            );
            let _too = (rwlock.write().unwrap(), condition.lock().unwrap());
            stay(&ready);
        },
        (
            mutex.clone(),
            rlock.clone(),
            rwlock.clone(),
            condition.clone(),
        ),
    );
    fn told<G>(locked: Result<G, ManagedLockError<G>>) {
        match locked {
            Err(ManagedLockError::OwnerDied(guard)) => drop(guard),
            Err(ManagedLockError::Failed(error)) => panic!("{error}"),
            Ok(_) => panic!("nobody was told"),
        }
    }
    told(mutex.lock_timeout(FOR_EVER));
    told(rlock.lock_timeout(FOR_EVER));
    told(rwlock.read_timeout(FOR_EVER));
    told(rwlock.write_timeout(FOR_EVER));
    told(condition.lock_timeout(FOR_EVER));
    drop(mutex.lock().unwrap()); // once
    drop(rwlock.read().unwrap());
}

#[test]
fn a_reader_that_dies_lets_writers_in() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let rwlock = manager.rwlock().unwrap();
    let body = |(ready, rwlock): (EventProxy, RwLockProxy)| {
        let _held = rwlock.read().unwrap();
        stay(&ready);
    };
    kill_there(&manager, body, rwlock.clone());
    drop(rwlock.write_timeout(FOR_EVER).unwrap());
}

#[test]
fn permits_of_a_client_that_dies_come_back() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let semaphore = manager.bounded_semaphore(3).unwrap();
    let body = |(ready, semaphore): (EventProxy, SemaphoreProxy)| {
        let _held = semaphore.acquire_many(2).unwrap();
        stay(&ready);
    };
    kill_there(&manager, body, semaphore.clone());
    drop(semaphore.acquire_many(3).unwrap());
}

#[test]
fn a_waiter_that_dies_is_forgotten() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let mutex = manager.mutex().unwrap();
    let queue = manager.unbounded_queue::<u8>().unwrap();
    let barrier = manager.barrier(2).unwrap();
    let held = mutex.lock().unwrap();
    for which in 0..3_u8 {
        type Waits = (u8, MutexProxy, QueueProxy<u8>, BarrierProxy);
        let process = start(
            &manager,
            |(ready, (which, mutex, queue, barrier)): (EventProxy, Waits)| {
                ready.set().unwrap();
                match which {
                    0 => drop(mutex.lock().unwrap()),
                    1 => drop(queue.get().unwrap()),
                    _ => drop(barrier.wait()),
                }
            },
            (which, mutex.clone(), queue.clone(), barrier.clone()),
        );
        if which == 2 {
            until(1, || barrier.waiting().unwrap());
        }
        process.kill();
        process.join().unwrap_err();
        until(1, || manager.clients().unwrap());
    }
    drop(held);
    drop(mutex.lock_timeout(FOR_EVER).unwrap());
    queue.put(7).unwrap();
    assert_eq!(queue.try_get(), Ok(7), "no dead client got it");
    assert_eq!(barrier.wait(), Err(ManagerError::Broken));
}

#[test]
fn what_a_consumer_died_with_is_got_by_another() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    for queue in [
        manager.joinable_queue::<u32>(8).unwrap(),
        manager.unbounded_joinable_queue().unwrap(),
    ] {
        (0..4).for_each(|i| queue.put(i).unwrap());
        let body = |(ready, queue): (EventProxy, JoinableQueueProxy<u32>)| {
            let mut claims: Vec<_> = (0..3).map(|_| queue.get().unwrap()).collect();
            assert_eq!(claims.remove(0).task_done(), Ok(0));
            stay(&ready);
        };
        kill_there(&manager, body, queue.clone());
        let mut got: Vec<(u32, u32)> = (0..3)
            .map(|_| {
                let claim = queue.get_timeout(FOR_EVER).unwrap();
                let attempts = claim.attempts();
                (claim.task_done().unwrap(), attempts)
            })
            .collect();
        got.sort_unstable();
        assert_eq!(got, [(1, 2), (2, 2), (3, 1)]);
        queue.join_timeout(FOR_EVER).unwrap();
    }
}

#[test]
fn an_object_lives_as_long_as_a_proxy_does() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(Duration::from_millis(1))
        .start()
        .unwrap();
    let dict = manager.dict::<u8, ListProxy<u8>>().unwrap();
    {
        let list = manager.list().unwrap();
        list.push(1).unwrap();
        dict.insert(1, list).unwrap();
    }
    assert_eq!(manager.objects(), Ok(2));
    let list = dict.get(&1).unwrap().unwrap();
    assert!(dict.remove(&1).unwrap().is_some());
    assert_eq!(list.to_vec().unwrap(), [1]);
    dict.insert(2, list).unwrap();
    drop(dict);
    until(0, || manager.objects().unwrap());
}

#[test]
fn what_only_killed_clients_held_is_gone() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(Duration::from_millis(1))
        .start()
        .unwrap();
    let dict = manager.dict::<u8, ListProxy<u8>>().unwrap();
    kill_there(
        &manager,
        |(ready, (address, dict)): (
            EventProxy,
            (pool_queue::Address, DictProxy<u8, ListProxy<u8>>),
        )| {
            let manager = Manager::connect(address).unwrap();
            let _own: Vec<ListProxy<u8>> = (0..50).map(|_| manager.list().unwrap()).collect();
            dict.insert(1, manager.list().unwrap()).unwrap();
            stay(&ready);
        },
        (manager.address(), dict.clone()),
    );
    until(2, || manager.objects().unwrap());
    dict.get(&1).unwrap().unwrap().push(1).unwrap();
}

#[test]
fn a_proxy_is_a_task_argument_and_a_result() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let pool = Pool::new(2).unwrap();
    let queue = manager.queue::<u64>(100).unwrap();
    pool.map(
        |(queue, i): (QueueProxy<u64>, u64)| queue.put(i * i).unwrap(),
        (0..20).map(|i| (queue.clone(), i)),
    )
    .unwrap();
    let mut got: Vec<u64> = (0..20).map(|_| queue.get().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..20).map(|i| i * i).collect::<Vec<_>>());
    let lists = pool
        .map(
            |address: pool_queue::Address| {
                let list = Manager::connect(address).unwrap().list::<u8>().unwrap();
                list.push(3).unwrap();
                list
            },
            [manager.address(), manager.address()],
        )
        .unwrap();
    drop(pool);
    assert!(lists.iter().all(|list| list.to_vec().unwrap() == [3]));
}

#[test]
fn a_proxy_under_way_is_kept_by_its_lease_and_then_gone() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder().lease(FOR_EVER).start().unwrap();
    let list = manager.list::<u8>().unwrap();
    list.push(1).unwrap();
    let bytes = postcard::to_stdvec(&list).unwrap();
    drop(list);
    let list: ListProxy<u8> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(list.to_vec().unwrap(), [1]);
    drop((list, manager));

    let manager = Manager::builder().lease(Duration::ZERO).start().unwrap();
    let bytes = postcard::to_stdvec(&manager.list::<u8>().unwrap()).unwrap();
    until(0, || manager.objects().unwrap());
    assert!(postcard::from_bytes::<ListProxy<u8>>(&bytes).is_err());
}

#[test]
fn proxies_in_a_queue_in_shared_memory_live_as_long_as_they_lie_there() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder().lease(Duration::ZERO).start().unwrap();
    let queue = manager.queue::<ListProxy<u8>>(4).unwrap();
    for i in 0..4 {
        let list = manager.list().unwrap();
        list.push(i).unwrap();
        queue.put(list).unwrap();
    }
    assert_eq!(
        queue.try_put(manager.list().unwrap()),
        Err(ManagerError::WouldBlock)
    );
    assert_eq!(manager.objects(), Ok(5), "that of the failed put is gone");
    let first = queue.get().unwrap();
    assert_eq!(first.to_vec().unwrap(), [0]);
    drop(first);
    assert_eq!(manager.objects(), Ok(4));
    drop(queue);
    until(0, || manager.objects().unwrap());
}

#[test]
fn proxies_in_an_item_live_until_it_is_done() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder().lease(Duration::ZERO).start().unwrap();
    let queues = [
        manager.joinable_queue::<ListProxy<u8>>(4).unwrap(),
        manager.unbounded_joinable_queue().unwrap(),
    ];
    for queue in &queues {
        let list = manager.list().unwrap();
        list.push(7).unwrap();
        queue.put(list).unwrap();
        let body = |(ready, queue): (EventProxy, JoinableQueueProxy<ListProxy<u8>>)| {
            let _claim = queue.get().unwrap();
            stay(&ready);
        };
        kill_there(&manager, body, queue.clone());
        let claim = queue.get_timeout(FOR_EVER).unwrap();
        assert_eq!((claim.attempts(), claim.to_vec()), (2, Ok(vec![7])));
        drop(claim); // gives it back
        let claim = queue.get_timeout(FOR_EVER).unwrap();
        assert_eq!((claim.attempts(), claim.to_vec()), (3, Ok(vec![7])));
        let list = claim.task_done().unwrap();
        assert_eq!(list.to_vec().unwrap(), [7]);
        drop(list);
        until(2, || manager.objects().unwrap());
    }
    drop(queues);
    until(0, || manager.objects().unwrap());
}

/// Whether a fork of a process that has an item is refused, and what the process itself is told.
fn report_in_a_fork_first(queue: JoinableQueueProxy<u32>) -> (bool, Result<u32, ManagerError>) {
    let claim = Cell::new(Some(queue.get().unwrap()));
    let fork = Process::builder().fork(|| claim.take().unwrap().task_done().is_err());
    let is_refused = fork.unwrap().join().unwrap();
    (is_refused, claim.take().unwrap().task_done())
}

#[test]
fn an_item_is_not_that_of_a_fork() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    for queue in [
        manager.joinable_queue(4).unwrap(),
        manager.unbounded_joinable_queue().unwrap(),
    ] {
        queue.put(7).unwrap();
        let process = Process::spawn(report_in_a_fork_first, queue.clone()).unwrap();
        assert_eq!(process.join().unwrap(), (true, Ok(7)));
        queue.join().unwrap();
    }
}
