//! How managers begin and end.

use pool_core::{Process, StartMethod, WorkerExit};
use pool_queue::{Address, Lifetime, ListProxy, Manager, ManagerError, QueueProxy};

use crate::common::{FOR_EVER, Leftovers, until};

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_manager_ends_with_the_last_proxy_of_its_owner() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let pid = manager.pid().unwrap();
    let list = manager.list::<u8>().unwrap();
    drop(manager);
    list.push(1).unwrap();
    assert_eq!(list.len(), Ok(1));
    drop(list);
    assert!(!alive(pid));
}

#[test]
fn shutdown_is_a_clear_error_at_every_proxy() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let queue = manager.unbounded_queue::<u8>().unwrap();
    let mutex = manager.mutex().unwrap();
    let held = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| queue.get());
        until(1, || manager.clients().unwrap());
        manager.shutdown().unwrap();
        assert!(waiter.join().unwrap().unwrap_err().is_gone());
    });
    drop(held);
    let error = queue.put(1).unwrap_err();
    assert!(
        error.is_gone() && error.to_string().contains("is gone"),
        "{error}"
    );
    assert!(manager.list::<u8>().unwrap_err().is_gone());
    assert!(postcard::to_stdvec(&queue).is_err());
}

#[test]
fn a_killed_manager_is_an_error_and_never_a_hang() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let event = manager.event().unwrap();
    let barrier = manager.barrier(2).unwrap();
    let queue = manager.unbounded_queue::<u8>().unwrap();
    let bounded = manager.queue::<u8>(1).unwrap();
    let full = manager.lifo_queue::<u8>(1).unwrap();
    full.put(1).unwrap();
    let work = manager.joinable_queue::<u8>(1).unwrap();
    work.put(1).unwrap();
    let claim = work.get().unwrap();
    let lists = manager.queue::<ListProxy<u8>>(2).unwrap();
    lists.put(manager.list().unwrap()).unwrap();
    let list = manager.list().unwrap();
    let pid = manager.pid().unwrap();
    std::thread::scope(|scope| {
        let waiters = [
            scope.spawn(|| bounded.get().unwrap_err()),
            scope.spawn(|| full.put(2).unwrap_err()),
            scope.spawn(|| work.get_timeout(FOR_EVER).unwrap_err()),
            scope.spawn(|| work.join().unwrap_err()),
            scope.spawn(|| event.wait().unwrap_err()),
            scope.spawn(|| barrier.wait().unwrap_err()),
            scope.spawn(|| queue.get_timeout(FOR_EVER).unwrap_err()),
        ];
        until(1, || barrier.waiting().unwrap());
        kill(pid);
        for waiter in waiters {
            let error = waiter.join().unwrap();
            assert!(error.is_gone(), "{error}");
        }
    });
    // Proxies are of no use without it, also in a queue that is still there.
    assert!(lists.put(list).unwrap_err().is_gone());
    assert!(lists.get().unwrap_err().is_gone());
    // What needs no waiting goes on.
    assert_eq!(
        (full.get(), claim.task_done(), work.join()),
        (Ok(1), Ok(1), Ok(()))
    );
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_manager_dies_with_its_killed_owner() {
    let _guard = Leftovers::watch();
    let outer = Manager::start().unwrap();
    let news = outer.unbounded_queue::<u32>().unwrap();
    let owner = Process::spawn(
        |news: QueueProxy<u32>| {
            let manager = Manager::start().unwrap();
            news.put(manager.pid().unwrap()).unwrap();
            std::thread::park();
        },
        news.clone(),
    );
    let owner: Process<()> = owner.unwrap();
    let pid = news.get_timeout(FOR_EVER).unwrap();
    assert!(alive(pid));
    owner.kill();
    assert_eq!(owner.join().unwrap_err().exit(), WorkerExit::Signal(9));
    until(false, || alive(pid));
}

