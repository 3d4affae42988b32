//! The memory budget: all memory for object data is reserved before the data is requested.

use std::fs;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::object::MIB;

const UNIT: u64 = 1024;
/// A smaller budget could not hold the smallest part next to another.
const LEAST_BUDGET_BYTES: u64 = 32 * MIB;

/// A fixed number of bytes that all parts of all objects share.
///
///
/// Invariant: the sum of the live [`Reservation`]s is at most the budget. No task holds one
/// reservation while waiting for another, so the wait always ends.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    /// The share for bytes that wait for their turn: half, so that there is always room for the
    /// bytes that they wait for.
    spare: Arc<Semaphore>,
    total: u64,
}

/// Room for bytes that wait for their turn; released on drop.
#[derive(Debug)]
pub struct Spare {
    _permits: Option<[OwnedSemaphorePermit; 2]>,
}

impl Spare {
    /// For bytes whose room is already reserved elsewhere.
    pub(super) fn none() -> Self {
        Self { _permits: None }
    }
}

/// A share of the budget; released on drop.
#[derive(Debug)]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let units = units(bytes);
        let semaphore = |units: u32| Arc::new(Semaphore::new(units as usize));
        let total = u64::from(units) * UNIT;
        Self { units: semaphore(units), spare: semaphore(units / 2), total }
    }

    /// `max_memory` bytes, or half of what the machine or its cgroup has.
    pub fn of_machine(max_memory: Option<u64>) -> Self {
        Self::new(max_memory.unwrap_or_else(|| (memory_limit() / 2).max(LEAST_BUDGET_BYTES)))
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest body that is held in memory: others still find room next to it.
    pub(super) fn largest_held(&self) -> u64 {
        self.total / 2
    }

    /// Room for `bytes` that wait for their turn, if there is some now.
    pub(super) fn spare(&self, bytes: u64) -> Option<Spare> {
        let take = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_many_owned(units(bytes));
        let permits = [take(&self.spare).ok()?, take(&self.units).ok()?];
        Some(Spare { _permits: Some(permits) })
    }

    /// Waits for room for `bytes` that wait for their turn; for ever, if they can never fit.
    ///
    /// The other half of the budget is never held by those who wait for others, so it comes back.
    pub(super) async fn wait_for_spare(&self, bytes: u64) -> Spare {
        if bytes > self.largest_held() {
            // At the head of the line it would keep everybody else waiting.
            return std::future::pending().await;
        }
        let take = |from: &Arc<Semaphore>| Arc::clone(from).acquire_many_owned(units(bytes));
        match (take(&self.spare).await, take(&self.units).await) {
            (Ok(spare), Ok(units)) => Spare { _permits: Some([spare, units]) },
            // Never: the semaphores are not closed.
            _ => std::future::pending().await,
        }
    }

    /// Waits for `bytes`; refuses what can never fit.
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation> {
        if bytes > self.total {
            return Err(Error::invalid(format!(
                "a part of {} MiB does not fit into MaxMemory of {} MiB: raise MaxMemory",
                bytes.div_ceil(MIB),
                self.total / MIB
            )));
        }
        let permit = Arc::clone(&self.units).acquire_many_owned(units(bytes)).await;
        let permit = permit.map_err(|closed| Error::cancelled().with_source(closed))?;
        Ok(Reservation { _permit: permit })
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Bytes that this process may use: the cgroup's limit or the machine's memory, whichever is
/// smaller.
fn memory_limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| cgroup_limit(&text));
    cgroup.into_iter().chain(machine).min().unwrap_or(1024 * MIB)
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest `memory.max` from the process's own cgroup up to the root (cgroup v2,
/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>).
fn cgroup_limit(own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim();
    let root = std::path::Path::new("/sys/fs/cgroup");
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| {
            fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Promise 6.
    #[tokio::test]
    async fn what_is_reserved_comes_back_when_it_is_dropped() {
        let budget = MemoryBudget::new(10 * MIB);
        let first = budget.reserve(6 * MIB).await.unwrap();
        let mut second = std::pin::pin!(budget.reserve(6 * MIB));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await.unwrap();
    }

    /// Promise 6.
    #[tokio::test]
    async fn what_can_never_fit_is_refused_with_advice() {
        let error = MemoryBudget::new(10 * MIB).reserve(11 * MIB).await.unwrap_err();
        assert!(error.to_string().contains("raise MaxMemory"), "{error}");
    }

    /// Promise 6.
    #[test]
    fn the_machines_memory_is_read_in_bytes() {
        assert_eq!(mem_total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 * 1024));
        assert!(memory_limit() > 0);
    }
}
