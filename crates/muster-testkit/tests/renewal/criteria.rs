//! The acceptance criteria that need no AD CS, each as a test with its name.

use muster_core::Method;
use muster_core::revocation::Reason;
use muster_core::template::RenewalKey;
use muster_proto::xcep::{Ca, ClientAuthentication};
use muster_server::config::Service;
use muster_testkit::server::PASSWORD;
use muster_testkit::{Identity, Key, SignIn};

use crate::world::{Ask, Form, Route, World, code, officer, signer};

const DAY: i64 = 86_400;

/// AC-4.1: every form of a first enrollment, at every address for renewals: refused, and nothing has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_4_1_first_enrollments_are_refused_before_anything_begins() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let before = world.rows().await;
    let key = Key::generate();
    let ask = Ask::new("User", &key);
    let unknown = Ask::new("NoSuchTemplate", &key);
    for route in Route::ALL.into_iter().filter(|route| route.renewal_only()) {
        for (what, request) in [
            ("PKCS#10", ask.first()),
            ("CMS without the attribute", ask.first_cms(&alice)),
            ("CMC", ask.first_cmc(&[])),
            ("CMC signed by the old key", ask.first_cmc(&[signer(&alice)])),
            ("unknown template", unknown.first()),
        ] {
            let answer = world.send(route, "alice", &alice, &request).await;
            assert_eq!(code(&answer), "RENEWAL_ONLY", "{route:?} {what}");
            assert_eq!(answer.detail().request_id, None, "{route:?} {what}");
        }
    }
    assert_eq!(world.rows().await, before);
    // The audit log has each refusal.
    let filter = muster_store::AuditFilter { limit: 100, ..Default::default() };
    let audit = world.server.store.audit_list(filter).await.unwrap();
    assert_eq!(audit.iter().filter(|r| r.outcome.contains("RENEWAL_ONLY")).count(), 15);
}

/// AC-4.1: what was submitted elsewhere and approved is not issued at an address for renewals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_4_1_approved_first_enrollment_is_not_issued_at_a_renewal_only_address() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let key = Key::generate();
    let request = Ask::new("Approved", &key).first();
    let id = world.send(Route::Certificate, "alice", &alice, &request).await.pending();
    world.approve(&id).await;
    let (_, before) = world.rows().await;
    for route in [Route::CertificateRenewalOnly, Route::KeyBased] {
        assert_eq!(code(&world.query(route, &alice, &id).await), "RENEWAL_ONLY");
    }
    assert_eq!(world.rows().await.1, before);
    let _ = world.query(Route::Certificate, &alice, &id).await.issued();
}

/// AC-4.2: the row of a renewal has the end entity as requester.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_4_2_requester_is_the_end_entity() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let request = Ask::new("User", &Key::generate()).renewal(Form::Cmc, &alice);
    let (id, _) = world.send(Route::KeyBased, "nobody", &alice, &request).await.issued();
    let row = world.server.store.request(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.summary.requester.as_str(), "alice");
    assert_eq!(row.summary.asked_with, Some(world.serial(&alice).await));
    assert!(row.submitted_by.starts_with("caller:alice/client_certificate@"), "{}", row.submitted_by);
}

fn uris(ca: &Ca) -> Vec<(bool, ClientAuthentication)> {
    ca.uris.iter().map(|uri| (uri.renewal_only, uri.client_authentication)).collect()
}

/// AC-4.5, AC-5.1, AC-5.7: renewal-only is advertised; the key-based endpoint tells of key-based templates and
/// addresses alone; both have the same identifier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_4_5_5_1_5_7_policies_tell_of_what_is_served() {
    let world = World::new().await;
    let device = world.device("host.example.test").await;
    let ordinary = world.policies(false, &device).await;
    let names = |answer: &muster_proto::xcep::GetPoliciesResponse| -> Vec<String> {
        answer.response.policies.iter().map(|p| p.attributes.common_name.clone()).collect()
    };
    assert!(
        names(&ordinary).contains(&"Computer".to_owned()) && names(&ordinary).contains(&"Device".to_owned())
    );
    assert_eq!(uris(&ordinary.cas[0]).iter().filter(|(renewal_only, _)| *renewal_only).count(), 3);
    assert_eq!(ordinary.cas[0].uris.len(), 5);

    let key_based = world.policies(true, &device).await;
    assert_eq!(names(&key_based), ["Device"]);
    assert_eq!(uris(&key_based.cas[0]), [(true, ClientAuthentication::CERTIFICATE)]);
    assert!(key_based.cas[0].uris[0].uri.ends_with("/key-based"));
    let flags = &key_based.response.policies[0].attributes;
    assert_eq!(flags.enrollment_flags.unwrap().0 & 0x1_0042, 0x1_0042);
    assert_eq!(flags.subject_name_flags.unwrap().0 & 9, 9);
    assert!(flags.permission.enroll && flags.permission.auto_enroll);

    let password = world.server.endpoint(Service::Policy, Method::UsernamePassword);
    let message = world.server.messages(password, SignIn::Password("host", PASSWORD)).get_policies();
    let by_password = world.server.post(password, None, &message).await.policies();
    let id = &by_password.response.policy_id;
    assert_eq!([&ordinary.response.policy_id, &key_based.response.policy_id], [id, id]);
    let path = "/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP";
    assert_eq!(world.policy(true).path, path);
    // What may not be renewed is not shown.
    world.change("Device", |template| template.renewal.key_based = false).await;
    assert!(names(&world.policies(true, &device).await).is_empty());
}

