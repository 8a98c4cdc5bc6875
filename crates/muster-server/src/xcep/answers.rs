//! Answers that were written before, for callers who may have the same.
//!
//! An answer follows from the templates at one moment and from what the caller may do with each of them. Both are
//! worked out for every message, so nothing that is kept here can be outdated: it is found only by them.

use std::sync::{Arc, Mutex, PoisonError};

use muster_core::template::Permission;
use muster_proto::xcep::WrittenPolicies;

use crate::catalog::Snapshot;

/// Answers kept: as many kinds of callers are served without writing anew.
const MOST: usize = 32;
/// Octets of all that are kept. One answer with 200 templates has about half a million.
const MOST_OCTETS: usize = 6 << 20;

/// What an answer offers of the snapshots of the CAs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offered {
    /// Renewal by a certificate alone, which has addresses of its own.
    pub(super) key_based: bool,
    /// Position of the CA, of the template in its snapshot, and what the caller may do with it.
    pub(super) templates: Vec<(usize, usize, Permission)>,
}

/// The answers, the one used last at the end.
#[derive(Default)]
pub(super) struct Answers(Mutex<Vec<Kept>>);

struct Kept {
    snapshots: Vec<Arc<Snapshot>>,
    offered: Offered,
    answer: Arc<WrittenPolicies>,
}

/// Whether these are the same, and not only equal.
fn are_same(some: &[Arc<Snapshot>], others: &[Arc<Snapshot>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// Whose callers they are for.
fn forest(snapshots: &[Arc<Snapshot>]) -> Option<usize> {
    snapshots.first().and_then(|snapshot| snapshot.forest)
}

impl Answers {
    /// The answer that offers this of the snapshots; `write` makes it if it is not there.
    pub(super) fn get(
        &self,
        snapshots: &[Arc<Snapshot>],
        offered: Offered,
        write: impl FnOnce(&Offered) -> WrittenPolicies,
    ) -> Arc<WrittenPolicies> {
        if let Some(answer) = self.find(snapshots, &offered) {
            return answer;
        }
        // Without the lock: others are not to wait for it.
        let answer = Arc::new(write(&offered));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What the same callers had before is of no use any more.
        kept.retain(|k| forest(&k.snapshots) != forest(snapshots) || are_same(&k.snapshots, snapshots));
        kept.push(Kept { snapshots: snapshots.to_vec(), offered, answer: Arc::clone(&answer) });
        while kept.len() > MOST || kept.iter().map(|k| k.answer.octets()).sum::<usize>() > MOST_OCTETS {
            kept.remove(0);
        }
        answer
    }

    fn find(&self, snapshots: &[Arc<Snapshot>], offered: &Offered) -> Option<Arc<WrittenPolicies>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|k| are_same(&k.snapshots, snapshots) && k.offered == *offered)?;
        let found = kept.remove(at);
        let answer = Arc::clone(&found.answer);
        kept.push(found);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use muster_core::UnixTime;
    use muster_proto::xcep::GetPoliciesResponse;

    use super::*;

    fn snapshot(forest: Option<usize>) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            generation: 1,
            revision: 1,
            loaded: UnixTime(0),
            templates: Vec::new(),
            wire: Default::default(),
            forest,
            offer: Arc::default(),
        })
    }

    const MAY: Permission = Permission { enroll: true, auto_enroll: false };
    const AUTO: Permission = Permission { enroll: true, auto_enroll: true };

    /// Asks, and tells whether the answer was written anew.
    fn is_written(
        answers: &Answers,
        snapshot: &Arc<Snapshot>,
        offered: &[(usize, Permission)],
        name: &str,
    ) -> bool {
        let written = Cell::new(false);
        let templates = offered.iter().map(|(at, permission)| (0, *at, *permission)).collect();
        let offered = Offered { key_based: name == "key-based", templates };
        let answer = answers.get(std::slice::from_ref(snapshot), offered, |_| {
            written.set(true);
            GetPoliciesResponse::not_changed("{id}".to_owned(), name.to_owned(), 1).write()
        });
        assert!(written.get() || answer.octets() > 0);
        written.get()
    }

    #[test]
    fn same_templates_and_permissions_are_written_once() {
        let (answers, now) = (Answers::default(), snapshot(None));
        assert!(is_written(&answers, &now, &[(0, MAY)], ""));
        assert!(!is_written(&answers, &now, &[(0, MAY)], ""));
        for other in [&[(0, AUTO)][..], &[(1, MAY)], &[(0, MAY), (1, MAY)], &[]] {
            assert!(is_written(&answers, &now, other, ""), "{other:?}");
        }
        assert!(is_written(&answers, &now, &[(0, MAY)], "key-based"), "its addresses are others");
        assert!(!is_written(&answers, &now, &[(0, MAY)], ""));
    }

    #[test]
    fn changed_templates_are_written_anew_and_the_old_ones_forgotten() {
        let (answers, old, new, others) =
            (Answers::default(), snapshot(None), snapshot(None), snapshot(Some(0)));
        is_written(&answers, &old, &[(0, MAY)], "");
        is_written(&answers, &others, &[(0, MAY)], "");
        assert!(is_written(&answers, &new, &[(0, MAY)], ""));
        assert_eq!(Arc::strong_count(&old), 1, "the old templates are still held");
        assert!(!is_written(&answers, &others, &[(0, MAY)], ""), "another forest's answer is gone");
    }

    #[test]
    fn memory_is_bounded() {
        let (answers, now) = (Answers::default(), snapshot(None));
        for kind in 0..2 * MOST {
            is_written(&answers, &now, &[(kind, MAY)], "");
        }
        assert_eq!(answers.0.lock().unwrap().len(), MOST);
        assert!(!is_written(&answers, &now, &[(2 * MOST - 1, MAY)], ""), "the last one was thrown away");
        let large = "x".repeat(MOST_OCTETS / 2);
        for kind in 0..3 {
            is_written(&answers, &now, &[(kind, AUTO)], &large);
        }
        let kept = answers.0.lock().unwrap();
        assert!(kept.iter().map(|k| k.answer.octets()).sum::<usize>() <= MOST_OCTETS);
    }
}
