//! Where memory is: how it is asked for, what was obtained, who has it mapped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use ndarray::Ix1;
use pool_shm::{FileArray, FrozenArray, HugePages, Placement, SharedArray, usage};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PART: &str = "POOL_SHM_TEST_MEMORY";
/// Where a child makes a file.
const DIR: &str = "POOL_SHM_TEST_DIR";
/// Bytes of an array that is large enough to be counted in pages.
const BYTES: usize = 8 << 20;

/// A child that plays `part`; it has printed its answer, and stays.
struct Peer {
    child: Child,
    answer: String,
}

impl Peer {
    fn start(command: &mut Command, part: &str) -> Peer {
        let mut child = command
            .args(["--exact", "plays_its_part", "--nocapture"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let answer = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("answer: ")?.1.to_owned()));
        Peer {
            answer: answer.expect("the child should have answered"),
            child,
        }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// The child's side: does nothing in an ordinary run.
#[test]
fn plays_its_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let (_array, answer): (Option<FrozenArray<f64, Ix1>>, _) = match part.as_str() {
        "too much" => {
            let made = SharedArray::<u8, _>::zeros(128 << 20);
            (None, made.map_or_else(|e| e.to_string(), |_| "made".into()))
        }
        "huge file" => {
            let path = Path::new(&std::env::var_os(DIR).unwrap()).join("array");
            let mut array = FileArray::<u8, _>::create_raw(path, BYTES).unwrap();
            array.view_mut().fill(1);
            let told = usage(&array).unwrap();
            let this = told.processes.iter().find(|p| p.pid == std::process::id());
            (None, this.unwrap().huge.to_string())
        }
        message => {
            let array: FrozenArray<f64, Ix1> = serde_json::from_str(message).unwrap();
            let sum = array.view().sum().to_string();
            (Some(array), sum)
        }
    };
    writeln!(std::io::stdout(), "answer: {answer}").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn who_maps_what_is_told_in_bytes() {
    let array = SharedArray::from_elem(BYTES / 8, 0.5)
        .unwrap()
        .freeze()
        .unwrap();
    let before = usage(&array).unwrap();
    assert!(before.allocated >= BYTES as u64);
    let message = serde_json::to_string(&array).unwrap();
    let peer = Peer::start(&mut this_program(), &message);
    assert_eq!(peer.answer, (BYTES / 16).to_string());
    let shared = usage(&array).unwrap();
    assert_eq!(
        shared.processes.len(),
        before.processes.len() + 1,
        "{shared}"
    );
    let theirs = shared.processes.iter().find(|p| p.pid == peer.child.id());
    let theirs = theirs.unwrap();
    assert!(
        theirs.mapped >= BYTES as u64 && theirs.resident >= BYTES as u64,
        "{shared}"
    );
    assert!(!theirs.writable && theirs.proportional <= theirs.resident);
    assert!(
        shared
            .to_string()
            .contains(&format!("(pid {}) reads", theirs.pid)),
        "{shared}"
    );
    assert!(shared.proportional() <= shared.allocated + 4096, "{shared}");
    peer.end();
    assert_eq!(
        usage(&array).unwrap().processes.len(),
        before.processes.len()
    );
}

#[test]
fn what_is_prefaulted_is_there_and_mapped() {
    let resident = |array: &SharedArray<u8, Ix1>| {
        let usage = usage(array).unwrap();
        let this = usage.processes.iter().find(|p| p.pid == std::process::id());
        (usage.allocated, this.unwrap().resident)
    };
    let (array, obtained) = Placement::new().zeros::<u8, _>(BYTES).unwrap();
    assert!(!obtained.prefaulted);
    let (allocated, mapped) = resident(&array);
    // Reserved all the same, but not mapped but for its header. Huge pages are
    // mapped when they are made.
    let unmapped = mapped < BYTES as u64 / 2 || mapped_huge(&array).0 > 0;
    assert!(allocated >= BYTES as u64 && unmapped, "{mapped}");
    let (array, obtained) = Placement::new()
        .prefault(true)
        .zeros::<u8, _>(BYTES)
        .unwrap();
    assert!(obtained.prefaulted && obtained.notes.is_empty());
    assert!(resident(&array).1 >= BYTES as u64);
}

#[test]
fn huge_pages_are_obtained_or_it_is_said_why_not() {
    for wish in [HugePages::Transparent, HugePages::Reserved] {
        let placement = Placement::new().prefault(true).huge_pages(wish);
        let (mut array, obtained) = placement.zeros::<u8, _>(BYTES).unwrap();
        assert!(
            obtained.huge > 0 || !obtained.notes.is_empty(),
            "{obtained:?}"
        );
        // Whatever was obtained, it is an array like any other.
        array.view_mut().fill(1);
        let told = usage(&array).unwrap();
        let this = told.processes.iter().find(|p| p.pid == std::process::id());
        assert_eq!(this.unwrap().huge, obtained.huge);
        assert_eq!(array.freeze().unwrap().view()[BYTES - 1], 1);
    }
}

/// Bytes of huge pages that were set aside and are free.
fn set_aside() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0_usize)
    };
    number("HugePages_Free:") * number("Hugepagesize:") * 1024
}

