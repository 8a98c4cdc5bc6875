//! The connector against a program that plays an authority, shares no code with it, and lies on request.
mod bed;

use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, identity, issued, run};
use muster_adcs::{Adcs, AdcsError, Answer, Identity, Method, Problem, Settings};
use muster_gss::Framing;
use muster_rpc::client::RpcError;
use muster_rpc::status::HResult;
use muster_testkit::peers::Peer;
use muster_testkit::{kdc, tools};

/// All four ways to ask; the authority sees the caller, packet privacy and signed headers, and gets the request as it came.
#[test]
fn certificate_is_issued_in_the_callers_name_by_every_way() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for (method, call) in
            [(Method::Passage, "ICertPassage.CertServerRequest"), (Method::Object, "ICertRequestD2.Request2")]
        {
            for (framing, auth) in [(Framing::Kerberos, "kerberos"), (Framing::Negotiate, "spnego")] {
                let mut settings = bed.settings(method);
                settings.framing = framing;
                let adcs = Adcs::new(settings);
                let id = issued(run(adcs.submit(&alice, &bed.submission("User"))), &bed);
                let calls = bed.calls(&format!("\"issued_id\": {id}"), 1);
                let [line] = calls.as_slice() else { panic!("{calls:?}") };
                for part in [
                    call,
                    "\"who\": \"alice@CORP.TEST\"",
                    &format!("\"auth\": \"{auth}\""),
                    "\"level\": \"privacy\"",
                    "\"hdr\": true",
                    "\"attributes\": \"CertificateTemplate:User\"",
                    "\"flags\": \"0x40100\"",
                    &format!("\"request_len\": {}", bed.request.len()),
                ] {
                    assert!(line.contains(part), "{part} in {line}");
                }
            }
        }
        assert_eq!(bed.calls("error", 0), Vec::<String>::new());
    });
}

/// The endpoint mapper, activation and binding are done once for an identity, and never for two.
#[test]
fn connection_is_used_again_for_the_same_identity_alone() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--max-frag", "1432"]) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let adcs = Adcs::new(bed.settings(Method::Object));
        run(async {
            let (mut calls_so_far, mut activated) = (0, 0);
            for (who, activations) in [(&alice, 1), (&alice, 1), (&bob, 2), (&alice, 2), (&bob, 2)] {
                let id = issued(adcs.submit(who, &bed.submission("User")).await, &bed);
                let calls = bed.calls(&format!("\"issued_id\": {id}"), 1).concat();
                assert!(calls.contains(&format!("\"who\": \"{}\"", who.name())), "{calls}");
                assert_eq!(bed.calls("RemoteCreateInstance", activations).len(), activations);
                // Cold: version, activation, request. Warm: the request, which is one call and its answer.
                calls_so_far += if activations > activated { 3 } else { 1 };
                activated = activations;
                assert_eq!(bed.calls("\"call\"", calls_so_far).len(), calls_so_far);
            }
        });
    });
}

#[test]
fn pending_request_is_issued_at_a_later_query() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for method in [Method::Passage, Method::Object] {
            let adcs = Adcs::new(bed.settings(method));
            run(async {
                let answer = adcs.submit(&alice, &bed.submission("Pending")).await;
                let Ok(Answer::Pending { request_id, message, .. }) = answer else { panic!("{answer:?}") };
                assert_eq!(message, "Taken Under Submission");
                let expected = bed.expected("Pending");
                let answer = adcs.query(&alice, request_id, true, &expected).await;
                assert!(matches!(answer, Ok(Answer::Pending { .. })), "{answer:?}");
                assert_eq!(issued(adcs.query(&alice, request_id, true, &expected).await, &bed), request_id);
            });
        }
    });
}

