//! The store's memory: slots and blocks under one robust lock.

use super::losses::{LossCause, entry};
use super::plan::{LOCK, LOG, LOG_ENTRIES, Plan, WORDS};
use super::protocol::{Item, Owner, Protocol, TAKEN};
use crate::queue::{Damage, QueueError, Source};
use crate::sys;
use crate::wait::{Refusal, Wait, wait_for};
use pool_shm::sync::{EventCount, LockError, RawMutex, RawMutexGuard};
use pool_shm::{Cells, Segment};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often who waits asks whether those who have items live.
const ASK: Duration = Duration::from_millis(50);
/// Attempts before that: a waiter spins first.
const SPINS: u32 = 100;

/// The shared memory of a queue with slots, attached and checked.
#[derive(Debug)]
pub(crate) struct Store {
    segment: Segment,
    plan: Plan,
    lock: RawMutex,
}

/// What is put as one item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) rank: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) table: bool,
}

/// A message in the store, for the holder of the lock.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) item: Item,
    store: &'a Store,
    damage: Cell<Option<Damage>>,
}

impl Store {
    /// A new, empty store.
    pub(crate) fn create(plan: Plan, kind: u64) -> Result<Self, QueueError> {
        let segment = Segment::create(plan.len())?;
        plan.write(&segment, kind)?;
        let lock = RawMutex::init(&segment, LOCK)?;
        let store = Self {
            segment,
            plan,
            lock,
        };
        let made = store.protocol().rebuild();
        debug_assert!(made.is_ok(), "zeros are an empty store");
        Ok(store)
    }

