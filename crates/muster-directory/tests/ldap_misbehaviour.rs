//! A directory server that does not do what it should, over real TLS: every case is an error with a sentence, none
//! takes longer than it may, and another server is asked where there is one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helper may stop at the first surprise"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster_core::time::{Clock, UnixTime};
use muster_directory::ldap::{
    Access, Client, Filter, LdapError, LdapSettings, ResultCode, Search, Server, State, TlsBind, TlsStart,
};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixTime {
        UnixTime(1_795_000_000)
    }
}

/// An element of BER.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, contents].concat()
}

fn text(value: &str) -> Vec<u8> {
    element(4, value.as_bytes())
}

fn message(id: u8, tag: u8, contents: &[u8]) -> Vec<u8> {
    element(0x30, &[element(2, &[id]), element(tag, contents)].concat())
}

fn outcome(code: u8, diagnostic: &str) -> Vec<u8> {
    [element(10, &[code]), text(""), text(diagnostic)].concat()
}

fn entry(id: u8, dn: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let list: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, value)| element(0x30, &[text(name), element(0x31, &text(value))].concat()))
        .collect();
    message(id, 0x64, &[text(dn), element(0x30, &list)].concat())
}

fn done(id: u8) -> Vec<u8> {
    message(id, 0x65, &outcome(0, ""))
}

/// A request as the server sees it.
struct Request {
    id: u8,
    tag: u8,
    base: String,
}

/// What the server does with one.
enum Act {
    Send(Vec<u8>),
    SendAndClose(Vec<u8>),
    Nothing,
}

/// A server's certificate and where its CA is.
struct Site {
    ca_file: PathBuf,
    password: PathBuf,
    tls: Arc<rustls::ServerConfig>,
    _folder: tempfile::TempDir,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let (ca_file, password) = (folder.path().join("ca.pem"), folder.path().join("password"));
    std::fs::write(&ca_file, issuer.pem()).unwrap();
    std::fs::write(&password, "secret\n").unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    Site { ca_file, password, tls: Arc::new(tls), _folder: folder }
}

/// What a domain controller answers to the questions that come first on every connection.
fn ordinary(request: &Request) -> Option<Vec<u8>> {
    let Request { id, tag, base } = request;
    Some(match (tag, base.as_str()) {
        (0x60, _) => message(*id, 0x61, &outcome(0, "")),
        (0x63, "") => {
            let root = [
                ("defaultNamingContext", "DC=corp,DC=test"),
                ("configurationNamingContext", "CN=Configuration,DC=corp,DC=test"),
                ("rootDomainNamingContext", "DC=corp,DC=test"),
                ("dsServiceName", "CN=NTDS Settings,CN=FAKE"),
                ("dnsHostName", "fake.corp.test"),
                ("highestCommittedUSN", "7"),
                ("currentTime", "20261123075750.0Z"),
            ];
            [entry(*id, "", &root), done(*id)].concat()
        }
        (0x63, base)
            if base.starts_with("CN=NTDS") || base.starts_with("CN=Partitions") || base.starts_with('<') =>
        {
            done(*id)
        }
        _ => return None,
    })
}

/// Starts a server that behaves until `strange` takes over: given the number of the connection and a request.
async fn server(
    site: &Site,
    strange: impl Fn(usize, &Request) -> Option<Act> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&site.tls));
    let strange = Arc::new(strange);
    tokio::spawn(async move {
        let mut connection = 0;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, strange, number) = (acceptor.clone(), Arc::clone(&strange), connection);
            connection += 1;
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                while let Some(request) = read(&mut stream).await {
                    let act = strange(number, &request)
                        .or_else(|| ordinary(&request).map(Act::Send))
                        .unwrap_or(Act::Nothing);
                    match act {
                        Act::Send(octets) => {
                            if stream.write_all(&octets).await.is_err() {
                                return;
                            }
                        }
                        Act::SendAndClose(octets) => {
                            let _ = stream.write_all(&octets).await;
                            let _ = stream.shutdown().await;
                            return;
                        }
                        Act::Nothing => {}
                    }
                }
            });
        }
    });
    Server { host: "localhost".to_owned(), port: Some(port) }
}

