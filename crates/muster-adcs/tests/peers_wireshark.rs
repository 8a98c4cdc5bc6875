//! What Wireshark makes of the connector's traffic: dissected without an error, sealed, and with the key of the service opened.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

mod bed;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bed::{Bed, identity, issued, run};
use muster_adcs::{Adcs, Method};
use muster_testkit::kdc;
use muster_testkit::peers::not_run;

/// A line for each message: kind, level, opnum, what the dissector stumbled over.
fn dissected(capture: &Path, keytab: Option<&Path>, bed: &Bed) -> String {
    let mut command = Command::new("tshark");
    command.args(["-r", capture.to_str().unwrap(), "-Y", "dcerpc", "-T", "fields", "-E", "separator=|"]);
    for port in [bed.mapper, bed.port] {
        command.args(["-d", &format!("tcp.port=={port},dcerpc")]);
    }
    if let Some(keytab) = keytab {
        command.args(["-o", "kerberos.decrypt:TRUE", "-o", &format!("kerberos.file:{}", keytab.display())]);
    }
    for field in ["dcerpc.pkt_type", "dcerpc.auth_level", "dcerpc.opnum", "_ws.malformed", "_ws.col.Info"] {
        command.args(["-e", field]);
    }
    let output = command.stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn wireshark_reads_the_traffic_without_an_error() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let capture = kdc.path("capture.pcap");
        let filter = format!("tcp port {} or tcp port {}", bed.mapper, bed.port);
        let needs = "tshark (Debian's package tshark), and to be permitted to listen on loopback";
        let tshark = Command::new("tshark")
            .args(["-i", "lo", "-w", capture.to_str().unwrap(), "-f", &filter])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tshark) = tshark else { return not_run(needs) };
        let mut said = BufReader::new(tshark.stderr.take().unwrap());
        let mut started = String::new();
        // It says so when it has begun, or why it cannot.
        while !started.contains("Capture started") {
            if said.read_line(&mut started).unwrap() == 0 {
                let _ = tshark.wait();
                return not_run(needs);
            }
        }
        // Its reader has to go on, or it stops when the pipe is full.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        std::thread::sleep(Duration::from_millis(500));
        for method in [Method::Passage, Method::Object] {
            issued(
                run(Adcs::new(bed.settings(method)).submit(&identity("alice"), &bed.submission("User"))),
                &bed,
            );
        }
        std::thread::sleep(Duration::from_millis(1_500));
        let stopped = Command::new("kill").args(["-INT", &tshark.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        tshark.wait().unwrap();

        let closed = dissected(&capture, None, &bed);
        let lines: Vec<&str> = closed.lines().collect();
        // Two binds and calls in clear, three secured binds, and as many calls.
        assert!(lines.len() >= 16, "{closed}");
        assert!(lines.iter().all(|line| line.split('|').nth(3) == Some("")), "malformed: {closed}");
        // No call to a secured interface is in clear.
        let calls =
            |level: &str| lines.iter().filter(|line| line.starts_with(&format!("0|{level}|"))).count();
        assert_eq!((calls(""), calls("6")), (2, 3), "{closed}");

        let opened = dissected(&capture, Some(&kdc.path("ca1.keytab")), &bed);
        for part in ["RemoteCreateInstance request", "ServerAlive2 response", "Map response"] {
            assert!(opened.contains(part), "{part}: {opened}");
        }
        assert!(opened.lines().all(|line| line.split('|').nth(3) == Some("")), "malformed: {opened}");
    });
}
