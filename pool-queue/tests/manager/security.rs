//! What strangers send, and clients that are slow or vanish.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use pool_queue::{Address, Manager};

use crate::common::{Leftovers, descriptors, private_kib, until};

/// Of frames and messages.
const VERSION: u8 = 3;

fn stranger(manager: &Manager) -> UnixStream {
    let Address::Name(name) = manager.address() else {
        panic!("a default manager has a name")
    };
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A well-formed greeting, which the manager answers.
fn greeting() -> Vec<u8> {
    // Version, length, request 1; "hello", executable 0 in ten bytes at most, no session.
    let body = [0, 0, 0];
    let mut bytes = vec![
        VERSION,
        0,
        0,
        0,
        body.len() as u8,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    bytes.extend(body);
    bytes
}

#[test]
fn random_and_truncated_frames_do_no_harm_and_hold_no_memory() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(std::time::Duration::ZERO)
        .start()
        .unwrap();
    let list = manager.list::<u8>().unwrap();
    let pid = manager.pid().unwrap();
    let open = descriptors(pid);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let round = |random: &mut Random| {
        for i in 0..1000 {
            let mut stream = stranger(&manager);
            let mut bytes = if i % 2 == 0 { greeting() } else { Vec::new() };
            let len = random.next() % 200;
            let mut body: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            if i % 3 == 0 {
                // A frame with a body that may be a request.
                let mut head = vec![VERSION, 0, 0, 0, len as u8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
                if let Some(first) = body.first_mut() {
                    *first %= 11; // any but the one that ends the manager
                }
                head.append(&mut body);
                body = head;
            }
            bytes.extend(body);
            bytes.truncate(bytes.len() - (random.next() % 3) as usize % bytes.len().max(1));
            // It may have been refused before all of it was sent.
            let _ = stream.write_all(&bytes);
        }
        until(1, || manager.clients().unwrap());
        until(open, || descriptors(pid));
    };
    round(&mut random);
    let memory = private_kib(pid);
    for _ in 0..10 {
        round(&mut random);
    }
    assert!(
        private_kib(pid) < memory + 4096,
        "{} KiB became {}",
        memory,
        private_kib(pid)
    );
    list.push(1).unwrap();
    assert_eq!((list.len(), manager.objects()), (Ok(1), Ok(1)));
}

#[test]
fn slow_and_vanishing_clients_keep_nobody_waiting() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let list = manager.list::<u8>().unwrap();
    let pid = manager.pid().unwrap();
    let open = descriptors(pid);
    // Half a head; a head that promises 60 MB; a greeting whose answer nobody reads, again and again.
    let mut slow: Vec<UnixStream> = (0..30).map(|_| stranger(&manager)).collect();
    for (i, stream) in slow.iter_mut().enumerate() {
        match i % 3 {
            0 => stream.write_all(&[VERSION, 0, 0]).unwrap(),
            1 => stream
                .write_all(&[VERSION, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0])
                .unwrap(),
            _ => stream.write_all(&greeting()).unwrap(),
        }
    }
    for i in 0..100 {
        list.push(i).unwrap();
    }
    assert_eq!(list.len(), Ok(100));
    assert!(private_kib(pid) < 64 << 10);
    drop(slow);
    until(open, || descriptors(pid));
    until(1, || manager.clients().unwrap());
}

#[test]
fn another_version_is_refused_in_words() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let mut stream = stranger(&manager);
    stream
        .write_all(&[77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("version 77"), "{text}");
}

#[test]
fn another_executable_uses_built_in_objects_but_calls_nothing() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let mut stream = stranger(&manager);
    // The greeting of an executable whose number is 0.
    stream.write_all(&greeting()).unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    let mut body = vec![0; usize::from(answer[4])];
    stream.read_exact(&mut body).unwrap();
    // Request 8 is a call: object 1, function 64, no argument.
    let call = [8, 1, 64, 0, 0];
    let mut frame = vec![
        VERSION,
        0,
        0,
        0,
        call.len() as u8,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    frame.extend(call);
    stream.write_all(&frame).unwrap();
    stream.read_exact(&mut answer).unwrap();
    let mut body = vec![0; usize::from(answer[4])];
    stream.read_exact(&mut body).unwrap();
    let error = [11, 13].as_slice();
    assert_eq!(body, error, "the answer is `OtherExecutable`");
    assert_eq!(manager.objects(), Ok(0));
}

#[test]
fn a_message_beyond_the_limit_is_an_error_with_numbers() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder().message_limit(10_000).start().unwrap();
    let list = manager.list::<Vec<u8>>().unwrap();
    let error = list.push(vec![0; 20_000]).unwrap_err().to_string();
    assert!(error.contains("10000"), "{error}");
    for _ in 0..3 {
        list.push(vec![7; 9_000]).unwrap();
    }
    // Together they are too long for one answer.
    assert!(list.to_vec().unwrap_err().to_string().contains("10000"));
    assert_eq!(list.get(2).unwrap().unwrap().len(), 9_000);
}

#[test]
fn more_clients_than_connections_wait_for_one() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder().connections(2).start().unwrap();
    let list = manager.list::<u8>().unwrap();
    let first = stranger(&manager);
    let mut second = stranger(&manager); // is not accepted yet
    second.write_all(&greeting()).unwrap();
    list.push(1).unwrap();
    drop(first);
    let mut head = [0; 16];
    second.read_exact(&mut head).unwrap();
    assert_eq!(head[..2], [VERSION, 0]);
}
