//! Every object, as one program sees it.

use std::thread;
use std::time::Duration;

use pool_queue::{DictProxy, ListProxy, ManagedLockError, Manager, ManagerError};

use crate::common::{FOR_EVER, Leftovers};

fn started() -> (Leftovers, Manager) {
    let guard = Leftovers::watch();
    (guard, Manager::start().unwrap())
}

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn manager_queue_bounded_and_not() {
    let (_guard, manager) = started();
    for queue in [
        manager.queue::<(u32, String)>(2).unwrap(),
        manager.unbounded_queue().unwrap(),
    ] {
        let bounded = queue.capacity().is_some();
        queue.put((1, "one".to_owned())).unwrap();
        queue.put((2, "two".to_owned())).unwrap();
        if bounded {
            assert_eq!(
                queue.try_put((3, String::new())),
                Err(ManagerError::WouldBlock)
            );
            assert_eq!(
                queue.put_timeout((3, String::new()), SHORT),
                Err(ManagerError::Timeout)
            );
        }
        assert_eq!(queue.len(), Ok(2));
        assert_eq!(queue.get(), Ok((1, "one".to_owned())));
        queue.close().unwrap();
        assert_eq!(queue.put((4, String::new())), Err(ManagerError::Closed));
        assert_eq!(queue.iter().count(), 1);
        assert_eq!(queue.get(), Err(ManagerError::Closed));
        assert!(queue.is_closed().unwrap() && queue.is_empty().unwrap());
    }
    let empty = manager.unbounded_queue::<u8>().unwrap();
    assert_eq!(empty.try_get(), Err(ManagerError::WouldBlock));
    assert_eq!(empty.get_timeout(SHORT), Err(ManagerError::Timeout));
}

#[test]
fn closing_a_managed_queue_wakes_every_waiter() {
    let (_guard, manager) = started();
    let queue = manager.unbounded_queue::<u8>().unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| queue.get())).collect();
        queue.put(1).unwrap();
        queue.close().unwrap();
        let got: Vec<_> = waiters
            .into_iter()
            .map(|waiter| waiter.join().unwrap())
            .collect();
        assert_eq!(got.iter().filter(|got| **got == Ok(1)).count(), 1);
        assert_eq!(
            got.iter()
                .filter(|got| **got == Err(ManagerError::Closed))
                .count(),
            3
        );
    });
}

#[test]
fn manager_lifo_and_priority_queue() {
    let (_guard, manager) = started();
    for lifo in [
        manager.lifo_queue::<u32>(3).unwrap(),
        manager.unbounded_lifo_queue().unwrap(),
    ] {
        (1..=3).for_each(|i| lifo.put(i).unwrap());
        if lifo.capacity() == Some(3) {
            assert_eq!(lifo.try_put(4), Err(ManagerError::WouldBlock));
            assert_eq!(lifo.put_timeout(4, SHORT), Err(ManagerError::Timeout));
        }
        assert_eq!([lifo.get(), lifo.get(), lifo.get()], [Ok(3), Ok(2), Ok(1)]);
        assert_eq!(lifo.try_get(), Err(ManagerError::WouldBlock));
    }
    for priority in [
        manager.priority_queue::<i64, String>(8).unwrap(),
        manager.unbounded_priority_queue().unwrap(),
    ] {
        for (order, text) in [(5, "last"), (-1, "first"), (0, "second"), (0, "third")] {
            priority.put(order, text.to_owned()).unwrap();
        }
        let got: Vec<(i64, String)> = (0..4).map(|_| priority.get().unwrap()).collect();
        let texts: Vec<&str> = got.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["first", "second", "third", "last"]);
        assert_eq!((got[0].0, got[3].0), (-1, 5));
        (0..3).for_each(|i| priority.put(i, "rest".to_owned()).unwrap());
        assert_eq!(priority.clear(), Ok(3));
        assert!(priority.is_empty().unwrap());
        priority.put(1, "still there".to_owned()).unwrap();
        priority.close().unwrap();
        assert_eq!(priority.put(1, String::new()), Err(ManagerError::Closed));
        assert_eq!(priority.iter().count(), 1);
        assert!(priority.is_closed().unwrap());
    }
}

