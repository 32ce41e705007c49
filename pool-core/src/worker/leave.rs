//! How a worker leaves in good order: it tells the pool, runs the exit hook, and stays until the pool has all that it sent.

use super::call::{Call, Input};
use super::{Link, Worker, link, run, unknown};
use crate::atomic::Ordering;
use crate::dispatch::control::{Orders, Slot, SystemFutex, status};
use crate::dispatch::order::{Order, Wish, stand_aside};
use crate::dispatch::record::Target;
use crate::identity::Descriptor;
use crate::inject;
use crate::start::boot;

/// Whether the pool ends, or the worker in `place` was told to leave.
#[inline]
pub(super) fn must_leave(orders: &Orders, place: &Slot) -> bool {
    orders.leave.load(Ordering::Acquire) != 0 // SYNC: leave
        || place.duty.order() == Order::Leave
}

/// The worker of this tie asks to be replaced.
pub(super) fn ask(link: &Link<'_>, wish: Wish) {
    link.control.slot(link.slot).duty.ask(wish);
    inject::point("leave.asked");
    link.kick();
}

impl Worker {
    /// Whether the pool ends, or this worker was told to leave.
    pub(super) fn must_leave(&self) -> bool {
        must_leave(self.control.orders(), self.control.slot(self.slot))
    }

    /// Asks to be replaced.
    pub(super) fn ask(&self, wish: Wish) {
        ask(&self.link(), wish);
    }

    /// Claims nothing until the order is to serve (of a replacement), or to leave.
    pub(super) fn stand_aside(&mut self, until: Order) {
        boot::flush_output(); // as before an idle worker sleeps
        let control = self.control.clone();
        let slot = control.slot(self.slot);
        stand_aside(&slot.wake, &SystemFutex, || {
            self.obey();
            self.must_leave() || slot.duty.order() == until
        });
    }

    /// Leaves: nothing is claimed any more.
    pub(super) fn leave(&mut self) {
        let control = self.control.clone();
        // It may have been woken for work that is there: another one has to do it.
        control.wake_another();
        self.let_go();
        control
            .slot(self.slot)
            .status
            .store(status::LEAVING, Ordering::Release); // SYNC: slot-status
        inject::point("leave.said");
        control.signal_event(); // nobody needs to wait until this one has unmapped something
        self.link().kick();
        if let Some(hook) = self.exit_hook {
            self.run_exit_hook(hook);
            inject::point("leave.hook-done");
        }
        self.await_taken_over();
    }

    fn run_exit_hook(&mut self, hook: u64) {
        let link = link(&self.control, self.slot, &self.kick);
        let belongings = &mut self.belongings;
        let mut call = Call::new(link, belongings, Input::ExitHook, 0..1, Target::ExitHook);
        match Descriptor::find(hook) {
            Some(descriptor) => run(descriptor, &mut call),
            None => call.fail_all(&unknown(hook)),
        }
        self.nothing_begun();
    }

    /// Segments that results name are gone with their worker, unless the pool has opened them.
    fn await_taken_over(&mut self) {
        let control = self.control.clone();
        let wake = &control.slot(self.slot).wake;
        stand_aside(wake, &SystemFutex, || {
            let link = link(&control, self.slot, &self.kick);
            self.belongings.outbox.purge(&link);
            let is_over = self.belongings.outbox.keeps_nothing();
            if !is_over {
                link.kick(); // the watcher reads the stream, then wakes this worker
            }
            is_over
        });
    }
}
