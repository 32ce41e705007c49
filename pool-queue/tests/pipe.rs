//! What pipes promise.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

#[path = "common/mod.rs"]
mod common;

use common::{FOR_EVER, Leftovers, start};
use ndarray::Ix1;
use pool_core::Pool;
use pool_queue::pipe::{End, Receiver, RecvError, SendError, Sender, one_way};
use pool_queue::{Queue, pipe};
use pool_shm::{FrozenArray, SharedArray};
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
enum Role {
    /// Sends what a killed process leaves: whole messages, and the beginning of a large one. Says when it does.
    Victim {
        end: End<Vec<u8>, u8>,
        ready: Queue<()>,
    },
    /// Answers with the sums of arrays until the end of file.
    Summer {
        end: End<f64, FrozenArray<f64, Ix1>>,
    },
}

#[test]
fn child() {
    match common::role() {
        None => {}
        Some(Role::Victim { end, ready }) => {
            end.send(vec![1; 10]).unwrap();
            end.send(vec![]).unwrap();
            ready.put(()).unwrap();
            // More than fits: it is killed in the middle of it.
            let _ = end.send(vec![7; 50 << 20]);
        }
        Some(Role::Summer { end }) => {
            while let Ok(array) = end.recv() {
                end.send(array.view().sum()).unwrap();
            }
        }
    }
}

#[test]
fn duplex_pipes_keep_order_and_boundaries() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<Vec<u8>, (u32, String)>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (i, got) in (0..).map_while(|i| Some((i, there.recv().ok()?))) {
                let answer = format!("{} bytes", got.len());
                there.send((i, answer)).unwrap();
            }
        });
        for i in 0..300_u32 {
            // Empty ones, small ones, and ones that are larger than what the system takes at once.
            let len = if i % 50 == 49 {
                3 << 20
            } else {
                i as usize * 31 % 4000
            };
            here.send(vec![i as u8; len]).unwrap();
            assert_eq!(here.recv().unwrap(), (i, format!("{len} bytes")));
        }
        drop(here);
    });
}

#[test]
fn one_way_pipes_end_with_their_sender() {
    let _guard = Leftovers::watch();
    let (sender, receiver) = one_way::<f64>().unwrap();
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    let timeout = receiver.recv_timeout(Duration::from_millis(1));
    assert!(matches!(timeout, Err(RecvError::Timeout)));
    sender.send(0.5).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 0.5);
    for _ in 0..2 {
        assert!(receiver.recv().unwrap_err().is_closed());
    }
    let (sender, receiver) = one_way::<f64>().unwrap();
    drop(receiver);
    let error = sender.send(1.5).unwrap_err();
    assert!(error.is_closed() && error.into_value() == Some(1.5));
}

#[test]
fn raw_bytes_and_values_do_not_mix() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<String, String>().unwrap();
    here.send_bytes(b"raw").unwrap();
    here.send("a value".to_owned()).unwrap();
    assert!(matches!(
        there.recv(),
        Err(RecvError::OtherKind { raw: true })
    ));
    assert_eq!(there.recv_bytes().unwrap(), b"raw");
    assert!(matches!(
        there.recv_bytes(),
        Err(RecvError::OtherKind { raw: false })
    ));
    assert_eq!(there.recv().unwrap(), "a value");
}

#[test]
fn recv_into_takes_a_buffer_and_says_when_it_is_too_small() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<(), ()>().unwrap();
    here.send_bytes(&[5; 1000]).unwrap();
    here.send_bytes(&[]).unwrap();
    here.send_bytes(&[6; 3]).unwrap();
    let mut buffer = [0; 1000];
    let small = there.recv_into(&mut buffer[..999]);
    assert!(matches!(
        small,
        Err(RecvError::TooSmall {
            need: 1000,
            room: 999
        })
    ));
    assert_eq!(there.recv_into(&mut buffer).unwrap(), 1000);
    assert_eq!(buffer, [5; 1000]);
    assert_eq!(there.recv_into(&mut buffer).unwrap(), 0);
    assert_eq!(there.recv_into(&mut buffer).unwrap(), 3);
    // A large one comes straight into the buffer.
    let large: Vec<u8> = (0..5_000_000_u32).map(|i| i as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| here.send_bytes(&large).unwrap());
        let mut buffer = vec![0; large.len()];
        assert_eq!(there.recv_into(&mut buffer).unwrap(), large.len());
        assert!(buffer == large);
    });
}

