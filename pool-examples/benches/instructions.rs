//! Instructions that each mechanism takes, which noise does not reach: `cargo bench -p pool-examples --bench instructions`, with names of
//! cases behind `--` for those alone. It needs valgrind (`apt install valgrind`) and prints a table in Markdown.
//!
//! Each case runs twice under callgrind, with so many operations and with twice as many: the difference is theirs alone. What the kernel
//! does is not counted. The workers of pools are threads here, since valgrind does not follow processes that are forked from a clean one;
//! what they run to claim, to lend and to give results back is the same.

use std::hint::black_box;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use ndarray::Axis;
use pool_core::{Pool, StartMethod};
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use pool_queue::{JoinableQueue, LifoQueue, PriorityQueue, Queue};
use pool_shm::sync::{BoundedSemaphore, Mutex, ReentrantMutex, RwLock};
use pool_shm::{BlockMut, SharedArray, SharedValue};

/// A mechanism, and what runs so many operations of it.
struct Case {
    name: &'static str,
    what: &'static str,
    by: By,
    operations: u64,
    run: fn(u64) -> Result<(), Failure>,
}

/// Which threads do what is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Main,
    Workers,
}

const CASES: &[Case] = &[
    of_workers(
        "item",
        "a task of a large chunk, without a result",
        200_000,
        item,
    ),
    of_workers("claim", "a task that is claimed alone", 50_000, claim),
    of_workers(
        "place",
        "a task with a number as its result",
        200_000,
        place,
    ),
    of_workers("ring", "a task with a text as its result", 20_000, ring),
    of_workers(
        "argument",
        "a task with a tuple of 16 bytes as its argument",
        20_000,
        argument,
    ),
    of_workers("block", "a task with a block of 8 numbers", 20_000, block),
    case("lock", "lock and unlock", 20_000, lock),
    case(
        "read",
        "the same of a read-write lock, for reading",
        20_000,
        read,
    ),
    case("write", "the same, for writing", 5_000, write),
    case("reentrant", "lock and unlock, reentrant", 20_000, reentrant),
    case("permit", "a permit taken and given back", 5_000, permit),
    case("value", "a value raised under its lock", 20_000, value),
    case(
        "queue-8",
        "put and get of 8 bytes",
        10_000,
        queue_of_numbers,
    ),
    case("queue-1k", "put and get of 1 KiB", 5_000, queue_of_bytes),
    case(
        "lifo",
        "put and get of 8 bytes, last in first out",
        10_000,
        lifo,
    ),
    case(
        "priority",
        "put and get of 8 bytes with a priority",
        10_000,
        priority,
    ),
    case("joinable", "put, get and done of 8 bytes", 10_000, joinable),
];

const fn case(
    name: &'static str,
    what: &'static str,
    operations: u64,
    run: fn(u64) -> Result<(), Failure>,
) -> Case {
    let by = By::Main;
    Case {
        name,
        what,
        by,
        operations,
        run,
    }
}

const fn of_workers(
    name: &'static str,
    what: &'static str,
    operations: u64,
    run: fn(u64) -> Result<(), Failure>,
) -> Case {
    let by = By::Workers;
    Case {
        by,
        ..case(name, what, operations, run)
    }
}

fn main() -> ExitCode {
    // Cargo says `--bench` to every benchmark.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    failure::run(|out| match arguments.as_slice() {
        [run, name, operations] if run == "--run" => run_case(name, operations),
        names => count_all(names, out),
    })
}

fn run_case(name: &str, operations: &str) -> Result<(), Failure> {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| Failure::other(format!("there is no case '{name}'")))?;
    let operations = operations
        .parse()
        .map_err(|_| Failure::other(format!("'{operations}' is no number of operations")))?;
    (case.run)(operations)
}

