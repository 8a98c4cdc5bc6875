//! Tickets and passwords of a real directory: what its PACs say, and which accounts it refuses.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use std::collections::BTreeSet;

use muster_gss::{
    Accepted, AcceptorSettings, Account, ChannelBinding, Framing, Gss, InitiatorSettings, Login,
    PasswordRefused, ReplayCache, Step, Verified,
};
use muster_testkit::ad::{Ad, Tickets};

fn settings(ad: &Ad) -> AcceptorSettings {
    let services = vec!["HTTP/ces.corp.test".parse().unwrap()];
    AcceptorSettings { keytab: ad.keytab("http"), services, replay_cache: ReplayCache::Off }
}

fn accepted(ad: &Ad, tickets: &Tickets) -> Accepted {
    let gss = Gss::load().unwrap();
    let binding = ChannelBinding::from_hash(&[7; 32]).unwrap();
    let mut initiator = gss
        .credential(&Login::Cache(tickets.cache()))
        .unwrap()
        .initiator(InitiatorSettings {
            class: "HTTP".to_owned(),
            host: "ces.corp.test".to_owned(),
            binding: Some(binding.clone()),
            mutual: true,
            sealing: false,
            framing: Framing::Negotiate,
        })
        .unwrap();
    let Step::Continue(token) = initiator.step(None).unwrap() else {
        unreachable!("mutual authentication answers")
    };
    let accepted = gss.acceptor(&settings(ad)).unwrap().accept(&token, &[binding]).unwrap();
    assert_eq!(initiator.step(Some(&accepted.reply)), Ok(Step::Done(None)));
    accepted
}

fn sids(ad: &Ad, names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| ad.sid(name)).collect()
}

#[test]
fn pac_has_the_sid_and_the_nested_groups() {
    let Some(ad) = Ad::or_not_run() else { return };
    let caller = accepted(&ad, &ad.kinit("carol"));
    assert_eq!(caller.principal.to_string(), "carol@CORP.TEST");
    let pac = caller.pac.unwrap();
    assert_eq!((pac.account_name.as_str(), pac.logon_domain.as_str()), ("carol", "CORP"));
    assert_eq!(pac.user_sid, ad.sid("carol"));
    assert_eq!(pac.dns_domain.unwrap().to_ascii_lowercase(), "corp.test");
    let groups = sids(&ad, &["Team", "Division", "PkiUsers", "Domain Users"]);
    assert!(pac.group_sids.is_superset(&groups), "{:?}", pac.group_sids);
    assert!(!pac.group_sids.contains(&ad.sid("CertEnrollers")));
}

#[test]
fn pac_of_a_computer_and_of_a_user_in_500_groups() {
    let Some(ad) = Ad::or_not_run() else { return };
    let computer = accepted(&ad, &ad.machine("pc1", "PC1$")).pac.unwrap();
    assert_eq!((computer.account_name.as_str(), computer.user_sid), ("PC1$", ad.sid("PC1$")));
    assert!(computer.group_sids.is_superset(&sids(&ad, &["CertComputers", "Domain Computers"])));
    let dave = accepted(&ad, &ad.kinit("dave")).pac.unwrap();
    assert!(dave.group_sids.len() > 500, "{}", dave.group_sids.len());
}

#[test]
fn user_of_a_trusted_forest_comes_with_the_groups_of_both() {
    let Some(ad) = Ad::or_not_run() else { return };
    let caller = accepted(&ad, &ad.kinit("petra@PARTNER.TEST"));
    assert_eq!(caller.principal.to_string(), "petra@PARTNER.TEST");
    let pac = caller.pac.unwrap();
    assert_eq!(pac.logon_domain, "PARTNER");
    assert!(pac.user_sid.starts_with("S-1-5-21-1002-2002-3002-"), "{}", pac.user_sid);
    assert!(pac.group_sids.contains(&ad.sid("PartnerEnrollers")), "{:?}", pac.group_sids);
}

#[test]
fn passwords_of_usable_accounts_only() {
    let Some(ad) = Ad::or_not_run() else { return };
    let acceptor = Gss::load().unwrap().acceptor(&settings(&ad)).unwrap();
    let realms = ["CORP.TEST".to_owned(), "PARTNER.TEST".to_owned()];
    let check = |name: &str, realm: &str, password: &str| -> Result<Verified, PasswordRefused> {
        let account = Account::Principal { name: name.to_owned(), realm: realm.to_owned() };
        acceptor.verify_password(&account, password, &realms)
    };
    let right = |name: &str| check(name, "CORP.TEST", &Ad::password(name));
    let alice = right("alice").unwrap();
    assert_eq!(alice.pac.unwrap().user_sid, ad.sid("alice"));
    assert_eq!(check("alice", "CORP.TEST", "wrong"), Err(PasswordRefused::Wrong));
    assert_eq!(check("nobody", "CORP.TEST", "wrong"), Err(PasswordRefused::Wrong));
    assert_eq!(right("frank"), Err(PasswordRefused::AccountRefused), "disabled");
    assert_eq!(right("erin"), Err(PasswordRefused::AccountRefused), "expired");
    assert_eq!(right("gina"), Err(PasswordRefused::PasswordExpired), "has to change it");
    // Of a trusted forest, by its own KDC; of one that is not configured, by nobody.
    let petra = check("petra", "PARTNER.TEST", &Ad::password("petra")).unwrap();
    assert_eq!(petra.pac.unwrap().logon_domain, "PARTNER");
    assert_eq!(check("oscar", "OTHER.TEST", &Ad::password("oscar")), Err(PasswordRefused::NotOurRealm));
}

#[test]
fn user_principal_name_is_looked_up_by_the_directory() {
    let Some(ad) = Ad::or_not_run() else { return };
    let user = ad.user(&[]);
    ad.set(&ad.dn(&user), "userPrincipalName", &["someone.else@example.test"]);
    let acceptor = Gss::load().unwrap().acceptor(&settings(&ad)).unwrap();
    let realms = ["CORP.TEST".to_owned()];
    let check = |password: &str| {
        let (upn, realm) = ("someone.else@example.test".to_owned(), "CORP.TEST".to_owned());
        acceptor.verify_password(&Account::Enterprise { upn, realm }, password, &realms)
    };
    let verified = check(&Ad::password(&user)).unwrap();
    assert_eq!(verified.principal.realm, "CORP.TEST");
    let pac = verified.pac.unwrap();
    assert_eq!((pac.user_sid, pac.account_name), (ad.sid(&user), user));
    assert_eq!(pac.upn.as_deref(), Some("someone.else@example.test"));
    assert_eq!(check("wrong"), Err(PasswordRefused::Wrong));
}
