//! Each check broken once, on every route and in both forms: nothing is issued, and each has a reason of its own.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use muster_core::revocation::Reason;
use muster_testkit::{Identity, Key, TestServer};

use crate::world::{Ask, Form, Route, World, code, officer, signer};

/// What is wrong with a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// 1. Another certificate of the same account in the connection.
    OtherConnection,
    /// 2. The certificate of another installation.
    OtherCa,
    /// 2. Names and serial number of one of ours, on another key.
    LookAlike,
    /// 3. Somebody else signs as well.
    Cosigned,
    /// 3. The attribute has another certificate than the one that signs.
    OtherAttribute,
    /// 4. An octet of the inner request is another.
    Tampered,
    /// 4. Signed by another key under the name of the old certificate.
    OtherKey,
    /// 6.
    Revoked,
    /// 6.
    OnHold,
    /// 7. The certificate of somebody else.
    OtherAccount,
    /// 8. Another template than that of the certificate.
    OtherTemplate,
    /// 9. Another host name.
    OtherName,
    /// 9. One more host name.
    MoreNames,
    /// 9. Another subject.
    OtherSubject,
    /// 12. Renewed before with another key.
    Forked,
    /// 13. The old key again.
    SameKey,
    /// 13. A key that was reported as compromised.
    BlockedKey,
}

impl Fault {
    const ALL: [Self; 18] = [
        Self::None,
        Self::OtherConnection,
        Self::OtherCa,
        Self::LookAlike,
        Self::Cosigned,
        Self::OtherAttribute,
        Self::Tampered,
        Self::OtherKey,
        Self::Revoked,
        Self::OnHold,
        Self::OtherAccount,
        Self::OtherTemplate,
        Self::OtherName,
        Self::MoreNames,
        Self::OtherSubject,
        Self::Forked,
        Self::SameKey,
        Self::BlockedKey,
    ];

    /// The code that has to come; `None` if the case makes no sense.
    fn expected(self, route: Route, form: Form) -> Option<&'static str> {
        let by_certificate = route.by_certificate();
        Some(match self {
            Self::None => "ok",
            Self::OtherConnection if !by_certificate => return None,
            Self::OtherConnection => "RENEW_SIGNER",
            // The connection shows alice's own.
            Self::OtherCa | Self::LookAlike if by_certificate => "RENEW_SIGNER",
            Self::OtherCa | Self::LookAlike => "RENEW_UNKNOWN",
            // The builder of CMS takes one signer; OpenSSL makes such messages elsewhere.
            Self::Cosigned if form == Form::Cms => return None,
            Self::Cosigned => "RENEW_COSIGNED",
            Self::OtherAttribute | Self::Tampered | Self::OtherKey => "REQUEST_MALFORMED",
            Self::Revoked if by_certificate => "CERT_REVOKED",
            Self::Revoked => "RENEW_REVOKED",
            Self::OnHold if by_certificate => "CERT_ON_HOLD",
            Self::OnHold => "RENEW_ON_HOLD",
            Self::OtherAccount if by_certificate => "RENEW_SIGNER",
            Self::OtherAccount => "RENEW_FOREIGN",
            Self::OtherTemplate => "RENEW_TEMPLATE",
            Self::OtherName | Self::MoreNames | Self::OtherSubject => "RENEW_NAMES",
            Self::Forked => "pending",
            Self::SameKey => "RENEW_NEW_KEY",
            Self::BlockedKey => "KEY_BLOCKED",
        })
    }
}

/// CN=admin.example.test, DER.
fn other_subject() -> Vec<u8> {
    let name = b"admin.example.test";
    let length = u8::try_from(name.len()).unwrap();
    let value = [&[0x0c, length][..], name].concat();
    let pair = [&[0x06, 3, 0x55, 4, 3][..], &value].concat();
    let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat();
    wrap(0x30, &wrap(0x31, &wrap(0x30, &pair)))
}

fn look_alike(of: &Identity) -> Identity {
    let key = Arc::new(Key::generate());
    let mut certificate = of.certificate.clone();
    let at = certificate.windows(of.key.spki().len()).position(|w| w == of.key.spki()).unwrap();
    certificate[at..at + of.key.spki().len()].copy_from_slice(key.spki());
    Identity { certificate, key }
}

