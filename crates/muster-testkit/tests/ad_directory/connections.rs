//! The ways in, what is visible from outside, and what happens when a controller goes away.

use std::fs;
use std::time::Duration;

use muster_directory::ldap::{
    Access, Client, Filter, LdapError, LdapSettings, Login, Search, State, TlsBind, TlsStart, servers,
};
use muster_server::clock::SystemClock;
use muster_testkit::ad::{Ad, Forest, SERVICES};

use crate::relay::{Mode, Relay};
use crate::{at, ldap, service, within};

fn client(settings: LdapSettings) -> Client {
    Client::start(settings, std::sync::Arc::new(SystemClock))
}

fn templates() -> Search {
    let filter = Filter::text("objectClass", "pKICertificateTemplate");
    Search { descriptor: true, ..Search::below(SERVICES, filter, &["cn", "nTSecurityDescriptor"], 10_000) }
}

#[tokio::test]
async fn every_way_in_reads_the_same_with_octets_as_they_are() {
    let Some(ad) = Ad::or_not_run() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, Ad::password("svc-ces")).unwrap();
    let password = || TlsBind::Password { name: "svc-ces@corp.test".to_owned(), file: file.clone() };
    let tls = |start, bind| Access::Tls { start, ca_file: ad.ca(), bind };
    let tickets = ad.kinit("svc-ces");
    let ways = [
        Access::Sealed(service(&ad)),
        Access::Sealed(Login::Tickets(Some(tickets.cache()))),
        tls(TlsStart::AtOnce, password()),
        tls(TlsStart::OnRequest, password()),
        tls(TlsStart::AtOnce, TlsBind::Kerberos(service(&ad))),
        tls(TlsStart::OnRequest, TlsBind::Kerberos(service(&ad))),
    ];
    // Written by the bed and by no test.
    let dn = format!("CN=User,CN=Certificate Templates,{SERVICES}");
    let expected = ad.directory(Forest::Corp, &["get", &dn, "pKIExpirationPeriod"]).concat();
    for access in ways {
        let client = client(ldap(access.clone()));
        let found = client.search(templates()).await.unwrap_or_else(|error| panic!("{access:?}: {error}"));
        assert!(found.len() > 10, "{access:?}: {}", found.len());
        assert!(
            found.iter().any(|entry| entry.value("nTSecurityDescriptor").is_some_and(|sd| sd.len() > 100))
        );
        let user =
            client.object(Search::object(dn.clone(), &["pKIExpirationPeriod"])).await.unwrap().unwrap();
        // -365 days in units of 100 ns, little endian (MS-CRTD 3): not UTF-8.
        assert_eq!(
            user.value("pKIExpirationPeriod"),
            Some(&[0, 0x40, 0x39, 0x87, 0x2e, 0xe1, 0xfe, 0xff][..])
        );
        assert_eq!(expected, "AEA5hy7h/v8=");
    }
}

/// As strict as Samba can be: signed or sealed without TLS, nothing but passwords inside of it.
#[test]
fn strict_controller_is_read_sealed_or_with_a_password_in_tls() {
    Ad::of_its_own("ldap server require strong auth = yes", |ad| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, Ad::password("svc-ces")).unwrap();
        let tls = |bind| Access::Tls { start: TlsStart::AtOnce, ca_file: ad.ca(), bind };
        let password = TlsBind::Password { name: "svc-ces@corp.test".to_owned(), file: file.clone() };
        runtime.block_on(async {
            for access in [Access::Sealed(service(ad)), tls(password)] {
                let found = client(ldap(access.clone())).search(templates()).await;
                assert!(found.is_ok_and(|found| found.len() > 10), "{access:?}");
            }
            let refused = client(ldap(tls(TlsBind::Kerberos(service(ad))))).session().await.unwrap_err();
            assert!(matches!(refused, LdapError::Bind { .. }), "{refused}");
            assert!(refused.to_string().contains("strongerAuthRequired"), "{refused}");
        });
        // Without any of them a ticket alone is not enough, whoever asks.
        let plain = [
            "-LLL",
            "-Q",
            "-Y",
            "GSSAPI",
            "-O",
            "maxssf=0",
            "-H",
            "ldap://dc1.corp.test",
            "-b",
            SERVICES,
            "-s",
            "base",
        ];
        assert!(!ad.kinit("alice").run("ldapsearch", &plain).ok);
    });
}

#[tokio::test]
async fn sealed_connection_shows_nothing_to_the_network() {
    let Some(ad) = Ad::or_not_run() else { return };
    let relay = Relay::to(389).await;
    let settings = LdapSettings { servers: vec![relay.server.clone()], ..ldap(Access::Sealed(service(&ad))) };
    let client = client(settings);
    let found = client
        .search(Search::below("DC=corp,DC=test", Filter::text("sAMAccountName", "alice"), &["mail"], 1))
        .await
        .unwrap();
    assert_eq!(found[0].text("mail"), Some("alice@corp.test"));
    let seen = relay.seen();
    let shows = |needle: &[u8]| seen.windows(needle.len()).any(|part| part == needle);
    assert!(seen.len() > 2_000, "{}", seen.len());
    // The bind itself is readable, nothing after it is.
    assert!(shows(b"GSSAPI"));
    for needle in [&b"alice"[..], b"sAMAccountName", b"mail", b"corp,DC=test", b"highestCommittedUSN"] {
        assert!(!shows(needle), "{}", String::from_utf8_lossy(needle));
    }
}