#[test]
fn manager_joinable_queue_task_done_and_join() {
    let (_guard, manager) = started();
    for queue in [
        manager.joinable_queue::<u32>(8).unwrap(),
        manager.unbounded_joinable_queue().unwrap(),
    ] {
        queue.join().unwrap();
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        assert_eq!(queue.join_timeout(SHORT), Err(ManagerError::Timeout));
        thread::scope(|scope| {
            let joined = scope.spawn(|| queue.join_timeout(FOR_EVER));
            for i in 1..=2 {
                let claim = queue.get().unwrap();
                assert_eq!((*claim, claim.attempts()), (i, 1));
                assert_eq!(claim.task_done(), Ok(i));
            }
            joined.join().unwrap().unwrap();
        });
        (1..=3).for_each(|i| queue.put(i).unwrap());
        drop(queue.get().unwrap());
        let claim = queue.get().unwrap();
        assert_eq!(
            (*claim, claim.attempts()),
            (1, 2),
            "it went back to its place"
        );
        assert_eq!(queue.clear(), Ok(2), "what is with a consumer stays");
        assert_eq!(queue.join_timeout(SHORT), Err(ManagerError::Timeout));
        claim.task_done().unwrap();
        queue.join().unwrap();
    }
}

#[test]
fn a_closed_queue_with_items_that_may_come_back_is_not_at_its_end() {
    let (_guard, manager) = started();
    for queue in [
        manager.joinable_queue::<u32>(8).unwrap(),
        manager.unbounded_joinable_queue().unwrap(),
    ] {
        queue.put(1).unwrap();
        let claim = queue.get().unwrap();
        queue.close().unwrap();
        assert!(matches!(queue.try_get(), Err(ManagerError::WouldBlock)));
        thread::scope(|scope| {
            let rest = scope.spawn(|| queue.iter().map(|one| one.unwrap().task_done()).collect());
            drop(claim);
            let rest: Vec<_> = rest.join().unwrap();
            assert_eq!(rest, [Ok(1)]);
        });
        assert!(matches!(queue.get(), Err(ManagerError::Closed)));
        queue.join().unwrap();
    }
}

#[test]
fn a_joinable_queue_that_does_not_give_back_reports_its_losses() {
    let (_guard, manager) = started();
    let queue = pool_queue::JoinableQueue::<u32>::new(4).unwrap();
    let queue = manager.joinable_queue_from(queue).unwrap();
    queue.put(1).unwrap();
    drop(queue.get().unwrap());
    let error = queue.join().unwrap_err().to_string();
    assert!(error.contains("1 items were lost"), "{error}");
    queue.join().unwrap();
    // What a lost item names is kept no longer.
    let lists = pool_queue::JoinableQueue::<ListProxy<u8>>::new(4).unwrap();
    let lists = manager.joinable_queue_from(lists).unwrap();
    let before = manager.objects().unwrap();
    lists.put(manager.list().unwrap()).unwrap();
    drop(lists.get().unwrap());
    assert_eq!(manager.objects(), Ok(before));
}

#[test]
fn a_message_larger_than_a_bounded_queue_is_told_what_to_do() {
    let (_guard, manager) = started();
    let small = pool_queue::LifoQueue::builder().items(4).bytes(100);
    let queue = manager.lifo_queue_from(small.build().unwrap()).unwrap();
    let error = queue.put(vec![0_u8; 1000]).unwrap_err();
    assert!(matches!(error, ManagerError::TooLarge { limit: 100, .. }));
    assert!(error.to_string().contains("_from"), "{error}");
}

#[test]
fn manager_dict() {
    let (_guard, manager) = started();
    let dict = manager.dict::<String, u32>().unwrap();
    let key = |text: &str| text.to_owned();
    assert_eq!(dict.insert(key("b"), 1), Ok(None));
    assert_eq!(dict.insert(key("a"), 2), Ok(None));
    assert_eq!(dict.insert(key("b"), 3), Ok(Some(1)));
    assert_eq!(dict.get(&key("b")), Ok(Some(3)));
    assert_eq!(dict.get_or_insert(key("b"), 9), Ok(3));
    assert_eq!(dict.get_or_insert(key("c"), 9), Ok(9));
    assert_eq!(dict.keys().unwrap(), ["b", "a", "c"]);
    assert_eq!(dict.values().unwrap(), [3, 2, 9]);
    assert_eq!(dict.pop(), Ok(Some((key("c"), 9))));
    assert_eq!(dict.remove(&key("a")), Ok(Some(2)));
    assert_eq!(dict.contains_key(&key("a")), Ok(false));
    dict.extend([(key("x"), 10), (key("y"), 11)]).unwrap();
    assert_eq!(
        dict.iter().unwrap().map(|(_, value)| value).sum::<u32>(),
        24
    );
    dict.update(&key("x"), |value| value.map(|value| value + 1))
        .unwrap();
    dict.update(&key("y"), |_| None).unwrap();
    dict.update(&key("z"), |there| there.is_none().then_some(5))
        .unwrap();
    assert_eq!(
        dict.items().unwrap(),
        [(key("b"), 3), (key("x"), 11), (key("z"), 5)]
    );
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap());
}

