//! What Wireshark makes of the server's answers: to a client over MIT's library and to impacket, those that are refused
//! among them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use muster_testkit::kdc;
use muster_testkit::site::CA_NAME;
use muster_testkit::wireshark::Capture;

use crate::rpc::Bed;

#[test]
fn wireshark_reads_the_answers_without_an_error() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, "unsigned_headers = true\n") else { return };
        let Some(capture) = Capture::start(&kdc.path("capture.pcap"), &[bed.mapper, bed.port]) else {
            return;
        };
        let (mapper, port) = (bed.mapper.to_string(), bed.port.to_string());
        // A full response in short fragments; both providers; less than is demanded.
        for (name, arguments) in [
            ("a", &["--auth", "kerberos", "--frag", "1432", "--flags", "0x40000"][..]),
            ("b", &["--auth", "spnego"]),
            ("c", &["--level", "integrity"]),
        ] {
            let _ = bed.client("alice", &bed.request(name), arguments);
        }
        bed.impacket("alice", &["alive", &mapper]);
        bed.impacket("alice", &["map", &mapper]);
        // Every method, and those that are refused because of their arguments.
        let request = bed.request("d");
        let options = ["--csr", &request, "--attributes", "CertificateTemplate:User", "--properties"];
        let activated = bed.impacket("alice", &[&["dcom", &mapper, "--ca", CA_NAME][..], &options].concat());
        assert_eq!(activated["disposition"], "0x3", "{activated}");
        // Nobody in particular, who gets a fault.
        let nobody = bed.impacket("alice", &["icpr", &port, "--ca", CA_NAME, "--id", "1", "--auth", "none"]);
        assert!(nobody["error"].as_str().unwrap().contains("access_denied"), "{nobody}");

        // A bind without the context that it announces.
        let mut noise = TcpStream::connect((Ipv4Addr::LOCALHOST, bed.port)).unwrap();
        noise
            .write_all(&[
                5, 0, 11, 3, 0x10, 0, 0, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0xd0, 0x16, 0xd0, 0x16, 0, 0, 0, 0, 1,
                0, 0, 0,
            ])
            .unwrap();
        // A reset is an end as well.
        let _ = noise.read_to_end(&mut Vec::new());
        let of_noise = noise.local_addr().unwrap().port();

        let captured = capture.stop();
        let closed = captured.messages(None);
        let shown: String = closed.iter().map(ToString::to_string).collect();
        // Wireshark would say so: of the noise it does, and of nothing else.
        let blamed = |keytab: Option<&Path>| {
            let complaints = captured.complaints(keytab);
            assert!(
                !complaints.is_empty() && complaints.iter().all(|(from, _)| *from == of_noise),
                "{complaints:?}"
            );
        };
        blamed(None);
        let answers = |from| closed.iter().filter(move |message| message.from == from);
        let kinds: BTreeSet<_> =
            answers(bed.mapper).chain(answers(bed.port)).map(|one| one.kind.as_str()).collect();
        // Answers, faults, bind_ack, bind_nak, alter_context_resp, and nothing else.
        assert_eq!(kinds, BTreeSet::from(["12", "13", "15", "2", "3"]), "{shown}");
        // What the authority says, it says sealed.
        assert!(answers(bed.port).filter(|one| one.kind == "2").all(|one| one.level == "6"), "{shown}");

        let keytab = kdc.path("service.keytab");
        let opened: String = captured.messages(Some(&keytab)).iter().map(ToString::to_string).collect();
        for part in [
            "RemoteCreateInstance response",
            "ServerAlive2 response",
            "Map response",
            "RemQueryInterface response",
        ] {
            assert!(opened.contains(part), "{part}: {opened}");
        }
        blamed(Some(&keytab));
    });
}