async fn run(world: &World, elsewhere: &Identity, fault: Fault, route: Route, form: Form) -> String {
    let named = matches!(fault, Fault::OtherName | Fault::MoreNames | Fault::OtherSubject);
    let (account, template) = if named { ("host", "Device") } else { ("alice", "User") };
    let old = if named {
        world.device("host.example.test").await
    } else {
        world.server.enroll("alice", "User").await
    };
    let store = &world.server.store;
    let key = Key::generate();
    let subject = other_subject();
    let ask = Ask::new(template, &key);
    let mut connection = old.clone();
    let request = match fault {
        Fault::None => ask.renewal(form, &old),
        Fault::OtherConnection => {
            connection = world.server.enroll("alice", "User").await;
            ask.renewal(form, &old)
        }
        Fault::OtherCa => ask.renewal(form, elsewhere),
        Fault::LookAlike => ask.renewal(form, &look_alike(&old)),
        Fault::Cosigned => {
            let bob = world.server.enroll("bob", "User").await;
            ask.renewal_of(form, &old.certificate, &[signer(&old), signer(&bob)])
        }
        Fault::OtherAttribute => {
            let other = world.server.enroll("alice", "User").await;
            ask.renewal_of(form, &other.certificate, &[signer(&old)])
        }
        Fault::Tampered => {
            let mut request = ask.renewal(form, &old);
            let at = request.windows(key.spki().len()).position(|w| w == key.spki()).unwrap();
            request[at + key.spki().len() - 1] ^= 1;
            request
        }
        Fault::OtherKey => {
            let thief = Identity { certificate: old.certificate.clone(), key: Arc::new(Key::generate()) };
            ask.renewal(form, &thief)
        }
        Fault::Revoked | Fault::OnHold => {
            let reason = if fault == Fault::OnHold { Reason::CertificateHold } else { Reason::Superseded };
            store.revoke(world.serial(&old).await, reason, officer(), world.now()).await.unwrap();
            ask.renewal(form, &old)
        }
        Fault::OtherAccount => ask.renewal(form, &world.server.enroll("bob", "User").await),
        Fault::OtherTemplate => Ask::new("UserEmail", &key).renewal(form, &old),
        Fault::OtherName => Ask { names: &["admin.example.test"], ..ask }.renewal(form, &old),
        Fault::MoreNames => {
            Ask { names: &["host.example.test", "admin.example.test"], ..ask }.renewal(form, &old)
        }
        Fault::OtherSubject => Ask { subject: &subject, ..ask }.renewal(form, &old),
        Fault::Forked => {
            world.renew(Route::Password, "User", &old).await;
            // Not twice within an hour, whatever the key.
            world.server.clock.advance(3_601);
            ask.renewal(form, &old)
        }
        Fault::SameKey => Ask::new(template, &old.key).renewal(form, &old),
        Fault::BlockedKey => {
            let mut hash = [0; 32];
            hash.copy_from_slice(digest(&SHA256, key.spki()).as_ref());
            store.block_key(hash, officer(), world.now()).await.unwrap();
            ask.renewal(form, &old)
        }
    };
    let (_, before) = world.rows().await;
    let answer = world.send(route, account, &connection, &request).await;
    let (_, after) = world.rows().await;
    if fault == Fault::Forked && answer.status == 200 {
        let id = answer.pending();
        assert_eq!(before, after, "{fault:?}");
        let row = store.request(id.parse().unwrap()).await.unwrap().unwrap().summary;
        assert_eq!(row.code.as_deref(), Some("RENEW_FORK"));
        // The same octets: the same answer.
        assert_eq!(world.send(route, account, &connection, &request).await.pending(), id);
        // For the next case there is room again.
        store.deny(id.parse().unwrap(), "officer".to_owned(), "no".to_owned(), world.now()).await.unwrap();
        return "pending".to_owned();
    }
    let expected = usize::from(fault == Fault::None);
    assert_eq!(after - before, expected, "{fault:?} {route:?} {form:?}: certificates issued");
    code(&answer)
}

/// T25: more than sixty cases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t25_each_check_broken_once_on_every_route_and_in_both_forms() {
    let world = World::new().await;
    let elsewhere = TestServer::start().await.enroll("alice", "User").await;
    let mut wrong = Vec::new();
    let mut cases = 0;
    for fault in Fault::ALL {
        for route in Route::ALL {
            for form in Form::ALL {
                let Some(expected) = fault.expected(route, form) else { continue };
                let found = run(&world, &elsewhere, fault, route, form).await;
                cases += 1;
                if found != expected {
                    wrong.push(format!("{fault:?} {route:?} {form:?}: {found}, not {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 60, "{cases}");
    let report = world.server.store.audit_verify().await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// Checks 5, 10 and 11 at the address where the certificate is all that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t25_time_and_number_of_renewals() {
    const DAY: i64 = 86_400;
    let world = World::new().await;
    world.change("User", |template| template.renewal.window_percent = 20).await;
    let alice = world.server.enroll("alice", "User").await;
    let ask = async |old: &Identity| {
        let key = Key::generate();
        let request = Ask::new("User", &key).renewal(Form::Cms, old);
        code(&world.send(Route::KeyBased, "alice", old, &request).await)
    };
    assert_eq!(ask(&alice).await, "RENEW_TOO_EARLY");
    world.server.clock.advance(290 * DAY);
    assert_eq!(ask(&alice).await, "RENEW_TOO_EARLY");
    world.server.clock.advance(3 * DAY);
    let mut current = world.renew(Route::KeyBased, "User", &alice).await;
    assert_eq!(ask(&alice).await, "RENEW_TOO_EARLY", "not twice within an hour");
    // Once more, then the line is too old: three years after the password.
    for _ in 0..2 {
        world.server.clock.advance(300 * DAY);
        current = world.renew(Route::KeyBased, "User", &current).await;
    }
    world.server.clock.advance(300 * DAY);
    assert_eq!(ask(&current).await, "RENEW_AGE");
    world.server.clock.advance(66 * DAY);
    assert_eq!(ask(&current).await, "CERT_EXPIRED");
    let expired = Ask::new("User", &Key::generate()).renewal(Form::Cms, &current);
    let answer = world.send(Route::Password, "alice", &current, &expired).await;
    assert_eq!(code(&answer), "RENEW_EXPIRED");

    world
        .change("User", |template| {
            template.renewal.window_percent = 100;
            template.renewal.max_generations = 2;
        })
        .await;
    let mut current = world.server.enroll("alice", "User").await;
    for _ in 0..2 {
        current = world.renew(Route::CertificateRenewalOnly, "User", &current).await;
    }
    assert_eq!(ask(&current).await, "RENEW_LIMIT");
    // A password begins the count anew.
    let current = world.renew(Route::Password, "User", &current).await;
    world.renew(Route::KeyBased, "User", &current).await;
}
