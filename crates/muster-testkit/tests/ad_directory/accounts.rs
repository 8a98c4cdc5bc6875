//! Accounts: found by every name, with the groups that the directory's own tools name, and gone when they are gone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster_core::directory::HostNameDoubt;
use muster_core::identity::Sid;
use muster_core::time::UnixTime;
use muster_directory::ldap::{Access, LdapSettings, Login};
use muster_directory::{AccountError, AccountKey, Directory, DirectorySettings, NotUsable};
use muster_testkit::ad::{Ad, Forest};

use crate::relay::{Mode, Relay};
use crate::{administrator, directory, ldap, service, start, within};

/// What an administrator sees at the latest: one look of the watcher each second, and the time to read.
const AT_ONCE: Duration = Duration::from_secs(2);
const NOW: UnixTime = UnixTime(1_795_408_903);

fn sam(name: &str) -> AccountKey {
    AccountKey::SamAccount { name: name.to_owned(), domain: "CORP".to_owned() }
}

fn sid(ad: &Ad, name: &str) -> Sid {
    ad.sid(name).parse().unwrap()
}

async fn groups(directory: &Directory, name: &str) -> BTreeSet<Sid> {
    directory.account(&sam(name)).await.unwrap().unwrap().facts.groups.clone()
}

#[tokio::test]
async fn account_is_found_by_every_name_in_any_case() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let alice = directory.account(&AccountKey::Sid(sid(&ad, "alice"))).await.unwrap().unwrap();
    assert_eq!(alice.facts.sam_account_name, "alice");
    assert_eq!(alice.facts.mail.as_deref(), Some("alice@corp.test"));
    assert_eq!(alice.facts.distinguished_name, ad.dn("alice"));
    for key in [
        sam("ALICE"),
        AccountKey::SamAccount { name: "Alice".to_owned(), domain: "corp.TEST".to_owned() },
        AccountKey::Upn("Alice@CORP.test".to_owned()),
    ] {
        assert_eq!(directory.account(&key).await.unwrap().unwrap(), alice, "{key}");
    }
    let pc2 = directory.account(&AccountKey::DnsName("PC2.corp.test".to_owned())).await.unwrap().unwrap();
    assert_eq!(pc2.facts.sid, sid(&ad, "PC2"));
    for nobody in [
        sam("nobody"),
        sam("*"),
        sam("alice)(objectClass=*"),
        AccountKey::SamAccount { name: "alice".to_owned(), domain: "partner".to_owned() },
        AccountKey::Upn("alice@partner.test".to_owned()),
        AccountKey::Sid("S-1-5-21-9-9-9-9".parse().unwrap()),
        AccountKey::Sid(sid(&ad, "CertEnrollers")),
    ] {
        assert_eq!(directory.account(&nobody).await, Ok(None), "{nobody}");
    }
}

#[tokio::test]
async fn groups_are_those_of_the_ticket() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    // carol is in a group of the domain through two others of other kinds.
    let carol = groups(&directory, "carol").await;
    for group in ["Team", "Division", "PkiUsers", "Domain Users"] {
        assert!(carol.contains(&sid(&ad, group)), "{group}");
    }
    assert!(!carol.contains(&sid(&ad, "CertEnrollers")));
    let dave = groups(&directory, "dave").await;
    assert!((500..520).contains(&dave.len()), "{}", dave.len());
    assert!(dave.contains(&sid(&ad, "G004")) && dave.contains(&sid(&ad, "G499")));
}

#[tokio::test]
async fn accounts_that_may_not_log_on_are_told() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let usable = async |name: &str| directory.account(&sam(name)).await.unwrap().unwrap().usable(NOW);
    assert_eq!(usable("alice").await, Ok(()));
    assert_eq!(usable("frank").await, Err(NotUsable::Disabled));
    assert_eq!(usable("erin").await, Err(NotUsable::Expired(UnixTime(0))));
    let user = ad.user(&[]);
    assert_eq!(usable(&user).await, Ok(()));
    for _ in 0..5 {
        ad.kinit_refused(&user, "wrong");
    }
    within(AT_ONCE, "locked", async || usable(&user).await == Err(NotUsable::Locked)).await;
}

#[tokio::test]
async fn host_name_of_another_is_not_believed() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let names = async |name: &str| {
        let principal = directory.account(&sam(name)).await.unwrap().unwrap().principal();
        (principal.dns_names, principal.directory.unwrap().host_name_doubt)
    };
    assert_eq!(names("PC2$").await, (vec!["pc2.corp.test".to_owned()], None));
    assert_eq!(names("EVIL1$").await, (Vec::new(), Some(HostNameDoubt::Shared)));
    assert_eq!(names("EVIL2$").await, (Vec::new(), Some(HostNameDoubt::Shared)));
    assert_eq!(names("NONAME$").await, (Vec::new(), None));
    assert!(directory.account(&sam("DC1$")).await.unwrap().unwrap().is_domain_controller());
    // Two computers have it: it is nobody's name.
    let twice = directory.account(&AccountKey::DnsName("pc3.corp.test".to_owned())).await;
    assert_eq!(twice, Err(AccountError::Ambiguous("pc3.corp.test".to_owned())));
    // A name that nobody else has, but without a service principal name for it.
    let host = format!("alone{}.corp.test", std::process::id());
    let computer = ad.computer(&host);
    let account = format!("{computer}$");
    assert_eq!(names(&account).await, (vec![host], None));
    let foreign = format!("foreign{}.corp.test", std::process::id());
    // The directory lets the service principal names follow the host name; whoever takes them away is suspicious.
    ad.set(&ad.dn(&computer), "dNSHostName", &[&foreign]);
    ad.set(&ad.dn(&computer), "servicePrincipalName", &[]);
    within(AT_ONCE, "foreign name", async || names(&account).await.1 == Some(HostNameDoubt::Foreign)).await;
    // What `setspn` does.
    ad.set(&ad.dn(&computer), "servicePrincipalName", &[&format!("HOST/{foreign}")]);
    within(AT_ONCE, "new service principal name", async || names(&account).await.0 == [foreign.clone()])
        .await;
}

