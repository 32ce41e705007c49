//! Ten thousand small arrays in each of several processes, made and dropped at
//! random: few descriptors and maps, no overlap, nothing left.
//!
//! A child is this same test binary, told by its environment what to do, so
//! that it can count what its whole process has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Axis, Ix1};
use pool_shm::{AxisChunksMut, Blocks, LeaseCache, SharedArray};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

const PART: &str = "POOL_SHM_SMALL_TEST_PART";
/// Arrays that a child has at once.
const ALIVE: usize = 10_000;

/// Descriptors, and mappings of memfds.
fn open() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memfds = maps.lines().filter(|line| line.contains("/memfd:pool-shm"));
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, memfds.count())
}

/// The same numbers in each run of a child (Marsaglia's xorshift,
/// <https://www.jstatsoft.org/article/view/v008i14>).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// An array whose elements all hold its own number.
struct Marked {
    array: SharedArray<u64, Ix1>,
    mark: u64,
}

impl Marked {
    fn new(random: &mut Random, mark: u64) -> Self {
        // Mostly a few elements, at times up to 64 KiB, seldom more.
        let most = match random.below(1000) {
            0 => 10_000,
            1..50 => 8193,
            50..300 => 300,
            _ => 20,
        };
        let len = random.below(most);
        let mut array = SharedArray::zeros(len).unwrap();
        assert!(array.view().iter().all(|&x| x == 0), "zeros are not zeros");
        array.view_mut().fill(mark);
        Marked { array, mark }
    }

    fn check(&self) {
        assert!(
            self.array.view().iter().all(|&x| x == self.mark),
            "arrays overlap"
        );
    }
}

/// Makes and drops arrays at random, `ALIVE` of them in the middle.
fn churn(seed: u64) {
    let before = open();
    let mut random = Random(seed);
    let (mut arrays, mut most) = (Vec::new(), (0, 0));
    for step in 0..6 * ALIVE {
        // More are made than dropped until there are enough, then as many.
        if arrays.len() < ALIVE && (random.below(4) > 0 || arrays.is_empty()) {
            arrays.push(Marked::new(&mut random, step as u64 + 1));
        } else {
            let at = random.below(arrays.len());
            let gone: Marked = arrays.swap_remove(at);
            gone.check();
        }
        if step % 4096 == 0 || arrays.len() == ALIVE && most == (0, 0) {
            let (descriptors, maps) = open();
            most = (most.0.max(descriptors), most.1.max(maps));
        }
    }
    assert!(arrays.len() > ALIVE * 9 / 10, "{}", arrays.len());
    arrays.iter().for_each(Marked::check);
    assert!(
        most.0 < 400 && most.1 < 400,
        "{most:?} descriptors and maps"
    );
    drop(arrays);
    assert_eq!(open(), before, "something stays");
}

/// Has arrays until it is killed.
fn hold() {
    let mut random = Random(99);
    let arrays: Vec<_> = (0..1000).map(|i| Marked::new(&mut random, i)).collect();
    answer("holding");
    arrays.iter().for_each(Marked::check);
}

/// Says something, and stays until the parent lets go.
fn answer(text: &str) {
    let mut output = std::io::stdout();
    writeln!(output, "answer: {text}").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The child's side: does nothing in an ordinary run.
#[test]
fn plays_its_part() {
    match std::env::var(PART).as_deref() {
        Ok("hold") => hold(),
        Ok(seed) => churn(seed.parse().unwrap()),
        Err(_) => {}
    }
}

fn start(part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_its_part", "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn ten_thousand_arrays_in_each_of_several_processes() {
    let children = ["17", "4711", "1234567"].map(start);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn a_killed_owner_takes_its_small_arrays_with_it() {
    let mut child = start("hold");
    let stdout: &mut ChildStdout = child.stdout.as_mut().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    assert!(lines.any(|line| line.unwrap().contains("answer: holding")));
    let pid = child.id();
    let memfds = || {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().contains("memfd:pool-shm"))
            .count()
    };
    // A thousand arrays in a few memfds, which nobody else has and no name
    // leads to: they end with it.
    let found = memfds();
    assert!((1..200).contains(&found), "{found}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(memfds(), 0);
}

#[test]
fn neighbours_are_lent_and_written_apart() {
    let mut arrays: Vec<_> = (0..300)
        .map(|i| SharedArray::<u32, Ix1>::from_elem(40, i).unwrap())
        .collect();
    let mut cache = LeaseCache::default();
    type Chunks<'a> = AxisChunksMut<'a, u32, Ix1>;
    for array in arrays.iter_mut().step_by(3) {
        let lent = array.axis_chunks_mut(Axis(0), 8);
        let plan = lent.plan().unwrap().1;
        let plan = postcard::from_bytes(&postcard::to_allocvec(&plan).unwrap()).unwrap();
        let attached = Chunks::attach(&plan, &mut cache).unwrap();
        for index in 0..Chunks::count(&attached) {
            // SAFETY: `lent` is there, and each block is made once.
            let mut block = unsafe { Chunks::block(&attached, index) }.unwrap();
            block.view_mut().map_inplace(|x| *x += 1000);
        }
    }
    // Two of one segment may be lent together, for they do not overlap.
    let (one, others) = arrays.split_first_mut().unwrap();
    let both = (
        one.axis_chunks_mut(Axis(0), 8),
        others[0].axis_chunks_mut(Axis(0), 8),
    );
    assert!(both.plan().is_ok());
    for (i, array) in arrays.iter().enumerate() {
        let expected = i as u32 + if i % 3 == 0 { 1000 } else { 0 };
        assert!(array.view().iter().all(|&x| x == expected), "{i}");
    }
}

#[test]
fn slabs_of_ended_threads_and_of_all_sizes_do() {
    std::thread::scope(|scope| {
        for seed in [3, 5] {
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut arrays: Vec<Marked> = Vec::new();
                for step in 0..5000 {
                    if arrays.len() < 200 {
                        arrays.push(Marked::new(&mut random, seed << 32 | step));
                    } else {
                        arrays.swap_remove(random.below(200)).check();
                    }
                }
                arrays.iter().for_each(Marked::check);
            });
        }
    });
    // The largest small one, the smallest large one, and none.
    for len in [65_536, 65_537, 0] {
        let array = SharedArray::from_elem(len, 7_u8).unwrap();
        assert_eq!(
            array.view().iter().map(|&x| usize::from(x)).sum::<usize>(),
            7 * len
        );
        assert!(array.view().as_ptr().addr().is_multiple_of(64));
    }
}