#[test]
fn huge_pages_that_were_set_aside_are_obtained() {
    if set_aside() < 2 * BYTES {
        eprintln!("skipped: no huge pages are set aside (sysctl vm.nr_hugepages=16)");
        return;
    }
    let placement = Placement::new().huge_pages(HugePages::Reserved);
    let (mut array, obtained) = placement.prefault(true).zeros::<u8, _>(BYTES).unwrap();
    assert!(obtained.huge >= BYTES as u64, "{obtained:?}");
    assert!(obtained.notes.is_empty(), "{obtained:?}");
    array.view_mut().fill(1);
    assert_eq!(array.freeze().unwrap().view()[BYTES - 1], 1);
}

#[test]
fn a_file_lies_in_huge_pages_where_its_mount_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = |arguments: &[&str]| {
        let script = "mount -t tmpfs -o huge=always,size=64m none \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(dir.path());
        command.args(arguments);
        command
    };
    match mounted(&["true"]).status() {
        Ok(status) if status.success() => {}
        refused => {
            eprintln!("skipped: this user cannot mount a file system ({refused:?})");
            return;
        }
    }
    let this = std::env::current_exe().unwrap();
    let mut command = mounted(&[this.to_str().unwrap()]);
    let peer = Peer::start(command.env(DIR, dir.path()), "huge file");
    let huge: u64 = peer.answer.parse().unwrap();
    peer.end();
    assert!(huge >= BYTES as u64 / 2, "{huge} bytes in huge pages");
}

#[test]
fn memory_is_spread_over_nodes_or_it_is_said_why_not() {
    let placement = Placement::new().interleave(true);
    let (array, obtained) = placement.zeros::<f64, _>((100, 100)).unwrap();
    assert_eq!(
        obtained.nodes.len() > 1,
        obtained.notes.is_empty(),
        "{obtained:?}"
    );
    assert_eq!(array.view().sum(), 0.0);
}

#[test]
fn too_much_is_an_error_however_it_is_placed() {
    for wish in [
        HugePages::System,
        HugePages::Transparent,
        HugePages::Reserved,
    ] {
        let placement = Placement::new().prefault(true).huge_pages(wish);
        let error = placement.zeros::<u8, _>(1_usize << 45).unwrap_err();
        assert!(error.is_out_of_memory());
        let text = error.to_string();
        assert!(text.contains("available to the system"), "{text}");
    }
}

/// A cgroup of this test, with a limit, if one can be made; removed on drop.
struct Group(std::path::PathBuf);