#[test]
fn refusals_keep_their_numbers() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for method in [Method::Passage, Method::Object] {
            let adcs = Adcs::new(bed.settings(method));
            run(async {
                let answer = adcs.submit(&alice, &bed.submission("Denied")).await;
                let Ok(Answer::Denied { reason: None, message, .. }) = answer else { panic!("{answer:?}") };
                assert_eq!(message, "Denied by Policy Module");
                let answer = adcs.submit(&alice, &bed.submission("Failed")).await;
                let Ok(Answer::Denied { reason, .. }) = answer else { panic!("{answer:?}") };
                assert_eq!(reason, Some(HResult::TEMPLATE_DENIED));
                let answer = adcs.submit(&alice, &bed.submission("HResult")).await;
                assert_eq!(answer, Ok(Answer::Refused(HResult::CERTSRV_DENIED)));
                let mut settings = bed.settings(method);
                settings.authority = "OTHER-CA".parse().unwrap();
                let answer = Adcs::new(settings).submit(&alice, &bed.submission("User")).await;
                assert_eq!(answer, Ok(Answer::Refused(HResult::INVALID_ARGUMENT)));
            });
        }
    });
}

/// T14: nothing that is not exactly what was asked for is handed out.
#[test]
fn certificates_that_were_not_asked_for_are_not_handed_out() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for method in [Method::Passage, Method::Object] {
            let adcs = Adcs::new(bed.settings(method));
            run(async {
                for (template, wanted) in [
                    ("WrongKey", "another key"),
                    ("WrongIssuer", "CN=Another CA, is not this authority"),
                    ("OtherSigner", "not signed by a key of this authority"),
                    ("WrongSid", "S-1-5-21-1-2-3-500"),
                    ("Garbage", "cannot be read"),
                    ("Empty", "cannot be read"),
                ] {
                    let answer = adcs.submit(&alice, &bed.submission(template)).await;
                    let Err(error @ AdcsError::Untrusted { .. }) = answer else {
                        panic!("{template}: {answer:?}")
                    };
                    assert!(error.to_string().contains(wanted), "{template}: {error}");
                    assert!(error.may_have_been_submitted());
                }
                let mut submission = bed.submission("User");
                submission.expected.template = vec!["Machine".to_owned()];
                let answer = adcs.submit(&alice, &submission).await;
                let Err(AdcsError::Untrusted { problem: Problem::OtherTemplate { found, .. }, .. }) = answer
                else {
                    panic!("{answer:?}")
                };
                assert_eq!(found, "User");
            });
        }
    });
}

/// A call that breaks is unknown, is not sent twice, and its connection is not used again.
#[test]
fn broken_calls_are_unknown_and_sent_once() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for method in [Method::Passage, Method::Object] {
            let mut settings = bed.settings(method);
            settings.timeouts.call = Duration::from_secs(1);
            let adcs = Adcs::new(settings);
            run(async {
                for (template, wanted) in [
                    ("Drop", "closed the connection"),
                    ("Half", "closed the connection"),
                    ("Slow", "no answer within 1 s"),
                    ("Truncated", "the results cannot be read"),
                ] {
                    let answer = adcs.submit(&alice, &bed.submission(template)).await;
                    let Err(error @ AdcsError::Unknown { .. }) = answer else {
                        panic!("{template}: {answer:?}")
                    };
                    assert!(error.to_string().contains(wanted), "{template}: {error}");
                    assert!(error.may_have_been_submitted());
                }
                issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
            });
        }
        // Both ways, once each.
        assert_eq!(bed.calls("\"cut\"", 4).len(), 4);
    });
}

/// A fault that says that the call was not begun is believed only if the authority has signed it: somebody on the way can
/// make any other, and the certificate may have been issued.
#[test]
fn fault_without_a_verifier_is_unknown_and_a_signed_one_is_believed() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        for method in [Method::Passage, Method::Object] {
            for framing in [Framing::Kerberos, Framing::Negotiate] {
                let mut settings = bed.settings(method);
                settings.framing = framing;
                let adcs = Adcs::new(settings);
                run(async {
                    for template in ["Forged", "Unsigned"] {
                        let answer = adcs.submit(&alice, &bed.submission(template)).await;
                        let Err(error @ AdcsError::Unknown { .. }) = answer else {
                            panic!("{template}: {answer:?}")
                        };
                        contains(&error.to_string(), "not signed");
                        assert!(error.may_have_been_submitted());
                    }
                    let answer = adcs.submit(&alice, &bed.submission("Signed")).await;
                    let Err(error @ AdcsError::CallRefused { error: RpcError::Fault(_), .. }) = &answer
                    else {
                        panic!("{answer:?}")
                    };
                    assert!(!error.may_have_been_submitted());
                    issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
                });
            }
        }
        // Once each, four ways.
        assert_eq!(bed.calls("\"fault\"", 12).len(), 12);
    });
}

