//! The relay against an upstream that shares no code with it, and lies on request.
#![expect(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod bed;

use std::time::{Duration, Instant};

use bed::{Bed, now, password, run};
use muster_gss::{Gss, Login};
use muster_relay::{
    Answer, Distrust, NotSent, Password, Problem, RelayError, Timeouts, Trust, Unknown, Upstream,
    UpstreamIdentity,
};
use muster_testkit::kdc;
use muster_testkit::peers::Peer;

/// The request arrives as it came, with the caller's name and password, at the address that is configured, and with nothing
/// of the caller's beside it.
#[test]
fn certificate_is_issued_in_the_callers_name() {
    let Some(bed) = Bed::start() else { return };
    let answer = run(bed.submit("issue"));
    let Ok(Answer::Issued { request_id: 4711, certificate, full_response, message }) = answer else {
        panic!("{answer:?}")
    };
    assert!(certificate.len() > 200 && full_response.len() > certificate.len());
    assert_eq!(message, "Issued");
    let saw = bed.saw(1);
    let [saw] = saw.as_slice() else { panic!("{saw:?}") };
    assert_eq!(
        (&saw["who"], &saw["asked"], &saw["kind"]),
        (&"alice".into(), &"Issue".into(), &"PKCS10".into())
    );
    let url = bed.settings("issue", "UsernamePassword").url;
    assert_eq!(saw["to"], url.as_str());
    assert_eq!((saw["context"].as_u64(), saw["language"].as_str()), (Some(0), None));
    let headers = ["accept", "content-length", "content-type", "host", "user-agent"];
    assert_eq!(saw["headers"], serde_json::json!(headers));
}

#[test]
fn request_octets_are_passed_on_as_they_came() {
    let Some(bed) = Bed::start() else { return };
    // Not a renewal that anybody would accept, but a CMS message.
    let answer = run(bed.submit("issue"));
    let Ok(Answer::Issued { certificate, .. }) = answer else { panic!("{answer:?}") };
    let mut submission = bed.submission();
    submission.request = bed.key.renewal("User", &certificate, &bed.key);
    let answer = run(bed.upstream("issue").submit(&password("alice"), &submission, now()));
    assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
    let saw = bed.saw(2);
    assert_eq!(saw[1]["kind"], "PKCS7");
    assert_eq!(saw[1]["sha256"], sha256(&submission.request).as_str());
    assert_ne!(saw[0]["sha256"], saw[1]["sha256"]);
}

