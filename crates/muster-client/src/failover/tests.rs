//! Order and stopping rules, without a network.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;

/// SplitMix64: the same order on every run with the same seed.
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn seeded(seed: u64) -> Seeded {
    Seeded(AtomicU64::new(seed))
}

fn candidate(name: &str, authentication: u32, priority: Option<u32>) -> Candidate {
    Candidate {
        endpoint: format!("https://{name}.test/CES").parse().unwrap(),
        authentication: ClientAuthentication(authentication),
        priority,
        renewal_only: false,
    }
}

fn names(list: &[Candidate]) -> String {
    list.iter().map(|c| c.endpoint.host().trim_end_matches(".test")).collect::<Vec<_>>().join(" ")
}

#[test]
fn lower_priority_number_comes_first_and_none_last() {
    let list = [
        candidate("none", 4, None),
        candidate("ten", 4, Some(10)),
        candidate("max", 4, Some(u32::MAX)),
        candidate("one", 4, Some(1)),
    ];
    for seed in 0..50 {
        let ordered = order(list.clone(), |_| true, false, &seeded(seed));
        assert_eq!(names(&ordered), "one ten max none");
    }
}

#[test]
fn equal_endpoints_take_every_order() {
    let list = ["a", "b", "c"].map(|name| candidate(name, 4, Some(1)));
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..600 {
        *seen.entry(names(&order(list.clone(), |_| true, false, &seeded(seed)))).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(seen.values().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn same_seed_gives_same_order() {
    let list = ["a", "b", "c", "d", "e"].map(|name| candidate(name, 4, Some(1)));
    let once = order(list.clone(), |_| true, false, &seeded(7));
    assert_eq!(once, order(list, |_| true, false, &seeded(7)));
}

#[test]
fn authentication_decides_among_equal_priorities() {
    let list = [
        candidate("user", 4, Some(1)),
        candidate("anonymous", 1, Some(1)),
        candidate("kerberos", 2, Some(1)),
    ];
    assert_eq!(names(&order(list, |_| true, true, &seeded(1))), "kerberos anonymous user");
}

#[test]
fn renewal_only_and_anonymous_endpoints_are_for_renewals() {
    let mut renewal_only = candidate("renewal", 4, Some(1));
    renewal_only.renewal_only = true;
    let list = [renewal_only, candidate("anonymous", 1, Some(2)), candidate("all", 4, Some(3))];
    assert_eq!(names(&order(list.clone(), |_| true, false, &seeded(1))), "all");
    assert_eq!(names(&order(list, |_| true, true, &seeded(1))), "renewal anonymous all");
}

#[test]
fn endpoints_without_credential_are_left_out() {
    let list =
        [candidate("user", 4, Some(1)), candidate("certificate", 8, Some(2)), candidate("odd", 64, Some(0))];
    let usable = |a| a == ClientAuthentication::CERTIFICATE;
    assert_eq!(names(&order(list, usable, false, &seeded(1))), "certificate");
}

#[derive(Clone, Copy, Debug)]
enum Script {
    Down,
    Away,
    Stalled,
    Answers,
}

/// Positions that were asked, and the outcome as a word.
async fn run(script: &[Script], on_unknown: OnUnknown) -> (usize, String) {
    let list: Vec<_> = (0..script.len()).map(|n| candidate(&format!("s{n}"), 4, None)).collect();
    let mut asked = 0;
    let walk = walk(&list, on_unknown, async |_| {
        asked += 1;
        match script[asked - 1] {
            Script::Down => Err(Failure::NotSent(NotSent::ConnectTimeout(Duration::from_secs(1)))),
            Script::Away => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(Failure::TurnedAway(TurnedAway { status, text: String::new() }))
            }
            Script::Stalled => Err(Failure::Unknown(Unknown::Timeout(Duration::from_secs(1)))),
            Script::Answers => Ok(()),
        }
    })
    .await;
    let outcome = match walk {
        Walk::Answered { index, attempts, .. } => format!("answered {index} after {}", attempts.len()),
        Walk::Unreachable(attempts) => format!("unreachable {}", attempts.len()),
        Walk::Unknown(attempts) => format!("unknown {}", attempts.len()),
    };
    (asked, outcome)
}

#[tokio::test]
async fn walk_follows_the_table() {
    use OnUnknown::{GoOn, Stop};
    use Script::{Answers, Away, Down, Stalled};

    for (script, on_unknown, asked, outcome) in [
        (&[Answers, Answers][..], Stop, 1, "answered 0 after 0"),
        (&[Down, Away, Answers][..], Stop, 3, "answered 2 after 2"),
        (&[Down, Away][..], Stop, 2, "unreachable 2"),
        (&[][..], Stop, 0, "unreachable 0"),
        (&[Down, Stalled, Answers][..], Stop, 2, "unknown 2"),
        (&[Stalled, Answers][..], GoOn, 2, "answered 1 after 1"),
        // One that may have acted is not forgotten because the last one was down.
        (&[Stalled, Down][..], GoOn, 2, "unknown 2"),
    ] {
        assert_eq!(run(script, on_unknown).await, (asked, outcome.to_owned()), "{script:?} {on_unknown:?}");
    }
}
