//! Other implementations at the other end: python-gssapi (MIT's SPNEGO), pyspnego (its own).

mod realm;

use muster_gss::{ChannelBinding, Framing, Gss, InitiateError, Login, Protection, Refused, Step};
use muster_testkit::kdc;
use muster_testkit::peers::Peer;
use realm::{HOST, acceptor, binding, initiator_settings};

const SERVICE: &str = "HTTP/pki.corp.test@CORP.TEST";

#[test]
fn foreign_initiators_are_accepted_in_one_message() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let (acceptor, hash) = (acceptor(kdc), "01".repeat(32));
        for (mode, service) in [("initiate", SERVICE), ("initiate-krb5", SERVICE), ("pyspnego", HOST)] {
            let mut peer = realm::peer(kdc, &python, &[mode, service, &hash], &cache);
            let accepted = acceptor.accept(&peer.line(), &[binding(1)]).unwrap();
            assert_eq!(accepted.principal.to_string(), "alice@CORP.TEST", "{mode}");
            // It verifies that the service has the key.
            peer.send(&accepted.reply);
            assert_eq!(peer.text(), "complete", "{mode}");
        }
    });
}

#[test]
fn foreign_initiators_without_or_with_wrong_binding_are_refused() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let (acceptor, wrong) = (acceptor(kdc), "09".repeat(32));
        for (mode, service) in [("initiate", SERVICE), ("initiate-krb5", SERVICE), ("pyspnego", HOST)] {
            let refused = |arguments: &[&str]| {
                acceptor.accept(&realm::peer(kdc, &python, arguments, &cache).line(), &[binding(1)])
            };
            assert_eq!(refused(&[mode, service]), Err(Refused::NoChannelBinding), "{mode}");
            assert_eq!(refused(&[mode, service, &wrong]), Err(Refused::WrongChannelBinding), "{mode}");
        }
    });
}

#[test]
fn certificates_give_the_binding_that_clients_send() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        let Some(openssl) = Peer::OpenSsl.or_not_run() else { return };
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let acceptor = acceptor(kdc);
        // Signature, and the hash that RFC 5929 takes for it.
        for (digest, taken) in
            [("sha1", "sha256"), ("sha256", "sha256"), ("sha384", "sha384"), ("sha512", "sha512")]
        {
            let (key, certificate) = (kdc.path("key.pem"), kdc.path("certificate.der"));
            let run = |arguments: &[&str]| {
                let ran = muster_testkit::tools::run(&openssl, arguments, b"");
                assert!(ran.ok, "{}", ran.all());
                ran.text()
            };
            let (key, file) = (key.to_str().unwrap(), certificate.to_str().unwrap());
            run(&[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                key,
                "-subj",
                "/CN=pki.corp.test",
                &format!("-{digest}"),
                "-outform",
                "DER",
                "-out",
                file,
            ]);
            let said = run(&["dgst", &format!("-{taken}"), file]);
            let hash = said.trim().rsplit(' ').next().unwrap();
            let ours = ChannelBinding::tls_server_end_point(&std::fs::read(&certificate).unwrap()).unwrap();
            let token = realm::peer(kdc, &python, &["pyspnego", HOST, hash], &cache).line();
            assert!(acceptor.accept(&token, &[ours]).is_ok(), "{digest}");
        }
    });
}

#[test]
fn foreign_acceptor_and_sealed_messages() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let keytab = kdc.add_service("ldap/dc1.corp.test", "ldap.keytab");
        // As the machine's account would: from a keytab, without any cache on the disk.
        kdc.admin("addprinc -randkey PC1$");
        let login = Login::Keytab {
            keytab: kdc.export("PC1$", "pc1.keytab"),
            principal: "PC1$@CORP.TEST".to_owned(),
        };
        let credential = Gss::load().unwrap().credential(&login).unwrap();
        for framing in [Framing::Kerberos, Framing::Negotiate] {
            let arguments = ["accept", "ldap/dc1.corp.test@CORP.TEST", keytab.to_str().unwrap()];
            let mut peer = realm::peer(kdc, &python, &arguments, "MEMORY:");
            let mut settings = initiator_settings("ldap", "dc1.corp.test", None);
            settings.framing = framing;
            let mut initiator = credential.initiator(settings).unwrap();
            let token = realm::first(&mut initiator);
            peer.send(&token);
            assert_eq!(initiator.step(Some(&peer.line())), Ok(Step::Done(None)), "{framing:?}");
            let mut channel = initiator.into_channel().unwrap();
            assert!(channel.can_seal());
            for message in [&b"hello"[..], &[b'x'; 70_000]] {
                let wrapped = channel.wrap(message, Protection::Confidentiality).unwrap();
                assert!(!wrapped.windows(5).any(|window| message.starts_with(window)), "not sealed");
                peer.send(&wrapped);
                let answer = peer.line();
                let opened = channel.unwrap(&answer, Protection::Confidentiality).unwrap();
                assert_eq!(opened, message.to_ascii_uppercase());
                // The same message again is a replay.
                assert!(channel.unwrap(&answer, Protection::Confidentiality).is_err());
            }
            let limit = channel.max_message_size(65_536, Protection::Confidentiality).unwrap();
            assert!((65_000..65_536).contains(&limit), "{limit}");
        }
    });
}