fn sha256(octets: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn request_under_submission_is_issued_at_a_later_query() {
    let Some(bed) = Bed::start() else { return };
    let upstream = bed.upstream("pending");
    run(async {
        let answer = upstream.submit(&password("alice"), &bed.submission(), now()).await;
        let Ok(Answer::UnderSubmission { request_id, full_response, message }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((request_id, message.as_str()), (4711, "Taken Under Submission"));
        assert!(!full_response.is_empty());
        let query =
            async |who: &str| upstream.query(&password(who), request_id, &bed.expected(), now()).await;
        let answer = query("bob").await;
        assert!(matches!(answer, Ok(Answer::NotTaken { hresult: 0x8009_4004, .. })), "{answer:?}");
        let answer = query("alice").await;
        assert!(matches!(answer, Ok(Answer::UnderSubmission { request_id: 4711, .. })), "{answer:?}");
        let answer = query("alice").await;
        assert!(matches!(answer, Ok(Answer::Issued { request_id: 4711, .. })), "{answer:?}");
        // The certificate is for somebody else's request.
        let mut other = bed.expected();
        other.public_key = muster_testkit::Key::generate().spki().to_vec();
        let answer = upstream.query(&password("alice"), request_id, &other, now()).await;
        assert!(is_distrust(&answer, &Distrust::Certificate(Problem::OtherKey)), "{answer:?}");
    });
}

#[test]
fn decision_against_a_request_keeps_its_number_and_words() {
    let Some(bed) = Bed::start() else { return };
    let denied = |answer| {
        let Ok(Answer::Denied { hresult, request_id, full_response, message }) = answer else {
            panic!("{answer:?}")
        };
        assert!(!full_response.is_empty());
        assert_eq!(message, "Denied by Policy Module");
        (hresult, request_id)
    };
    assert_eq!(denied(run(bed.submit("deny"))), (Some(0x8009_4012), Some(4711)));
    let upstream = bed.upstream("deny-query");
    let answer = run(async {
        let answer = upstream.submit(&password("alice"), &bed.submission(), now()).await;
        let Ok(Answer::UnderSubmission { request_id, .. }) = answer else { panic!("{answer:?}") };
        upstream.query(&password("alice"), request_id, &bed.expected(), now()).await
    });
    assert_eq!(denied(answer), (Some(0x8009_4012), Some(4712)));
}

#[test]
fn key_exchange_certificate_is_fetched() {
    let Some(bed) = Bed::start() else { return };
    let certificate = run(bed.upstream("issue").exchange_certificate(&password("alice"), now())).unwrap();
    assert_eq!(certificate, bed.settings("issue", "UsernamePassword").issuers[0]);
    assert_eq!(bed.saw(1)[0]["asked"], "KET");
    let answer = run(bed.upstream("internal").exchange_certificate(&password("alice"), now()));
    assert!(matches!(answer, Err(RelayError::Failed { .. })), "{answer:?}");
}

fn is_distrust(answer: &Result<Answer, RelayError>, expected: &Distrust) -> bool {
    matches!(answer, Err(RelayError::Untrusted { problem, .. }) if problem == expected)
}

/// Nothing that is not exactly what was asked for is handed out, and it counts as submitted.
#[test]
fn answer_to_another_request_is_not_believed() {
    let Some(bed) = Bed::start() else { return };
    let template = Problem::OtherTemplate { found: "Other".to_owned(), expected: "User".to_owned() };
    for (doing, problem) in [
        ("wrong-key", Distrust::Certificate(Problem::OtherKey)),
        ("wrong-issuer", Distrust::Certificate(Problem::OtherIssuer("CN=Other CA".to_owned()))),
        ("other-signer", Distrust::Certificate(Problem::Signature)),
        ("other-template", Distrust::Certificate(template)),
        ("two", Distrust::TwoCertificates),
        ("no-number", Distrust::NoNumber),
        ("key-exchange", Distrust::OtherQuestion),
    ] {
        let answer = run(bed.submit(doing));
        assert!(is_distrust(&answer, &problem), "{doing}: {answer:?}");
        assert!(answer.unwrap_err().may_have_been_submitted(), "{doing}");
    }
    let answer = run(bed.submit("forged-response"));
    let Err(RelayError::Untrusted { request_id: Some(_), problem: Distrust::Response(_) }) = answer else {
        panic!("{answer:?}")
    };
    let answer = run(bed.submit("other-message"));
    let Err(RelayError::Unknown(Unknown::Nonsense(why))) = &answer else { panic!("{answer:?}") };
    assert_eq!(why, "it answers another message");
    let upstream = bed.upstream("other-number");
    let answer = run(async {
        let answer = upstream.submit(&password("alice"), &bed.submission(), now()).await;
        let Ok(Answer::Issued { request_id, .. }) = answer else { panic!("{answer:?}") };
        let query = async || upstream.query(&password("alice"), request_id, &bed.expected(), now()).await;
        let _ = query().await;
        query().await
    });
    assert!(matches!(answer, Err(RelayError::Untrusted { problem: Distrust::OtherRequest { .. }, .. })));
}

/// The specification wants a CMC response; a foreign server that leaves it out is judged by the certificate.
#[test]
fn certificate_without_cmc_response_is_taken() {
    let Some(bed) = Bed::start() else { return };
    let answer = run(bed.submit("no-response"));
    let Ok(Answer::Issued { full_response, .. }) = answer else { panic!("{answer:?}") };
    assert!(full_response.is_empty());
}

#[test]
fn message_that_may_have_arrived_is_never_repeated() {
    let Some(bed) = Bed::start() else { return };
    let cases = [
        "drop",
        "half",
        "huge",
        "gzip",
        "garbage",
        "iis-error",
        "internal",
        "bare-fault",
        "broken-call",
        "odd-code",
    ];
    for (number, doing) in cases.into_iter().enumerate() {
        let error = run(bed.submit(doing)).unwrap_err();
        assert!(error.may_have_been_submitted(), "{doing}: {error:?}");
        let known = match doing {
            "drop" | "half" => matches!(error, RelayError::Unknown(Unknown::Cut(_))),
            "huge" => matches!(error, RelayError::Unknown(Unknown::TooLarge { .. })),
            "gzip" => matches!(error, RelayError::Unknown(Unknown::Coded)),
            "garbage" => matches!(error, RelayError::Unknown(Unknown::Nonsense(_))),
            "iis-error" => {
                matches!(error, RelayError::Unknown(Unknown::NoSoap(status)) if status.as_u16() == 500)
            }
            _ => matches!(error, RelayError::Failed { .. }),
        };
        assert!(known, "{doing}: {error:?}");
        assert_eq!(bed.saw(number + 1).len(), number + 1, "{doing}");
    }
    // Nothing comes later either.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bed.saw(cases.len()).len(), cases.len());
}

#[test]
fn slow_answer_is_not_waited_for() {
    let Some(bed) = Bed::start() else { return };
    let mut settings = bed.settings("slow", "UsernamePassword");
    settings.timeouts = Timeouts { request: Duration::from_millis(500), ..settings.timeouts };
    let started = Instant::now();
    let upstream = Upstream::new(settings).unwrap();
    let error = run(upstream.submit(&password("alice"), &bed.submission(), now())).unwrap_err();
    assert!(matches!(error, RelayError::Unknown(Unknown::Timeout(_))), "{error:?}");
    assert!(error.may_have_been_submitted() && started.elapsed() < Duration::from_millis(1900));
    assert_eq!(bed.saw(1).len(), 1);
}

#[test]
fn message_that_was_turned_away_was_not_submitted() {
    let Some(bed) = Bed::start() else { return };
    let turned = |error: &RelayError, code: u16| matches!(error, RelayError::TurnedAway(away) if away.status.as_u16() == code);
    for doing in ["redirect", "basic", "unavailable", "wrong-address", "no-authority"] {
        let error = run(bed.submit(doing)).unwrap_err();
        assert!(!error.may_have_been_submitted(), "{doing}: {error:?}");
        let known = match doing {
            "redirect" => turned(&error, 307),
            "unavailable" => turned(&error, 503),
            "basic" => matches!(error, RelayError::SignIn { .. }),
            "no-authority" => matches!(error, RelayError::NoAuthority { .. }),
            _ => matches!(error, RelayError::Refused { .. }),
        };
        assert!(known, "{doing}: {error:?}");
    }
    // In particular nobody followed the redirect, or sent the password once more as Basic.
    let saw = bed.saw(5);
    assert_eq!(saw.len(), 5, "{saw:?}");
    assert!(saw.iter().all(|line| line["doing"] != "issue" && !line.to_string().contains("authorization")));
    let answer = run(bed.submit("no-permission"));
    assert!(matches!(answer, Ok(Answer::NotTaken { hresult: 0x8007_0005, .. })), "{answer:?}");
}

#[test]
fn wrong_password_is_not_passed_for_right_and_is_not_shown() {
    let Some(bed) = Bed::start() else { return };
    let secret = Password::new("s3cret-of-alice".to_owned());
    let alice = UpstreamIdentity::Password { name: "alice".to_owned(), secret };
    let error = run(bed.upstream("issue").submit(&alice, &bed.submission(), now())).unwrap_err();
    assert!(matches!(error, RelayError::SignIn { .. }) && !error.may_have_been_submitted(), "{error:?}");
    assert!(!format!("{alice:?} {error:?} {error}").contains("s3cret"));
}

#[test]
fn server_that_is_not_trusted_gets_nothing() {
    let Some(bed) = Bed::start() else { return };
    let mut settings = bed.settings("issue", "UsernamePassword");
    settings.trust = Trust { files: vec![bed.path("ca.pem")], only: true, ..Trust::default() };
    let upstream = Upstream::new(settings).unwrap();
    let error = run(upstream.submit(&password("alice"), &bed.submission(), now())).unwrap_err();
    assert!(matches!(error, RelayError::NotSent(NotSent::ServerCertificate(_))), "{error:?}");
    assert!(!error.may_have_been_submitted() && bed.saw(0).is_empty());
    let mut settings = bed.settings("issue", "UsernamePassword");
    settings.trust = Trust { files: vec![bed.path("none.pem")], only: true, ..Trust::default() };
    assert!(Upstream::new(settings).is_err());
}

/// Also by one identity: what a server remembers of a connection is forgotten with it.
#[test]
fn connection_serves_one_message() {
    let Some(bed) = Bed::start() else { return };
    let upstream = bed.upstream("issue");
    run(async {
        for who in ["alice", "bob", "alice", "alice"] {
            let answer = upstream.submit(&password(who), &bed.submission(), now()).await;
            assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
        }
    });
    let saw = bed.saw(4);
    let mut connections: Vec<_> = saw.iter().map(|line| line["connection"].as_u64()).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), 4, "{saw:?}");
    let who: Vec<_> = saw.iter().filter_map(|line| line["who"].as_str()).collect();
    assert_eq!(who, ["alice", "bob", "alice", "alice"]);
}