#[test]
fn a_manager_that_was_told_to_stay_serves_unrelated_programs() {
    let _guard = Leftovers::watch();
    let name = format!("pool-queue-test-{}", std::process::id());
    let starter = Process::spawn(
        |name: String| {
            let manager = Manager::builder().name(name).lifetime(Lifetime::Explicit);
            let manager = manager.start().unwrap();
            manager.pid().unwrap()
        },
        name.clone(),
    );
    let pid = starter.unwrap().join().unwrap();
    assert!(alive(pid));
    let manager = Manager::connect(Address::Name(name.clone())).unwrap();
    assert_eq!(manager.pid(), None);
    // Another process that knows nothing but the address.
    let other = Process::spawn(
        |name: String| {
            let manager = Manager::connect(Address::Name(name)).unwrap();
            manager.dict::<u8, u8>().unwrap().insert(1, 2).unwrap();
            manager
                .host(vec![1_u8])
                .unwrap()
                .call(|v: &mut Vec<u8>| v.len(), ())
                .unwrap()
        },
        name.clone(),
    );
    assert_eq!(other.unwrap().join().unwrap(), 1);
    manager.shutdown().unwrap();
    until(false, || alive(pid));
    assert!(Manager::connect(Address::Name(name)).unwrap_err().is_gone());
}

#[test]
fn a_manager_for_its_clients_ends_with_the_last_of_them() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lifetime(Lifetime::LastClient)
        .start()
        .unwrap();
    let pid = manager.pid().unwrap();
    let list = manager.list::<u8>().unwrap();
    let (ready, go) = (manager.event().unwrap(), manager.event().unwrap());
    let client = Process::spawn(
        |(list, ready, go): (
            ListProxy<u8>,
            pool_queue::EventProxy,
            pool_queue::EventProxy,
        )| {
            ready.set().unwrap();
            go.wait().unwrap();
            list.push(1).unwrap();
            list.len().unwrap()
        },
        (list.clone(), ready.clone(), go.clone()),
    );
    let client: Process<usize> = client.unwrap();
    ready.wait_timeout(FOR_EVER).unwrap();
    let address = manager.address();
    go.set().unwrap();
    drop((manager, list, ready, go));
    assert_eq!(client.join().unwrap(), 1);
    until(false, || alive(pid));
    assert!(Manager::connect(address).unwrap_err().is_gone());
}

#[test]
fn a_path_is_closed_to_others_and_gone_at_the_end() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let _guard = Leftovers::watch();
    let folder = std::env::temp_dir().join(format!("pool-queue-test-{}", std::process::id()));
    let path = folder.join("socket");
    let manager = Manager::builder().path(&path).start().unwrap();
    assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    let error = Manager::builder()
        .path(&path)
        .start()
        .unwrap_err()
        .to_string();
    assert!(error.contains("in use"), "{error}");
    let same = Manager::connect(path.as_path()).unwrap();
    assert_eq!(same.objects(), Ok(0));
    drop((same, manager));
    assert!(!path.exists());
    // What a dead manager left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(Manager::builder().path(&path).start().unwrap());
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let error = Manager::builder()
        .path(&path)
        .start()
        .unwrap_err()
        .to_string();
    assert!(error.contains("755") && error.contains("700"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn no_manager_is_an_error_that_says_where() {
    let error = Manager::connect(Address::Name("pool-queue-nobody".to_owned())).unwrap_err();
    assert!(error.to_string().contains("@pool-queue-nobody"), "{error}");
}

fn exclaim(text: &mut String) -> u64 {
    text.push('!');
    text.len() as u64
}

/// Starts a manager so, in a process that has one thread, and uses it: a container and a hosted value.
fn starts_by(method: u8) -> Result<(u64, Option<u32>), ManagerError> {
    let method = [
        StartMethod::Spawn,
        StartMethod::ForkServer,
        StartMethod::Fork,
        StartMethod::Thread,
    ][usize::from(method)];
    let manager = Manager::builder().start_method(method).start()?;
    let dict = manager.dict::<u8, u32>()?;
    dict.insert(1, 2)?;
    let text = manager.host(String::from("here"))?;
    let len = text.call(exclaim, ())?;
    let found = dict.get(&1)?;
    manager.shutdown()?;
    Ok((len, found))
}

#[test]
fn a_manager_starts_by_every_method_that_makes_a_process() {
    let _guard = Leftovers::watch();
    for method in 0..3 {
        let process = Process::spawn(starts_by, method).unwrap();
        assert_eq!(process.join().unwrap(), Ok((5, Some(2))));
    }
    let error = starts_by(3).unwrap_err();
    assert!(error.to_string().contains("Thread makes none"), "{error}");
    // Here are other threads.
    let fork = std::thread::spawn(|| starts_by(2).unwrap_err().to_string());
    let error = fork.join().unwrap();
    assert!(error.contains("thread"), "{error}");
}
