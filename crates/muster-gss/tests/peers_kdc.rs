//! The acceptor in a realm of MIT's KDC: what is accepted, and each cause of a refusal (T15 to T18).

mod realm;

use std::fs;
use std::process::Command;
use std::time::Duration;

use muster_gss::{AcceptorError, ChannelBinding, EncryptionType, Refused, ReplayCache};
use muster_testkit::kdc;
use muster_testkit::peers::Peer;
use muster_testkit::tools::element;
use realm::{HOST, acceptor, acceptor_for, binding, settings, token, token_for};

#[test]
fn t15_right_binding_is_accepted_once() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let (acceptor, token) = (acceptor(kdc), token(kdc, Some(binding(1))));
        let accepted = acceptor.accept(&token, &[binding(1)]).unwrap();
        assert_eq!(accepted.principal.to_string(), "alice@CORP.TEST");
        assert_eq!(accepted.service.to_string(), format!("HTTP/{HOST}"));
        assert_eq!(accepted.pac, None);
        assert!(!accepted.delegated);
        let hours = accepted.remaining.as_secs() / 3600;
        assert!((23..=24).contains(&hours), "{:?}", accepted.remaining);
        assert_eq!(acceptor.accept(&token, &[binding(1)]), Err(Refused::Replay));
    });
}

#[test]
fn t15_missing_and_wrong_bindings_are_refused() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        let of_both = |token: &[u8], ours: &[ChannelBinding]| acceptor.accept(token, ours).map(drop);
        let none = token(kdc, None);
        assert_eq!(of_both(&none, &[binding(1)]), Err(Refused::NoChannelBinding));
        assert_eq!(of_both(&token(kdc, None), &[binding(1), binding(2)]), Err(Refused::NoChannelBinding));
        let wrong = token(kdc, Some(binding(9)));
        assert_eq!(of_both(&wrong, &[binding(1), binding(2)]), Err(Refused::WrongChannelBinding));
        assert_eq!(of_both(&wrong, &[binding(1)]), Err(Refused::WrongChannelBinding));
        // A hash of zeros is a binding as wrong as others.
        let zero = token(kdc, Some(binding(0)));
        assert_eq!(of_both(&zero, &[binding(1)]), Err(Refused::WrongChannelBinding));
        // Without knowing the channel nothing is accepted.
        assert_eq!(of_both(&token(kdc, Some(binding(1))), &[]), Err(Refused::NoChannelBinding));
    });
}

#[test]
fn t15_one_of_several_bindings_is_accepted_once() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        let ours = [binding(1), binding(2), binding(3)];
        for octet in [1, 2, 3] {
            let token = token(kdc, Some(binding(octet)));
            assert!(acceptor.accept(&token, &ours).is_ok(), "{octet}");
            assert_eq!(acceptor.accept(&token, &ours), Err(Refused::Replay), "{octet}");
        }
    });
}

#[test]
fn t15_missing_authenticator_checksum_is_refused() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let ap_req = realm::peer(kdc, &python, &["no-checksum", HOST], &cache).line();
        let krb5 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
        let token = element(0x60, &[&element(0x06, &krb5), &[1, 0][..], &ap_req].concat());
        assert_eq!(acceptor(kdc).accept(&token, &[binding(1)]), Err(Refused::NoChannelBinding));
    });
}

#[test]
fn t17_tickets_for_other_services_are_refused() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        // All in the same keytab: the name decides, not the key.
        let others = ["HTTP/other.corp.test", "HOST/pki.corp.test", "cifs/pki.corp.test"];
        for other in others.into_iter().chain(["RestrictedKrbHost/pki.corp.test"]) {
            kdc.add_service(other, "keytab");
            let (class, host) = other.split_once('/').unwrap();
            let refused = acceptor(kdc).accept(&token_for(kdc, class, host, Some(binding(1))), &[binding(1)]);
            assert_eq!(refused, Err(Refused::WrongService(format!("{other}@CORP.TEST"))));
        }
        // The name in the ticket can be written over; the key does not fit then.
        let mut token = token_for(kdc, "HOST", HOST, Some(binding(1)));
        let name = token.windows(6).position(|window| window == b"\x1b\x04HOST").unwrap();
        token.get_mut(name + 2..name + 6).unwrap().copy_from_slice(b"HTTP");
        let refused = acceptor(kdc).accept(&token, &[binding(1)]);
        assert!(matches!(&refused, Err(Refused::WrongKey { .. })), "{refused:?}");
    });
}