fn count_all(names: &[String], out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(unknown) = names
        .iter()
        .find(|name| CASES.iter().all(|case| case.name != name.as_str()))
    {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(Failure::other(format!(
            "there is no case '{unknown}'; there are {}",
            known.join(", ")
        )));
    }
    let mut table = table::new(&["operation", "case", "instructions"]);
    for case in CASES {
        if names.is_empty() || names.iter().any(|name| name == case.name) {
            let more = count(case, 2 * case.operations)?;
            let less = count(case, case.operations)?;
            let each = more.saturating_sub(less) as f64 / case.operations as f64;
            let figure = if each < 100.0 {
                format!("{each:.1}")
            } else {
                format!("{each:.0}")
            };
            table.add_row([case.what, case.name, &figure]);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// The instructions of a whole run: those of the main thread if the mechanism runs there, or those of all others if it is for workers,
/// since a thread that waits for them takes any number.
fn count(case: &Case, operations: u64) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}/of", folder.path().display()))
        .arg(std::env::current_exe()?)
        .args(["--run", case.name, &operations.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::other(format!(
                "valgrind cannot be started: {error}; install it, with `apt install valgrind` for example"
            ))
        })?;
    let mut sum = None;
    for entry in std::fs::read_dir(folder.path())? {
        // One file for each thread; the main one has number 1.
        let path = entry?.path();
        let Some(thread) = path.to_str().and_then(|path| path.rsplit_once("of-")) else {
            continue;
        };
        if (thread.1 == "01") == (case.by == By::Workers) {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let totals: Option<u64> = totals.and_then(|number| number.trim().parse().ok());
        sum = totals.map(|totals| totals + sum.unwrap_or(0)).or(sum);
    }
    match sum {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(Failure::other(format!(
            "the case '{}' failed under valgrind ({}):\n{}",
            case.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

fn pool() -> Result<Pool, Failure> {
    let builder = Pool::builder().workers(1);
    Ok(builder.start_method(StartMethod::Thread).build()?)
}

fn nothing(index: u64) {
    black_box(index);
}

fn item(count: u64) -> Result<(), Failure> {
    pool()?.job(nothing).chunk(1 << 14).map(0..count)?;
    Ok(())
}

fn claim(count: u64) -> Result<(), Failure> {
    pool()?.job(nothing).chunk(1).map(0..count)?;
    Ok(())
}

fn double(index: u64) -> u64 {
    index.wrapping_mul(2)
}

fn place(count: u64) -> Result<(), Failure> {
    black_box(pool()?.job(double).chunk(1 << 14).map(0..count)?);
    Ok(())
}

fn text(index: u64) -> String {
    index.to_string()
}

fn ring(count: u64) -> Result<(), Failure> {
    black_box(pool()?.job(text).chunk(1 << 10).map(0..count)?);
    Ok(())
}

fn first((first, second): (u64, f64)) -> u64 {
    black_box(second);
    first
}

fn argument(count: u64) -> Result<(), Failure> {
    let tuples = (0..count).map(|index| (index, index as f64));
    black_box(pool()?.job(first).chunk(1 << 10).map(tuples)?);
    Ok(())
}

fn fill(mut block: BlockMut<'_, f64, ndarray::Ix2>) {
    block.view_mut().fill(1.0);
}

fn block(count: u64) -> Result<(), Failure> {
    let mut matrix = SharedArray::<f64, _>::zeros((count as usize, 8))?;
    pool()?
        .job(fill)
        .chunk(1 << 10)
        .map_blocks(matrix.axis_chunks_mut(Axis(0), 1))?;
    Ok(())
}

fn lock(count: u64) -> Result<(), Failure> {
    let mutex = Mutex::new(0_u64)?;
    (0..count).for_each(|_| *mutex.lock().expect("nobody dies here") += 1);
    Ok(())
}

fn read(count: u64) -> Result<(), Failure> {
    let lock = RwLock::new(0_u64)?;
    (0..count).for_each(|_| drop(lock.read().expect("nobody dies here")));
    Ok(())
}

fn write(count: u64) -> Result<(), Failure> {
    let lock = RwLock::new(0_u64)?;
    (0..count).for_each(|_| *lock.write().expect("nobody dies here") += 1);
    Ok(())
}

fn reentrant(count: u64) -> Result<(), Failure> {
    let lock = ReentrantMutex::new(0_u64)?;
    (0..count).for_each(|_| drop(lock.lock().expect("nobody dies here")));
    Ok(())
}

fn permit(count: u64) -> Result<(), Failure> {
    let permits = BoundedSemaphore::new(4)?;
    (0..count).for_each(|_| drop(permits.acquire().expect("nobody dies here")));
    Ok(())
}

fn value(count: u64) -> Result<(), Failure> {
    let value = SharedValue::new(0_u64)?;
    for _ in 0..count {
        value.update(|number| number + 1).expect("nobody dies here");
    }
    Ok(())
}

fn queue_of_numbers(count: u64) -> Result<(), Failure> {
    let queue = Queue::<u64>::new(64)?;
    for index in 0..count {
        queue.put(index)?;
        black_box(queue.get()?);
    }
    Ok(())
}

fn queue_of_bytes(count: u64) -> Result<(), Failure> {
    let queue = Queue::<Vec<u8>>::new(64)?;
    for _ in 0..count {
        queue.put(vec![7; 1024])?;
        black_box(queue.get()?);
    }
    Ok(())
}

fn lifo(count: u64) -> Result<(), Failure> {
    let queue = LifoQueue::<u64>::new(64)?;
    for index in 0..count {
        queue.put(index)?;
        black_box(queue.get()?);
    }
    Ok(())
}

fn priority(count: u64) -> Result<(), Failure> {
    let queue = PriorityQueue::<i32, u64>::new(64)?;
    for index in 0..count {
        queue.put(7, index)?;
        black_box(queue.get()?);
    }
    Ok(())
}

fn joinable(count: u64) -> Result<(), Failure> {
    let queue = JoinableQueue::<u64>::new(64)?;
    for index in 0..count {
        queue.put(index)?;
        black_box(
            queue
                .get()?
                .task_done()
                .expect("nobody wrote over the queue"),
        );
    }
    Ok(())
}
