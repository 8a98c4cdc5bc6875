//! Accounts that have been read, for as long as nothing says that they changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_core::identity::Sid;
use tokio::time::Instant;

use crate::account::{AccountKey, DirectoryAccount};

/// Nothing is kept longer: what no change counter shows, such as the end of a lockout's duration elsewhere.
const MAX_AGE: Duration = Duration::from_hours(1);
/// A lockout ends without a change to the account.
const MAX_AGE_LOCKED: Duration = Duration::from_secs(30);

/// The cache and what the watcher knows of the directory.
#[derive(Debug)]
pub(crate) struct Cache {
    capacity: usize,
    /// How long an account may be used without word from the directory.
    away: Duration,
    slots: HashMap<Sid, Slot>,
    names: HashMap<AccountKey, Sid>,
    guids: HashMap<Vec<u8>, Sid>,
    /// Counts uses, to find the slots that are not used.
    ticks: u64,
    /// Counts what may have made an answer under way outdated.
    generation: u64,
    /// The directory's latest change that the watcher has seen.
    usn: i64,
    /// When the watcher last had an answer.
    checked: Option<Instant>,
    /// Whether the watcher sees deletions.
    sees_deletions: bool,
}

#[derive(Debug)]
struct Slot {
    account: Arc<DirectoryAccount>,
    /// The directory's latest change when it was read.
    usn: i64,
    read: Instant,
    used: u64,
    /// Keys under which callers asked for it.
    names: Vec<AccountKey>,
}

/// The state of the cache before a question was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    generation: u64,
    usn: i64,
}

impl Cache {
    pub(crate) fn new(capacity: usize, away: Duration) -> Self {
        Self {
            capacity: capacity.max(1),
            away,
            slots: HashMap::new(),
            names: HashMap::new(),
            guids: HashMap::new(),
            ticks: 0,
            generation: 0,
            usn: 0,
            checked: None,
            sees_deletions: false,
        }
    }

    /// The account, if nothing can have changed since it was read.
    pub(crate) fn warm(&mut self, key: &AccountKey, now: Instant) -> Option<Arc<DirectoryAccount>> {
        let checked = self.checked?;
        let sid = self.sid(key)?.clone();
        let slot = self.slots.get_mut(&sid)?;
        let max_age = if slot.account.locked { MAX_AGE_LOCKED } else { MAX_AGE };
        let fresh = now.duration_since(checked) <= self.away && now.duration_since(slot.read) <= max_age;
        // Deletions that the watcher cannot see are found by reading again after every change of the directory.
        if !fresh || (!self.sees_deletions && slot.usn < self.usn) {
            return None;
        }
        self.ticks += 1;
        slot.used = self.ticks;
        Some(Arc::clone(&slot.account))
    }

    /// The account that would be warm if the watcher saw deletions: to be confirmed by a look at it and its groups.
    pub(crate) fn unconfirmed(&self, key: &AccountKey, now: Instant) -> Option<Arc<DirectoryAccount>> {
        let slot = self.slots.get(self.sid(key)?)?;
        let max_age = if slot.account.locked { MAX_AGE_LOCKED } else { MAX_AGE };
        let kept = now.duration_since(slot.read) <= max_age && !self.sees_deletions;
        kept.then(|| Arc::clone(&slot.account))
    }

    /// The account was still there, with the same groups, after the change that `mark` stands for.
    pub(crate) fn confirm(&mut self, sid: &Sid, mark: Mark) {
        if mark.generation == self.generation
            && let Some(slot) = self.slots.get_mut(sid)
        {
            slot.usn = slot.usn.max(mark.usn);
        }
    }

    /// The account for the case that the directory does not answer: if it was read a short while ago.
    pub(crate) fn recent(&self, key: &AccountKey, now: Instant) -> Option<Arc<DirectoryAccount>> {
        let slot = self.slots.get(self.sid(key)?)?;
        (now.duration_since(slot.read) <= self.away).then(|| Arc::clone(&slot.account))
    }

