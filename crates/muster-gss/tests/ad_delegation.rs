//! Acting for callers in a real directory: with their ticket, and without anything of theirs; and who it is refused for.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::path::Path;

use muster_gss::{
    Accepted, AcceptorSettings, ChannelBinding, Credential, DceAcceptor, Framing, Gss, InitiateError,
    InitiatorSettings, Login, ReplayCache, Step, same_account,
};
use muster_testkit::ad::{Ad, Tickets};
use muster_testkit::peers::{self, Peer};
use muster_testkit::tools::from_base64;

const SERVICE: &str = "svc-ces@CORP.TEST";
const AUTHORITY: [&str; 2] = ["HOST/ca1.corp.test", "RPCSS/ca1.corp.test"];
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

/// The user's token for our service; with its own ticket inside, if `forward` is a program that sends it.
fn token(tickets: &Tickets, forward: Option<&Path>) -> Vec<u8> {
    if let Some(python) = forward {
        let script = peers::script("kerberos_peer.py");
        let hash = "07".repeat(32);
        let arguments = [script.to_str().unwrap(), "forward", "HTTP/ces.corp.test@CORP.TEST", &hash];
        let ran = tickets.run(python.to_str().unwrap(), &arguments);
        assert!(ran.ok, "{}", ran.all());
        return from_base64(ran.text().trim());
    }
    let settings = InitiatorSettings {
        class: "HTTP".to_owned(),
        host: "ces.corp.test".to_owned(),
        binding: Some(binding()),
        mutual: true,
        sealing: false,
        framing: Framing::Negotiate,
    };
    let credential = Gss::load().unwrap().credential(&Login::Cache(tickets.cache())).unwrap();
    let Step::Continue(token) = credential.initiator(settings).unwrap().step(None).unwrap() else {
        panic!("done at once")
    };
    token
}

fn binding() -> ChannelBinding {
    ChannelBinding::from_hash(&[7; 32]).unwrap()
}

fn own(ad: &Ad) -> Credential {
    Gss::load().unwrap().service(&ad.keytab("svc-ces"), SERVICE).unwrap()
}

fn accepted(ad: &Ad, token: &[u8]) -> (Accepted, Result<Credential, InitiateError>) {
    let services = vec!["HTTP/ces.corp.test".parse().unwrap()];
    let settings = AcceptorSettings { keytab: ad.keytab("http"), services, replay_cache: ReplayCache::Off };
    let acceptor = Gss::load().unwrap().acceptor(&settings).unwrap();
    acceptor.accept_delegating(token, &[binding()], &own(ad)).unwrap()
}

/// The user comes with a ticket for our service; what it permits.
fn evidence(ad: &Ad, user: &str) -> Result<Credential, InitiateError> {
    let (accepted, delegated) = accepted(ad, &token(&ad.kinit(user), None));
    assert_eq!(accepted.principal.name, user.split('@').next().unwrap());
    assert!(!accepted.delegated, "the caller's own ticket was sent along");
    delegated
}

/// Whom the authority sees if the user comes with a ticket, and if it does not come itself.
fn both(ad: &Ad, user: &str) -> [Result<String, InitiateError>; 2] {
    [evidence(ad, user), own(ad).impersonate(&format!("{user}@CORP.TEST"))]
        .map(|credential| seen_by_the_authority(ad, &credential?, "HOST"))
}

fn permit(ad: &Ad, services: &[&str]) {
    ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", services);
}

fn is_refused(outcome: &Result<String, InitiateError>) -> bool {
    matches!(outcome, Err(InitiateError::NotDelegated(_)))
}

