//! Acting for callers in a real directory: with their ticket, and without anything of theirs; and who it is refused for.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use muster_gss::{
    AcceptorSettings, ChannelBinding, Credential, DceAcceptor, Framing, Gss, InitiateError,
    InitiatorSettings, Login, ReplayCache, Step,
};
use muster_testkit::ad::Ad;

const SERVICE: &str = "svc-ces@CORP.TEST";
/// NORMAL_ACCOUNT, DONT_EXPIRE_PASSWORD; TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION; NOT_DELEGATED.
const NORMAL: u32 = 0x1_0200;
const PROTOCOL_TRANSITION: u32 = 0x100_0000;
const SENSITIVE: u32 = 0x10_0000;

fn control(ad: &Ad, account: &str, flags: u32) {
    ad.set(&ad.dn(account), "userAccountControl", &[&(NORMAL | flags).to_string()]);
}

/// Whom the authority's host sees, when `caller` asks.
fn seen_by_the_authority(ad: &Ad, caller: &Credential, class: &str) -> Result<String, InitiateError> {
    let mut client = caller.dce_initiator(class, "ca1.corp.test", Framing::Negotiate)?;
    let Step::Continue(first) = client.step(None)? else { panic!("done at once") };
    let principal = format!("{class}/ca1.corp.test@CORP.TEST");
    let mut server: DceAcceptor = Gss::load()
        .unwrap()
        .service_key(&ad.keytab("ca1"), &principal)
        .unwrap()
        .dce_acceptor(Framing::Negotiate);
    let Step::Continue(answer) = server.step(&first).unwrap() else { panic!("done at once") };
    let Step::Continue(third) = client.step(Some(&answer)).unwrap() else { panic!("done too early") };
    let Step::Done(Some(last)) = server.step(&third).unwrap() else { panic!("not done") };
    assert_eq!(client.step(Some(&last)), Ok(Step::Done(None)));
    let mut stub = *b"sealed in the caller's name.....";
    let token = client.seal(b"header", &mut stub, b"trailer").unwrap();
    server.unseal(b"header", &mut stub, b"trailer", &token).unwrap();
    assert_eq!(&stub, b"sealed in the caller's name.....");
    Ok(server.client().unwrap().to_string())
}

/// Alice comes with a ticket for our service; what her ticket permits.
fn evidence(ad: &Ad, user: &str) -> Option<Credential> {
    let gss = Gss::load().unwrap();
    let binding = ChannelBinding::from_hash(&[7; 32]).unwrap();
    let settings = InitiatorSettings {
        class: "HTTP".to_owned(),
        host: "ces.corp.test".to_owned(),
        binding: Some(binding.clone()),
        mutual: true,
        sealing: false,
        framing: Framing::Negotiate,
    };
    let tickets = ad.kinit(user);
    let mut client = gss.credential(&Login::Cache(tickets.cache())).unwrap().initiator(settings).unwrap();
    let Step::Continue(token) = client.step(None).unwrap() else { panic!("done at once") };
    let services = vec!["HTTP/ces.corp.test".parse().unwrap()];
    let keytab = ad.keytab("http");
    let acceptor = AcceptorSettings { keytab, services, replay_cache: ReplayCache::Off };
    let acceptor = gss.acceptor(&acceptor).unwrap();
    let own = gss.service(&ad.keytab("svc-ces"), SERVICE).unwrap();
    let (accepted, delegated) = acceptor.accept_delegating(&token, &[binding], &own).unwrap();
    assert_eq!(accepted.principal.name, user);
    assert!(!accepted.delegated, "the caller's own ticket was sent along");
    delegated
}

#[test]
fn directory_decides_for_whom_and_to_whom_is_delegated() {
    Ad::of_its_own("", |ad| {
        let gss = Gss::load().unwrap();
        let own = || gss.service(&ad.keytab("svc-ces"), SERVICE).unwrap();
        // Nothing is permitted yet: not with the caller's ticket, and not without.
        if let Some(alice) = evidence(ad, "alice") {
            assert!(seen_by_the_authority(ad, &alice, "HOST").is_err());
        }
        let without =
            own().impersonate("alice@CORP.TEST").and_then(|alice| seen_by_the_authority(ad, &alice, "HOST"));
        assert!(without.is_err(), "{without:?}");

        let services = ["HOST/ca1.corp.test", "RPCSS/ca1.corp.test"];
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &services);
        let alice = evidence(ad, "alice").unwrap();
        for class in ["HOST", "RPCSS"] {
            assert_eq!(seen_by_the_authority(ad, &alice, class).as_deref(), Ok("alice@CORP.TEST"));
        }
        // To nobody else, and not without the caller's ticket.
        let other = alice.dce_initiator("HOST", "pc1.corp.test", Framing::Negotiate).unwrap().step(None);
        assert!(other.is_err(), "{other:?}");
        let without =
            own().impersonate("alice@CORP.TEST").and_then(|alice| seen_by_the_authority(ad, &alice, "HOST"));
        assert!(without.is_err(), "{without:?}");

        control(ad, "svc-ces", PROTOCOL_TRANSITION);
        let alice = own().impersonate("alice@CORP.TEST").unwrap();
        assert_eq!(seen_by_the_authority(ad, &alice, "HOST").as_deref(), Ok("alice@CORP.TEST"));
        let pc1 = own().impersonate("PC1$@CORP.TEST").unwrap();
        assert_eq!(seen_by_the_authority(ad, &pc1, "HOST").as_deref(), Ok("PC1$@CORP.TEST"));
        // The service itself is nobody's stand-in: it is seen as itself.
        assert_eq!(seen_by_the_authority(ad, &own(), "HOST").as_deref(), Ok(SERVICE));

        // Whoever is sensitive cannot be acted for, with a ticket or without.
        control(ad, "bob", SENSITIVE);
        if let Some(bob) = evidence(ad, "bob") {
            assert!(seen_by_the_authority(ad, &bob, "HOST").is_err());
        }
        let bob = own().impersonate("bob@CORP.TEST").and_then(|bob| seen_by_the_authority(ad, &bob, "HOST"));
        assert!(bob.is_err(), "{bob:?}");
        let nobody = own().impersonate("nobody@CORP.TEST");
        assert_eq!(nobody.unwrap_err(), InitiateError::UnknownAccount);
    });
}
