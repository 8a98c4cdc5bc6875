//! How many connections of RPC there may be, and for how long: seen by impacket, which keeps as many as it gets.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use muster_testkit::kdc;
use muster_testkit::site::CA_NAME;
use serde_json::{Value, json};

use crate::rpc::Bed;

const UNSIGNED: &str = "unsigned_headers = true\n";
/// CERTSRV_E_PROPERTY_EMPTY: an answer, by somebody who looked for request 99.
const ANSWERED: &str = "0x80094004";

/// Keeps connections until the service ends them.
fn hold(bed: &Bed<'_>, who: &str, port: u16, more: &[&str]) -> Value {
    let port = port.to_string();
    bed.impacket(who, &[&["hold", &port, "--ca", CA_NAME][..], more].concat())
}

/// The lines of the log that tell of a refused connection.
fn refusals(bed: &Bed<'_>) -> Vec<String> {
    let log = bed.site.log();
    log.lines().filter(|line| line.contains("a connection was refused")).map(str::to_owned).collect()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Whether the connection is ended at once, without a word of either side.
fn is_closed_at_once(mut stream: TcpStream) -> bool {
    let begun = Instant::now();
    matches!(stream.read(&mut [0]), Ok(0) | Err(_)) && begun.elapsed() < Duration::from_secs(2)
}

#[test]
fn account_has_so_many_connections_and_others_have_theirs() {
    kdc::within("", |kdc| {
        let limits = format!("{UNSIGNED}[limits]\nrpc_connections_per_account = 2\n");
        let Some(bed) = Bed::start(kdc, &limits) else { return };
        std::thread::scope(|scope| {
            let alice = scope.spawn(|| hold(&bed, "alice", bed.port, &["--count", "4", "--seconds", "8"]));
            let begun = Instant::now();
            while refusals(&bed).is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(30), "{}", bed.site.log());
                std::thread::sleep(Duration::from_millis(100));
            }
            // She is kept out by herself alone.
            let bob = hold(&bed, "bob", bed.port, &["--seconds", "0"]);
            assert_eq!(bob["calls"], json!([ANSWERED]), "{bob}");
            // The mapper counts for itself.
            let alive = ["--interface", "alive", "--count", "3", "--seconds", "0"];
            let mapper = hold(&bed, "alice", bed.mapper, &alive);
            let calls = mapper["calls"].as_array().unwrap();
            assert_eq!(calls.get(..2).unwrap(), [json!("0x0"), json!("0x0")], "{mapper}");
            assert!(calls.last().unwrap().as_str().unwrap().contains("nca_s_server_too_busy"), "{mapper}");
            let said = alice.join().unwrap();
            let calls = said["calls"].as_array().unwrap();
            assert_eq!(calls.get(..2).unwrap(), [json!(ANSWERED), json!(ANSWERED)], "{said}");
            for refused in calls.get(2..).unwrap() {
                assert!(refused.as_str().unwrap().contains("nca_s_server_too_busy"), "{said}");
            }
            // Those are ended; the two that she has are not.
            assert_eq!(said["ends"].as_array().unwrap().len(), 2, "{said}");
        });
        // Two and one were refused, a line each says so.
        let lines = refusals(&bed);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        for part in ["WARN", "alice@corp.test", "limits.rpc_connections_per_account", "limit=2"] {
            assert!(lines.iter().all(|line| line.contains(part)), "{part}: {lines:#?}");
        }
        let again = hold(&bed, "alice", bed.port, &["--seconds", "0"]);
        assert_eq!(again["calls"], json!([ANSWERED]), "{again}");
    });
}

/// Three at the mapper are all that may be, by `limit`.
fn crowd_at_the_mapper(limit: &str) {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &format!("{UNSIGNED}[limits]\n{limit} = 3\n")) else { return };
        let crowd = [connect(bed.mapper), connect(bed.mapper), connect(bed.mapper)];
        for _ in 0..20 {
            assert!(is_closed_at_once(connect(bed.mapper)));
        }
        let said = hold(&bed, "alice", bed.port, &["--seconds", "0"]);
        assert_eq!(said.get("calls"), Some(&json!([ANSWERED])), "{said}");
        let lines = refusals(&bed);
        assert!(lines.len() == 1 && lines.iter().all(|line| line.contains(limit)), "{lines:#?}");
        drop(crowd);
        let begun = Instant::now();
        while bed.impacket("alice", &["alive", &bed.mapper.to_string()]).get("bindings").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
    });
}

#[test]
fn crowd_at_the_mapper_keeps_nobody_from_the_authority() {
    crowd_at_the_mapper("connections");
}

#[test]
fn crowd_of_one_address_at_the_mapper_keeps_nobody_from_the_authority() {
    crowd_at_the_mapper("unauthenticated_connections_per_address");
}

#[test]
fn connections_end_when_they_are_silent_and_when_they_are_old() {
    kdc::within("", |kdc| {
        let limits = format!(
            "{UNSIGNED}[limits]\nheader_seconds = 2\nrpc_idle_seconds = 5\nrpc_lifetime_seconds = 9\n"
        );
        let Some(bed) = Bed::start(kdc, &limits) else { return };
        std::thread::scope(|scope| {
            let cases: [(u16, &[&str], f64); 4] = [
                (bed.mapper, &["--interface", "alive", "--auth", "none"], 2.0),
                (bed.mapper, &["--interface", "alive", "--auth", "none", "--every", "0.5"], 5.0),
                (bed.port, &[], 5.0),
                (bed.port, &["--every", "1"], 9.0),
            ];
            let running = cases.map(|(port, options, seconds)| {
                let bed = &bed;
                (seconds, scope.spawn(move || hold(bed, "alice", port, options)))
            });
            for (seconds, running) in running {
                let said = running.join().unwrap();
                let ended = said["ends"].as_array().unwrap().first().and_then(Value::as_f64).unwrap_or(99.0);
                assert!(ended > seconds - 0.5 && ended < seconds + 2.5, "{seconds}: {said}");
            }
        });
    });
}

/// Whoever has a connection has it no longer than the ticket that opened it.
#[test]
fn connection_ends_with_its_ticket() {
    kdc::within("clockskew = 1\n ticket_lifetime = 8s", |kdc| {
        let Some(bed) = Bed::start(kdc, UNSIGNED) else { return };
        let said = hold(&bed, "alice", bed.port, &["--every", "1", "--seconds", "30"]);
        assert_eq!(said["calls"], json!([ANSWERED]), "{said}");
        let ended = said["ends"].as_array().unwrap().first().and_then(Value::as_f64);
        assert!(ended.is_some_and(|seconds| (2.0..15.0).contains(&seconds)), "{said}");
    });
}
