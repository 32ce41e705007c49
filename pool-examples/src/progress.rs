//! A progress bar that counts finished tasks: it appears on a terminal, once the work has lasted more than a second.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pool_shm::{Segment, SegmentHandle, ShmError};
use serde::{Deserialize, Serialize};

/// Work that is shorter needs no bar.
const BEFORE: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(100);

/// A bar and the counter in shared memory that it shows.
///
/// Workers get a [`CounterHandle`], open it once and add what they have done. Without a terminal there is no bar and no thread. Dropping
/// it takes the bar away.
///
/// ```
/// use pool_examples::progress::Progress;
///
/// let progress = Progress::start(20)?;
/// let counter = progress.counter().open()?; // in a worker's initializer
/// counter.add(1);
/// assert_eq!(progress.done(), 1);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct Progress {
    counter: Counter,
    bar: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Names the counter in a message to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CounterHandle(SegmentHandle);

/// The counter, as seen in one process.
#[derive(Clone, Debug)]
pub struct Counter(Segment);

impl Progress {
    /// Begins to count towards `total`.
    ///
    /// # Errors
    ///
    /// There is no memory or no descriptor for the counter.
    pub fn start(total: u64) -> Result<Self, ShmError> {
        let counter = Counter(Segment::create(size_of::<AtomicU64>())?);
        // The word that everybody adds to is there: `add` cannot fail later.
        counter.0.get::<AtomicU64>(0)?;
        let bar = io::stderr().is_terminal().then(|| {
            let (stop, stopped) = mpsc::channel();
            let counter = counter.clone();
            (
                stop,
                std::thread::spawn(move || show(&counter, total, &stopped)),
            )
        });
        Ok(Self { counter, bar })
    }

    /// What a worker opens.
    pub fn counter(&self) -> CounterHandle {
        CounterHandle(self.counter.0.handle())
    }

    /// How much has been added by now.
    pub fn done(&self) -> u64 {
        self.counter.value()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.bar.take() {
            drop(stop);
            // A bar that failed has nothing to tell that matters.
            drop(thread.join());
        }
    }
}

impl CounterHandle {
    /// Attaches the counter.
    ///
    /// # Errors
    ///
    /// The [`Progress`] has gone, or this process may not reach it.
    pub fn open(&self) -> Result<Counter, ShmError> {
        let counter = Counter(Segment::attach(&self.0)?);
        counter.0.get::<AtomicU64>(0)?;
        Ok(counter)
    }
}

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.word().fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }

    fn word(&self) -> &AtomicU64 {
        self.0
            .get(0)
            .expect("the word was there when the counter was opened, and a segment cannot shrink")
    }
}

/// The bar's thread: waits for a second, then shows the counter until it is told to stop.
fn show(counter: &Counter, total: u64, stopped: &Receiver<()>) {
    if stopped.recv_timeout(BEFORE) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} blocks, {elapsed}, {eta} left");
    let bar = ProgressBar::new(total)
        .with_elapsed(BEFORE)
        .with_style(style.expect("the template is correct"));
    loop {
        bar.set_position(counter.value());
        if stopped.recv_timeout(BETWEEN) != Err(RecvTimeoutError::Timeout) {
            return bar.finish_and_clear();
        }
    }
}