/// T13: what is lower than packet privacy, or was not asked for, is refused before a request is sent.
#[test]
fn connections_that_are_not_private_are_refused_before_the_request() {
    kdc::within("", |kdc| {
        for (lie, wanted) in [
            ("level", RpcError::AuthLevel(5)),
            ("ntlm", RpcError::AuthType(10)),
            ("no-token", RpcError::Unprotected(muster_rpc::pdu::Kind::BindAck)),
            ("no-header-signing", RpcError::NoHeaderSigning),
            ("nak", RpcError::BindRefused(muster_rpc::pdu::BindNak::AUTHENTICATION_TYPE)),
        ] {
            let Some(bed) = Bed::start(kdc, &["--lie", lie]) else { return };
            for method in [Method::Passage, Method::Object] {
                let adcs = Adcs::new(bed.settings(method));
                let answer = run(adcs.submit(&identity("alice"), &bed.submission("User")));
                let error = answer.unwrap_err();
                let AdcsError::Connection { error: got, .. } = &error else { panic!("{lie}: {error:?}") };
                assert_eq!(got, &wanted, "{lie}");
                assert!(!error.may_have_been_submitted());
            }
            assert_eq!(bed.calls("CertServerRequest", 0).len() + bed.calls("Request2", 0).len(), 0, "{lie}");
        }
        let Some(bed) = Bed::start(kdc, &["--lie", "other-syntax"]) else { return };
        let answer =
            run(Adcs::new(bed.settings(Method::Passage)).submit(&identity("alice"), &bed.submission("User")));
        let refused = matches!(answer, Err(AdcsError::Connection { error: RpcError::TransferSyntax(_), .. }));
        assert!(refused, "{answer:?}");
    });
}

#[test]
fn answers_in_clear_are_not_believed() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--lie", "unsealed"]) else { return };
        let alice = identity("alice");
        let answer = run(Adcs::new(bed.settings(Method::Passage)).submit(&alice, &bed.submission("User")));
        let error = answer.unwrap_err();
        assert!(error.to_string().contains("is not protected"), "{error}");
        assert!(error.may_have_been_submitted());
        drop(bed);
        let Some(bed) = Bed::start(kdc, &["--lie", "replay"]) else { return };
        let adcs = Adcs::new(bed.settings(Method::Passage));
        run(async {
            for _ in 0..2 {
                // A second answer that nobody asked for ends the connection, and is never taken for the next one's.
                issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    });
}

#[test]
fn authority_that_is_not_there_has_its_own_sentence() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &["--lie", "mapper-none"]) else { return };
        let alice = identity("alice");
        let ask = |settings: Settings, who: &Identity| {
            let error = run(Adcs::new(settings).submit(who, &bed.submission("User"))).unwrap_err();
            assert!(!error.may_have_been_submitted(), "{error}");
            error.to_string()
        };
        contains(&ask(bed.settings(Method::Passage), &alice), "its endpoint mapper knows no such interface");
        let mut settings = bed.settings(Method::Passage);
        settings.mapper_port = 1;
        contains(&ask(settings, &alice), "port 1, cannot be reached");
        let mut settings = bed.settings(Method::Object);
        settings.host = "127.0.0.1".to_owned();
        contains(&ask(settings, &alice), "no ticket of alice@CORP.TEST for RPCSS/127.0.0.1");
        let mut settings = bed.settings(Method::Object);
        settings.host = "nowhere.invalid".to_owned();
        contains(&ask(settings, &alice), "nowhere.invalid, port");
        let Some(garbage) = Bed::start(kdc, &["--lie", "mapper-garbage"]) else { return };
        contains(&ask(garbage.settings(Method::Passage), &alice), "was connected, but not asked");
        // A listener that never answers.
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut settings = bed.settings(Method::Passage);
        settings.mapper_port = silent.local_addr().unwrap().port();
        settings.timeouts.connect = Duration::from_millis(300);
        contains(&ask(settings, &alice), "did not answer within 0.3 s, before a request was sent");
    });
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} in {text:?}");
}

