//! Slows down guessing at passwords, without letting anybody keep somebody else out.
//!
//! Three counts of failures lead to waits that double up to a quarter of an hour:
//!
//! | Of | Free | Then a wait | Keeps out |
//! |---|---|---|---|
//! | an account from one network | 5 | after each | that account from that network |
//! | an account from everywhere | 50 | after each | that account from networks where it never signed in |
//! | a network, whatever the account | 50 | after every tenth | accounts that never signed in from there |
//!
//! So whoever guesses at an account from elsewhere does not keep its owner waiting, and a site behind one address goes
//! on working for those who have signed in there before, in the last 30 days and since the start of the service. From
//! one network at most some twenty guesses at an account are compared in an hour, from all together less than a
//! hundred. A lock for good would let anybody lock out anybody, so there is none.
//!
//! A network is one IPv4 address or 64 bits of IPv6.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use muster_core::UnixTime;
use muster_core::identity::AccountName;

/// Longest wait, in seconds.
const LONGEST: i64 = 900;
/// Entries kept of each kind; above it those that mean nothing any more are dropped.
const CAPACITY: usize = 50_000;
/// Seconds for which an account is known to sign in from a network.
const FAMILIAR: i64 = 30 * 86_400;

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: UnixTime,
}

/// Failures by key.
#[derive(Debug)]
struct Throttle<K> {
    /// Failures before the first wait.
    free: u32,
    /// Failures from one wait to the next.
    step: u32,
    entries: Mutex<HashMap<K, Entry>>,
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    fn new(free: u32, step: u32) -> Self {
        Self { free, step, entries: Mutex::default() }
    }

    /// When the next try is allowed.
    fn until(&self, entry: Entry) -> UnixTime {
        match entry.failures.checked_sub(self.free) {
            Some(more) if more.is_multiple_of(self.step) => {
                let doublings = (more / self.step).min(10);
                entry.last.plus((1i64 << doublings).min(LONGEST))
            }
            Some(_) | None => entry.last,
        }
    }

    fn allows(&self, key: &K, now: UnixTime) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).is_none_or(|entry| now >= self.until(*entry))
    }

    fn failed(&self, key: &K, now: UnixTime) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| now.since(self.until(*entry)) < LONGEST && entry.failures >= self.free);
        }
        let entry = entries.entry(key.clone()).or_insert(Entry { failures: 0, last: now });
        // A quiet quarter of an hour after the wait wipes the slate.
        if now.since(self.until(*entry)) > LONGEST {
            entry.failures = 0;
        }
        *entry = Entry { failures: entry.failures.saturating_add(1), last: now };
    }

    fn forget(&self, key: &K) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Who has to wait before another password is compared.
#[derive(Debug)]
pub(super) struct Pace {
    pairs: Throttle<(AccountName, IpAddr)>,
    accounts: Throttle<AccountName>,
    networks: Throttle<IpAddr>,
    familiar: Mutex<HashMap<(AccountName, IpAddr), UnixTime>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pairs: Throttle::new(5, 1),
            accounts: Throttle::new(50, 1),
            networks: Throttle::new(50, 10),
            familiar: Mutex::default(),
        }
    }
}

impl Pace {
    /// Whether a password may be compared now. Without a name there can be no account.
    pub(super) fn allows(&self, name: Option<&AccountName>, network: IpAddr, now: UnixTime) -> bool {
        let Some(name) = name else { return self.networks.allows(&network, now) };
        let pair = (name.clone(), network);
        self.pairs.allows(&pair, now)
            && (self.is_familiar(&pair, now)
                || (self.accounts.allows(name, now) && self.networks.allows(&network, now)))
    }

    /// Notes a failure.
    pub(super) fn failed(&self, name: Option<&AccountName>, network: IpAddr, now: UnixTime) {
        self.networks.failed(&network, now);
        if let Some(name) = name {
            self.pairs.failed(&(name.clone(), network), now);
            self.accounts.failed(name, now);
        }
    }

    /// Notes a success. What others failed at from elsewhere still counts.
    pub(super) fn succeeded(&self, name: &AccountName, network: IpAddr, now: UnixTime) {
        let pair = (name.clone(), network);
        self.pairs.forget(&pair);
        let mut familiar = self.familiar.lock().unwrap_or_else(PoisonError::into_inner);
        if familiar.len() >= CAPACITY {
            familiar.retain(|_, last| now.since(*last) < FAMILIAR);
            if familiar.len() >= CAPACITY {
                familiar.clear();
            }
        }
        familiar.insert(pair, now);
    }

    fn is_familiar(&self, pair: &(AccountName, IpAddr), now: UnixTime) -> bool {
        let familiar = self.familiar.lock().unwrap_or_else(PoisonError::into_inner);
        familiar.get(pair).is_some_and(|last| now.since(*last) < FAMILIAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let throttle = Throttle::new(5, 1);
        let mut now = UnixTime(1_000);
        for _ in 0..5 {
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
        throttle.forget(&"a");
        assert!(throttle.allows(&"a", now));
    }

    fn network(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// Guesses that are compared within an hour, from so many networks and at so many accounts, each trying as often
    /// as it may.
    fn compared(networks: u32, accounts: u32) -> u32 {
        let pace = Pace::default();
        let names: Vec<AccountName> = (0..accounts).filter_map(|n| format!("user{n}").parse().ok()).collect();
        let mut compared = 0;
        for second in 0..3_600 {
            let now = UnixTime(second);
            for from in 0..networks {
                for name in &names {
                    while pace.allows(Some(name), network(from), now) {
                        pace.failed(Some(name), network(from), now);
                        compared += 1;
                    }
                }
            }
        }
        compared
    }

    #[test]
    fn guesses_at_an_account_are_less_than_a_hundred_an_hour() {
        assert!((10..=25).contains(&compared(1, 1)), "{}", compared(1, 1));
        for networks in [3, 30, 300] {
            assert!((20..100).contains(&compared(networks, 1)), "{networks}: {}", compared(networks, 1));
        }
        // One password for everybody.
        assert!((50..=250).contains(&compared(1, 500)), "{}", compared(1, 500));
    }

    #[test]
    fn owner_is_not_kept_out_from_elsewhere() {
        let pace = Pace::default();
        let name: AccountName = "alice".parse().unwrap();
        let (home, now) = (network(1), UnixTime(1_000));
        for _ in 0..20 {
            pace.failed(Some(&name), network(2), now);
        }
        assert!(!pace.allows(Some(&name), network(2), now));
        assert!(pace.allows(Some(&name), home, now), "the account has failures to spare");
        pace.succeeded(&name, home, now);
        for from in 3..40 {
            pace.failed(Some(&name), network(from), now);
        }
        assert!(!pace.allows(Some(&name), network(50), now), "from a new network it waits");
        assert!(pace.allows(Some(&name), home, now), "from home it does not");
        // The whole site behind its address is full of guesses.
        for n in 0..60 {
            pace.failed(format!("user{n}").parse().ok().as_ref(), home, now);
        }
        let other: AccountName = "bob".parse().unwrap();
        assert!(!pace.allows(Some(&other), home, now));
        assert!(!pace.allows(None, home, now));
        assert!(pace.allows(Some(&name), home, now));
        for _ in 0..5 {
            pace.failed(Some(&name), home, now);
        }
        assert!(!pace.allows(Some(&name), home, now), "its own failures count there, too");
    }
}