/// AC-4.7: new key and same key, as the template says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_4_7_key_is_new_or_the_same_as_the_template_says() {
    let world = World::new().await;
    for (rule, with_new, with_same) in [
        (RenewalKey::Any, "ok", "ok"),
        (RenewalKey::New, "ok", "RENEW_NEW_KEY"),
        (RenewalKey::Same, "RENEW_KEY", "ok"),
    ] {
        world.change("User", |template| template.renewal.key = rule).await;
        let alice = world.server.enroll("alice", "User").await;
        let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
        let found = code(&world.send(Route::Certificate, "alice", &alice, &request).await);
        assert_eq!(found, with_new, "{rule:?}");
        let alice = world.server.enroll("alice", "User").await;
        let request = Ask::new("User", &alice.key).renewal(Form::Cms, &alice);
        let found = code(&world.send(Route::Certificate, "alice", &alice, &request).await);
        assert_eq!(found, with_same, "{rule:?}");
    }
}

/// AC-5.2 and AC-5.4: approved once, then renewed twice by certificate alone, for an account that has lost password and
/// permission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_5_2_5_4_certificate_alone_renews_twice_without_password_permission_or_approval() {
    let world = World::new().await;
    let first = world.device("host.example.test").await;
    let name: muster_core::identity::AccountName = "host".parse().unwrap();
    let store = &world.server.store;
    let mut principal = store.account(&name).await.unwrap().unwrap().principal;
    principal.groups.clear();
    store.remove_account(name, officer(), world.now()).await.unwrap();
    store.put_account(principal, officer(), world.now()).await.unwrap();

    let second = world.renew(Route::KeyBased, "Device", &first).await;
    let third = world.renew(Route::KeyBased, "Device", &second).await;
    // At no other address, and for nothing else.
    let request = Ask::new("Device", &Key::generate()).renewal(Form::Cms, &third);
    for route in [Route::Certificate, Route::CertificateRenewalOnly] {
        assert_eq!(code(&world.send(route, "host", &third, &request).await), "TEMPLATE_DENIED");
    }
    let first_again = Ask::new("Device", &Key::generate()).first();
    let answer = world.send(Route::Certificate, "host", &third, &first_again).await;
    assert_eq!(code(&answer), "TEMPLATE_DENIED");
    assert!(world.policies(false, &third).await.response.policies.is_empty());
    // Disabled, it stops; enabled, it goes on.
    world.set_enabled("host", false).await;
    assert_eq!(code(&world.send(Route::KeyBased, "host", &third, &request).await), "CERT_UNKNOWN");
    world.set_enabled("host", true).await;
    let _ = world.send(Route::KeyBased, "host", &third, &request).await.issued();
}

/// AC-5.3: subject and alternative names stay, also where the request names none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_5_3_names_stay() {
    let world = World::new().await;
    let first = world.device("kiosk.example.test").await;
    let second = world.renew(Route::KeyBased, "Device", &first).await;
    let has = |identity: &Identity| {
        let name = b"kiosk.example.test";
        identity.certificate.windows(name.len()).any(|w| w == name)
    };
    assert!(has(&second), "a request without names gets the old ones");
    let key = Key::generate();
    let asked =
        Ask { names: &["kiosk.example.test"], ..Ask::new("Device", &key) }.renewal(Form::Cmc, &second);
    let _ = world.send(Route::KeyBased, "host", &second, &asked).await.issued();
    // Today's rules count.
    world.change("Device", |template| template.subject.allow_dns = vec!["own".to_owned()]).await;
    let third = world.device("host.example.test").await;
    world.renew(Route::KeyBased, "Device", &third).await;
    world.server.clock.advance(3_601);
    let again = Ask::new("Device", &key).renewal(Form::Cms, &second);
    assert_eq!(code(&world.send(Route::KeyBased, "host", &second, &again).await), "NAME_NOT_YOURS");
}

