//! What an enrollment costs the store, with more and more stored: `cargo run --release --example growth [folder]`.
//!
//! Eleven rounds of 2,048 enrollments (two durable transactions each) by 64 tasks on each of three stores, the median
//! told. The stores take turns, so that what else the machine does falls on all of them alike. CPU is that of all
//! threads of this process, so it includes making the records.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made is no measurement"
)]

use std::path::PathBuf;
use std::time::Instant;

use muster_core::audit::Actor;
use muster_core::identity::Method;
use muster_core::issuance::{Intent, IssuedRecord, Ledger, Opening, RequestRecord};
use muster_core::{Serial, UnixTime};
use muster_store::{Options, Store};

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
const TASKS: u32 = 64;
const EACH: u32 = 2_048;
const ROUNDS: usize = 11;
const NOW: UnixTime = UnixTime(1_795_408_903);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    let mut stores = Vec::new();
    for size in SIZES {
        let path = folder.path().join(format!("{size}.db"));
        let store = Store::open(&path, &Options::default(), NOW).unwrap();
        store.fill(size, NOW).await.unwrap();
        round(&store, EACH / 8).await;
        stores.push((size, path, store, Vec::new(), Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, _, store, cpu, wall) in &mut stores {
            let (before, start) = (cpu_ns(), Instant::now());
            round(store, EACH).await;
            cpu.push((cpu_ns() - before) / u128::from(EACH));
            wall.push(start.elapsed().as_nanos() / u128::from(EACH));
        }
    }
    println!("   stored   CPU µs   wall µs   file MB");
    for (size, path, _, mut cpu, mut wall) in stores {
        let megabytes = std::fs::metadata(path).unwrap().len() >> 20;
        println!("{size:>9} {:>8.1} {:>9.1} {megabytes:>9}", median_us(&mut cpu), median_us(&mut wall));
    }
    println!("peak memory {} MB with all three open", peak_megabytes());
}

async fn round(store: &Store, enrollments: u32) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..enrollments / TASKS {
                    let _expected = store.expect_write();
                    enroll(&store).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn enroll(store: &Store) {
    let id = store.reserve_request_id().await.unwrap();
    let serial = Serial::compose(id, [7; 15]);
    let account: muster_core::identity::AccountName = "alice".parse().unwrap();
    let method = Method::UsernamePassword;
    let actor = Actor::Caller { account: account.clone(), method, address: Some([127, 0, 0, 1].into()) };
    let mut raw = vec![0x5a; 400];
    raw.extend(id.number().to_be_bytes());
    // 4 octets of header and 596 of contents.
    let mut tbs = vec![0x30, 0x82, 0x02, 0x54];
    tbs.resize(600, 7);
    // 4 octets of header, those, and 90 in the place of a signature.
    let mut certificate = vec![0x30, 0x82, 0x02, 0xb2];
    certificate.extend(&tbs);
    certificate.resize(694, 9);
    let record = RequestRecord {
        id,
        received: NOW,
        actor: actor.clone(),
        requester: account.clone(),
        requester_sid: None,
        method,
        form: "pkcs10",
        template: Some("User".to_owned()),
        endpoint: "password".to_owned(),
        raw,
        asked_with: None,
    };
    let opening = Opening::New(Box::new(record));
    store.record_intent(Intent { opening, actor: actor.clone(), serial, tbs, at: NOW }).await.unwrap();
    let issued = IssuedRecord {
        id,
        actor,
        serial,
        certificate,
        account,
        template_oid: "1.3.6.1.4.1.311.21.8.1.2.3".to_owned(),
        subject: "CN=Alice Example".to_owned(),
        not_before: NOW,
        not_after: NOW.plus(31_536_000),
        at: NOW,
    };
    store.record_issued(issued).await.unwrap();
}

/// Time on a processor, all threads, in nanoseconds.
fn cpu_ns() -> u128 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            stat.split(' ').next().unwrap().parse::<u128>().unwrap()
        })
        .sum()
}

fn median_us(values: &mut [u128]) -> f64 {
    values.sort_unstable();
    let nanoseconds = values.get(values.len() / 2).copied().unwrap_or_default();
    f64::from(u32::try_from(nanoseconds).unwrap()) / 1_000.0
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}
