//! Dictionaries, lists and sets. They hold bytes: two values are equal if they are serialised alike.

use std::collections::{BTreeMap, HashMap};

use super::effects::Effects;
use crate::manager::error::ManagerError;
use crate::manager::message::{Blob, DictOp, ListOp, Reply, SetOp};

type Outcome = Result<Reply, ManagerError>;

/// Entries in the order in which their keys came.
#[derive(Debug, Default)]
pub(crate) struct Dict {
    entries: HashMap<Blob, (u64, Blob)>,
    order: BTreeMap<u64, Blob>,
    came: u64,
}

impl Dict {
    pub(crate) fn run(&mut self, op: DictOp, effects: &mut Effects) -> Outcome {
        Ok(match op {
            DictOp::Get(key) => Reply::Value(self.get(&key).cloned()),
            DictOp::Contains(key) => Reply::Bool(self.entries.contains_key(&key)),
            DictOp::Len => Reply::Number(self.entries.len() as u64),
            DictOp::Items => Reply::Pairs(self.pairs()),
            DictOp::Set(key, value) => Reply::Value(self.set(key, value, effects)),
            DictOp::SetDefault(key, value) => {
                if let Some(there) = self.get(&key) {
                    return Ok(Reply::Value(Some(there.clone())));
                }
                self.set(key, value.clone(), effects);
                Reply::Value(Some(value))
            }
            DictOp::Remove(key) => Reply::Value(self.remove(&key, effects)),
            DictOp::PopItem => match self.order.last_key_value() {
                Some((_, key)) => {
                    let key = key.clone();
                    let value = self.remove(&key, effects);
                    Reply::Pairs(value.map(|value| (key, value)).into_iter().collect())
                }
                None => Reply::Pairs(Vec::new()),
            },
            DictOp::Extend(pairs) => {
                for (key, value) in pairs {
                    self.set(key, value, effects);
                }
                Reply::Done
            }
            DictOp::Clear => {
                self.values().for_each(|blob| effects.release(blob));
                self.entries.clear();
                self.order.clear();
                Reply::Done
            }
            DictOp::Replace { key, old, new } => {
                let same = self.get(&key).map(|value| &value.bytes) == old.as_ref();
                match new {
                    _ if !same => {}
                    Some(new) => drop(self.set(key, new, effects)),
                    None => drop(self.remove(&key, effects)),
                }
                Reply::Bool(same)
            }
        })
    }

    fn get(&self, key: &Blob) -> Option<&Blob> {
        self.entries.get(key).map(|(_, value)| value)
    }

    fn pairs(&self) -> Vec<(Blob, Blob)> {
        let pair = |key: &Blob| Some((key.clone(), self.get(key)?.clone()));
        self.order.values().filter_map(pair).collect()
    }

    fn set(&mut self, key: Blob, value: Blob, effects: &mut Effects) -> Option<Blob> {
        effects.keep(&value);
        if let Some((_, there)) = self.entries.get_mut(&key) {
            let old = std::mem::replace(there, value);
            effects.release(&old);
            return Some(old);
        }
        effects.keep(&key);
        self.came += 1;
        self.order.insert(self.came, key.clone());
        self.entries.insert(key, (self.came, value));
        None
    }

