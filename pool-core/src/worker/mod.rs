//! A worker: looks for work, claims it, runs it, sends the results, sleeps when there is nothing.

mod backtrace;
mod call;
mod entry;
mod idle;
pub(crate) mod job;
mod leave;
mod outbox;
mod panic;
mod quota;
mod terms;

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use pool_shm::{LeaseCache, transfer};

use call::{Belongings, Input};
pub(crate) use call::{Call, decode};
pub(crate) use entry::{
    ExitHook, Indices, IndicesInto, Initializer, OverBlocks, Places, Values, in_place,
};
use idle::NEW;
pub(crate) use outbox::Link;
use outbox::Outbox;
pub(crate) use panic::{error_of, keep_panics, panics_of_this_thread_travel};
use quota::Quota;
pub(crate) use terms::Terms;

use crate::atomic::{Ordering, fence};
use crate::current;
use crate::dispatch::control::{Control, status};
use crate::dispatch::order::Order;
use crate::dispatch::record::Target;
use crate::dispatch::tasks::{Finished, INLINE_BYTES, TaskEntry};
use crate::dispatch::word::Owner;
use crate::error::TaskError;
use crate::identity::Descriptor;
use crate::start::boot::{Life, Setup};
use crate::sys;
use crate::yielding::{YIELDS, Yielding};

/// A worker in its process or thread.
#[derive(Debug)]
pub(crate) struct Worker {
    control: Control,
    kick: Option<Arc<OwnedFd>>,
    slot: usize,
    owner: Owner,
    belongings: Belongings,
    yields: u32,
    yielding: Yielding,
    /// How often it has looked in vain since it ran a task, or had a part in a job of several.
    looks: u32,
    number: usize,
    exit_hook: Option<u64>,
    quota: Quota,
    /// When it may let go of code again that it does not need now; none if it has no process of its own.
    sheds: Option<Instant>,
}

/// Makes a worker's state in a copy of the process that holds it.
pub(crate) type Maker<'a> = &'a dyn Fn() -> Box<dyn Any>;