/// Active Directory takes neither signing nor sealing inside of TLS, and looks at what the client asked for.
#[test]
fn foreign_acceptor_is_asked_for_sealing_only_where_messages_will_be_sealed() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let keytab = kdc.add_service("ldap/dc1.corp.test", "ldap.keytab");
        kdc.admin("addprinc -randkey PC1$");
        let login = Login::Keytab {
            keytab: kdc.export("PC1$", "pc1.keytab"),
            principal: "PC1$@CORP.TEST".to_owned(),
        };
        let credential = Gss::load().unwrap().credential(&login).unwrap();
        // Replay 4, sequence 8, confidentiality 16, integrity 32 (RFC 2744).
        for (sealing, expected) in [(true, 4 | 8 | 16 | 32), (false, 0)] {
            let arguments = ["flags", "ldap/dc1.corp.test@CORP.TEST", keytab.to_str().unwrap()];
            let mut peer = realm::peer(kdc, &python, &arguments, "MEMORY:");
            let mut settings = initiator_settings("ldap", "dc1.corp.test", None);
            settings.framing = Framing::Kerberos;
            settings.sealing = sealing;
            let mut initiator = credential.initiator(settings).unwrap();
            peer.send(&realm::first(&mut initiator));
            assert_eq!(initiator.step(Some(&peer.line())), Ok(Step::Done(None)), "{sealing}");
            let said: u32 = String::from_utf8(peer.line()).unwrap().parse().unwrap();
            assert_eq!(said & (4 | 8 | 16 | 32), expected, "{said:#x}");
        }
    });
}

#[test]
fn damaged_sealed_messages_are_refused() {
    kdc::within("", |kdc| {
        let Some(python) = Peer::KerberosPython.or_not_run() else { return };
        realm::make(kdc);
        let keytab = kdc.path("keytab");
        let mut peer = realm::peer(kdc, &python, &["accept", SERVICE, keytab.to_str().unwrap()], "MEMORY:");
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let credential = Gss::load().unwrap().credential(&Login::Cache(cache)).unwrap();
        let mut initiator = credential.initiator(initiator_settings("HTTP", HOST, None)).unwrap();
        let token = realm::first(&mut initiator);
        peer.send(&token);
        initiator.step(Some(&peer.line())).unwrap();
        let mut channel = initiator.into_channel().unwrap();
        peer.send(&channel.wrap(b"hello", Protection::Confidentiality).unwrap());
        let answer = peer.line();
        for at in 0..answer.len() {
            let mut damaged = answer.clone();
            *damaged.get_mut(at).unwrap() ^= 0x41;
            assert!(channel.unwrap(&damaged, Protection::Confidentiality).is_err(), "{at}");
        }
    });
}

#[test]
fn service_without_the_key_does_not_prove_itself() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let cache = kdc.kinit("alice", "alice-pw", &[]);
        let credential = Gss::load().unwrap().credential(&Login::Cache(cache)).unwrap();
        let exchange = || {
            let mut initiator =
                credential.initiator(initiator_settings("HTTP", HOST, Some(binding(1)))).unwrap();
            let token = realm::first(&mut initiator);
            (initiator, acceptor(kdc).accept(&token, &[binding(1)]).unwrap().reply)
        };
        let ((mut first, reply), (_second, other)) = (exchange(), exchange());
        // The answer of another exchange, a damaged one, none, and "no".
        let refused = first.step(Some(&other)).unwrap_err();
        assert!(matches!(refused, InitiateError::NotProven(_) | InitiateError::Malformed(_)), "{refused:?}");
        assert_eq!(first.step(Some(&reply)), Err(InitiateError::OutOfOrder));
        let (mut third, _) = exchange();
        assert!(third.step(Some(b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x00")).is_err());
        let (mut fourth, _) = exchange();
        let no = b"\xa1\x07\x30\x05\xa0\x03\x0a\x01\x02";
        assert_eq!(fourth.step(Some(no)), Err(InitiateError::Rejected));
    });
}

#[test]
fn failures_of_initiators_are_named() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let gss = Gss::load().unwrap();
        let attempt = |login: &Login, class: &str, host: &str| {
            let credential = gss.credential(login)?;
            credential.initiator(initiator_settings(class, host, None))?.step(None)
        };
        let nothing = attempt(&Login::DefaultCache, "HTTP", HOST);
        assert!(matches!(&nothing, Err(InitiateError::NoCredential(_))), "{nothing:?}");
        let cache = Login::Cache(kdc.kinit("alice", "alice-pw", &[]));
        let unknown = attempt(&cache, "HTTP", "nobody.corp.test");
        assert!(matches!(&unknown, Err(InitiateError::UnknownService(_))), "{unknown:?}");
        let password = |principal: &str, password: &str| Login::Password {
            principal: principal.to_owned(),
            password: password.to_owned().into(),
        };
        assert!(attempt(&password("alice@CORP.TEST", "alice-pw"), "HTTP", HOST).is_ok());
        assert_eq!(
            attempt(&password("alice@CORP.TEST", "wrong"), "HTTP", HOST),
            Err(InitiateError::WrongKey)
        );
        let unknown = attempt(&password("nobody@CORP.TEST", "wrong"), "HTTP", HOST);
        assert_eq!(unknown, Err(InitiateError::UnknownAccount));
        let nowhere = attempt(&password("alice@NOWHERE.TEST", "alice-pw"), "HTTP", HOST);
        assert!(matches!(&nowhere, Err(InitiateError::KdcUnreachable(_))), "{nowhere:?}");
        let old = Login::Keytab { keytab: kdc.path("keytab"), principal: "alice@CORP.TEST".to_owned() };
        let no_key = attempt(&old, "HTTP", HOST);
        assert!(matches!(&no_key, Err(InitiateError::NoCredential(_))), "{no_key:?}");
    });
}
