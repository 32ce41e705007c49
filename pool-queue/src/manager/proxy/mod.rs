//! Proxies: what programs hold of the objects of a manager.

mod backing;
mod call;
mod claim;
mod condition;
mod containers;
mod counter;
pub mod forms;
mod guard;
mod list;
mod lock;
mod pool;
mod queue;
mod semaphore;
mod shared;
mod signal;

pub use call::{Method, Proxy};
pub use claim::ManagedClaim;
pub use condition::{ConditionGuard, ConditionProxy};
pub use containers::{DictProxy, NamespaceProxy, SetProxy};
pub use counter::{Array, ArrayProxy, Counter, CounterProxy, ValueProxy};
pub use guard::ManagedLockError;
pub use list::ListProxy;
pub use lock::{ManagedGuard, MutexProxy, ReentrantLockProxy, RwLockProxy};
pub use pool::PoolProxy;
pub use queue::{JoinableQueueProxy, LifoQueueProxy, PriorityQueueProxy, QueueProxy};
pub use semaphore::{Permit, SemaphoreProxy};
pub use shared::Shared;
pub use signal::{BarrierProxy, EventProxy};

use std::time::Duration;

use super::message::Wait;

/// What all proxies have: they are values, and name one object.
macro_rules! proxy {
    ($name:ident $(<$($parameter:ident),+>)?) => {
        impl $(<$($parameter),+>)? $name $(<$($parameter),+>)? {
            pub(crate) fn of(object: std::sync::Arc<crate::manager::value::Object>) -> Self {
                Self { object, holds: std::marker::PhantomData }
            }
        }

        impl $(<$($parameter),+>)? Clone for $name $(<$($parameter),+>)? {
            fn clone(&self) -> Self {
                Self::of(std::sync::Arc::clone(&self.object))
            }
        }

        impl $(<$($parameter),+>)? std::fmt::Debug for $name $(<$($parameter),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("object", &self.object.id)
                    .field("manager", &self.object.session.address)
                    .finish_non_exhaustive()
            }
        }

        impl $(<$($parameter),+>)? PartialEq for $name $(<$($parameter),+>)? {
            /// Whether both are proxies of the same object.
            fn eq(&self, other: &Self) -> bool {
                let name = |proxy: &Self| (proxy.object.session.manager, proxy.object.id);
                name(self) == name(other)
            }
        }

        impl $(<$($parameter),+>)? Eq for $name $(<$($parameter),+>)? {}

        impl $(<$($parameter),+>)? std::hash::Hash for $name $(<$($parameter),+>)? {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.object.id.hash(state);
            }
        }

        impl $(<$($parameter),+>)? serde::Serialize for $name $(<$($parameter),+>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.export(serializer)
            }
        }

        impl<'de $(, $($parameter),+)?> serde::Deserialize<'de> for $name $(<$($parameter),+>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let expected = std::any::type_name::<Self>();
                let object = crate::manager::value::Object::import(deserializer, expected)?;
                Ok(Self::of(std::sync::Arc::new(object)))
            }
        }
    };
}
pub(crate) use proxy;

/// What proxies of things in shared memory have: they are values, and name one object.
macro_rules! shared_proxy {
    ($name:ident, $thing:ty) => {
        impl Clone for $name {
            fn clone(&self) -> Self {
                let shared = self.shared.clone();
                Self { shared }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let object = &self.shared.object;
                f.debug_struct(stringify!($name))
                    .field("object", &object.id)
                    .field("manager", &object.session.address)
                    .finish_non_exhaustive()
            }
        }

        impl PartialEq for $name {
            /// Whether both are proxies of the same object.
            fn eq(&self, other: &Self) -> bool {
                let name = |proxy: &Self| {
                    let object = &proxy.shared.object;
                    (object.session.manager, object.id)
                };
                name(self) == name(other)
            }
        }

        impl Eq for $name {}

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.shared.object.id.hash(state);
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.shared.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let shared = super::shared::Shared::<$thing>::deserialize(deserializer)?;
                Ok(Self { shared })
            }
        }
    };
}
pub(crate) use shared_proxy;

fn within(timeout: Duration) -> Wait {
    Wait::For(timeout)
}

/// Reads one kind of reply.
macro_rules! expect_reply {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply? {
            $pattern => Ok($value),
            other => Err(crate::manager::session::unexpected(other)),
        }
    };
}
pub(crate) use expect_reply;