#[test]
fn poll_tells_whether_something_is_there() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<u8, u8>().unwrap();
    assert!(!there.poll(Duration::ZERO).unwrap());
    assert!(!there.poll(Duration::from_millis(1)).unwrap());
    here.send(1).unwrap();
    here.send(2).unwrap();
    assert!(there.poll(FOR_EVER).unwrap());
    there.recv().unwrap();
    assert!(there.poll(Duration::ZERO).unwrap()); // read ahead
    there.recv().unwrap();
    assert!(!there.poll(Duration::ZERO).unwrap());
    drop(here);
    assert!(there.poll(FOR_EVER).unwrap()); // the end of file
}

#[test]
fn a_send_that_runs_out_of_time_goes_on_later() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<Vec<u8>, ()>().unwrap();
    let large = vec![3; 4 << 20];
    let begun = here.send_timeout(large.clone(), Duration::from_millis(1));
    assert!(matches!(begun, Err(SendError::Begun)), "{begun:?}");
    let full = here.try_send(vec![4]);
    assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
    assert!(matches!(
        there.recv_timeout(Duration::from_millis(1)),
        Err(RecvError::Timeout)
    ));
    std::thread::scope(|scope| {
        scope.spawn(|| here.send(vec![5]).unwrap());
        assert!(there.recv().unwrap() == large);
        assert_eq!(there.recv().unwrap(), [5]);
    });
}

#[test]
fn several_pipes_are_waited_for_at_once() {
    let _guard = Leftovers::watch();
    let pipes: Vec<_> = (0..5).map(|_| pipe::<u8, u8>().unwrap()).collect();
    let ends: Vec<&dyn pipe::Pollable> = pipes.iter().map(|(end, _)| end as _).collect();
    assert!(pipe::wait(&ends, Some(Duration::ZERO)).unwrap().is_empty());
    assert!(
        pipe::wait(&ends, Some(Duration::from_millis(1)))
            .unwrap()
            .is_empty()
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pipe::wait(&ends, None).unwrap());
        pipes[3].1.send(1).unwrap();
        assert_eq!(waiting.join().unwrap(), [3]);
    });
    pipes[1].1.send(1).unwrap();
    pipes[1].1.send(2).unwrap();
    pipes[1].0.recv().unwrap();
    // One by what was read ahead, one by its socket.
    assert_eq!(pipe::wait(&ends, None).unwrap(), [1, 3]);
}

#[test]
fn descriptors_are_passed_along() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<String, ()>().unwrap();
    let mut file = tempfile();
    file.write_all(b"what is in the file").unwrap();
    let descriptors = [file.as_fd(), here.as_fd()];
    here.send_with_descriptors("two".to_owned(), &descriptors)
        .unwrap();
    here.send("none".to_owned()).unwrap();
    here.send_with_descriptors("dropped".to_owned(), &descriptors)
        .unwrap();
    drop(file);
    let (text, mut received) = there.recv_with_descriptors().unwrap();
    assert_eq!((text.as_str(), received.len()), ("two", 2));
    let mut file = std::fs::File::from(received.remove(0));
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "what is in the file");
    assert_eq!(there.recv_with_descriptors().unwrap().1.len(), 0);
    assert_eq!(there.recv().unwrap(), "dropped");
    let many = vec![here.as_fd(); 254];
    let error = here
        .send_with_descriptors(String::new(), &many)
        .unwrap_err();
    assert!(matches!(
        error,
        SendError::TooManyDescriptors {
            count: 254,
            most: 253,
            ..
        }
    ));
}

/// A file without a name.
fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("pool-queue-pipe-{}", std::process::id()));
    let options = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    std::fs::remove_file(&path).unwrap();
    options.unwrap()
}

#[test]
fn arrays_go_through_a_pipe_and_outlive_their_sender() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<FrozenArray<f64, Ix1>, u8>().unwrap();
    here.send(SharedArray::from_elem(1000, 0.5).unwrap().freeze().unwrap())
        .unwrap();
    drop(here); // the array's only descriptor is on its way now
    let array = there.recv().unwrap();
    assert_eq!(array.view().sum(), 500.0);
}

#[test]
fn the_end_of_file_comes_also_when_the_peer_was_killed() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<u8, Vec<u8>>().unwrap();
    let ready = Queue::new(1).unwrap();
    let role = Role::Victim {
        end: there,
        ready: ready.clone(),
    };
    let child = start(&role);
    ready.get_timeout(FOR_EVER).unwrap();
    drop(role); // this process's copy of the other end
    drop(child); // killed
    assert_eq!(here.recv().unwrap(), [1; 10]);
    assert_eq!(here.recv().unwrap(), []);
    match here.recv().unwrap_err() {
        // It depends on when it was killed.
        RecvError::Truncated { got, of } => {
            assert!(got < of);
            assert!(matches!(
                here.recv(),
                Err(RecvError::Truncated { .. } | RecvError::Closed)
            ));
        }
        error => assert!(error.is_closed(), "{error}"),
    }
    assert!(here.send(1).unwrap_err().is_closed());
}