#[tokio::test]
async fn disabled_and_deleted_accounts_stop_at_once() {
    let Some(ad) = Ad::or_not_run() else { return };
    let tickets = administrator();
    let sees_deletions = Access::Sealed(Login::Tickets(Some(tickets.cache())));
    for (who, access) in [("service", Access::Sealed(service(&ad))), ("administrator", sees_deletions)] {
        let directory = start(DirectorySettings::new(ldap(access)));
        let sees = directory.client().session().await.unwrap().root.deleted_visible;
        assert_eq!(sees, who == "administrator");
        let (disabled, deleted) = (sam(&ad.user(&[])), sam(&ad.user(&[])));
        let usable = async |key: &AccountKey| directory.account(key).await.unwrap().map(|a| a.usable(NOW));
        for key in [&disabled, &deleted] {
            within(AT_ONCE, "warm", async || usable(key).await == Some(Ok(()))).await;
        }
        let name = |key: &AccountKey| key.to_string().split('\\').next_back().unwrap().to_owned();
        ad.disable(&name(&disabled));
        within(AT_ONCE, who, async || usable(&disabled).await == Some(Err(NotUsable::Disabled))).await;
        ad.delete(&ad.dn(&name(&deleted)));
        within(AT_ONCE, who, async || usable(&deleted).await.is_none()).await;
    }
}

#[tokio::test]
async fn membership_through_another_group_changes_at_once() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let user = ad.user(&["Contractors"]);
    let (name, enrollers) = (user.clone(), sid(&ad, "CertEnrollers"));
    assert!(!groups(&directory, &name).await.contains(&enrollers));
    // The account itself does not change, only a group does.
    ad.directory(Forest::Corp, &["add", &ad.dn("CertEnrollers"), "member", &ad.dn(&user)]);
    within(AT_ONCE, "member", async || groups(&directory, &name).await.contains(&enrollers)).await;
    ad.directory(Forest::Corp, &["remove", &ad.dn("CertEnrollers"), "member", &ad.dn(&user)]);
    within(AT_ONCE, "not a member", async || !groups(&directory, &name).await.contains(&enrollers)).await;
}

#[tokio::test]
async fn warm_account_takes_no_query() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let key = AccountKey::Sid(sid(&ad, "alice"));
    directory.account(&key).await.unwrap().unwrap();
    // Other tests change the directory meanwhile, which costs a query each time: one try between two changes is enough.
    for _ in 0..200 {
        directory.account(&key).await.unwrap().unwrap();
        let before = directory.queries().accounts;
        let start = Instant::now();
        for _ in 0..1_000 {
            directory.account(&key).await.unwrap().unwrap();
        }
        if directory.queries().accounts == before {
            println!("{:?} for one look-up of an account in memory", start.elapsed() / 1_000);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("every thousand look-ups took a query");
}

#[tokio::test]
async fn directory_that_is_away_ends_accounts_after_a_while() {
    let Some(ad) = Ad::or_not_run() else { return };
    let relay = Relay::to(389).await;
    let settings = LdapSettings {
        servers: vec![relay.server.clone()],
        answer_timeout: Duration::from_secs(1),
        ..ldap(Access::Sealed(service(&ad)))
    };
    let away = Duration::from_secs(3);
    let directory = start(DirectorySettings { away, ..DirectorySettings::new(settings) });
    let key = sam("alice");
    // Kept once the watcher has seen the directory.
    within(AT_ONCE, "kept", async || {
        directory.account(&key).await.unwrap().unwrap();
        directory.cached_accounts() == 1
    })
    .await;
    relay.set(Mode::Cut);
    let start = Instant::now();
    assert!(directory.account(&key).await.unwrap().is_some());
    let stranger = directory.account(&sam("bob")).await;
    assert!(matches!(&stranger, Err(AccountError::Directory(error)) if !error.is_answer()), "{stranger:?}");
    within(away + AT_ONCE, "ended", async || directory.account(&key).await.is_err()).await;
    assert!(start.elapsed() + Duration::from_millis(1_500) > away, "{:?}", start.elapsed());
    relay.set(Mode::Open);
    within(Duration::from_secs(20), "back", async || matches!(directory.account(&key).await, Ok(Some(_))))
        .await;
}