#[test]
fn t17_capitals_in_the_service_name_do_not_matter() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        // A directory issues for both spellings with the same key; here the entry is renamed.
        kdc.admin("renprinc -force HTTP/pki.corp.test HTTP/PKI.corp.test");
        let token = token_for(kdc, "HTTP", "PKI.corp.test", Some(binding(1)));
        assert!(acceptor(kdc).accept(&token, &[binding(1)]).is_ok());
    });
}

#[test]
fn several_services_of_one_keytab_are_accepted() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        kdc.add_service("HTTP/ces.corp.test", "keytab");
        let acceptor = acceptor_for(kdc, &["HTTP/pki.corp.test@CORP.TEST", "HTTP/ces.corp.test"]);
        for host in [HOST, "ces.corp.test"] {
            let token = token_for(kdc, "HTTP", host, Some(binding(1)));
            let accepted = acceptor.accept(&token, &[binding(1)]).unwrap();
            assert_eq!(accepted.service.host(), host);
        }
    });
}

#[test]
fn keys_are_rolled_over_while_running() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        let with_old_key = token(kdc, Some(binding(1)));
        kdc.admin("cpw -randkey -keepold HTTP/pki.corp.test");
        let with_new_key = token(kdc, Some(binding(1)));
        // The KDC has a new key, the keytab not yet.
        let refused = acceptor.accept(&with_new_key, &[binding(1)]);
        let expected = Refused::WrongKey {
            service: format!("HTTP/{HOST}"),
            kvno: "2".to_owned(),
            etype: EncryptionType(18),
        };
        assert_eq!(refused, Err(expected));
        kdc.export("HTTP/pki.corp.test", "keytab");
        assert!(acceptor.accept(&with_new_key, &[binding(1)]).is_ok());
        assert!(acceptor.accept(&with_old_key, &[binding(1)]).is_ok(), "the old key is still in the keytab");
        fs::remove_file(kdc.path("keytab")).unwrap();
        let refused = acceptor.accept(&token(kdc, Some(binding(1))), &[binding(1)]);
        assert!(matches!(&refused, Err(Refused::NoKey { .. })), "{refused:?}");
    });
}

#[test]
fn keytab_of_another_account_is_refused() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let token = token(kdc, Some(binding(1)));
        kdc.admin("delprinc -force HTTP/pki.corp.test");
        fs::remove_file(kdc.path("keytab")).unwrap();
        kdc.add_service("HTTP/pki.corp.test", "keytab");
        let refused = acceptor(kdc).accept(&token, &[binding(1)]);
        assert!(matches!(&refused, Err(Refused::WrongKey { .. })), "{refused:?}");
    });
}

#[test]
fn keytabs_that_cannot_be_used_are_named() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let gss = muster_gss::Gss::load().unwrap();
        let error = |keytab: &str, service: &str| {
            gss.acceptor(&settings(kdc, keytab, &[service])).map(drop).unwrap_err()
        };
        assert!(matches!(error("nothing", "HTTP/pki.corp.test"), AcceptorError::Keytab(_)));
        fs::write(kdc.path("garbage"), b"\x05\x02\0\0\0\x40abc").unwrap();
        assert!(error("garbage", "HTTP/pki.corp.test").to_string().contains("is cut off"));
        let missing = error("keytab", "HTTP/ces.corp.test").to_string();
        assert!(
            missing
                .contains("has no key for HTTP/ces.corp.test; it has keys for HTTP/pki.corp.test@CORP.TEST")
        );
        assert!(matches!(
            error("keytab", "HTTP/pki.corp.test@OTHER.TEST"),
            AcceptorError::ServiceNotInKeytab { .. }
        ));
        kdc.admin("addprinc -randkey -e arcfour-hmac:normal HTTP/old.corp.test");
        kdc.export("HTTP/old.corp.test", "rc4");
        let weak = error("rc4", "HTTP/old.corp.test").to_string();
        assert!(weak.contains("has only RC4 keys for HTTP/old.corp.test"), "{weak}");
        let mut folder = settings(kdc, "keytab", &["HTTP/pki.corp.test"]);
        folder.replay_cache = ReplayCache::File(kdc.path("no/such/folder/replay"));
        let refused = gss.acceptor(&folder).unwrap().accept(&token(kdc, Some(binding(1))), &[binding(1)]);
        assert!(matches!(&refused, Err(Refused::ReplayCache(_) | Refused::Library(_))), "{refused:?}");
    });
}