/// What a worker does first.
#[derive(Clone, Copy)]
pub(crate) enum First<'a> {
    Nothing,
    /// The initializer at this position of the executable, with its encoded argument.
    Task(u64, &'a [u8]),
    /// What the program has given it in memory.
    Maker(Maker<'a>),
}

impl<'a> First<'a> {
    /// An initializer that was sent, or none.
    pub(crate) fn of(sent: &'a Option<(u64, Vec<u8>)>) -> First<'a> {
        sent.as_ref().map_or(First::Nothing, |(descriptor, bytes)| {
            First::Task(*descriptor, bytes)
        })
    }
}

/// Whether a worker found something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Worked,
    Idle,
    /// It may claim nothing more.
    Spent,
    Leave,
}

impl Worker {
    /// The worker that lives `life`, on these terms.
    pub(crate) fn new(
        control: Control,
        life: Life,
        terms: &Terms,
        kick: Option<OwnedFd>,
    ) -> Worker {
        let workers = control.orders().workers.load(Ordering::Relaxed) as usize;
        // Asking the system would cost more than all else that a worker does before it is ready.
        let cores = control.orders().processors.load(Ordering::Relaxed) as usize;
        let state: Box<dyn Any> = Box::new(());
        let belongings = Belongings {
            state,
            leases: LeaseCache::default(),
            attached: None,
            outbox: Outbox::default(),
        };
        // With more workers than processors a yield mostly runs a worker that has nothing to do either.
        let yields = if workers > cores { 4 } else { YIELDS };
        Worker {
            control,
            kick: kick.map(Arc::new),
            slot: life.slot,
            owner: Owner::new(life.slot, life.generation),
            belongings,
            yields,
            yielding: Yielding::default(),
            looks: NEW,
            number: life.worker,
            exit_hook: terms.exit_hook,
            quota: Quota::new(terms),
            sheds: None,
        }
    }

    /// The same with a process of its own.
    pub(crate) fn of_own_process(self) -> Worker {
        Worker {
            sheds: Some(Instant::now()),
            ..self
        }
    }

    /// A whole life: becomes ready, works until the pool says to leave, and leaves.
    pub(crate) fn live(&mut self, setup: &Setup, maker: Option<Maker<'_>>) {
        let argument = setup
            .initializer
            .as_ref()
            .map(|(descriptor, place)| (*descriptor, place.read()));
        let first = maker.map_or_else(|| First::of(&argument), First::Maker);
        if let Err(message) = setup.terms.settle_in(self.number) {
            self.refuse(message);
        } else if self.initialize(first, setup.seed) {
            drop(argument);
            self.serve();
            self.leave();
        }
    }

    /// Reports that this process cannot be what a worker of the pool is to be.
    fn refuse(&mut self, message: String) {
        let link = link(&self.control, self.slot, &self.kick);
        let outbox = &mut self.belongings.outbox;
        outbox.heading(&link, Target::Initializer);
        outbox.failed(&link, 0, &TaskError::Initializer { message });
        self.report(status::REFUSED);
    }

    fn report(&self, word: u32) {
        self.control
            .slot(self.slot)
            .status
            .store(word, Ordering::Release); // SYNC: slot-status
        self.control.signal_event();
        self.link().kick();
    }

    /// Runs the initializer and reports how it went. Whether the worker is ready.
    pub(crate) fn initialize(&mut self, first: First<'_>, seed: u64) -> bool {
        current::enter_worker(self.control.clone(), self.slot, self.number, seed);
        let mut failed = false;
        if !matches!(first, First::Nothing) {
            let bytes = if let First::Task(_, bytes) = first {
                bytes
            } else {
                &[]
            };
            let input = Input::Initializer { bytes };
            let link = link(&self.control, self.slot, &self.kick);
            let belongings = &mut self.belongings;
            let mut call = Call::new(link, belongings, input, 0..1, Target::Initializer);
            match first {
                First::Nothing => {}
                First::Maker(make) => call.each(|call, _| {
                    call.belongings.state = make();
                    Ok(())
                }),
                First::Task(descriptor, _) => match Descriptor::find(descriptor) {
                    Some(descriptor) => run(descriptor, &mut call),
                    None => call.fail_all(&unknown(descriptor)),
                },
            }
            // An initializer sends nothing but its error.
            failed = call.has_sent();
            self.nothing_begun();
        }
        let word = if failed {
            status::INITIALIZER_FAILED
        } else {
            status::READY
        };
        self.report(word);
        !failed
    }

    fn link(&self) -> Link<'_> {
        link(&self.control, self.slot, &self.kick)
    }

    /// Works until the pool says to leave.
    fn serve(&mut self) {
        self.stand_aside(Order::Serve);
        loop {
            let news = self.control.bell().news();
            match self.round() {
                Round::Leave => return,
                Round::Worked => {}
                Round::Idle => self.idle(news),
                Round::Spent => self.stand_aside(Order::Leave),
            }
        }
    }

    /// Obeys what the pool ordered, then runs whatever can be claimed.
    pub(crate) fn round(&mut self) -> Round {
        self.obey();
        if self.must_leave() {
            return Round::Leave;
        }
        if self.quota.is_spent() {
            return Round::Spent;
        }
        let worked = self.run_task();
        if worked {
            self.looks = 0;
        }
        if !worked && self.control.orders().backlog.load(Ordering::Relaxed) != 0 {
            // Every entry that could be claimed was: the watcher has to publish tasks that wait for one.
            self.link().kick();
        }
        if worked | self.run_jobs() {
            Round::Worked
        } else {
            Round::Idle
        }
    }

    /// Unmaps lent segments and lets go of sent ones if the pool asked for it.
    fn obey(&mut self) {
        let asked = self.control.orders().flush.load(Ordering::Acquire); // SYNC: flush-asked
        let report = &self.control.slot(self.slot).report;
        if report.flushed.load(Ordering::Relaxed) != asked {
            self.flush(asked);
        }
    }

    fn flush(&mut self, asked: u32) {
        self.let_go();
        let link = link(&self.control, self.slot, &self.kick);
        self.belongings.outbox.purge(&link);
        link.report.flushed.store(asked, Ordering::Release); // SYNC: flush-done
        self.control.signal_event();
    }

    /// Unmaps all that was lent, and all that was kept mapped for the next task.
    fn let_go(&mut self) {
        self.belongings.attached = None;
        self.belongings.leases.clear();
        self.holds_nothing();
    }

    /// Holds nothing that was lent, until it is the worker's turn again.
    pub(crate) fn rest(&mut self) {
        self.forget_leases();
        self.obey();
    }

    /// Runs one task of the table, if one can be claimed.
    fn run_task(&mut self) -> bool {
        let Some((entry, first)) = self.control.tasks().claim(self.owner) else {
            return false;
        };
        if self.control.tasks().has_work() {
            self.control.wake_another();
        }
        let control = self.control.clone();
        let task = &control.tasks().entries[entry];
        let items = task.items.load(Ordering::Relaxed).saturating_sub(first);
        self.forget_leases();
        if let Some(wish) = self.quota.begin(items) {
            self.ask(wish);
        }
        let began = Instant::now();
        current::enter_entry(entry);
        self.run_entry(task, first);
        let took = began.elapsed();
        let nanos = (took.as_nanos() as u64).max(1); // 0: it was not run
        task.nanos.store(nanos, Ordering::Relaxed);
        let report = &control.slot(self.slot).report;
        report.count(items);
        report.count_busy(took);
        let finished = self.control.tasks().finish(entry, self.owner);
        match finished {
            Finished::Revoked => sys::kill_self(),
            Finished::Quietly => self.nothing_begun(),
            Finished::WakePool => {
                self.nothing_begun();
                self.control.signal_event();
                // Set before the mark that was found, if at all. The entry may be another task's by now, and the kick one too
                // many.
                if task.notify.load(Ordering::Relaxed) != 0 {
                    self.link().kick();
                }
            }
        }
        if let Some(wish) = self.quota.end() {
            self.ask(wish);
        }
        if self.quota.is_spent() {
            control.wake_another(); // what it leaves has to be done by others
        }
        true
    }

    fn run_entry(&mut self, task: &TaskEntry, first: u32) {
        let items = task.items.load(Ordering::Relaxed);
        let target = Target::Task {
            id: task.id.load(Ordering::Relaxed),
            first,
        };
        let bytes = read_arguments(&self.control, task);
        current::enter_call(task.base.load(Ordering::Relaxed));
        current::note_attempts(first, task.attempt.load(Ordering::Relaxed));
        let link = link(&self.control, self.slot, &self.kick);
        let belongings = &mut self.belongings;
        let arguments = bytes.as_deref().unwrap_or_default();
        let offset = task.results_offset.load(Ordering::Relaxed);
        let input = Input::Values {
            bytes: arguments,
            items,
            entry: task,
            results: (offset != 0).then_some(offset as usize),
        };
        let limit = task.limit.load(Ordering::Relaxed);
        let mut call = Call::new(link, belongings, input, first..items, target).limited(limit);
        if first != 0 {
            call.head();
        }
        let name = task.descriptor.load(Ordering::Relaxed);
        match (&bytes, Descriptor::find(name)) {
            (Ok(_), Some(descriptor)) => run(descriptor, &mut call),
            (Ok(_), None) => call.fail_all(&unknown(name)),
            (Err(error), _) => call.fail_all(error),
        }
        current::leave_call();
    }

    /// From here on a death costs no task: what was run is marked as done.
    fn nothing_begun(&self) {
        self.control
            .slot(self.slot)
            .report
            .item
            .store(0, Ordering::Release); // SYNC: item-begun
    }

    /// A worker that does other work than the arrays were lent for must not keep them mapped: it could be a long time until
    /// it looks at the pool's orders again.
    fn forget_leases(&mut self) {
        self.belongings.attached = None;
        self.belongings.leases.release_lent();
        let report = &self.control.slot(self.slot).report;
        if report.holds.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.holds_nothing();
        // Pairs with the fence in `ring_all`: either whoever asked for a flush sees that nothing is held, or we see that it asked.
        fence(Ordering::SeqCst);
        let asked = self.control.orders().flush.load(Ordering::Relaxed);
        if report.flushed.load(Ordering::Relaxed) != asked {
            self.control.signal_event();
        }
    }

    fn holds_nothing(&self) {
        self.control
            .slot(self.slot)
            .report
            .holds
            .store(0, Ordering::Release); // SYNC: holds
    }
}