/// Reads one request of ours: short lengths, as our writer makes them.
async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Request> {
    assert_eq!(stream.read_u8().await.ok()?, 0x30);
    let length = match stream.read_u8().await.ok()? {
        0x81 => usize::from(stream.read_u8().await.ok()?),
        0x82 => usize::from(stream.read_u16().await.ok()?),
        short => usize::from(short),
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    // INTEGER of one octet, the operation's tag and length, and for a search its base.
    let (id, tag) = (body[2], body[3]);
    let start = if body[4] < 0x80 { 5 } else { 5 + usize::from(body[4] & 0x7f) };
    let base = match body.get(start..) {
        Some([4, length, rest @ ..]) if tag == 0x63 => {
            String::from_utf8(rest[..usize::from(*length)].to_vec()).unwrap()
        }
        _ => String::new(),
    };
    Some(Request { id, tag, base })
}

fn client(site: &Site, servers: Vec<Server>) -> Client {
    let access = Access::Tls {
        start: TlsStart::AtOnce,
        ca_file: site.ca_file.clone(),
        bind: TlsBind::Password { name: "svc@corp.test".to_owned(), file: site.password.clone() },
    };
    let settings = LdapSettings {
        connect_timeout: Duration::from_secs(2),
        answer_timeout: Duration::from_millis(500),
        ..LdapSettings::new("corp.test", servers, access)
    };
    Client::start(settings, Arc::new(Stopped))
}

fn people() -> Search {
    Search::below("OU=People", Filter::Present("cn"), &["cn"], 10)
}

fn is_people(request: &Request) -> bool {
    request.base == "OU=People"
}

fn one_person(request: &Request) -> Option<Act> {
    is_people(request)
        .then(|| Act::Send([entry(request.id, "CN=a", &[("cn", "a")]), done(request.id)].concat()))
}

/// One search of a server that answers it with `act`; the error, and how long it took.
async fn asked(act: impl Fn(&Request) -> Act + Send + Sync + 'static) -> (LdapError, Duration) {
    let site = site();
    let server = server(&site, move |_, request| is_people(request).then(|| act(request))).await;
    let client = client(&site, vec![server]);
    client.session().await.unwrap();
    let start = Instant::now();
    (client.search(people()).await.unwrap_err(), start.elapsed())
}

#[tokio::test]
async fn ordinary_server_answers() {
    let site = site();
    let server = server(&site, |_, request| one_person(request)).await;
    let client = client(&site, vec![server]);
    let found = client.search(people()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text("cn"), Some("a"));
    assert_eq!(client.queries(), 1);
}

#[tokio::test]
async fn server_that_says_nothing_is_left_for_another() {
    let site = site();
    let silent = server(&site, |_, request| is_people(request).then_some(Act::Nothing)).await;
    let good = server(&site, |_, request| one_person(request)).await;
    let client = client(&site, vec![silent.clone(), good.clone()]);
    assert_eq!(client.session().await.unwrap().server, silent);
    let start = Instant::now();
    assert_eq!(client.search(people()).await.unwrap().len(), 1);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(client.session().await.unwrap().server, good);
}

#[tokio::test]
async fn answer_cut_in_half_is_an_error() {
    let (error, _) = asked(|request| {
        let whole = entry(request.id, "CN=a", &[("cn", "a")]);
        Act::SendAndClose(whole[..whole.len() / 2].to_vec())
    })
    .await;
    assert!(matches!(error, LdapError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn half_an_answer_without_an_end_times_out() {
    let (error, elapsed) = asked(|request| {
        let whole = entry(request.id, "CN=a", &[("cn", "a")]);
        Act::Send(whole[..whole.len() / 2].to_vec())
    })
    .await;
    assert!(matches!(error, LdapError::TimedOut { .. }), "{error}");
    assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
}

#[tokio::test]
async fn octets_that_are_not_ldap_end_the_connection() {
    for garbage in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0x30, 0x80, 0, 0], &[0x30, 0x02, 0x02, 0x05], &[0; 64]]
    {
        let (error, _) = asked(move |_| Act::Send(garbage.to_vec())).await;
        assert!(matches!(error, LdapError::Malformed { .. }), "{garbage:x?}: {error}");
    }
}

#[tokio::test]
async fn length_that_nobody_means_is_refused_at_once() {
    let (error, elapsed) = asked(|_| Act::Send(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff])).await;
    assert!(matches!(error, LdapError::TooLarge { unit: "octets", .. }), "{error}");
    assert!(elapsed < Duration::from_millis(1_500), "{elapsed:?}");
}

#[tokio::test]
async fn more_entries_than_asked_for_are_refused_and_the_connection_stays() {
    let site = site();
    let server = server(&site, |connection, request| {
        assert_eq!(connection, 0);
        is_people(request).then(|| {
            let flood: Vec<u8> = (0..5_000).flat_map(|_| entry(request.id, "CN=a", &[("cn", "a")])).collect();
            Act::Send([flood, done(request.id)].concat())
        })
    })
    .await;
    let client = client(&site, vec![server]);
    for _ in 0..2 {
        let error = client.search(people()).await.unwrap_err();
        assert!(matches!(error, LdapError::TooLarge { limit: 10, unit: "entries", .. }), "{error}");
    }
    assert_eq!(client.session().await.unwrap().number, 1);
}

#[tokio::test]
async fn notice_of_disconnection_is_understood_and_the_search_repeated() {
    let site = site();
    let notice = |code| {
        let name = element(0x8a, b"1.3.6.1.4.1.1466.20036");
        message(0, 0x78, &[outcome(code, "shutting down"), name].concat())
    };
    let server = server(&site, move |connection, request| {
        if connection == 0 && is_people(request) {
            Some(Act::SendAndClose(notice(52)))
        } else {
            one_person(request)
        }
    })
    .await;
    let client = client(&site, vec![server]);
    assert_eq!(client.session().await.unwrap().number, 1);
    assert_eq!(client.search(people()).await.unwrap().len(), 1);
    assert_eq!(client.session().await.unwrap().number, 2);

    let (error, _) = asked(move |_| Act::Send(notice(52))).await;
    assert!(error.to_string().ends_with("ended the session: unavailable (shutting down)"), "{error}");
}

#[tokio::test]
async fn referral_is_reported_and_not_followed() {
    let site = site();
    let asked_there = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked_there);
    let other = server(&site, move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        None
    })
    .await;
    let uri = format!("ldap://{other}/DC=elsewhere");
    let named = uri.clone();
    let server = server(&site, move |_, request| {
        is_people(request).then(|| {
            let list = element(0xa3, &text(&named));
            Act::Send(message(request.id, 0x65, &[outcome(10, ""), list].concat()))
        })
    })
    .await;
    let error = client(&site, vec![server]).search(people()).await.unwrap_err();
    assert_eq!(error, LdapError::Referral(vec![uri]));
    assert_eq!(asked_there.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answer_to_another_question_ends_the_connection() {
    let (error, _) = asked(|request| Act::Send(done(request.id.wrapping_add(9)))).await;
    assert!(matches!(error, LdapError::OutOfPlace { .. }), "{error}");
    let (error, _) = asked(|request| Act::Send(message(request.id, 0x61, &outcome(0, "")))).await;
    assert!(matches!(error, LdapError::OutOfPlace { .. }), "{error}");
}

#[tokio::test]
async fn pages_without_end_come_to_an_end() {
    let (error, elapsed) = asked(|request| {
        let value = element(0x30, &[element(2, &[0]), text("more")].concat());
        let control = element(0x30, &[text("1.2.840.113556.1.4.319"), element(4, &value)].concat());
        let parts = [element(2, &[request.id]), element(0x65, &outcome(0, "")), element(0xa0, &control)];
        Act::Send(element(0x30, &parts.concat()))
    })
    .await;
    // Ids of one octet are as many as this fake can read: it stops answering soon, ours stops asking at the latest then.
    assert!(!error.is_answer(), "{error}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test]
async fn refused_bind_says_why() {
    let site = site();
    let server = server(&site, |_, request| {
        let diagnostic =
            "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v4563";
        (request.tag == 0x60).then(|| Act::Send(message(request.id, 0x61, &outcome(49, diagnostic))))
    })
    .await;
    let client = client(&site, vec![server]);
    let error = client.session().await.unwrap_err();
    let LdapError::Bind { outcome, .. } = &error else { panic!("{error}") };
    assert_eq!(outcome.code, ResultCode::INVALID_CREDENTIALS);
    assert!(error.to_string().ends_with("invalidCredentials (the account is disabled)"), "{error}");
    assert!(matches!(client.state(), State::Away { since: UnixTime(1_795_000_000), .. }));
    // While it is away, nobody waits.
    let start = Instant::now();
    assert_eq!(client.search(people()).await.unwrap_err(), error);
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test]
async fn certificate_of_an_unknown_ca_is_refused_before_the_password_is_sent() {
    let (site, other) = (site(), site());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = server(&other, move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        None
    })
    .await;
    let error = client(&site, vec![server]).session().await.unwrap_err();
    assert!(matches!(error, LdapError::Tls { .. }), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn server_of_another_domain_and_one_that_is_no_controller_are_refused() {
    let site = site();
    let root = |attributes: &'static [(&'static str, &'static str)]| {
        move |_: usize, request: &Request| {
            (request.tag == 0x63)
                .then(|| Act::Send([entry(request.id, "", attributes), done(request.id)].concat()))
        }
    };
    let other = server(&site, root(&[("defaultNamingContext", "DC=other,DC=test")])).await;
    let error = client(&site, vec![other]).session().await.unwrap_err();
    assert!(error.to_string().ends_with("serves DC=other,DC=test, not DC=corp,DC=test"), "{error}");
    let plain = server(&site, root(&[("namingContexts", "dc=corp,dc=test")])).await;
    let error = client(&site, vec![plain]).session().await.unwrap_err();
    assert!(
        matches!(error, LdapError::NotActiveDirectory { missing: "defaultNamingContext", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn empty_password_is_never_sent() {
    let site = site();
    std::fs::write(&site.password, "\n").unwrap();
    let server = server(&site, |_, request| panic!("{:#x} arrived", request.tag)).await;
    let error = client(&site, vec![server]).session().await.unwrap_err();
    assert!(error.to_string().ends_with("holds no password in its first line"), "{error}");
}

#[tokio::test]
async fn nobody_listens_and_no_server_is_known() {
    let site = site();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let server = Server { host: "localhost".to_owned(), port: Some(port) };
    let error = client(&site, vec![server]).session().await.unwrap_err();
    assert!(matches!(error, LdapError::Connect { .. }), "{error}");
}