/// AC-5.5 and AC-6.5: without the template's word the certificate is not enough; taken back, it stops for all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_5_5_6_5_template_decides() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let name: muster_core::identity::AccountName = "alice".parse().unwrap();
    let mut principal = world.server.store.account(&name).await.unwrap().unwrap().principal;
    principal.groups.clear();
    world.server.store.put_account(principal, officer(), world.now()).await.unwrap();
    let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
    world.change("User", |template| template.renewal.key_based = false).await;
    let answer = world.send(Route::KeyBased, "alice", &alice, &request).await;
    assert_eq!(code(&answer), "RENEW_KEY_BASED");
    assert_eq!(answer.detail().error_code.unwrap().code(), 0x8009_4012);
    world.change("User", |template| template.renewal.key_based = true).await;
    let alice = Identity {
        certificate: world.send(Route::KeyBased, "alice", &alice, &request).await.issued().1,
        ..alice
    };
    // Removed from the catalog: nobody renews.
    let old = world.device("host.example.test").await;
    world.server.store.unpublish_template("Device".to_owned(), officer(), world.now()).await.unwrap();
    let request = Ask::new("Device", &Key::generate()).renewal(Form::Cms, &old);
    assert_eq!(code(&world.send(Route::KeyBased, "host", &old, &request).await), "TEMPLATE_DENIED");
    drop(alice);
}

/// AC-6.1 and AC-6.6: revoked, a certificate neither renews nor signs in, at once, at both services.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_6_1_6_6_revoked_certificate_is_refused_at_once_by_both_services() {
    let world = World::new().await;
    for (reason, expected) in
        [(Reason::CertificateHold, "CERT_ON_HOLD"), (Reason::KeyCompromise, "CERT_REVOKED")]
    {
        let alice = world.server.enroll("alice", "User").await;
        let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
        let serial = world.serial(&alice).await;
        world.server.store.revoke(serial, reason, officer(), world.now()).await.unwrap();
        for route in [Route::Certificate, Route::CertificateRenewalOnly, Route::KeyBased] {
            assert_eq!(code(&world.send(route, "alice", &alice, &request).await), expected);
        }
        for key_based in [false, true] {
            let endpoint = world.policy(key_based);
            let message = world.server.messages(endpoint, SignIn::None).get_policies();
            let answer = world.server.post(endpoint, Some(&alice), &message).await;
            assert_eq!(code(&answer), expected);
        }
    }
}

/// AC-6.2: a store that cannot say whether a certificate is revoked renews nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_6_2_without_the_store_nothing_is_renewed() {
    use muster_store::StoreError;
    use muster_testkit::server::Fault;
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
    world.server.fault.set(Some(Fault::Error(StoreError::Full)));
    let endpoint = world.endpoint(Route::KeyBased);
    let message = world.server.messages(endpoint, SignIn::None).issue(&request);
    let answer = world.server.post(endpoint, Some(&alice), &message).await;
    assert_eq!(answer.status, 503);
    world.server.fault.set(None);
}

/// AC-6.4, for accounts of this service: disabled or removed, the account renews nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_6_4_account_that_is_gone_renews_nothing() {
    let world = World::new().await;
    let alice = world.server.enroll("alice", "User").await;
    let request = Ask::new("User", &Key::generate()).renewal(Form::Cms, &alice);
    let ask = async || code(&world.send(Route::KeyBased, "alice", &alice, &request).await);
    world.set_enabled("alice", false).await;
    assert_eq!(ask().await, "CERT_UNKNOWN");
    world.set_enabled("alice", true).await;
    world.server.store.remove_account("alice".parse().unwrap(), officer(), world.now()).await.unwrap();
    assert_eq!(ask().await, "CERT_UNKNOWN");
}

/// AC-5.9: five days of life, renewed in the last one, at an address for renewals with the usual window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ac_5_9_five_days_and_one() {
    let world = World::new().await;
    world
        .change("User", |template| {
            template.renewal.window_percent = 20;
            template.validity.days = 5;
            template.validity.renew_before_days = 1;
        })
        .await;
    let mut current = world.server.enroll("alice", "User").await;
    for _ in 0..3 {
        world.server.clock.advance(4 * DAY + 600);
        current = world.renew(Route::KeyBased, "User", &current).await;
    }
}