impl Group {
    fn new(limit: u64) -> Option<Group> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let (mount, path, file) = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            match controllers {
                "" => Some(("/sys/fs/cgroup", path, "memory.max")),
                _ if controllers.split(',').any(|c| c == "memory") => {
                    Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"))
                }
                _ => None,
            }
        })?;
        let name = format!("pool-shm-test-{}", std::process::id());
        let dir = std::path::Path::new(mount)
            .join(path.trim_start_matches('/'))
            .join(name);
        std::fs::create_dir(&dir).ok()?;
        let group = Group(dir);
        std::fs::write(group.0.join(file), limit.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cgroup_that_is_too_small_is_an_error_with_its_numbers() {
    let limit = 64_u64 << 20;
    let Some(group) = Group::new(limit) else {
        eprintln!("skipped: no cgroup with a limit can be made here");
        return;
    };
    let mut command = Command::new("sh");
    let script = "echo $$ > \"$0\" && exec \"$@\"";
    command.args(["-c", script]);
    command.arg(group.0.join("cgroup.procs"));
    command.arg(std::env::current_exe().unwrap());
    let peer = Peer::start(&mut command, "too much");
    let text = peer.answer.clone();
    peer.end();
    assert!(
        text.contains("too little memory for a shared segment"),
        "{text}"
    );
    let left = text.split("available to the cgroup ").nth(1).unwrap();
    let left: u64 = left.split(' ').next().unwrap().parse().unwrap();
    assert!(left > 0 && left <= limit, "{text}");
}

/// What a process has mapped of an array in huge pages, and in all.
fn mapped_huge(array: &SharedArray<u8, Ix1>) -> (u64, u64) {
    let told = usage(array).unwrap();
    let this = told.processes.iter().find(|p| p.pid == std::process::id());
    this.map(|this| (this.huge, this.resident)).unwrap()
}

/// Whether the kernel gives this test a huge page of shared memory now.
fn gives_huge_pages() -> bool {
    let placement = Placement::new().huge_pages(HugePages::Transparent);
    let (_array, obtained) = placement.zeros::<u8, _>(BYTES).unwrap();
    obtained.huge > 0
}

#[test]
fn a_large_array_lies_in_huge_pages_where_the_kernel_has_them() {
    if !gives_huge_pages() {
        eprintln!("skipped: the kernel has no huge pages for shared memory now");
        return;
    }
    // With a rest that is no huge page.
    let mut array = SharedArray::<u8, _>::zeros(2 * BYTES + 12_345).unwrap();
    assert!(array.view().iter().all(|byte| *byte == 0));
    array.view_mut().fill(9);
    let (huge, resident) = mapped_huge(&array);
    // How many, it is left to the kernel, and to how long it takes for them.
    assert!(huge > 0 && huge < resident, "{huge} {resident}");
    let allocated = usage(&array).unwrap().allocated;
    assert!(allocated < 2 * BYTES as u64 + (1 << 20), "{allocated}");
    let frozen = array.freeze().unwrap();
    assert!(frozen.view().iter().all(|byte| *byte == 9));
}

#[test]
fn a_new_array_takes_the_memory_of_the_old_one() {
    let mut first = SharedArray::<u64, _>::zeros((BYTES / 64, 8)).unwrap();
    first.view_mut().fill(u64::MAX);
    let place = first.view().as_ptr().addr();
    let allocated = usage(&first).unwrap().allocated;
    // A little shorter, of another type and with other axes.
    let next = first.recycle::<f32, _>(BYTES / 4 - 5000).unwrap();
    assert_eq!(next.view().as_ptr().addr(), place);
    assert_eq!(usage(&next).unwrap().allocated, allocated);
    assert!(next.view()[0].is_nan() && next.len() == BYTES / 4 - 5000);
    // Behind its end nothing is left of the first; so longer again shows zeros there.
    let mut longer = next.recycle::<u64, _>(BYTES / 8).unwrap();
    assert_eq!(longer.view().as_ptr().addr(), place);
    let kept = (BYTES - 20_000) / 8;
    assert!(
        longer
            .view()
            .iter()
            .take(kept)
            .all(|word| *word == u64::MAX)
    );
    assert!(longer.view().iter().skip(kept).all(|word| *word == 0));
    longer.view_mut().fill(3);
    assert!(
        longer
            .freeze()
            .unwrap()
            .view()
            .iter()
            .all(|word| *word == 3)
    );
}

#[test]
fn memory_that_does_not_fit_is_not_taken() {
    for (old, new) in [
        (BYTES, BYTES / 2),
        (BYTES, 2 * BYTES),
        (10, BYTES),
        (BYTES, 10),
        (10, 10),
    ] {
        let first = SharedArray::from_elem(old, 7_u8).unwrap();
        let next = first.recycle::<u8, _>(new).unwrap();
        assert_eq!(next.len(), new);
        assert!(next.view().iter().all(|byte| *byte == 0), "{old} {new}");
    }
}
