//! The connector in a real directory: the authority sees the caller, whose ticket or whose name alone is delegated; and without
//! delegation it sees nobody.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod bed;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bed::{Bed, issued, run};
use muster_adcs::{Adcs, AdcsError, Identity, Method, Submission};
use muster_gss::{
    AcceptorSettings, ChannelBinding, Credential, Framing, Gss, InitiateError, InitiatorSettings, Login,
    ReplayCache, Step,
};
use muster_testkit::ad::{Ad, Tickets};

const SERVICE: &str = "svc-ces@CORP.TEST";

/// The credential that a caller's ticket for our service gives us, if it gives any.
fn evidence(ad: &Ad, tickets: &Tickets) -> Result<Credential, InitiateError> {
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
    let mut client = gss.credential(&Login::Cache(tickets.cache())).unwrap().initiator(settings).unwrap();
    let Step::Continue(token) = client.step(None).unwrap() else { panic!("done at once") };
    let services = vec!["HTTP/ces.corp.test".parse().unwrap()];
    let (keytab, replay_cache) = (ad.keytab("http"), ReplayCache::Off);
    let acceptor = gss.acceptor(&AcceptorSettings { keytab, services, replay_cache }).unwrap();
    let own = gss.service(&ad.keytab("svc-ces"), SERVICE).unwrap();
    acceptor.accept_delegating(&token, &[binding], &own).unwrap().1
}

fn submission(ad: &Ad, bed: &Bed, account: &str) -> Submission {
    let mut submission = bed.submission("User");
    submission.expected.sid = Some(ad.sid(account));
    submission
}

fn authority(ad: &Ad, account: &str) -> Option<(Bed, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let sid = ad.sid(account);
    let bed = Bed::start_with("ca1.corp.test", folder.path(), &ad.keytab("ca1"), &["--sid", &sid])?;
    Some((bed, folder))
}

/// AC-1.2, AC-1.3, AC-1.4.
#[test]
fn authority_sees_the_caller_and_never_the_service_in_its_place() {
    Ad::of_its_own("", |ad| {
        let gss = Gss::load().unwrap();
        let Some((bed, _folder)) = authority(ad, "alice") else { return };
        let services = ["HOST/ca1.corp.test", "RPCSS/ca1.corp.test"];
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &services);
        for method in [Method::Passage, Method::Object] {
            let alice = Identity::new("alice@CORP.TEST", evidence(ad, &ad.kinit("alice")).unwrap());
            let adcs = Adcs::new(bed.settings(method));
            let id = issued(run(adcs.submit(&alice, &submission(ad, &bed, "alice"))), &bed);
            let line = bed.calls(&format!("\"issued_id\": {id}"), 1).concat();
            assert!(line.contains("\"who\": \"alice@CORP.TEST\"") && line.contains("privacy"), "{line}");
        }
        // A computer, by its own ticket.
        let Some((machines, _folder)) = authority(ad, "PC1$") else { return };
        let pc1 = Identity::new("PC1$@CORP.TEST", evidence(ad, &ad.machine("pc1", "PC1$")).unwrap());
        let adcs = Adcs::new(machines.settings(Method::Object));
        issued(run(adcs.submit(&pc1, &submission(ad, &machines, "PC1$"))), &machines);
        assert_eq!(machines.calls("\"who\": \"PC1$@CORP.TEST\", \"auth\": \"spnego\"", 1).len(), 2);

        // Without anything of the caller's: a certificate was mapped to the account.
        let flags = (0x1_0200 | 0x100_0000).to_string();
        ad.set(&ad.dn("svc-ces"), "userAccountControl", &[&flags]);
        let own = gss.service(&ad.keytab("svc-ces"), SERVICE).unwrap();
        let alice = Identity::new("alice@CORP.TEST", own.impersonate("alice@CORP.TEST").unwrap());
        let adcs = Adcs::new(bed.settings(Method::Object));
        issued(run(adcs.submit(&alice, &submission(ad, &bed, "alice"))), &bed);
        // By her own password; the KDC is asked when the connection is made, and not again for the next request.
        let asked = Arc::new(AtomicU32::new(0));
        let alice = Identity::on_demand("alice@CORP.TEST", {
            let asked = Arc::clone(&asked);
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                let (principal, password) = ("alice@CORP.TEST".to_owned(), Ad::password("alice").into());
                gss.credential(&Login::Password { principal, password })
            }
        });
        let adcs = Adcs::new(bed.settings(Method::Object));
        run(async {
            for identity in
                [alice.clone(), alice.clone(), Identity::on_demand("alice@CORP.TEST", || panic!("asked"))]
            {
                issued(adcs.submit(&identity, &submission(ad, &bed, "alice")).await, &bed);
            }
        });
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        // Delegation taken away: no request, in nobody's name.
        let before = bed.calls("request_len", 3).len();
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &[]);
        ad.set(&ad.dn("svc-ces"), "userAccountControl", &["66048"]);
        let with_ticket = evidence(ad, &ad.kinit("alice")).unwrap();
        let alone = own.clone();
        for alice in [
            Identity::new("alice@CORP.TEST", with_ticket),
            Identity::on_demand("alice@CORP.TEST", move || alone.impersonate("alice@CORP.TEST")),
        ] {
            let adcs = Adcs::new(bed.settings(Method::Object));
            let error = run(adcs.submit(&alice, &submission(ad, &bed, "alice"))).unwrap_err();
            let AdcsError::Ticket { error: InitiateError::NotDelegated(_), .. } = &error else {
                panic!("{error}")
            };
            assert!(!error.may_have_been_submitted());
        }
        assert_eq!(bed.calls("request_len", 0).len(), before);
        assert_eq!(bed.calls("svc-ces", 0), Vec::<String>::new());
    });
}

/// AC-2.3: the authority sees whom it knows by the trust.
#[test]
fn authority_sees_the_caller_of_a_trusted_forest() {
    Ad::of_its_own("", |ad| {
        let Some((bed, _folder)) = authority(ad, "alice") else { return };
        let services = ["HOST/ca1.corp.test", "RPCSS/ca1.corp.test"];
        ad.set(&ad.dn("svc-ces"), "msDS-AllowedToDelegateTo", &services);
        let petra = evidence(ad, &ad.kinit("petra@PARTNER.TEST")).unwrap();
        let petra = Identity::new("petra@PARTNER.TEST", petra);
        let adcs = Adcs::new(bed.settings(Method::Object));
        issued(run(adcs.submit(&petra, &submission(ad, &bed, "alice"))), &bed);
        assert_eq!(bed.calls("\"who\": \"petra@PARTNER.TEST\", \"auth\": \"spnego\"", 1).len(), 2);
    });
}