#[test]
fn manager_list() {
    let (_guard, manager) = started();
    let list = manager.list::<i32>().unwrap();
    list.extend([3, 1, 2]).unwrap();
    list.push(1).unwrap();
    list.insert(0, 7).unwrap();
    assert_eq!(list.to_vec().unwrap(), [7, 3, 1, 2, 1]);
    assert_eq!(
        list.insert(9, 0),
        Err(ManagerError::NoElement { index: 9, len: 5 })
    );
    assert_eq!(list.set(0, 8), Ok(Some(7)));
    assert_eq!((list.get(0), list.get(99)), (Ok(Some(8)), Ok(None)));
    assert_eq!(
        (list.position(&1), list.position(&50)),
        (Ok(Some(2)), Ok(None))
    );
    assert_eq!(list.count(&1), Ok(2));
    assert_eq!(
        (list.remove_value(&1), list.remove_value(&50)),
        (Ok(true), Ok(false))
    );
    assert_eq!((list.pop(), list.remove(0)), (Ok(Some(1)), Ok(Some(8))));
    list.push(5).unwrap();
    list.sort().unwrap();
    assert_eq!(list.to_vec().unwrap(), [2, 3, 5]);
    list.reverse().unwrap();
    assert_eq!(list.iter().unwrap().collect::<Vec<_>>(), [5, 3, 2]);
    assert_eq!(
        list.update(|values| {
            values.retain(|value| *value != 3);
            values.len()
        }),
        Ok(2)
    );
    list.clear().unwrap();
    assert_eq!((list.len(), list.pop()), (Ok(0), Ok(None)));
}

#[test]
fn an_update_is_one_step_among_others() {
    let (_guard, manager) = started();
    let list = manager.list::<u64>().unwrap();
    let dict = manager.dict::<u8, u64>().unwrap();
    list.push(0).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    list.update(|values| values[0] += 1).unwrap();
                    dict.update(&1, |value| Some(value.unwrap_or(0) + 1))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!((list.get(0), dict.get(&1)), (Ok(Some(200)), Ok(Some(200))));
}

#[test]
fn manager_set_and_namespace() {
    let (_guard, manager) = started();
    let set = manager.set::<(u8, String)>().unwrap();
    let value = |n| (n, "x".to_owned());
    assert_eq!(
        (set.insert(value(1)), set.insert(value(1))),
        (Ok(true), Ok(false))
    );
    assert_eq!(set.extend([value(1), value(2), value(3)]), Ok(2));
    assert_eq!(
        (set.contains(&value(2)), set.remove(&value(2))),
        (Ok(true), Ok(true))
    );
    assert_eq!(set.to_vec().unwrap(), [value(1), value(3)]);
    assert_eq!(set.pop(), Ok(Some(value(3))));
    assert_eq!((set.len(), set.is_empty()), (Ok(1), Ok(false)));
    set.clear().unwrap();
    assert_eq!(set.iter().unwrap().count(), 0);

    let names = manager.namespace().unwrap();
    names.set("n", 5_u32).unwrap();
    names.set("list", manager.list::<u8>().unwrap()).unwrap();
    assert_eq!(names.get::<u32>("n"), Ok(Some(5)));
    assert!(matches!(
        names.get::<String>("n"),
        Err(ManagerError::WrongType { .. })
    ));
    names
        .get::<ListProxy<u8>>("list")
        .unwrap()
        .unwrap()
        .push(4)
        .unwrap();
    assert_eq!(
        names
            .get::<ListProxy<u8>>("list")
            .unwrap()
            .unwrap()
            .to_vec()
            .unwrap(),
        [4]
    );
    assert_eq!(names.names().unwrap(), ["n", "list"]);
    assert_eq!(
        (names.remove("n"), names.remove("n")),
        (Ok(true), Ok(false))
    );
}