#[test]
fn connections_are_bounded() {
    let Some(bed) = Bed::start() else { return };
    let mut settings = bed.settings("slow", "UsernamePassword");
    settings.max_connections = 1;
    settings.timeouts = Timeouts { connect: Duration::from_millis(1000), request: Duration::from_secs(10) };
    let upstream = Upstream::new(settings).unwrap();
    let (alice, bob, submission) = (password("alice"), password("bob"), bed.submission());
    let (first, second) = run(async {
        tokio::join!(upstream.submit(&alice, &submission, now()), upstream.submit(&bob, &submission, now()))
    });
    assert!(matches!(first, Ok(Answer::Issued { .. })), "{first:?}");
    assert!(matches!(second, Err(RelayError::Busy { limit: 1 })), "{second:?}");
    assert_eq!(bed.saw(1).len(), 1);
}

#[test]
fn own_certificate_signs_in_and_is_read_anew_for_each_message() {
    let Some(bed) = Bed::start() else { return };
    let upstream = Upstream::new(bed.settings("issue", "Certificate")).unwrap();
    let node = UpstreamIdentity::ClientCertificate {
        certificate: bed.path("node1.pem"),
        key: bed.path("node1.key"),
    };
    let answer = run(upstream.submit(&node, &bed.submission(), now()));
    assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
    let saw = bed.saw(1);
    assert_eq!((&saw[0]["who"], &saw[0]["username"]), (&"node1.corp.test".into(), &().into()));
    // Somebody with a password shows no certificate of the node's.
    let error = run(upstream.submit(&password("alice"), &bed.submission(), now())).unwrap_err();
    assert!(matches!(error, RelayError::SignIn { .. }), "{error:?}");
    assert_eq!(bed.saw(2)[1].get("certificate"), None);

    std::fs::copy(bed.path("server.pem"), bed.path("node1.pem")).unwrap();
    let error = run(upstream.submit(&node, &bed.submission(), now())).unwrap_err();
    assert!(matches!(error, RelayError::Identity(_)) && !error.may_have_been_submitted(), "{error:?}");
    std::fs::copy(bed.path("server.key"), bed.path("node1.key")).unwrap();
    let answer = run(upstream.submit(&node, &bed.submission(), now()));
    assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
    assert_eq!(bed.saw(3)[2]["who"], "localhost");
}

