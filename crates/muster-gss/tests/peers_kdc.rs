//! Acceptor and initiator in a realm of MIT's KDC.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use muster_gss::{
    Acceptor, AcceptorSettings, ChannelBinding, Framing, Gss, InitiatorSettings, Login, Refused, ReplayCache,
    Step,
};
use muster_testkit::kdc::{self, Kdc};

const HOST: &str = "pki.corp.test";

fn binding(octet: u8) -> ChannelBinding {
    ChannelBinding::from_hash(&[octet; 32]).unwrap()
}

fn acceptor(kdc: &Kdc, keytab: &str) -> Acceptor {
    let settings = AcceptorSettings {
        keytab: kdc.path(keytab),
        services: vec![format!("HTTP/{HOST}").parse().unwrap()],
        replay_cache: ReplayCache::File(kdc.path("replay")),
    };
    Gss::load().unwrap().acceptor(&settings).unwrap()
}

/// Alice's token for our service.
fn token(kdc: &Kdc, binding: Option<ChannelBinding>) -> Vec<u8> {
    let cache = kdc.kinit("alice", "alice-pw", &[]);
    let credential = Gss::load().unwrap().credential(&Login::Cache(cache)).unwrap();
    let mut initiator = credential
        .initiator(InitiatorSettings {
            class: "HTTP".to_owned(),
            host: HOST.to_owned(),
            binding,
            mutual: true,
            framing: Framing::Negotiate,
        })
        .unwrap();
    match initiator.step(None).unwrap() {
        Step::Continue(token) => token,
        Step::Done(_) => Vec::new(),
    }
}

fn realm(kdc: &Kdc) {
    kdc.add_user("alice", "alice-pw");
    kdc.add_service(&format!("HTTP/{HOST}"), "keytab");
}

#[test]
fn right_binding_is_accepted_once() {
    kdc::within("", |kdc| {
        realm(kdc);
        let (acceptor, token) = (acceptor(kdc, "keytab"), token(kdc, Some(binding(1))));
        let accepted = acceptor.accept(&token, &[binding(1)]).unwrap();
        assert_eq!(accepted.principal.to_string(), "alice@CORP.TEST");
        assert_eq!(accepted.pac, None);
        assert_eq!(acceptor.accept(&token, &[binding(1)]), Err(Refused::Replay));
    });
}
