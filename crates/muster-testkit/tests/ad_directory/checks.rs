//! What `muster ad check` will print: one sentence for every way in which a machine and a domain miss each other.

use std::fs;

use muster_directory::ldap::{Access, LdapSettings, Login, TlsBind, TlsStart};
use muster_directory::{DirectorySettings, Severity};
use muster_testkit::ad::Ad;

use crate::{administrator, ldap, service, start};

/// Sentences and advice of one severity.
async fn said(settings: LdapSettings, severity: Severity) -> Vec<String> {
    let results = start(DirectorySettings::new(settings)).check().await;
    for result in &results {
        assert_eq!(result.advice.is_empty(), result.severity == Severity::Fine, "{result:?}");
        assert!(!result.sentence.contains('\n') && result.sentence.len() < 500, "{result:?}");
    }
    let of = results.into_iter().filter(|result| result.severity == severity);
    of.map(|result| format!("{}: {}", result.sentence, result.advice)).collect()
}

#[tokio::test]
async fn good_configuration_has_no_failure() {
    let Some(ad) = Ad::or_not_run() else { return };
    let good = ldap(Access::Sealed(service(&ad)));
    assert_eq!(said(good.clone(), Severity::Failure).await, Vec::<String>::new());
    let fine = said(good.clone(), Severity::Fine).await.concat();
    assert!(fine.contains("AES keys of svc-ces@CORP.TEST"), "{fine}");
    assert!(fine.contains("dc1.corp.test answers for corp.test"), "{fine}");
    // The service may read, not write; an administrator may both.
    let warnings = said(good, Severity::Warning).await.concat();
    assert!(warnings.contains("may not make objects in CN=Enrollment Services"), "{warnings}");
    assert!(warnings.contains("does not show deleted objects"), "{warnings}");
    let tickets = administrator();
    let admin = ldap(Access::Sealed(Login::Tickets(Some(tickets.cache()))));
    assert_eq!(said(admin, Severity::Warning).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_failure_is_a_sentence_with_advice() {
    let Some(ad) = Ad::or_not_run() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let keytab = |name: &str, principal: &str| {
        ldap(Access::Sealed(Login::Keytab { file: ad.keytab(name), principal: principal.to_owned() }))
    };
    let good = ldap(Access::Sealed(service(&ad)));
    let tls = |ca_file, password: &str| {
        fs::write(&file, password).unwrap();
        let bind = TlsBind::Password { name: "svc-ces@corp.test".to_owned(), file: file.clone() };
        ldap(Access::Tls { start: TlsStart::AtOnce, ca_file, bind })
    };
    let other = folder.path().join("other.pem");
    let stranger = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    fs::write(&other, stranger.cert.pem()).unwrap();
    let servers = |name: &str| LdapSettings { servers: vec![name.parse().unwrap()], ..good.clone() };
    let absent =
        Login::Keytab { file: folder.path().join("absent"), principal: "svc-ces@CORP.TEST".to_owned() };
    for (settings, expected) in [
        (keytab("pc1", "svc-ces@CORP.TEST"), "has no key of svc-ces@CORP.TEST, but of PC1$@CORP.TEST"),
        (
            keytab("rc4", "HTTP/rc4.corp.test@CORP.TEST"),
            "has no AES key of HTTP/rc4.corp.test@CORP.TEST, only RC4",
        ),
        (ldap(Access::Sealed(absent)), "absent cannot be read"),
        (servers("nowhere.corp.test"), "nowhere.corp.test cannot be reached"),
        (servers("dc1.corp.test:1"), "see whether the controller runs and whether port 389 is open"),
        (servers("ces.corp.test:1"), "ces.corp.test:1 cannot be reached"),
        (tls(other, "x"), "put the CA that issued the controller's certificate into the CA file"),
        // By Kerberos it is no controller of that domain; by TLS it has to say so itself.
        (
            LdapSettings { domain: "partner.test".to_owned(), ..good.clone() },
            "name a domain controller of partner.test",
        ),
    ] {
        let failures = said(settings, Severity::Failure).await;
        assert!(failures.iter().any(|failure| failure.contains(expected)), "{expected}: {failures:#?}");
    }
    let failures = said(tls(ad.ca(), "wrong"), Severity::Failure).await.concat();
    assert!(failures.contains("refused the bind: invalidCredentials (wrong name or password)"), "{failures}");
    let elsewhere =
        LdapSettings { domain: "partner.test".to_owned(), ..tls(ad.ca(), &Ad::password("svc-ces")) };
    let failures = said(elsewhere, Severity::Failure).await.concat();
    assert!(failures.contains("serves DC=corp,DC=test, not DC=partner,DC=test"), "{failures}");
    let failures = said(tls(ad.ca(), ""), Severity::Failure).await.concat();
    assert!(failures.contains("holds no password in its first line"), "{failures}");
    // The keytab is one password behind.
    let failures = said(keytab("stale", "svc-old@CORP.TEST"), Severity::Failure).await.concat();
    assert!(!failures.is_empty(), "{failures}");
}
