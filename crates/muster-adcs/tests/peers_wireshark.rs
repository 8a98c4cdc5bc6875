//! What Wireshark makes of the connector's traffic: dissected without an error, sealed, and with the key of the service opened.

mod bed;

use bed::{Bed, identity, issued, run};
use muster_adcs::{Adcs, Method};
use muster_testkit::kdc;
use muster_testkit::wireshark::Capture;

#[test]
fn wireshark_reads_the_traffic_without_an_error() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let Some(capture) = Capture::start(&kdc.path("capture.pcap"), &[bed.mapper, bed.port]) else {
            return;
        };
        for method in [Method::Passage, Method::Object] {
            issued(
                run(Adcs::new(bed.settings(method)).submit(&identity("alice"), &bed.submission("User"))),
                &bed,
            );
        }
        let captured = capture.stop();
        let closed = captured.messages(None);
        let shown: String = closed.iter().map(ToString::to_string).collect();
        // Two binds and calls in clear, three secured binds, and as many calls.
        assert!(closed.len() >= 16, "{shown}");
        assert_eq!(captured.complaints(None), [], "{shown}");
        // No call to a secured interface is in clear.
        let calls = |level: &str| {
            closed.iter().filter(|message| message.kind == "0" && message.level == level).count()
        };
        assert_eq!((calls(""), calls("6")), (2, 3), "{shown}");

        let keytab = kdc.path("ca1.keytab");
        let opened: String = captured.messages(Some(&keytab)).iter().map(ToString::to_string).collect();
        for part in ["RemoteCreateInstance request", "ServerAlive2 response", "Map response"] {
            assert!(opened.contains(part), "{part}: {opened}");
        }
        assert_eq!(captured.complaints(Some(&keytab)), [], "{opened}");
    });
}