    /// What to give to [`Self::insert`] with the answer to a question that is sent now.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { generation: self.generation, usn: self.usn }
    }

    /// Keeps an account that was found by `key`, unless something changed since the question.
    pub(crate) fn insert(
        &mut self,
        key: &AccountKey,
        account: &Arc<DirectoryAccount>,
        mark: Mark,
        now: Instant,
    ) {
        if mark.generation != self.generation || self.checked.is_none() {
            return;
        }
        let sid = account.facts.sid.clone();
        let mut names = self.remove(&sid).map(|slot| slot.names).unwrap_or_default();
        if self.slots.len() >= self.capacity {
            self.evict();
        }
        // As few names per account as callers have ways to ask; more would be a way to fill the memory.
        if !names.contains(key) && !matches!(key, AccountKey::Sid(_)) && names.len() < 8 {
            names.push(key.clone());
        }
        self.ticks += 1;
        for name in &names {
            self.names.insert(name.clone(), sid.clone());
        }
        if let Some(guid) = account.facts.object_guid {
            self.guids.insert(guid.0.to_vec(), sid.clone());
        }
        let slot = Slot { account: Arc::clone(account), usn: mark.usn, read: now, used: self.ticks, names };
        self.slots.insert(sid, slot);
    }

    /// Forgets the account that `key` finds: the directory has none any more.
    pub(crate) fn forget(&mut self, key: &AccountKey) {
        if let Some(sid) = self.sid(key).cloned() {
            self.remove(&sid);
        }
    }

    /// Nothing changed up to now.
    pub(crate) const fn unchanged(&mut self, now: Instant) {
        self.checked = Some(now);
    }

    /// These objects changed, the last of them as change `usn`.
    pub(crate) fn changed<'a>(
        &mut self,
        objects: impl IntoIterator<Item = (Option<Sid>, Option<&'a [u8]>)>,
        usn: i64,
        now: Instant,
    ) {
        self.generation += 1;
        for (sid, guid) in objects {
            if let Some(sid) = sid {
                self.remove(&sid);
            }
            if let Some(sid) = guid.and_then(|guid| self.guids.get(guid)).cloned() {
                self.remove(&sid);
            }
        }
        self.usn = usn;
        self.checked = Some(now);
    }

    /// Anything may have changed: forgets everything. From here on changes after `usn` count.
    pub(crate) fn clear(&mut self, usn: i64, now: Instant) {
        self.generation += 1;
        self.slots.clear();
        self.names.clear();
        self.guids.clear();
        self.usn = usn;
        self.checked = Some(now);
    }

    pub(crate) const fn set_sees_deletions(&mut self, sees: bool) {
        self.sees_deletions = sees;
    }

    pub(crate) const fn usn(&self) -> i64 {
        self.usn
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn sid<'a>(&'a self, key: &'a AccountKey) -> Option<&'a Sid> {
        match key {
            AccountKey::Sid(sid) => Some(sid),
            AccountKey::Upn(_) | AccountKey::SamAccount { .. } | AccountKey::DnsName(_) => {
                self.names.get(key)
            }
        }
    }

    fn remove(&mut self, sid: &Sid) -> Option<Slot> {
        let slot = self.slots.remove(sid)?;
        for name in &slot.names {
            self.names.remove(name);
        }
        if let Some(guid) = slot.account.facts.object_guid {
            self.guids.remove(guid.0.as_slice());
        }
        Some(slot)
    }

    /// Makes room: removes the quarter that was not used for the longest time.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self.slots.values().map(|slot| slot.used).collect();
        let quarter = used.len() / 4;
        let (_, &mut limit, _) = used.select_nth_unstable(quarter);
        let old: Vec<Sid> =
            self.slots.iter().filter(|(_, slot)| slot.used <= limit).map(|(sid, _)| sid.clone()).collect();
        for sid in old {
            self.remove(&sid);
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