#[tokio::test]
async fn large_answers_come_through_the_seal_in_pages() {
    let Some(ad) = Ad::or_not_run() else { return };
    let client = client(ldap(Access::Sealed(service(&ad))));
    let schema = "CN=Schema,CN=Configuration,DC=corp,DC=test";
    let before = client.queries();
    let found = client.search(Search::below(schema, Filter::Present("cn"), &["*"], 10_000)).await.unwrap();
    assert!(found.len() > 1_500, "{}", found.len());
    assert_eq!(client.queries() - before, u64::try_from(found.len() / 500).unwrap() + 1);
    let few = client.search(Search::below(schema, Filter::Present("cn"), &["cn"], 700)).await.unwrap_err();
    assert!(matches!(few, LdapError::TooLarge { unit: "entries", .. }), "{few}");
}

#[tokio::test]
async fn service_of_another_forest_is_bound_with_its_own_keytab() {
    let Some(ad) = Ad::or_not_run() else { return };
    for forest in [Forest::Partner, Forest::Other] {
        let realm = forest.realm();
        let keytab = format!("svc-ces.{}", realm.split('.').next().unwrap().to_ascii_lowercase());
        let login = Login::Keytab { file: ad.keytab(&keytab), principal: format!("svc-ces@{realm}") };
        let session = client(at(forest, Access::Sealed(login))).session().await.unwrap();
        assert_eq!(session.root.domain, forest.base());
    }
    // Where a trust is, one keytab is enough; where none is, the KDC says so.
    let trusted = client(at(Forest::Partner, Access::Sealed(service(&ad)))).session().await;
    assert_eq!(trusted.unwrap().root.domain, Forest::Partner.base());
    let foreign = client(at(Forest::Other, Access::Sealed(service(&ad)))).session().await.unwrap_err();
    assert!(matches!(foreign, LdapError::Kerberos { .. }), "{foreign}");
}

#[tokio::test]
async fn controller_that_goes_away_is_replaced_and_taken_back() {
    let Some(ad) = Ad::or_not_run() else { return };
    let (first, second) = (Relay::to(389).await, Relay::to(389).await);
    let settings = LdapSettings {
        servers: vec![first.server.clone(), second.server.clone()],
        answer_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(2),
        ..ldap(Access::Sealed(service(&ad)))
    };
    let client = client(settings);
    assert_eq!(client.session().await.unwrap().server, first.server);
    first.set(Mode::Cut);
    assert!(client.search(templates()).await.unwrap().len() > 10);
    assert_eq!(client.session().await.unwrap().server, second.server);
    first.set(Mode::Open);
    // A controller that takes questions and does not answer is left, too.
    second.set(Mode::Held);
    assert!(client.search(templates()).await.unwrap().len() > 10);
    assert_eq!(client.session().await.unwrap().server, first.server);
    first.set(Mode::Cut);
    let error = client.search(templates()).await.unwrap_err();
    assert!(!error.is_answer(), "{error}");
    within(Duration::from_secs(5), "away", async || matches!(client.state(), State::Away { .. })).await;
    second.set(Mode::Open);
    within(Duration::from_secs(20), "back", async || matches!(client.state(), State::Connected(_))).await;
    assert!(client.search(templates()).await.unwrap().len() > 10);
}

#[tokio::test]
async fn controllers_are_found_by_dns() {
    let Some(ad) = Ad::or_not_run() else { return };
    let settings = LdapSettings { servers: Vec::new(), ..ldap(Access::Sealed(service(&ad))) };
    let found = servers(&settings).await.unwrap();
    assert_eq!(found, ["dc1.corp.test".parse().unwrap()]);
    assert_eq!(client(settings).session().await.unwrap().root.host, "dc1.corp.test");
    let nobody = LdapSettings::new("nowhere.test", Vec::new(), Access::Sealed(service(&ad)));
    assert!(matches!(servers(&nobody).await, Err(LdapError::NoServer(_))));
}

#[tokio::test]
async fn computer_that_calls_itself_a_directory_is_not_taken_for_one() {
    let Some(ad) = Ad::or_not_run() else { return };
    // What any computer may do: a service principal name `ldap/` with its own host name.
    let host = format!("fake{}.corp.test", std::process::id());
    let computer = ad.computer(&host);
    let ldap_name = format!("ldap/{host}");
    ad.set(&ad.dn(&computer), "servicePrincipalName", &[&ldap_name]);
    let tickets = ad.kinit("alice");
    assert!(tickets.run("kvno", &[&ldap_name]).ok);
    // Nobody has to listen: the domain has no ticket for it as a domain controller.
    assert!(!tickets.run("kvno", &[&format!("{ldap_name}/corp.test")]).ok);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // `pc1.corp.test` leads here; its account is no controller either.
    let server = format!("pc1.corp.test:{port}").parse().unwrap();
    let settings = LdapSettings { servers: vec![server], ..ldap(Access::Sealed(service(&ad))) };
    let error = client(settings).session().await.unwrap_err();
    assert!(error.to_string().contains("the KDC does not know the service"), "{error}");
}
