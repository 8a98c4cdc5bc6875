//! Passwords checked by MIT's KDC.

mod realm;

use muster_gss::{Account, PasswordRefused};
use muster_testkit::kdc;
use realm::acceptor;

fn account(name: &str, realm: &str) -> Account {
    Account::Principal { name: name.to_owned(), realm: realm.to_owned() }
}

#[test]
fn right_password_gives_the_principal() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let realms = ["CORP.TEST".to_owned()];
        let verified =
            acceptor(kdc).verify_password(&account("alice", "CORP.TEST"), "alice-pw", &realms).unwrap();
        assert_eq!(verified.principal.to_string(), "alice@CORP.TEST");
        assert_eq!(verified.pac, None);
    });
}

#[test]
fn refused_passwords_are_told_apart() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        kdc.add_user("disabled", "pw");
        kdc.admin("modprinc -allow_tix disabled");
        kdc.add_user("old", "pw");
        kdc.admin("modprinc -expire 2020-01-01 old");
        kdc.add_user("change", "pw");
        kdc.admin("modprinc +needchange change");
        kdc.add_user("stale", "pw");
        kdc.admin("modprinc -pwexpire 2020-01-01 stale");
        kdc.add_user("guarded", "pw");
        kdc.admin("modprinc +requires_preauth guarded");
        let acceptor = acceptor(kdc);
        let realms = ["CORP.TEST".to_owned(), "NOWHERE.TEST".to_owned()];
        let refused = |name: &str, realm: &str, password: &str| {
            acceptor.verify_password(&account(name, realm), password, &realms).map(drop).unwrap_err()
        };
        for (name, realm, password, cause) in [
            ("alice", "CORP.TEST", "wrong", PasswordRefused::Wrong),
            ("alice", "CORP.TEST", "", PasswordRefused::Wrong),
            ("alice", "CORP.TEST", "a\0b", PasswordRefused::Wrong),
            ("guarded", "CORP.TEST", "wrong", PasswordRefused::Wrong),
            ("nobody", "CORP.TEST", "alice-pw", PasswordRefused::Wrong),
            ("alice", "OTHER.TEST", "alice-pw", PasswordRefused::NotOurRealm),
            ("alice@CORP.TEST", "CORP.TEST", "alice-pw", PasswordRefused::NotOurRealm),
            ("", "CORP.TEST", "alice-pw", PasswordRefused::NotOurRealm),
            ("HTTP/pki.corp.test", "CORP.TEST", "alice-pw", PasswordRefused::NotOurRealm),
            ("disabled", "CORP.TEST", "pw", PasswordRefused::AccountRefused),
            ("old", "CORP.TEST", "pw", PasswordRefused::AccountRefused),
            ("change", "CORP.TEST", "pw", PasswordRefused::PasswordExpired),
            ("stale", "CORP.TEST", "pw", PasswordRefused::PasswordExpired),
        ] {
            assert_eq!(refused(name, realm, password), cause, "{name}@{realm} {password}");
        }
        let unreachable = refused("alice", "NOWHERE.TEST", "alice-pw");
        assert!(matches!(&unreachable, PasswordRefused::KdcUnreachable(_)), "{unreachable:?}");
    });
}

#[test]
fn kdc_that_has_not_our_key_proves_nothing() {
    kdc::within("", |kdc| {
        realm::make(kdc);
        let acceptor = acceptor(kdc);
        // As a false KDC would: the password fits, the service's key is its own invention.
        kdc.admin("cpw -randkey HTTP/pki.corp.test");
        let realms = ["CORP.TEST".to_owned()];
        let refused = acceptor.verify_password(&account("alice", "CORP.TEST"), "alice-pw", &realms);
        assert!(matches!(&refused, Err(PasswordRefused::KdcNotProven(_))), "{refused:?}");
    });
}