#[test]
fn an_end_in_another_process_talks_and_ends() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<FrozenArray<f64, Ix1>, f64>().unwrap();
    let role = Role::Summer { end: there };
    let mut child = start(&role);
    for i in 0..20 {
        let array = SharedArray::from_elem(100, f64::from(i)).unwrap();
        here.send(array.freeze().unwrap()).unwrap();
        assert_eq!(here.recv().unwrap(), f64::from(i) * 100.0);
    }
    drop(role); // this process's copy of the other end
    drop(here);
    assert!(child.0.wait().unwrap().success());
}

fn echo((from, to): (Receiver<u64>, Sender<u64>)) -> u64 {
    let mut count = 0;
    while let Ok(number) = from.recv() {
        to.send(number * 2).expect("the program receives");
        count += 1;
    }
    count
}

#[test]
fn ends_are_task_arguments() {
    let _guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let (sender, from) = one_way::<u64>().unwrap();
    let (to, receiver) = one_way::<u64>().unwrap();
    let task = pool.apply_async(echo, (from, to)).unwrap();
    for i in 0..100 {
        sender.send(i).unwrap();
        assert_eq!(receiver.recv().unwrap(), 2 * i);
    }
    drop(sender);
    // The pool keeps the ends that it lent until the task is done; the end of file comes from the sender that is gone.
    assert_eq!(task.get().unwrap(), 100);
}

#[test]
fn what_is_no_pipe_is_refused() {
    let _guard = Leftovers::watch();
    let (here, there) = pipe::<u8, u8>().unwrap();
    let bytes = postcard::to_allocvec(&there).unwrap();
    assert!(postcard::from_bytes::<End<u8, u16>>(&bytes).is_err());
    assert!(postcard::from_bytes::<Sender<u8>>(&bytes).is_err());
    drop((here, there));
    assert!(postcard::from_bytes::<End<u8, u8>>(&bytes).is_err());
    // Something else writes to the socket.
    let (here, there) = pipe::<u8, u8>().unwrap();
    socket(&here)
        .write_all(b"this is no message at all")
        .unwrap();
    for _ in 0..2 {
        assert!(matches!(there.recv(), Err(RecvError::Malformed { .. })));
    }
}

proptest::proptest! {
    #[test]
    fn a_stream_that_is_cut_anywhere_is_the_same_messages(
        messages in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..200), 1..8),
        cut in 1_usize..60,
    ) {
        let _guard = Leftovers::watch();
        // The bytes that go through a pipe …
        let (here, there) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
        for message in &messages {
            here.send(message.clone()).unwrap();
        }
        drop(here);
        let mut bytes = Vec::new();
        socket(&there).read_to_end(&mut bytes).unwrap();
        // … come through another one in pieces, and each is looked for at once.
        let (here, there) = pipe::<Vec<u8>, Vec<u8>>().unwrap();
        let mut came = Vec::new();
        for piece in bytes.chunks(cut) {
            socket(&here).write_all(piece).unwrap();
            while let Ok(message) = there.try_recv() {
                came.push(message);
            }
        }
        proptest::prop_assert_eq!(came, messages);
    }
}

/// The same socket, without what makes it an end of a pipe.
fn socket(end: &impl AsFd) -> std::os::unix::net::UnixStream {
    end.as_fd().try_clone_to_owned().unwrap().into()
}

/// Takes some 3 GiB of memory, and address space for as much again.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_message_of_3_gib_comes_whole() {
    let _guard = Leftovers::watch();
    let available = available_gib();
    if available < 8 {
        return eprintln!("skipped: {available} GiB of memory are available");
    }
    let (here, there) = pipe::<(), ()>().unwrap();
    let len = 3_usize << 30;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = vec![0; len];
            bytes[len - 1] = 9;
            here.send_bytes(&bytes).unwrap();
        });
        let bytes = there.recv_bytes().unwrap();
        assert_eq!((bytes.len(), bytes[len - 1]), (len, 9));
    });
}

fn available_gib() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = memory.lines().find(|line| line.starts_with("MemAvailable"));
    let kib: u64 = line
        .and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .unwrap();
    kib >> 20
}