#[test]
fn manager_value_array_and_counter_live_in_shared_memory() {
    let (_guard, manager) = started();
    let value = manager.value([1.0_f64, 2.0]).unwrap();
    let array = manager.array(&[1_u32, 2, 3]).unwrap();
    let counter = manager.counter(-5).unwrap();
    manager.shutdown().unwrap();
    // The manager is gone; what lies in shared memory is as good as before.
    value.lock().unwrap()[0] = 4.0;
    assert_eq!(*value.clone().lock().unwrap(), [4.0, 2.0]);
    array.set(1, 20).unwrap();
    assert_eq!(array.update(|values| values.iter().sum::<u32>()), Ok(24));
    assert_eq!((array.get(1), array.get(3)), (Ok(Some(20)), Ok(None)));
    assert!(matches!(
        array.set(3, 0),
        Err(ManagerError::NoElement { index: 3, len: 3 })
    ));
    assert_eq!((counter.add(7), counter.get(), counter.set(0)), (-5, 2, 2));
}

#[test]
fn manager_mutex_rlock_and_rwlock() {
    let (_guard, manager) = started();
    let mutex = manager.mutex().unwrap();
    let rlock = manager.rlock().unwrap();
    let rwlock = manager.rwlock().unwrap();
    fn refused<G>(result: Result<G, ManagedLockError<G>>) -> ManagerError {
        result
            .map_err(ManagedLockError::recover)
            .err()
            .and_then(Result::err)
            .unwrap()
    }
    let held = mutex.lock().unwrap();
    assert_eq!(refused(mutex.lock()), ManagerError::Deadlock);
    let again = (rlock.lock().unwrap(), rlock.lock().unwrap());
    let readers = rwlock.read().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(refused(mutex.try_lock()), ManagerError::WouldBlock);
            assert_eq!(refused(mutex.lock_timeout(SHORT)), ManagerError::Timeout);
            assert_eq!(refused(rlock.try_lock()), ManagerError::WouldBlock);
            drop(rwlock.try_read().unwrap());
            assert_eq!(refused(rwlock.try_write()), ManagerError::WouldBlock);
            assert_eq!(refused(rwlock.write_timeout(SHORT)), ManagerError::Timeout);
        });
    });
    drop((held, readers, again.0));
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(mutex.lock_timeout(FOR_EVER).unwrap());
            assert_eq!(refused(rlock.try_lock()), ManagerError::WouldBlock);
            let writer = rwlock.write().unwrap();
            assert_eq!(refused(rwlock.read()), ManagerError::Deadlock);
            drop(writer);
        });
    });
    drop(again.1);
    drop(rlock.try_lock().unwrap());
}

#[test]
fn locks_and_events_of_a_manager_go_on_without_it() {
    let (_guard, manager) = started();
    let (mutex, rlock) = (manager.mutex().unwrap(), manager.rlock().unwrap());
    let (rwlock, event) = (manager.rwlock().unwrap(), manager.event().unwrap());
    let same = mutex.clone();
    assert_eq!(same, mutex);
    assert_ne!(manager.mutex().unwrap(), mutex);
    manager.shutdown().unwrap();
    let held = mutex.lock().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| assert!(same.try_lock().is_err()));
    });
    drop(held);
    drop((same.lock().unwrap(), rlock.lock().unwrap()));
    drop(rwlock.read().unwrap());
    drop(rwlock.write().unwrap());
    assert!(event.wait().unwrap_err().is_gone());
    event.set().unwrap();
    assert_eq!((event.is_set(), event.wait()), (Ok(true), Ok(())));
}

#[test]
fn manager_semaphores() {
    let (_guard, manager) = started();
    let free = manager.semaphore(1).unwrap();
    free.release(1).unwrap();
    let both = free.acquire_many(2).unwrap();
    assert_eq!(free.try_acquire().err(), Some(ManagerError::WouldBlock));
    assert_eq!(
        free.acquire_timeout(SHORT).err(),
        Some(ManagerError::Timeout)
    );
    drop(both);
    free.acquire().unwrap().forget();
    assert_eq!(free.available(), Ok(1));
    let bounded = manager.bounded_semaphore(2).unwrap();
    assert_eq!(bounded.release(1), Err(ManagerError::TooManyReleases));
    assert!(matches!(
        bounded.acquire_many(3),
        Err(ManagerError::Refused { .. })
    ));
    let one = bounded.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| bounded.acquire_many(2).map(drop));
        drop(one);
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(bounded.available(), Ok(2));
}

