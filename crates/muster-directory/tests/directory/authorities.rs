//! pKIEnrollmentService.

use muster_directory::authority::{BadServer, ServerAuthentication};
use muster_directory::{EnrollmentServer, EnrollmentService};

use crate::support::*;

#[test]
fn enrollment_service_is_read() {
    let entries = ldif(AUTHORITIES);
    let [entry] = entries.as_slice() else { panic!("one CA") };
    let authority = EnrollmentService::from_entry(entry).unwrap();
    assert_eq!(
        (authority.name.as_str(), authority.dns_host_name.as_deref()),
        ("CORP-CA", Some("ca1.corp.test"))
    );
    assert_eq!(authority.ca_certificate.as_deref(), Some(&[0x30, 3, 2, 1, 7][..]));
    assert!(authority.templates.iter().any(|name| name == "Mail.Signing (2)"));
    let servers: Vec<_> = authority
        .servers
        .iter()
        .map(|s| (s.priority, s.authentication, s.renewal_only, s.key_based_renewal))
        .collect();
    assert_eq!(
        servers,
        [
            (1, ServerAuthentication::Kerberos, false, false),
            (1, ServerAuthentication::Certificate, true, true),
            (2, ServerAuthentication::UsernamePassword, false, false),
        ]
    );
    let [finding] = authority.findings.as_slice() else { panic!("{:?}", authority.findings) };
    assert_eq!(finding.about, "msPKI-Enrollment-Servers");
    assert_eq!(authority.access.len(), 4, "one denial, three grants");
}

#[test]
fn addresses_have_three_to_five_lines() {
    for (text, expected) in [
        ("1\n2\nhttps://h/CES", "1\n2\n0\nhttps://h/CES\n0"),
        ("1\n2\n1\nhttps://h/CES", "1\n2\n1\nhttps://h/CES\n0"),
        ("140\n8\n1\nhttps://h/CES\n1", "140\n8\n1\nhttps://h/CES\n1"),
        ("1\r\n4\r\n0\r\nHTTPS://h/CES\r\n0\r\n", "1\n4\n0\nHTTPS://h/CES\n0"),
    ] {
        let server: EnrollmentServer = text.parse().unwrap();
        assert_eq!(server.to_string(), expected);
        assert_eq!(expected.parse(), Ok(server));
    }
    for text in [
        "",
        "1",
        "1\n2",
        "x\n2\n0\nhttps://h/\n0",
        "1\n3\n0\nhttps://h/\n0",
        "1\n2\n2\nhttps://h/\n0",
        "1\n2\n0\nhttp://h/\n0",
        "1\n2\n0\nhttps://\n0",
        "1\n2\n0\nhttps://h/ x\n0",
        "1\n2\n0\nhttps://h/\n0\n0",
        "-1\n2\n0\nhttps://h/\n0",
    ] {
        assert_eq!(text.parse::<EnrollmentServer>(), Err(BadServer), "{text:?}");
    }
}
