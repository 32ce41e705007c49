//! Who has to be started, told to serve, or told to leave: one look at all places, and what follows from it.
//!
//! The rules need no memory of their own, so whatever happens in whatever order (a death while a replacement gets ready, a pool
//! that shrinks and grows again before a long task has ended), the next look puts it right.

use std::collections::BTreeSet;

use super::crew::Station;
use super::info::WorkerEnd;

/// A place with a worker in it, as the watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) slot: usize,
    pub(super) worker: usize,
    pub(super) station: Station,
    pub(super) ready: bool,
    /// It has said that it leaves: it claims nothing any more.
    pub(super) leaving: bool,
    /// It asks to be replaced, for this reason.
    pub(super) wish: Option<WorkerEnd>,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Start a worker of this number.
    Start(usize),
    /// Start one that stands by.
    StartStandBy(usize),
    /// The one that stands by in this slot is to serve.
    Serve(usize),
    /// The one in this slot is to leave.
    Dismiss(usize, WorkerEnd),
}

/// The workers of one number.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    serving: Option<View>,
    standing_by: Option<View>,
    /// One was told to leave and may still run a task.
    lingers: bool,
}

/// What has to be done so that there are workers `0..target`, except those that are away.
///
/// A worker that asks to be replaced is dismissed only when its replacement is ready, and a replacement serves only when the one
/// before it claims nothing any more.
pub(super) fn plan(target: usize, away: &BTreeSet<usize>, views: &[View]) -> Vec<Move> {
    let most = views.iter().map(|view| view.worker + 1).max().unwrap_or(0);
    let mut watches = vec![Watch::default(); most.max(target)];
    for view in views {
        let watch = &mut watches[view.worker];
        match view.station {
            Station::Vacant => {}
            Station::Serving => watch.serving = Some(*view),
            Station::StandingBy => watch.standing_by = Some(*view),
            Station::Dismissed(_) => watch.lingers |= !view.leaving,
        }
    }
    let mut moves = Vec::new();
    for (worker, watch) in watches.iter().enumerate() {
        if worker >= target {
            moves.extend(dismiss_all(watch, WorkerEnd::Resized));
        } else if away.contains(&worker) {
            moves.extend(dismiss_all(watch, WorkerEnd::Idle));
        } else {
            moves.extend(watch.next(worker));
        }
    }
    moves
}

fn dismiss_all(watch: &Watch, end: WorkerEnd) -> impl Iterator<Item = Move> + use<> {
    let views = watch.serving.into_iter().chain(watch.standing_by);
    views.map(move |view| Move::Dismiss(view.slot, end))
}

