use super::*;
use crate::manager::message::{Blob, ConditionOp, DictOp, Order, Phase, QueueOp, SemaphoreOp};
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(10);

fn engine() -> Engine {
    Engine::new(Settings {
        manager: 1,
        executable: 1,
        lease: LEASE,
        limit: 1 << 20,
    })
}

/// Greets on a new connection.
fn join(engine: &mut Engine, connection: u64, now: Instant) {
    engine.open(connection);
    let hello = Request::Hello {
        executable: 1,
        session: None,
    };
    assert!(matches!(
        ask(engine, connection, &hello, now),
        Some(Reply::Welcome { .. })
    ));
}

/// What the connection is answered at once.
fn ask(engine: &mut Engine, connection: u64, request: &Request, now: Instant) -> Option<Reply> {
    let body = postcard::to_stdvec(request).unwrap();
    engine.take_outputs(); // answers to what waited before
    engine.frame(connection, 7, 1, &body, now);
    answer(engine, connection)
}

fn answer(engine: &mut Engine, of: u64) -> Option<Reply> {
    let (outputs, _) = engine.take_outputs();
    outputs.into_iter().find_map(|output| match output {
        Output::Reply {
            connection, reply, ..
        } if connection == of => Some(reply),
        _ => None,
    })
}

fn make(engine: &mut Engine, connection: u64, make: Make, now: Instant) -> u64 {
    let request = Request::Make {
        make,
        type_name: "test".to_owned(),
    };
    match ask(engine, connection, &request, now) {
        Some(Reply::Opened { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn perform(object: u64, op: Op) -> Request {
    let wait = Wait::Forever;
    Request::Do { object, op, wait }
}

/// What one of three clients does; numbers choose among the objects there are.
#[derive(Clone, Debug)]
enum Step {
    MakeDict,
    MakeQueue { joinable: bool },
    Put(usize, usize),
    Get(usize),
    Finish(usize, u64),
    GiveBack(usize, u64),
    Store(usize, u8, usize),
    Take(usize, u8),
    Open(usize),
    Close(usize),
    Lease(usize),
    Die,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        Just(Step::MakeDict),
        any::<bool>().prop_map(|joinable| Step::MakeQueue { joinable }),
        (0..9_usize, 0..9_usize).prop_map(|(at, what)| Step::Put(at, what)),
        (0..9_usize).prop_map(Step::Get),
        (0..9_usize, 1..4_u64).prop_map(|(at, ticket)| Step::Finish(at, ticket)),
        (0..9_usize, 1..4_u64).prop_map(|(at, ticket)| Step::GiveBack(at, ticket)),
        (0..9_usize, 0..3_u8, 0..9_usize).prop_map(|(at, key, what)| Step::Store(at, key, what)),
        (0..9_usize, 0..3_u8).prop_map(|(at, key)| Step::Take(at, key)),
        (0..9_usize).prop_map(Step::Open),
        (0..9_usize).prop_map(Step::Close),
        (0..9_usize).prop_map(Step::Lease),
        Just(Step::Die),
        (0..20_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec((0..3_u64, step), 0..80)
}

fn request(step: &Step, ids: &[u64]) -> Option<Request> {
    let id = |place: usize| ids.get(place % ids.len().max(1)).copied();
    let blob = |place: usize| {
        Some(Blob {
            bytes: vec![1],
            refs: vec![id(place)?],
        })
    };
    let key = |key: u8| Blob {
        bytes: vec![key],
        refs: Vec::new(),
    };
    Some(match step {
        Step::Put(at, what) => {
            let value = blob(*what)?;
            perform(id(*at)?, Op::Queue(QueueOp::Put { rank: 0, value }))
        }
        Step::Get(at) => perform(id(*at)?, Op::Queue(QueueOp::Get)),
        Step::Finish(at, ticket) => {
            let ticket = *ticket;
            perform(id(*at)?, Op::Queue(QueueOp::TaskDone { ticket }))
        }
        Step::GiveBack(at, ticket) => {
            let ticket = *ticket;
            perform(id(*at)?, Op::Queue(QueueOp::GiveBack { ticket }))
        }
        Step::Store(at, name, what) => {
            perform(id(*at)?, Op::Dict(DictOp::Set(key(*name), blob(*what)?)))
        }
        Step::Take(at, name) => perform(id(*at)?, Op::Dict(DictOp::Remove(key(*name)))),
        Step::Open(at) => Request::Open(id(*at)?),
        Step::Close(at) => Request::Close(id(*at)?),
        Step::Lease(at) => Request::Lease(id(*at)?),
        Step::MakeDict | Step::MakeQueue { .. } | Step::Die | Step::Pass(_) => return None,
    })
}

/// The counts of objects are those of the proxies that clients and containers hold.
fn check(engine: &Engine) {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for session in engine.sessions.values() {
        for (id, count) in &session.refs {
            *counts.entry(*id).or_default() += count;
        }
    }
    for object in engine.objects.values() {
        for id in object.body.keeps() {
            *counts.entry(id).or_default() += 1;
        }
    }
    for (id, object) in &engine.objects {
        assert_eq!(
            object.refs,
            counts.get(id).copied().unwrap_or_default(),
            "object {id}"
        );
        assert!(object.refs > 0 || object.lease.is_some(), "object {id}");
    }
    assert!(counts.keys().all(|id| engine.objects.contains_key(id)));
}

proptest! {
    #[test]
    fn counts_are_exact_whatever_clients_do_and_when_they_die(steps in steps()) {
        let mut engine = engine();
        let mut now = Instant::now();
        (0..3).for_each(|connection| join(&mut engine, connection, now));
        for (connection, step) in steps {
            let mut ids: Vec<u64> = engine.objects.keys().copied().collect();
            ids.sort_unstable();
            match &step {
                Step::Pass(seconds) => {
                    now += Duration::from_secs(*seconds);
                    engine.tick(now);
                }
                Step::Die => {
                    engine.closed(connection);
                    join(&mut engine, connection, now);
                }
                _ if engine.is_busy(connection) => {}
                Step::MakeDict => drop(make(&mut engine, connection, Make::Dict, now)),
                Step::MakeQueue { joinable } => {
                    let queue = Make::Queue { order: Order::Fifo, joinable: *joinable };
                    make(&mut engine, connection, queue, now);
                }
                step => {
                    if let Some(request) = request(step, &ids) {
                        ask(&mut engine, connection, &request, now);
                    }
                }
            }
            check(&engine);
        }
        (0..3).for_each(|connection| engine.closed(connection));
        engine.tick(now + LEASE);
        check(&engine);
        // What is left can only be what holds itself.
        let left: Vec<u64> = engine.objects.keys().copied().collect();
        let is_held = |id: &u64| engine.objects.values().any(|object| object.body.keeps().contains(id));
        prop_assert!(left.iter().all(is_held));
        prop_assert!(engine.parked.is_empty() && engine.sessions.is_empty() && engine.leases.is_empty());
    }
}

/// Three clients and a joinable queue, of the first; in it is an item of the second, which names a dictionary of that one.
fn with_an_item() -> (Engine, u64, u64) {
    let mut engine = engine();
    let now = Instant::now();
    (0..3).for_each(|connection| join(&mut engine, connection, now));
    let queue = Make::Queue {
        order: Order::Fifo,
        joinable: true,
    };
    let queue = make(&mut engine, 0, queue, now);
    let dict = make(&mut engine, 1, Make::Dict, now);
    let value = Blob {
        bytes: vec![1],
        refs: vec![dict],
    };
    let put = QueueOp::Put { rank: 0, value };
    assert_eq!(ask_queue(&mut engine, queue, 1, put), Some(Reply::Done));
    (engine, queue, dict)
}

fn ask_queue(engine: &mut Engine, queue: u64, connection: u64, op: QueueOp) -> Option<Reply> {
    let request = perform(queue, Op::Queue(op));
    let reply = ask(engine, connection, &request, Instant::now());
    check(engine);
    reply
}

#[test]
fn a_taken_item_keeps_its_objects_until_it_is_done() {
    let (mut engine, queue, dict) = with_an_item();
    let ask = |engine: &mut Engine, connection, op| ask_queue(engine, queue, connection, op);
    engine.closed(1); // the only one that held the dictionary
    ask(&mut engine, 2, QueueOp::Get);
    assert!(ask(&mut engine, 0, QueueOp::TaskDone { ticket: 1 }).is_some_and(refused));
    engine.closed(2); // the consumer
    let again = ask(&mut engine, 0, QueueOp::Get);
    let Some(Reply::Item {
        ticket, attempts, ..
    }) = again
    else {
        panic!("{again:?}");
    };
    assert_eq!(attempts, 1, "taken once before");
    assert!(engine.objects.contains_key(&dict));
    let done = || QueueOp::TaskDone { ticket };
    assert_eq!(ask(&mut engine, 0, done()), Some(Reply::Done));
    assert!(ask(&mut engine, 0, done()).is_some_and(refused));
    // The answer's proxy is the client's own.
    engine.close(engine.connections[&0].session.unwrap(), dict);
    assert!(!engine.objects.contains_key(&dict));
}

#[test]
fn an_item_whose_answer_did_not_arrive_is_there_again() {
    let (mut engine, queue, _) = with_an_item();
    let ask = |engine: &mut Engine, connection, op| ask_queue(engine, queue, connection, op);
    let got = ask(&mut engine, 1, QueueOp::Get);
    assert!(matches!(got, Some(Reply::Item { .. })));
    assert!(engine.not_delivered(1));
    check(&engine);
    // Now it is delivered: the next question shows that.
    let got = ask(&mut engine, 1, QueueOp::Get);
    assert!(matches!(got, Some(Reply::Item { attempts: 1, .. })));
    ask(&mut engine, 1, QueueOp::Len);
    assert!(!engine.not_delivered(1));
    assert_eq!(ask(&mut engine, 0, QueueOp::Len), Some(Reply::Number(0)));
}

#[test]
fn what_would_not_come_back_in_one_message_is_not_put() {
    let mut engine = engine();
    let now = Instant::now();
    join(&mut engine, 0, now);
    let dict = make(&mut engine, 0, Make::Dict, now);
    let blob = |len| Blob {
        bytes: vec![1; len],
        refs: Vec::new(),
    };
    let set = perform(dict, Op::Dict(DictOp::Set(blob(1), blob((1 << 20) - 10))));
    let reply = ask(&mut engine, 0, &set, now);
    let too_large = ManagerError::TooLarge {
        len: (1 << 20) - 10,
        limit: 1 << 20,
    };
    assert_eq!(reply, Some(Reply::Error(too_large)));
}

fn refused(reply: Reply) -> bool {
    matches!(reply, Reply::Error(ManagerError::NotHeld))
}

#[test]
fn a_notification_of_a_dead_waiter_goes_to_the_next() {
    let mut engine = engine();
    let now = Instant::now();
    (0..3).for_each(|connection| join(&mut engine, connection, now));
    let id = make(&mut engine, 0, Make::Condition, now);
    let perform = |op| perform(id, Op::Condition(op));
    let holder = 1;
    for connection in [1, 2] {
        let locked = ask(
            &mut engine,
            connection,
            &perform(ConditionOp::Acquire { holder }),
            now,
        );
        assert_eq!(locked, Some(Reply::Locked { owner_died: false }));
        let phase = Phase::Begin;
        assert_eq!(
            ask(
                &mut engine,
                connection,
                &perform(ConditionOp::Wait { holder, phase }),
                now
            ),
            None
        );
    }
    ask(
        &mut engine,
        0,
        &perform(ConditionOp::Acquire { holder }),
        now,
    );
    let notified = ask(
        &mut engine,
        0,
        &perform(ConditionOp::Notify { holder, count: 1 }),
        now,
    );
    assert_eq!(notified, Some(Reply::Number(1)));
    engine.closed(1); // notified, and waiting for the lock
    engine.frame(
        0,
        7,
        2,
        &postcard::to_stdvec(&perform(ConditionOp::Release { holder })).unwrap(),
        now,
    );
    assert_eq!(answer(&mut engine, 2), Some(Reply::Numbers(1, 0)));
}

#[test]
fn nobody_overtakes_those_who_wait_for_permits() {
    let mut engine = engine();
    let now = Instant::now();
    (0..4).for_each(|connection| join(&mut engine, connection, now));
    let bound = Some(2);
    let id = make(&mut engine, 0, Make::Semaphore { permits: 2, bound }, now);
    let acquire = |permits| perform(id, Op::Semaphore(SemaphoreOp::Acquire { permits }));
    let release = perform(id, Op::Semaphore(SemaphoreOp::Release { permits: 1 }));
    assert_eq!(ask(&mut engine, 0, &acquire(1), now), Some(Reply::Done));
    assert_eq!(ask(&mut engine, 1, &acquire(2), now), None);
    // One is free, but who wants two was there before.
    assert_eq!(ask(&mut engine, 2, &acquire(1), now), None);
    let release = postcard::to_stdvec(&release).unwrap();
    engine.frame(0, 7, 1, &release, now);
    assert_eq!(answer(&mut engine, 1), Some(Reply::Done));
    engine.closed(1); // and its permits come back
    assert_eq!(answer(&mut engine, 2), Some(Reply::Done));
}

#[test]
fn who_breaks_the_protocol_is_closed() {
    let mut engine = engine();
    let now = Instant::now();
    engine.open(1);
    engine.frame(1, 7, 3, &[99], now);
    let (outputs, _) = engine.take_outputs();
    assert_eq!(outputs.last(), Some(&Output::Close { connection: 1 }));
    join(&mut engine, 2, now);
    let forged = Request::Hello {
        executable: 1,
        session: Some((1, 1)),
    };
    engine.open(3);
    assert!(matches!(
        ask(&mut engine, 3, &forged, now),
        Some(Reply::Error(_))
    ));
}