/// The tie of a worker to its pool, which borrows from its parts only.
fn link<'a>(control: &'a Control, slot: usize, kick: &'a Option<Arc<OwnedFd>>) -> Link<'a> {
    Link::new(control, slot, kick.as_ref().map(|kick| kick.as_fd()))
}

/// Runs a call; segments that its results name stay here until the pool has them.
fn run(descriptor: &Descriptor, call: &mut Call<'_>) {
    if call.is_in_place() {
        return (descriptor.run)(call); // numbers name no segments
    }
    let ((), exports) = transfer::export(|| (descriptor.run)(call));
    if !exports.is_empty() {
        call.keep(exports);
    }
}

fn unknown(descriptor: u64) -> TaskError {
    TaskError::DecodeArgument {
        message: format!(
            "there is no task at {descriptor:#x} of this executable: the table of tasks was overwritten"
        ),
    }
}

/// The encoded arguments of a task: inside its entry, in the arena, or in a segment whose handle is inside the entry.
fn read_arguments(control: &Control, task: &TaskEntry) -> Result<Vec<u8>, TaskError> {
    let bad = |message: String| TaskError::DecodeArgument { message };
    let (offset, len) = (
        task.arg_offset.load(Ordering::Relaxed),
        task.arg_len.load(Ordering::Relaxed),
    );
    if offset != 0 && offset != IN_SEGMENT {
        return control
            .read_arena(offset, len)
            .map_err(|error| bad(error.to_string()));
    }
    let inline: Vec<u8> = task
        .arg
        .iter()
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect();
    if offset == 0 {
        let len = usize::try_from(len).ok().filter(|len| *len <= INLINE_BYTES);
        let len = len.ok_or_else(|| bad("the table of tasks was overwritten".to_owned()))?;
        return Ok(inline[..len].to_vec());
    }
    let handle = postcard::from_bytes(&inline).map_err(|error| bad(error.to_string()))?;
    let segment = pool_shm::Segment::attach(&handle).map_err(|error| bad(error.to_string()))?;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= segment.len())
        .ok_or_else(|| bad("its segment is too short".to_owned()))?;
    let mut bytes = vec![0; len];
    segment
        .cells(0, len)
        .map_err(|error| bad(error.to_string()))?
        .read_into(0, &mut bytes);
    Ok(bytes)
}

/// [`TaskEntry::arg_offset`] of arguments that have a segment of their own.
pub(crate) const IN_SEGMENT: u64 = u64::MAX;