impl Watch {
    /// What has to be done for a number that there should be.
    fn next(&self, worker: usize) -> Option<Move> {
        match (self.serving, self.standing_by) {
            (Some(serving), standing_by) => {
                let wish = serving.wish?;
                match standing_by {
                    None => Some(Move::StartStandBy(worker)),
                    Some(next) if next.ready => Some(Move::Dismiss(serving.slot, wish)),
                    Some(_) => None,
                }
            }
            (None, None) if self.lingers => Some(Move::StartStandBy(worker)),
            (None, None) => Some(Move::Start(worker)),
            (None, Some(_)) if self.lingers => None,
            (None, Some(next)) => Some(Move::Serve(next.slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view(slot: usize, worker: usize, station: Station) -> View {
        View {
            slot,
            worker,
            station,
            ready: true,
            leaving: false,
            wish: None,
        }
    }

    #[test]
    fn a_replacement_is_ready_before_the_old_one_is_dismissed_and_serves_after_it() {
        let none = BTreeSet::new();
        let mut old = view(0, 0, Station::Serving);
        assert_eq!(plan(1, &none, &[old]), []);
        old.wish = Some(WorkerEnd::MaxTasks);
        assert_eq!(plan(1, &none, &[old]), [Move::StartStandBy(0)]);
        let mut new = view(1, 0, Station::StandingBy);
        new.ready = false;
        assert_eq!(plan(1, &none, &[old, new]), []);
        new.ready = true;
        let dismissed = [Move::Dismiss(0, WorkerEnd::MaxTasks)];
        assert_eq!(plan(1, &none, &[old, new]), dismissed);
        old.station = Station::Dismissed(WorkerEnd::MaxTasks);
        assert_eq!(plan(1, &none, &[old, new]), []);
        old.leaving = true;
        assert_eq!(plan(1, &none, &[old, new]), [Move::Serve(1)]);
        assert_eq!(plan(1, &none, &[new]), [Move::Serve(1)]);
    }

    #[test]
    fn a_pool_that_grows_again_waits_for_the_one_that_lingers() {
        let none = BTreeSet::new();
        let old = view(1, 1, Station::Dismissed(WorkerEnd::Resized));
        let first = view(0, 0, Station::Serving);
        assert_eq!(plan(2, &none, &[first, old]), [Move::StartStandBy(1)]);
        assert_eq!(plan(1, &none, &[first, old]), []);
        let new = view(2, 1, Station::StandingBy);
        assert_eq!(plan(2, &none, &[first, old, new]), []);
        let both = [Move::Dismiss(2, WorkerEnd::Resized)];
        assert_eq!(plan(1, &none, &[first, old, new]), both);
    }

    #[test]
    fn those_that_are_away_are_not_started() {
        let away = BTreeSet::from([1]);
        let serving = [
            view(0, 0, Station::Serving),
            view(1, 1, Station::Serving),
            view(2, 2, Station::Serving),
        ];
        assert_eq!(
            plan(3, &away, &serving),
            [Move::Dismiss(1, WorkerEnd::Idle)]
        );
        assert_eq!(plan(3, &away, &[serving[0], serving[2]]), []);
        assert_eq!(
            plan(3, &BTreeSet::new(), &[serving[0], serving[2]]),
            [Move::Start(1)]
        );
    }

    /// Carries moves out at random, with deaths and wishes in between, and looks on.
    fn carry_out(steps: &[(u8, u8)], mut target: usize) -> Vec<View> {
        let mut views: Vec<View> = Vec::new();
        let mut next_slot = 0;
        let mut served = BTreeSet::new();
        for (what, whom) in steps {
            for step in plan(target, &BTreeSet::new(), &views) {
                match step {
                    Move::Start(worker) | Move::StartStandBy(worker) => {
                        let station = match step {
                            Move::Start(_) => Station::Serving,
                            _ => Station::StandingBy,
                        };
                        let mut new = view(next_slot, worker, station);
                        new.ready = false;
                        views.push(new);
                        next_slot += 1;
                    }
                    Move::Serve(slot) => {
                        let view = views.iter_mut().find(|view| view.slot == slot);
                        view.unwrap().station = Station::Serving;
                    }
                    Move::Dismiss(slot, end) => {
                        let view = views.iter_mut().find(|view| view.slot == slot);
                        view.unwrap().station = Station::Dismissed(end);
                    }
                }
            }
            let serving = views.iter().filter(|view| view.station == Station::Serving);
            served.extend(serving.map(|view| view.slot));
            for worker in 0..target {
                // One that was dismissed while it stood by never runs a task.
                let at_work = |view: &&View| {
                    view.worker == worker && served.contains(&view.slot) && !view.leaving
                };
                assert!(views.iter().filter(at_work).count() <= 1);
            }
            let Some(one) = views
                .len()
                .checked_sub(1)
                .map(|last| usize::from(*whom) % (last + 1))
            else {
                continue;
            };
            match what % 6 {
                0 => views[one].ready = true,
                1 => views[one].wish = Some(WorkerEnd::MaxTasks),
                2 if matches!(views[one].station, Station::Dismissed(_)) => {
                    views[one].leaving = true
                }
                3 => drop(views.remove(one)),
                4 => target = 1 + usize::from(*whom) % 5,
                _ => views.iter_mut().for_each(|view| view.ready = true),
            }
        }
        views
    }

    proptest! {
        #[test]
        fn of_one_number_one_is_at_work_whatever_happens(steps: Vec<(u8, u8)>, target in 1usize..5) {
            carry_out(&steps, target);
        }
    }
}