/// python-gssapi judges the tickets: one for each message, bound to the upstream's certificate.
#[test]
fn ticket_is_bound_to_the_upstreams_certificate() {
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    kdc::within("", |kdc| {
        for name in ["alice", "bob"] {
            kdc.add_user(name, &format!("{name}-pw"));
        }
        let keytab = kdc.add_service("HTTP/localhost", "http.keytab");
        let bed = Bed::start_with(&python, "localhost", &["--keytab", keytab.to_str().unwrap()]);
        let upstream = Upstream::new(bed.settings("issue", "Kerberos")).unwrap();
        let identity = |name: &str| {
            let principal = format!("{name}@{}", kdc::REALM);
            let password = format!("{name}-pw").into();
            let login = Login::Password { principal: principal.clone(), password };
            let credential = Gss::load().unwrap().credential(&login).unwrap();
            UpstreamIdentity::Kerberos { name: principal, credential }
        };
        let (alice, bob) = (identity("alice"), identity("bob"));
        run(async {
            for who in [&alice, &bob, &alice] {
                let answer = upstream.submit(who, &bed.submission(), now()).await;
                assert!(matches!(answer, Ok(Answer::Issued { .. })), "{answer:?}");
            }
        });
        let saw = bed.saw(3);
        let who: Vec<_> = saw.iter().filter_map(|line| line["who"].as_str()).collect();
        assert_eq!(who, ["alice@CORP.TEST", "bob@CORP.TEST", "alice@CORP.TEST"], "{saw:?}");
        assert!(saw.iter().all(|line| line["bound"] == true), "{saw:?}");

        // The realm knows no service of that name.
        let mut settings = bed.settings("issue", "Kerberos");
        settings.url = settings.url.as_str().replace("localhost", "127.0.0.1").parse().unwrap();
        let unknown = Upstream::new(settings).unwrap();
        let error = run(unknown.submit(&alice, &bed.submission(), now())).unwrap_err();
        assert!(matches!(error, RelayError::NotSent(NotSent::Ticket { .. })), "{error:?}");
        assert!(!error.may_have_been_submitted() && bed.saw(3).len() == 3, "nothing was sent");
        let error = run(upstream.submit(&password("alice"), &bed.submission(), now())).unwrap_err();
        assert!(matches!(error, RelayError::SignIn { .. }), "{error:?}");
    });
}
