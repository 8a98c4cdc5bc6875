//! Slows down guessing: five free failures, then waits that double up to a quarter of an hour, for each account and
//! for each source address.
//!
//! A lock for good would let anybody lock out anybody, so there is none; a hundred failures in a row are as slow as
//! five and a long wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use muster_core::UnixTime;

/// Failures before the first wait.
const FREE: u32 = 5;
/// Longest wait, in seconds.
const LONGEST: i64 = 900;
/// Entries kept; above it the ones that are not waiting are dropped.
const CAPACITY: usize = 50_000;

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: UnixTime,
}

impl Entry {
    /// When the next try is allowed.
    const fn until(self) -> UnixTime {
        if self.failures < FREE {
            return self.last;
        }
        let doubled = 1i64 << (if self.failures - FREE > 10 { 10 } else { self.failures - FREE });
        self.last.plus(if doubled > LONGEST { LONGEST } else { doubled })
    }
}

/// Failures by key.
#[derive(Debug)]
pub(super) struct Throttle<K>(Mutex<HashMap<K, Entry>>);

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    /// Whether `key` may try now.
    pub(super) fn allows(&self, key: &K, now: UnixTime) -> bool {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).is_none_or(|entry| now >= entry.until())
    }

    /// Notes a failure.
    pub(super) fn failed(&self, key: &K, now: UnixTime) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| now.since(entry.until()) < LONGEST && entry.failures >= FREE);
        }
        let entry = entries.entry(key.clone()).or_insert(Entry { failures: 0, last: now });
        // A quiet quarter of an hour after the wait wipes the slate.
        if now.since(entry.until()) > LONGEST {
            entry.failures = 0;
        }
        *entry = Entry { failures: entry.failures.saturating_add(1), last: now };
    }

    /// Forgets the failures of `key`.
    pub(super) fn succeeded(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let throttle = Throttle::default();
        let mut now = UnixTime(1_000);
        for _ in 0..FREE {
            assert!(throttle.allows(&"a", now));
            throttle.failed(&"a", now);
        }
        assert!(!throttle.allows(&"a", now), "after five failures there is a wait");
        assert!(throttle.allows(&"b", now), "of this key alone");
        now = now.plus(1);
        assert!(throttle.allows(&"a", now));
        throttle.failed(&"a", now);
        assert!(!throttle.allows(&"a", now.plus(1)), "the second wait is longer");
        for _ in 0..40 {
            throttle.failed(&"a", now);
        }
        assert!(!throttle.allows(&"a", now.plus(LONGEST - 1)));
        assert!(throttle.allows(&"a", now.plus(LONGEST)), "no wait is longer than a quarter of an hour");
        throttle.succeeded(&"a");
        assert!(throttle.allows(&"a", now));
    }
}