#[test]
fn directory_decides_for_whom_and_to_whom_is_delegated() {
    Ad::of_its_own("", |ad| {
        // Nothing is permitted yet: not with the caller's ticket, and not without.
        for outcome in both(ad, "alice") {
            assert!(is_refused(&outcome), "{outcome:?}");
        }
        permit(ad, &AUTHORITY);
        let alice = evidence(ad, "alice").unwrap();
        for class in ["HOST", "RPCSS"] {
            assert_eq!(seen_by_the_authority(ad, &alice, class).as_deref(), Ok("alice@CORP.TEST"));
        }
        // To nobody else, and not without the caller's ticket.
        let other = alice.dce_initiator("HOST", "pc1.corp.test", Framing::Negotiate).unwrap().step(None);
        assert!(matches!(other, Err(InitiateError::NotDelegated(_))), "{other:?}");
        let [_, without] = both(ad, "alice");
        assert!(is_refused(&without), "{without:?}");
        assert!(!ad.kvno_may_act("svc-ces", "svc-ces", "alice", "HOST/ca1.corp.test"));

        control(ad, "svc-ces", PROTOCOL_TRANSITION);
        assert!(ad.kvno_may_act("svc-ces", "svc-ces", "alice", "HOST/ca1.corp.test"));
        let [_, without] = both(ad, "alice");
        assert_eq!(without.as_deref(), Ok("alice@CORP.TEST"));
        let pc1 = own(ad).impersonate("PC1$@CORP.TEST").unwrap();
        assert_eq!(seen_by_the_authority(ad, &pc1, "HOST").as_deref(), Ok("PC1$@CORP.TEST"));
        // The directory does not tell capitals from small letters.
        let pc1 = own(ad).impersonate("pc1$@CORP.TEST").unwrap();
        assert_eq!(seen_by_the_authority(ad, &pc1, "HOST").unwrap().to_ascii_uppercase(), "PC1$@CORP.TEST");
        // The account need not be the first in its keytab.
        let folder = tempfile::tempdir().unwrap();
        let keytab = folder.path().join("keytab");
        let mut keys = std::fs::read(ad.keytab("http")).unwrap();
        keys.extend(std::fs::read(ad.keytab("svc-ces")).unwrap().iter().skip(2));
        std::fs::write(&keytab, keys).unwrap();
        let other = Gss::load().unwrap().service(&keytab, SERVICE).unwrap();
        let alice = other.impersonate("alice@CORP.TEST").unwrap();
        assert_eq!(seen_by_the_authority(ad, &alice, "HOST").as_deref(), Ok("alice@CORP.TEST"));
        // The service itself is nobody's stand-in: it is seen as itself.
        assert_eq!(seen_by_the_authority(ad, &own(ad), "HOST").as_deref(), Ok(SERVICE));
        let nobody = own(ad).impersonate("nobody@CORP.TEST");
        assert_eq!(nobody.unwrap_err(), InitiateError::UnknownAccount);

        // Taken away while in use (AC-1.4): whoever comes next is not acted for.
        permit(ad, &[]);
        for outcome in both(ad, "alice") {
            assert!(is_refused(&outcome), "{outcome:?}");
        }
    });
}

#[test]
fn sensitive_and_protected_accounts_are_not_acted_for() {
    Ad::of_its_own("", |ad| {
        permit(ad, &AUTHORITY);
        control(ad, "svc-ces", PROTOCOL_TRANSITION);
        control(ad, "bob", SENSITIVE);
        for outcome in both(ad, "bob") {
            assert!(is_refused(&outcome), "{outcome:?}");
        }
        ad.set(&ad.dn("Protected Users"), "member", &[&ad.dn("carol")]);
        let [with, without] = both(ad, "carol");
        assert!(is_refused(&with), "{with:?}");
        // Samba's own KDC keeps their tickets from being forwarded, and gives us one in their name nevertheless: so whoever
        // calls `impersonate` has to look into the directory before.
        let judged = ad.kvno_may_act("svc-ces", "svc-ces", "carol", "HOST/ca1.corp.test");
        assert_eq!(without.is_ok(), judged, "{without:?}");
    });
}

/// Where the KDC knows resource-based delegation (Samba's own from 4.19 on), the same is seen as in classic delegation. `kvno` is
/// the judge of whether it does.
#[test]
fn resource_based_delegation_is_what_the_kdc_makes_of_it() {
    Ad::of_its_own("", |ad| {
        ad.let_act("CA1", &["svc-ces"]);
        let judged = ad.kvno_may_act("svc-ces", "svc-ces", "alice", "HOST/ca1.corp.test");
        for outcome in both(ad, "alice") {
            match outcome {
                Ok(seen) => assert!(judged && seen == "alice@CORP.TEST", "{seen}"),
                Err(error) => assert!(!judged && matches!(error, InitiateError::NotDelegated(_)), "{error}"),
            }
        }
    });
}