    fn remove(&mut self, key: &Blob, effects: &mut Effects) -> Option<Blob> {
        let (place, value) = self.entries.remove(key)?;
        self.order.remove(&place);
        effects.release(key);
        effects.release(&value);
        Some(value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Blob> {
        self.entries
            .iter()
            .flat_map(|(key, (_, value))| [key, value])
    }
}

/// A list. Its version changes with every change, so that who has computed a new list from the old one can tell whether it still is.
#[derive(Debug, Default)]
pub(crate) struct List {
    values: Vec<Blob>,
    version: u64,
}

impl List {
    pub(crate) fn run(&mut self, op: ListOp, effects: &mut Effects) -> Outcome {
        match op {
            ListOp::Get(index) => Ok(Reply::Value(self.values.get(place(index)).cloned())),
            ListOp::Index(value) => Ok(match self.position(&value) {
                Some(index) => Reply::Numbers(1, index as u64),
                None => Reply::Numbers(0, 0),
            }),
            ListOp::Count(value) => {
                let equal = self.values.iter().filter(|there| **there == value);
                Ok(Reply::Number(equal.count() as u64))
            }
            ListOp::Len => Ok(Reply::Number(self.values.len() as u64)),
            ListOp::All => Ok(Reply::Values {
                version: self.version,
                values: self.values.clone(),
            }),
            change => {
                self.version += 1;
                self.change(change, effects)
            }
        }
    }

    fn change(&mut self, op: ListOp, effects: &mut Effects) -> Outcome {
        Ok(match op {
            ListOp::Pop(index) => {
                let last = self.values.len().checked_sub(1);
                let taken = index
                    .map(place)
                    .or(last)
                    .filter(|index| *index < self.values.len())
                    .map(|index| self.values.remove(index));
                taken.iter().for_each(|value| effects.release(value));
                Reply::Value(taken)
            }
            ListOp::Set(index, value) => {
                let len = self.values.len() as u64;
                let there = self
                    .values
                    .get_mut(place(index))
                    .ok_or(ManagerError::NoElement { index, len })?;
                effects.keep(&value);
                let old = std::mem::replace(there, value);
                effects.release(&old);
                Reply::Value(Some(old))
            }
            ListOp::RemoveValue(value) => match self.position(&value) {
                Some(index) => {
                    effects.release(&self.values.remove(index));
                    Reply::Bool(true)
                }
                None => Reply::Bool(false),
            },
            ListOp::Reverse => {
                self.values.reverse();
                Reply::Done
            }
            ListOp::Clear => {
                self.values.iter().for_each(|value| effects.release(value));
                self.values.clear();
                Reply::Done
            }
            ListOp::Replace { version, values } => {
                // The version counts this change already.
                if version.checked_add(1) != Some(self.version) {
                    self.version -= 1;
                    return Ok(Reply::Bool(false));
                }
                values.iter().for_each(|value| effects.keep(value));
                let old = std::mem::replace(&mut self.values, values);
                old.iter().for_each(|value| effects.release(value));
                Reply::Bool(true)
            }
            other => return self.add(other, effects),
        })
    }

    fn add(&mut self, op: ListOp, effects: &mut Effects) -> Outcome {
        match op {
            ListOp::Push(value) => {
                effects.keep(&value);
                self.values.push(value);
            }
            ListOp::Extend(values) => {
                values.iter().for_each(|value| effects.keep(value));
                self.values.extend(values);
            }
            ListOp::Insert(index, value) => {
                let len = self.values.len() as u64;
                if index > len {
                    return Err(ManagerError::NoElement { index, len });
                }
                effects.keep(&value);
                self.values.insert(place(index), value);
            }
            // Done by `run` and `change`.
            _ => {}
        }
        Ok(Reply::Done)
    }

    fn position(&self, value: &Blob) -> Option<usize> {
        self.values.iter().position(|there| there == value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Blob> {
        self.values.iter()
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A set, in the order in which its values came.
#[derive(Debug, Default)]
pub(crate) struct Set {
    values: Dict,
}

impl Set {
    pub(crate) fn run(&mut self, op: SetOp, effects: &mut Effects) -> Outcome {
        Ok(match op {
            SetOp::Insert(value) => Reply::Bool(self.insert(value, effects)),
            SetOp::Remove(value) => Reply::Bool(self.values.remove(&value, effects).is_some()),
            SetOp::Contains(value) => Reply::Bool(self.values.get(&value).is_some()),
            SetOp::Len => Reply::Number(self.values.entries.len() as u64),
            SetOp::All => Reply::Values {
                version: 0,
                values: self.values.order.values().cloned().collect(),
            },
            SetOp::Pop => {
                let last = self.values.order.last_key_value();
                let last = last.map(|(_, value)| value.clone());
                if let Some(value) = &last {
                    self.values.remove(value, effects);
                }
                Reply::Value(last)
            }
            SetOp::Extend(values) => {
                let new = values
                    .into_iter()
                    .filter(|value| self.insert(value.clone(), effects));
                Reply::Number(new.count() as u64)
            }
            SetOp::Clear => self.values.run(DictOp::Clear, effects)?,
        })
    }

    fn insert(&mut self, value: Blob, effects: &mut Effects) -> bool {
        let new = self.values.get(&value).is_none();
        if new {
            self.values.set(value, Blob::default(), effects);
        }
        new
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Blob> {
        self.values.values()
    }
}