/// Over DCOM an authority says what it is; nothing is requested by asking.
#[test]
fn authority_says_what_it_is() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let alice = identity("alice");
        let health = run(Adcs::new(bed.settings(Method::Object)).health(&alice)).unwrap();
        assert_eq!((health.ping, health.name.as_deref()), (Some(HResult::OK), Some("CORP-CA")));
        let names: Vec<&str> = health.templates.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["User", "Machine"]);
        assert_eq!(health.templates.first().unwrap().oid, "1.3.6.1.4.1.311.21.8.1.1");
        assert_eq!(health.certificate.as_ref(), Some(&bed.issuer));
        let health = run(Adcs::new(bed.settings(Method::Passage)).health(&alice)).unwrap();
        assert_eq!((health.ping, health.templates.len()), (None, 0));
        assert_eq!(bed.calls("request_sha256", 0).len(), 0);
    });
}

/// KET: what keys for the authority are encrypted with, over DCOM, from it and nobody else.
#[test]
fn certificate_for_exchange_is_the_authoritys_own() {
    kdc::within("", |kdc| {
        for (lie, wanted) in [
            ("", None),
            ("old", None),
            ("no-exchange", Some("does not say a certificate for the exchange of keys: E_INVALIDARG")),
            (
                "other-exchange",
                Some("not to be trusted: the certificate is not signed by a key of this authority"),
            ),
        ] {
            let arguments: &[&str] = if lie.is_empty() { &[] } else { &["--lie", lie] };
            let Some(bed) = Bed::start(kdc, arguments) else { return };
            let alice = identity("alice");
            let adcs = Adcs::new(bed.settings(Method::Object));
            let said = run(adcs.exchange_certificate(&alice));
            match (said, wanted) {
                (Ok(certificate), None) => {
                    let text = tools::run(
                        &Peer::OpenSsl.or_not_run().unwrap(),
                        &["x509", "-inform", "DER", "-noout", "-subject", "-issuer"],
                        &certificate,
                    );
                    assert!(text.text().contains("CORP-CA-Xchg"), "{}", text.all());
                }
                (Err(error), Some(wanted)) => contains(&error.to_string(), wanted),
                (said, _) => panic!("{lie}: {said:?}"),
            }
            let error =
                run(Adcs::new(bed.settings(Method::Passage)).exchange_certificate(&alice)).unwrap_err();
            contains(&error.to_string(), "MS-ICPR has no call for it");
            assert!(!error.may_have_been_submitted());
            assert_eq!(bed.calls("request_sha256", 0).len(), 0);
        }
    });
}