/// AC-2.3.
#[test]
fn caller_of_a_trusted_forest_is_acted_for_by_its_ticket() {
    Ad::of_its_own("", |ad| {
        permit(ad, &AUTHORITY);
        control(ad, "svc-ces", PROTOCOL_TRANSITION);
        let seen =
            evidence(ad, "petra@PARTNER.TEST").and_then(|petra| seen_by_the_authority(ad, &petra, "HOST"));
        assert_eq!(seen.as_deref(), Ok("petra@PARTNER.TEST"));
        // Without a ticket both KDCs would have to vouch for petra, which Samba's do not.
        let judged = ad.kvno_may_act("svc-ces", "svc-ces", "petra@PARTNER.TEST", "HOST/ca1.corp.test");
        match own(ad).impersonate("petra@PARTNER.TEST") {
            Ok(petra) => assert_eq!(seen_by_the_authority(ad, &petra, "HOST").is_ok(), judged),
            Err(error) => assert!(!judged && error == InitiateError::UnknownAccount, "{error}"),
        }
    });
}

#[test]
fn client_that_sends_its_own_ticket_gives_no_more_than_others() {
    let Some(python) = Peer::KerberosPython.or_not_run() else { return };
    Ad::of_its_own("", |ad| {
        let tickets = ad.kinit("alice");
        let (_, alice) = accepted(ad, &token(&tickets, Some(&python)));
        let refused = alice.and_then(|alice| seen_by_the_authority(ad, &alice, "HOST"));
        assert!(is_refused(&refused), "{refused:?}");
        permit(ad, &AUTHORITY);
        let (accepted, alice) = accepted(ad, &token(&tickets, Some(&python)));
        assert!(accepted.delegated, "the client did not send its own ticket");
        let alice = alice.unwrap();
        assert_eq!(seen_by_the_authority(ad, &alice, "HOST").as_deref(), Ok("alice@CORP.TEST"));
        // Her own ticket gets one for any service.
        let own = Gss::load().unwrap().credential(&Login::Cache(tickets.cache())).unwrap();
        for (class, host) in [("HOST", "pc1.corp.test"), ("ldap", "dc1.corp.test")] {
            let begin = |credential: &Credential| {
                credential.dce_initiator(class, host, Framing::Negotiate).unwrap().step(None)
            };
            assert!(begin(&own).is_ok());
            let delegated = begin(&alice);
            assert!(matches!(delegated, Err(InitiateError::NotDelegated(_))), "{delegated:?}");
        }
    });
}

/// Nobody's permission is needed for what the caller's password can do itself.
#[test]
fn password_of_a_caller_gets_its_own_tickets() {
    let Some(ad) = Ad::or_not_run() else { return };
    let login = |password: &str| {
        let principal = "alice@CORP.TEST".to_owned();
        Login::Password { principal, password: password.to_owned().into() }
    };
    let right = login(&Ad::password("alice"));
    assert!(!format!("{right:?}").contains("Passw0rd"), "{right:?}");
    let alice = Gss::load().unwrap().credential(&right).unwrap();
    assert_eq!(seen_by_the_authority(&ad, &alice, "HOST").as_deref(), Ok("alice@CORP.TEST"));
    let wrong = Gss::load().unwrap().credential(&login("wrong"));
    let wrong = wrong.and_then(|wrong| seen_by_the_authority(&ad, &wrong, "HOST"));
    assert_eq!(wrong, Err(InitiateError::WrongKey));
}

/// The evidence is a ticket for the account that acts: another account's keytab cannot even read it.
#[test]
fn account_that_acts_has_to_be_the_one_that_the_ticket_is_for() {
    let Some(ad) = Ad::or_not_run() else { return };
    let services = vec!["HTTP/ces.corp.test".parse().unwrap()];
    let settings = AcceptorSettings { keytab: ad.keytab("http"), services, replay_cache: ReplayCache::Off };
    let gss = Gss::load().unwrap();
    let other = gss.service(&ad.keytab("pc1"), "PC1$@CORP.TEST").unwrap();
    let token = token(&ad.kinit("alice"), None);
    let (accepted, delegated) =
        gss.acceptor(&settings).unwrap().accept_delegating(&token, &[binding()], &other).unwrap();
    assert_eq!(accepted.principal.name, "alice");
    assert!(matches!(delegated, Err(InitiateError::NotProven(_))), "{delegated:?}");
    let same = |keytab: &str, principal: &str| {
        same_account((&ad.keytab("http"), "HTTP/ces.corp.test@CORP.TEST"), (&ad.keytab(keytab), principal))
    };
    assert_eq!(same("svc-ces", SERVICE), Ok(true));
    assert_eq!(same("pc1", "PC1$@CORP.TEST"), Ok(false));
    assert_eq!(same("pc1", SERVICE), Ok(false), "there is no such key");
}
