//! Messages of directory and name servers, octet by octet: those of `vectors/rfc4511` and `vectors/rfc2782`, and every
//! damaged form of them that chance makes.
#![expect(clippy::unwrap_used, reason = "a test's helper may stop at the first surprise")]

use muster_directory::ldap::dns::{self, DnsError, Srv};
use muster_directory::ldap::message::{Message, Response};
use muster_directory::ldap::{Outcome, ResultCode};
use proptest::prelude::*;

fn vector(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../vectors/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn message(name: &str) -> (i32, Response) {
    let Message { id, response } = Message::decode(&vector(&format!("rfc4511/{name}.ber"))).unwrap();
    (id, response)
}

#[test]
fn entries_are_read() {
    let (1, Response::Entry(root)) = message("samba-root-entry") else { panic!("no entry") };
    assert_eq!((root.dn.as_str(), root.attributes.len()), ("", 8));
    assert_eq!(root.text("dnshostname"), Some("dc1.corp.test"));
    assert!(root.number("highestCommittedUSN").is_some_and(|usn| usn > 1_000));
    let (9, Response::Entry(long)) = message("handmade-long-lengths") else { panic!("no entry") };
    assert_eq!(long.value("objectSid"), Some(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0][..]));
    assert_eq!(long.texts("member").collect::<Vec<_>>(), ["CN=x", "CN=y"]);
}

#[test]
fn outcomes_are_read() {
    let (1, Response::Done { outcome, cookie }) = message("samba-search-done") else { panic!("no end") };
    assert_eq!((outcome.code, cookie.len()), (ResultCode::SUCCESS, 0));
    let (6, Response::Done { cookie, .. }) = message("handmade-page") else { panic!("no end") };
    assert_eq!(cookie, b"next");
    let (2, Response::Bind { outcome, token: None }) = message("samba-bind-refused") else {
        panic!("no bind")
    };
    assert_eq!(outcome.code, ResultCode::STRONGER_AUTH_REQUIRED);
    let (3, Response::Done { outcome: Outcome { code, message: text, .. }, .. }) =
        message("samba-search-refused")
    else {
        panic!("no end")
    };
    assert_eq!((code.to_string().as_str(), text.is_empty()), ("operationsError", false));
    let (4, Response::Extended { outcome, name }) = message("samba-start-tls") else { panic!("no answer") };
    assert_eq!((outcome.code, name.as_deref()), (ResultCode::SUCCESS, Some("1.3.6.1.4.1.1466.20037")));
    let (0, Response::Extended { outcome, name }) = message("handmade-notice-of-disconnection") else {
        panic!("no notice")
    };
    assert_eq!((outcome.message.as_str(), name.as_deref()), ("going down", Some("1.3.6.1.4.1.1466.20036")));
    let (5, Response::Done { outcome, .. }) = message("handmade-referral") else { panic!("no end") };
    assert_eq!(
        (outcome.code, outcome.referrals),
        (ResultCode::REFERRAL, vec!["ldap://other.test/DC=other,DC=test".to_owned()])
    );
}

#[test]
fn servers_of_a_service_are_read() {
    let found = dns::parse(&vector("rfc2782/samba-srv.dns"), [0, 7]).unwrap();
    assert_eq!(found, [Srv { priority: 0, weight: 100, port: 389, target: "dc1.corp.test".to_owned() }]);
    assert!(matches!(dns::parse(&vector("rfc2782/samba-no-name.dns"), [0, 7]), Err(DnsError::NoName)));
}

proptest! {
    #[test]
    fn damaged_messages_end_in_an_answer_or_an_error(
        which in prop::sample::select(vec![
            "rfc4511/samba-root-entry.ber", "rfc4511/handmade-long-lengths.ber", "rfc4511/handmade-referral.ber",
            "rfc4511/handmade-page.ber", "rfc2782/samba-srv.dns",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut octets = vector(which);
        for (place, octet) in changes {
            *place.get_mut(&mut octets) = octet;
        }
        octets.truncate(cut.index(octets.len()) + 1);
        if let Ok(Message { response: Response::Entry(entry), .. }) = Message::decode(&octets) {
            prop_assert!(entry.attributes.len() <= octets.len());
        }
        if let Ok(found) = dns::parse(&octets, [0, 7]) {
            prop_assert!(found.len() <= octets.len());
        }
    }
}