#[test]
fn t18_rc4_is_refused() {
    kdc::within("allow_rc4 = true", |kdc| {
        realm::make(kdc);
        // The keytab has an AES key and an RC4 key, and the KDC takes the RC4 key.
        kdc.admin("cpw -randkey -e arcfour-hmac:normal HTTP/pki.corp.test");
        kdc.export("HTTP/pki.corp.test", "keytab");
        let refused = acceptor(kdc).accept(&token(kdc, Some(binding(1))), &[binding(1)]);
        assert_eq!(refused, Err(Refused::WeakEncryption(EncryptionType(23))));
        // An AES ticket with an RC4 session key.
        kdc.admin("cpw -randkey HTTP/pki.corp.test");
        kdc.export("HTTP/pki.corp.test", "keytab");
        kdc.admin("setstr HTTP/pki.corp.test session_enctypes arcfour-hmac");
        let refused = acceptor(kdc).accept(&token(kdc, Some(binding(1))), &[binding(1)]);
        assert_eq!(refused, Err(Refused::WeakEncryption(EncryptionType(23))));
    });
}

#[test]
fn t18_clocks_may_differ_by_four_minutes_and_not_by_six() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        if Command::new("faketime").arg("--version").output().is_err() {
            return muster_testkit::peers::not_run("faketime");
        }
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        // So that only the authenticator is made with the wrong clock.
        assert!(kdc.try_run("kvno", &["-c", cache.as_str(), "HTTP/pki.corp.test"], b"").ok);
        let acceptor = acceptor(kdc);
        let hash = "01".repeat(32);
        for (minutes, expected) in [(4, true), (-4, true), (6, false)] {
            let mut peer = Command::new("faketime");
            peer.arg("-f").arg(format!("{minutes:+}m")).arg(&python);
            let token =
                realm::start(kdc, peer, &["initiate", "HTTP/pki.corp.test@CORP.TEST", &hash], &cache).line();
            let accepted = acceptor.accept(&token, &[binding(1)]).map(drop);
            let expected = if expected { Ok(()) } else { Err(Refused::ClockSkew) };
            assert_eq!(accepted, expected, "{minutes}");
        }
    });
}

#[test]
fn t18_tokens_older_than_clocks_may_differ_are_refused() {
    kdc::within("clockskew = 1", |kdc| {
        realm::make(kdc);
        let token = token(kdc, Some(binding(1)));
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(acceptor(kdc).accept(&token, &[binding(1)]), Err(Refused::ClockSkew));
    });
}

#[test]
fn t18_expired_tickets_are_refused() {
    kdc::within("clockskew = 1\n ticket_lifetime = 3s", |kdc| {
        realm::make(kdc);
        let token = token(kdc, Some(binding(1)));
        std::thread::sleep(Duration::from_millis(5_500));
        assert_eq!(acceptor(kdc).accept(&token, &[binding(1)]), Err(Refused::Expired));
    });
}

#[test]
fn damaged_tokens_are_refused() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        let token = token(kdc, Some(binding(1)));
        for length in 0..token.len() {
            assert!(acceptor.accept(token.get(..length).unwrap(), &[binding(1)]).is_err(), "{length}");
        }
        for at in 0..token.len() {
            let mut damaged = token.clone();
            *damaged.get_mut(at).unwrap() ^= 1 << (at % 8);
            // A few octets are neither read nor protected, such as the type of the service's name.
            if let Ok(accepted) = acceptor.accept(&damaged, &[binding(1)]) {
                assert_eq!(accepted.principal.to_string(), "alice@CORP.TEST", "{at}");
            }
        }
    });
}

#[test]
fn threads_share_an_acceptor() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        let tokens: Vec<Vec<u8>> = realm::tokens(kdc, 200, Some(binding(1)));
        std::thread::scope(|scope| {
            for part in tokens.chunks(50) {
                let acceptor = &acceptor;
                scope.spawn(move || {
                    for token in part {
                        assert!(acceptor.accept(token, &[binding(1)]).is_ok());
                    }
                });
            }
        });
        for token in &tokens {
            assert_eq!(acceptor.accept(token, &[binding(1)]), Err(Refused::Replay));
        }
    });
}