/// An authority without `ICertRequestD2` is asked by `ICertRequestD`.
#[test]
fn authority_with_the_old_interface_alone_is_asked_by_it() {
    kdc::within("", |kdc| {
        for lie in ["old", "older"] {
            let Some(bed) = Bed::start(kdc, &["--lie", lie]) else { return };
            let alice = identity("alice");
            let adcs = Adcs::new(bed.settings(Method::Object));
            run(async {
                issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
                let answer = adcs.submit(&alice, &bed.submission("Pending")).await;
                let Ok(Answer::Pending { request_id, .. }) = answer else { panic!("{answer:?}") };
                let answer = adcs.query(&alice, request_id, true, &bed.expected("Pending")).await;
                assert!(matches!(answer, Ok(Answer::Pending { .. })), "{answer:?}");
                let health = adcs.health(&alice).await.unwrap();
                assert_eq!((health.ping, health.name.as_deref()), (Some(HResult::OK), Some("CORP-CA")));
                assert_eq!((health.certificate, health.templates), (Some(bed.issuer.clone()), Vec::new()));
            });
            let asked = bed.calls("ICertRequestD.Request\"", 3);
            assert_eq!(asked.len(), 3, "{asked:?}");
            // The flag for a full response belongs to the newer call.
            assert!(
                asked.iter().all(|line| line.contains("\"flags\": \"0x100\"") || line.contains("\"0x0\"")),
                "{asked:?}"
            );
            // Once for the requests, once for the question; each first for the newer interface.
            assert_eq!(bed.calls("RemoteCreateInstance", 4).len(), 4);
        }
    });
}

/// Objects are given back when their connection is closed orderly, and not only when the authority tires of them.
#[test]
fn objects_are_released() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let mut settings = bed.settings(Method::Object);
        settings.timeouts.idle = Duration::from_millis(300);
        let adcs = Adcs::new(settings);
        run(async {
            issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
            assert_eq!(bed.calls("RemRelease", 0).len(), 0);
            tokio::time::sleep(Duration::from_millis(400)).await;
            // Too old for another request.
            issued(adcs.submit(&bob, &bed.submission("User")).await, &bed);
            contains(&bed.calls("RemRelease", 1).concat(), "\"count\": 1, \"gone\": 1");
            adcs.close().await;
            let released = bed.calls("RemRelease", 2);
            contains(released.last().unwrap(), "\"gone\": 1, \"left\": 0");
            adcs.health(&alice).await.unwrap();
            contains(bed.calls("RemRelease", 3).last().unwrap(), "\"left\": 0");
            issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
        });
        assert_eq!(bed.calls("\"fault\"", 0), Vec::<String>::new());
    });
}

/// Many at once, on no more connections than permitted; each gets its own certificate. All of the connections are kept.
#[test]
fn many_requests_share_few_connections() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let mut settings = bed.settings(Method::Passage);
        settings.max_connections = 8;
        settings.timeouts.connect = Duration::from_secs(30);
        let (adcs, alice) = (Arc::new(Adcs::new(settings)), identity("alice"));
        let mut ids = run(async {
            let mut ids = Vec::new();
            for _ in 0..2 {
                let tasks: Vec<_> = (0..32)
                    .map(|_| {
                        let (adcs, alice, submission) =
                            (Arc::clone(&adcs), alice.clone(), bed.submission("User"));
                        tokio::spawn(async move { adcs.submit(&alice, &submission).await })
                    })
                    .collect();
                for task in tasks {
                    ids.push(issued(task.await.unwrap(), &bed));
                }
            }
            ids
        });
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 64);
        assert!(bed.calls("ept_map", 1).len() <= 8, "more connections than permitted, or not kept");
    });
}

/// What is kept for one identity goes before another has to wait, or there are more connections than permitted.
#[test]
fn unused_connections_make_room_for_others() {
    kdc::within("", |kdc| {
        let Some(bed) = Bed::start(kdc, &[]) else { return };
        let (alice, bob) = (identity("alice"), identity("bob"));
        let mut settings = bed.settings(Method::Object);
        settings.max_connections = 1;
        let adcs = Adcs::new(settings);
        run(async {
            for _ in 0..2 {
                issued(adcs.submit(&alice, &bed.submission("User")).await, &bed);
            }
            assert_eq!(bed.calls("RemRelease", 0).len(), 0);
            issued(adcs.submit(&bob, &bed.submission("User")).await, &bed);
            contains(&bed.calls("RemRelease", 1).concat(), "\"gone\": 1");
            issued(adcs.submit(&bob, &bed.submission("User")).await, &bed);
        });
        assert_eq!(bed.calls("RemoteCreateInstance", 2).len(), 2);
    });
}