#[test]
fn manager_event_and_condition() {
    let (_guard, manager) = started();
    let event = manager.event().unwrap();
    assert_eq!(event.wait_timeout(SHORT), Err(ManagerError::Timeout));
    let condition = manager.condition().unwrap();
    let list = manager.list::<u32>().unwrap();
    thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut guard = condition.lock().unwrap();
            event.set().unwrap();
            guard.wait_for(|| Ok(list.len()? == 2)).unwrap();
            list.to_vec().unwrap()
        });
        event.wait().unwrap();
        for i in 0..2 {
            let guard = condition.lock().unwrap();
            list.push(i).unwrap();
            guard.notify_all().unwrap();
        }
        assert_eq!(consumer.join().unwrap(), [0, 1]);
    });
    let mut guard = condition.lock().unwrap();
    assert_eq!(guard.wait_timeout(SHORT), Ok(false));
    assert_eq!(guard.notify_one(), Ok(false));
    assert_eq!(
        guard.wait_for_timeout(|| Ok(false), SHORT),
        Err(ManagerError::Timeout)
    );
    drop(guard);
    event.clear().unwrap();
    assert_eq!(event.is_set(), Ok(false));
}

#[test]
fn manager_barrier() {
    let (_guard, manager) = started();
    let barrier = manager.barrier(3).unwrap();
    for _ in 0..5 {
        let mut order: Vec<u64> = thread::scope(|scope| {
            let waiters: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| barrier.wait().unwrap()))
                .collect();
            waiters
                .into_iter()
                .map(|waiter| waiter.join().unwrap())
                .collect()
        });
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
    }
    assert_eq!(barrier.wait_timeout(SHORT), Err(ManagerError::Timeout));
    assert_eq!(
        (barrier.wait(), barrier.is_broken()),
        (Err(ManagerError::Broken), Ok(true))
    );
    barrier.reset().unwrap();
    assert_eq!((barrier.waiting(), barrier.is_broken()), (Ok(0), Ok(false)));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        while barrier.waiting().unwrap() == 0 {}
        barrier.abort().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(ManagerError::Broken));
    });
}

#[test]
fn manager_pool() {
    let (_guard, manager) = started();
    let pool = manager.pool(2).unwrap();
    assert_eq!(pool.map(|x: u64| x * x, 0..5).unwrap(), [0, 1, 4, 9, 16]);
    assert_ne!(
        pool.apply(|()| std::process::id(), ()).unwrap(),
        std::process::id()
    );
    let error = pool
        .apply(|()| -> u8 { panic!("no luck") }, ())
        .unwrap_err();
    assert!(error.to_string().contains("no luck"), "{error}");
    // A failed task does not poison a pool.
    assert_eq!(pool.apply(|x: u8| x + 1, 1), Ok(2));
    // Tasks use the manager's objects.
    let list = manager.list::<u64>().unwrap();
    pool.map(
        |(list, i): (ListProxy<u64>, u64)| list.push(i).unwrap(),
        (0..9).map(|i| (list.clone(), i)),
    )
    .unwrap();
    list.sort().unwrap();
    assert_eq!(list.to_vec().unwrap(), (0..9).collect::<Vec<_>>());
}

#[test]
fn nested_containers_are_changed_through_their_proxies() {
    let (_guard, manager) = started();
    let dict = manager.dict::<String, ListProxy<u32>>().unwrap();
    dict.insert("a".to_owned(), manager.list().unwrap())
        .unwrap();
    dict.get(&"a".to_owned()).unwrap().unwrap().push(2).unwrap();
    assert_eq!(
        dict.get(&"a".to_owned())
            .unwrap()
            .unwrap()
            .to_vec()
            .unwrap(),
        [2]
    );
    let queues = manager
        .unbounded_queue::<pool_queue::QueueProxy<u8>>()
        .unwrap();
    let inner = manager.queue(4).unwrap();
    queues.put(inner.clone()).unwrap();
    queues.get().unwrap().put(9).unwrap();
    assert_eq!(inner.get(), Ok(9));
    let deep = manager
        .dict::<u8, DictProxy<String, ListProxy<u32>>>()
        .unwrap();
    deep.insert(1, dict.clone()).unwrap();
    assert_eq!(deep.get(&1).unwrap().unwrap(), dict);
}