    /// The store in a segment that came from somewhere.
    pub(crate) fn attach(segment: Segment, plan: Plan) -> Result<Self, QueueError> {
        let lock = RawMutex::attach(&segment, LOCK)?;
        Ok(Self {
            segment,
            plan,
            lock,
        })
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    /// Puts as many entries as there is room for, at least one; says for each of them where it is: slot and number.
    pub(crate) fn push(
        &self,
        entries: &[Entry<'_>],
        wait: Wait,
        places: &mut Vec<(u32, u64)>,
    ) -> Result<usize, Refusal> {
        let Some(first) = entries.first() else {
            return Ok(0);
        };
        let (protocol, need) = (self.protocol(), first.bytes.len() as u64);
        self.wait(
            &protocol.words.room,
            wait,
            || protocol.may_put(need),
            || self.push_now(protocol, entries, wait, places).transpose(),
        )
    }

    /// Gets up to `max` items, at least one: `take` sees each while the lock is held and copies it out. One that it does not want stays.
    pub(crate) fn pop(
        &self,
        max: usize,
        owner: Option<Owner>,
        wait: Wait,
        mut take: impl FnMut(&Message<'_>) -> bool,
    ) -> Result<usize, Refusal> {
        let protocol = self.protocol();
        self.wait(
            &protocol.words.more,
            wait,
            || protocol.may_get(),
            || {
                self.pop_now(protocol, (max, owner, wait), &mut take)
                    .transpose()
            },
        )
    }

    /// Waits until nothing is queued or taken.
    pub(crate) fn join(&self, wait: Wait) -> Result<(), Refusal> {
        let protocol = self.protocol();
        self.wait(
            &protocol.words.done,
            wait,
            || protocol.may_be_done(),
            || match self.lock(wait) {
                Ok(_lock) => (protocol.unfinished() == 0).then_some(Ok(())),
                Err(refusal) => Some(Err(refusal)),
            },
        )
    }

    /// A taken item is done. `false`: this process does not have it.
    pub(crate) fn finish(&self, item: (u32, u64), owner: Owner) -> Result<bool, Refusal> {
        let protocol = self.protocol();
        let lock = self.lock(Wait::Forever)?;
        let Some(item) = self.taken(item, owner)? else {
            return Ok(false);
        };
        protocol.begin();
        protocol.commit_done(item.slot)?;
        protocol.index_done(item)?;
        protocol.end();
        drop(lock);
        self.tell_of_room();
        Ok(true)
    }

    /// A taken item was dropped: it is given back, or lost.
    pub(crate) fn abandon(&self, item: (u32, u64), owner: Owner) -> Result<(), Refusal> {
        let lock = self.lock(Wait::Forever)?;
        if let Some(item) = self.taken(item, owner)? {
            self.orphan(item, entry(owner.pid, LossCause::Dropped))?;
        }
        drop(lock);
        self.wake_all();
        Ok(())
    }

    /// Finds taken items whose process is dead; they are given back, or lost. Returns how many.
    pub(crate) fn reap(&self) -> Result<usize, Refusal> {
        let dead: Vec<Owner> = {
            let _lock = self.lock(Wait::No)?;
            let mut owners = Vec::new();
            self.each_taken(|_, owner| {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            })?;
            owners
        };
        // Asked without the lock: nobody waits for the kernel.
        let dead: Vec<Owner> = dead
            .into_iter()
            .filter(|owner| !sys::is_alive(owner.pid, owner.start))
            .collect();
        if dead.is_empty() {
            return Ok(0);
        }
        let lock = self.lock(Wait::No)?;
        let mut orphans = Vec::new();
        self.each_taken(|item, owner| {
            if dead.contains(&owner) {
                orphans.push((item, owner.pid));
            }
        })?;
        for &(item, pid) in &orphans {
            self.orphan(item, entry(pid, LossCause::Died))?;
        }
        drop(lock);
        self.wake_all();
        Ok(orphans.len())
    }

    /// Ends all putting and wakes everybody.
    pub(crate) fn close(&self) -> Result<(), Refusal> {
        let lock = self.lock(Wait::Forever);
        self.protocol().close();
        let outcome = lock.map(drop);
        self.wake_all();
        outcome
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.protocol().is_closed()
    }

    /// Looks at the counts under the lock, or as they stand if a stopped peer holds it.
    pub(crate) fn look<R>(&self, f: impl FnOnce(Protocol<'_>) -> R) -> R {
        let _lock = self.lock(Wait::No);
        f(self.protocol())
    }

    /// Raised when there is an item.
    pub(crate) fn event_more(&self) -> &EventCount {
        &self.protocol().words.more
    }

    /// Whether it is worth trying to get: there is an item, or there will be none. `thorough`: looks for items of dead consumers too.
    pub(crate) fn may_get(&self, thorough: bool) -> bool {
        let protocol = self.protocol();
        if thorough && self.plan.rules.gives_back && self.somebody_has_items() {
            // What cannot be found out now is looked at again.
            let _ = self.reap();
        }
        let may_come = self.plan.rules.gives_back && self.somebody_has_items();
        protocol.has_items() || protocol.is_closed() && !may_come
    }

    /// Whether an item has left the store.
    pub(crate) fn has_passed(&self, (slot, number): (u32, u64)) -> bool {
        let protocol = self.protocol();
        let gone = |state| state == super::protocol::FREE;
        let other = |item: Item| item.number != number;
        protocol.state(slot).map_or(true, gone) || protocol.item(slot).map_or(true, other)
    }

    pub(crate) fn protocol(&self) -> Protocol<'_> {
        const CHECKED: &str = "checked when the store was made or attached";
        let Plan { items, blocks, .. } = self.plan;
        let (items, blocks) = (items as usize, blocks as usize);
        let segment = &self.segment;
        Protocol {
            rules: self.plan.rules,
            words: segment.get(WORDS).expect(CHECKED),
            slots: segment.slice(self.plan.slots(), items).expect(CHECKED),
            heap: segment.slice(self.plan.heap(), items).expect(CHECKED),
            free: segment.slice(self.plan.free(), items).expect(CHECKED),
            next: segment.slice(self.plan.next(), blocks).expect(CHECKED),
            log: segment.slice(LOG, LOG_ENTRIES).expect(CHECKED),
        }
    }

    fn wait<R>(
        &self,
        event: &EventCount,
        wait: Wait,
        hint: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Option<Result<R, Refusal>>,
    ) -> Result<R, Refusal> {
        let (mut attempts, mut asked) = (0_u32, None::<Instant>);
        wait_for(event, wait, |first| {
            if (first || hint())
                && let Some(done) = attempt()
            {
                return Some(done);
            }
            attempts = attempts.saturating_add(1);
            let due = match wait {
                Wait::No => true,
                _ => attempts > SPINS && asked.is_none_or(|at| at.elapsed() >= ASK),
            };
            if !due || !self.plan.rules.claims || !self.somebody_has_items() {
                return None;
            }
            asked = Some(Instant::now());
            match self.reap() {
                Ok(0) | Err(Refusal::Timeout) => None,
                Ok(_) => attempt(),
                Err(refusal) => Some(Err(refusal)),
            }
        })
    }

    fn somebody_has_items(&self) -> bool {
        use std::sync::atomic::Ordering;
        self.protocol().words.taken.load(Ordering::Relaxed) > 0
    }

    fn push_now(
        &self,
        protocol: Protocol<'_>,
        entries: &[Entry<'_>],
        wait: Wait,
        places: &mut Vec<(u32, u64)>,
    ) -> Result<Option<usize>, Refusal> {
        let lock = self.lock(wait)?;
        if protocol.is_closed() {
            return Err(Refusal::Closed);
        }
        let mut count = 0;
        for entry in entries {
            let len = entry.bytes.len() as u64;
            if !protocol.has_room(len) {
                break;
            }
            protocol.begin();
            let (slot, first) = protocol.allocate(len)?;
            self.write(first, entry.bytes)?;
            let number = protocol.commit_put(slot, entry.rank, (len, entry.table, first))?;
            protocol.index_put(protocol.item(slot)?)?;
            protocol.end();
            places.push((slot, number));
            count += 1;
        }
        drop(lock);
        if count == 0 {
            return Ok(None);
        }
        let items = u32::try_from(count).unwrap_or(u32::MAX);
        protocol.words.more.notify(items);
        Ok(Some(count))
    }

    fn pop_now(
        &self,
        protocol: Protocol<'_>,
        (max, owner, wait): (usize, Option<Owner>, Wait),
        take: &mut impl FnMut(&Message<'_>) -> bool,
    ) -> Result<Option<usize>, Refusal> {
        let lock = self.lock(wait)?;
        let (mut count, mut refused) = (0, false);
        while count < max {
            let Some(item) = protocol.top()? else { break };
            let message = Message {
                item,
                store: self,
                damage: Cell::new(None),
            };
            let wanted = take(&message);
            if let Some(damage) = message.damage.get() {
                return Err(damage.into());
            }
            if !wanted {
                refused = true;
                break;
            }
            protocol.begin();
            protocol.commit_take(item.slot, owner)?;
            protocol.index_take(item, owner.is_none())?;
            protocol.end();
            count += 1;
        }
        drop(lock);
        if count > 0 || refused {
            self.tell_of_room();
            return Ok(Some(count));
        }
        if !protocol.is_closed() {
            return Ok(None);
        }
        // What is taken may come back.
        let may_come = self.plan.rules.gives_back && self.somebody_has_items();
        if may_come {
            Ok(None)
        } else {
            Err(Refusal::Closed)
        }
    }

    fn taken(&self, (slot, number): (u32, u64), owner: Owner) -> Result<Option<Item>, Damage> {
        let protocol = self.protocol();
        let item = protocol.item(slot)?;
        let ours = protocol.state(slot)? == TAKEN
            && item.number == number
            && protocol.owner(slot)? == owner;
        Ok(ours.then_some(item))
    }

    fn each_taken(&self, mut visit: impl FnMut(Item, Owner)) -> Result<(), Damage> {
        let protocol = self.protocol();
        for slot in 0..self.plan.items {
            if protocol.state(slot)? == TAKEN {
                visit(protocol.item(slot)?, protocol.owner(slot)?);
            }
        }
        Ok(())
    }

    fn orphan(&self, item: Item, entry: u64) -> Result<(), Damage> {
        let protocol = self.protocol();
        protocol.begin();
        protocol.commit_orphan(item.slot, entry)?;
        protocol.settle_orphan(item.slot)?;
        if self.plan.rules.gives_back {
            protocol.index_back(item)?;
        } else {
            protocol.index_done(item)?;
        }
        protocol.end();
        Ok(())
    }

    fn lock(&self, wait: Wait) -> Result<RawMutexGuard<'_>, Refusal> {
        let guard = wait.lock(&self.lock).or_else(|error| match error {
            LockError::OwnerDied(guard) => {
                // It may have been woken for an item, or have told nobody of what it did.
                self.wake_all();
                Ok(guard)
            }
            LockError::Damaged { code } => Err(Refusal::Damaged(Damage::lock(code))),
            _ => Err(Refusal::Timeout),
        })?;
        let protocol = self.protocol();
        if protocol.is_torn() {
            protocol.rebuild()?;
            protocol.end();
            self.wake_all();
        }
        Ok(guard)
    }

    fn tell_of_room(&self) {
        let protocol = self.protocol();
        protocol.words.room.notify_all();
        if protocol.may_be_done() {
            protocol.words.done.notify_all();
            if self.plan.rules.gives_back && protocol.is_closed() {
                protocol.words.more.notify_all(); // nothing comes back any more
            }
        }
    }

    fn wake_all(&self) {
        let words = self.protocol().words;
        [&words.more, &words.room, &words.done]
            .into_iter()
            .for_each(EventCount::notify_all);
    }

    fn write(&self, first: u32, bytes: &[u8]) -> Result<(), Damage> {
        let (data, size) = (self.data(), self.plan.rules.block as usize);
        let mut parts = bytes.chunks(size);
        let protocol = self.protocol();
        protocol.each_block(first, protocol.blocks_of(bytes.len() as u64), |_, block| {
            let part = parts.next().unwrap_or_default();
            data.write_from(block as usize * size, part);
        })
    }

    fn data(&self) -> Cells<'_, u8> {
        let bytes = self.plan.blocks as usize * self.plan.rules.block as usize;
        self.segment
            .cells(self.plan.data(), bytes)
            .expect("checked when the store was made or attached")
    }
}

impl Source for Message<'_> {
    fn len(&self) -> usize {
        usize::try_from(self.item.len).unwrap_or(usize::MAX)
    }

    fn has_table(&self) -> bool {
        self.item.table
    }

    fn copy_to(&self, to: &mut [u8]) {
        let (data, size) = (self.store.data(), self.store.plan.rules.block as usize);
        let protocol = self.store.protocol();
        let blocks = protocol.blocks_of(to.len() as u64);
        let mut parts = to.chunks_mut(size);
        let read = protocol.each_block(self.item.first, blocks, |_, block| {
            if let Some(part) = parts.next() {
                data.read_into(block as usize * size, part);
            }
        });
        self.damage.set(read.err());
    }
}
