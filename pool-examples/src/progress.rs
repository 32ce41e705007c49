//! A progress bar over the tasks of calls: it appears on a terminal, once the work has lasted more than a second.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use pool_core::Progress;

/// Work that is shorter needs no bar.
const BEFORE: Duration = Duration::from_secs(1);
/// How often it is drawn: what [`pool_core::Job::progress`] is to be given.
pub const BETWEEN: Duration = Duration::from_millis(100);

/// A bar over one call or several, one after the other. Without a terminal there is none. Dropping it takes the bar away.
///
/// ```
/// use pool_core::Pool;
/// use pool_examples::progress::{BETWEEN, Bar};
///
/// let pool = Pool::new(2)?;
/// let bar = Bar::new(20);
/// for _ in 0..2 {
///     pool.job(|i: u32| i).progress(BETWEEN, bar.call()).map(0..10)?;
/// }
/// assert_eq!(bar.done(), 20);
/// # Ok::<(), pool_core::PoolError>(())
/// ```
#[derive(Debug)]
pub struct Bar(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    total: u64,
    done: u64,
    start: Instant,
    /// None before it is needed.
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Begins to count towards `total` tasks.
    pub fn new(total: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            total,
            done: 0,
            start: Instant::now(),
            bar: None,
        })))
    }

    /// What tells of the next call: its tasks come behind those that are done.
    pub fn call(&self) -> impl FnMut(Progress) + Send + 'static {
        let (state, before) = (Arc::clone(&self.0), self.done());
        move |progress| lock(&state).show(before + progress.done)
    }

    /// How many tasks are done, as far as it was told.
    pub fn done(&self) -> u64 {
        lock(&self.0).done
    }
}

/// A panic while the bar was drawn leaves nothing that matters.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn show(&mut self, done: u64) {
        self.done = done;
        if self.start.elapsed() < BEFORE || !io::stderr().is_terminal() {
            return;
        }
        let make = || {
            let template = "{bar:40} {pos}/{len} blocks, {elapsed}, {eta} left";
            let style = ProgressStyle::with_template(template);
            ProgressBar::new(self.total)
                .with_elapsed(self.start.elapsed())
                .with_style(style.expect("the template is correct"))
                .with_finish(ProgressFinish::AndClear)
        };
        self.bar.get_or_insert_with(make).set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        lock(&self.0).bar = None;
    }
}
