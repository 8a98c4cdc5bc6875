//! Who may enroll, and under which name: what we read out of a real directory against what its domain controller says.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::sync::Arc;
use std::time::Duration;

use muster_core::template::{AccessRight, access};
use muster_directory::ldap::{Access, LdapSettings, Login};
use muster_directory::{AccountKey, Directory, DirectoryAccount, DirectorySettings, LiveSnapshot};
use muster_server::SystemClock;
use muster_testkit::ad::{Ad, Forest, template_dn};

/// The directory through our own eyes, with the keys of the service's account.
fn directory(ad: &Ad) -> Arc<Directory> {
    directory_with(ad, |_| ())
}

fn directory_with(ad: &Ad, change: impl FnOnce(&mut DirectorySettings)) -> Arc<Directory> {
    let login = Login::Keytab { file: ad.keytab("svc-ces"), principal: "svc-ces@CORP.TEST".to_owned() };
    let servers = vec![Forest::Corp.dc().parse().unwrap()];
    let settings = LdapSettings::new("corp.test", servers, Access::Sealed(login));
    let mut settings = DirectorySettings::new(settings);
    change(&mut settings);
    Directory::start(settings, Arc::new(SystemClock))
}

/// The first state of its templates for which `holds`, within ten seconds.
async fn snapshot(directory: &Directory, holds: impl Fn(&LiveSnapshot) -> bool) -> Arc<LiveSnapshot> {
    let mut live = directory.live().subscribe();
    let wait = async {
        loop {
            if let Some(current) = live.borrow_and_update().clone()
                && holds(&current)
            {
                return current;
            }
            live.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap()
}

async fn account(directory: &Directory, name: &str) -> Arc<DirectoryAccount> {
    let key = AccountKey::SamAccount { name: name.to_owned(), domain: "corp.test".to_owned() };
    directory.account(&key).await.unwrap().unwrap()
}

/// Compares for these templates and users what we decide with what the domain controller does; how many pairs may.
async fn compare(
    ad: &Ad,
    directory: &Directory,
    current: &LiveSnapshot,
    templates: &[&str],
    users: &[&str],
) -> usize {
    let judged = ad.judge_all(templates, users);
    let mut tokens = Vec::new();
    for user in users {
        tokens.push(account(directory, user).await.principal().sids);
    }
    let mut granted = 0;
    for (template, judged) in templates.iter().zip(judged) {
        let read = current.snapshot.templates.iter().find(|one| one.template.name == *template).unwrap();
        let list = read.template.permissions.access.as_ref().unwrap();
        let ours: Vec<bool> =
            tokens.iter().map(|token| access::is_granted(list, AccessRight::Enroll, token)).collect();
        let descriptor = || ad.directory(Forest::Corp, &["descriptor", &template_dn(template)]);
        assert_eq!(ours, judged, "{template} for {users:?}: {:?}", descriptor());
        granted += judged.iter().filter(|may| **may).count();
    }
    granted
}

const USERS: &[&str] = &["alice", "bob", "carol", "svc-ces", "PC1$"];

#[tokio::test]
async fn permissions_of_every_template_are_those_of_the_domain_controller() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let current = snapshot(&directory, |_| true).await;
    // Those of other tests come and go.
    let templates: Vec<&str> = current
        .snapshot
        .templates
        .iter()
        .map(|one| one.template.name.as_str())
        .filter(|name| !name.starts_with("Template"))
        .collect();
    assert!(templates.len() > 20, "{templates:?}");
    let granted = compare(&ad, &directory, &current, &templates, USERS).await;
    assert!(granted > 20, "{granted}");
}

/// Entries of every kind and order: allow and deny, with and without object, flags that switch them off. None denies
/// reading, without which neither we nor the callers would find the object.
#[tokio::test]
async fn permissions_of_random_descriptors_are_those_of_the_domain_controller() {
    let Some(ad) = Ad::or_not_run() else { return };
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut pick = |choices: &[&str]| -> String {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = usize::try_from(random >> 8).unwrap();
        choices.iter().cycle().nth(number % choices.len()).unwrap().to_string()
    };
    let who = [
        "AU",
        "WD",
        "DU",
        "DC",
        "{CertEnrollers}",
        "{Contractors}",
        "{PkiUsers}",
        "{Division}",
        "{CertComputers}",
        "PS",
    ];
    let rights = ["ENROLL", "ENROLL", "AUTOENROLL", "00299570-246d-11d0-a768-00aa006e0529", ""];
    let descriptors: Vec<String> = (0..24)
        .map(|_| {
            (0..5)
                .map(|_| {
                    let (who, right) = (pick(&who), pick(&rights));
                    match pick(&["OA", "OA", "OD", "A", "D"]).as_str() {
                        "D" => format!("(D;;{};;;{who})", pick(&["CR", "WP"])),
                        "A" => format!(
                            "(A;;{};;;{who})",
                            pick(&["CR", "RPLC", "CCDCLCSWRPWPDTLOCRSDRCWDWO", "WP"])
                        ),
                        kind => {
                            let mask = if kind == "OA" {
                                pick(&["CR", "CR", "RPWP", "CRRP"])
                            } else {
                                "CR".to_owned()
                            };
                            format!("({kind};{};{mask};{right};;{who})", pick(&["", "", "CI", "CIIO"]))
                        }
                    }
                })
                .collect()
        })
        .collect();
    let prefix = format!("Random{}x", std::process::id());
    let mut arguments = vec!["templates", prefix.as_str(), "EnrollersUser"];
    arguments.extend(descriptors.iter().map(String::as_str));
    ad.directory(Forest::Corp, &arguments);

    let directory = directory(&ad);
    let last = format!("{prefix}{}", descriptors.len() - 1);
    let current =
        snapshot(&directory, |all| all.snapshot.templates.iter().any(|one| one.template.name == last)).await;
    let names: Vec<String> = (0..descriptors.len()).map(|number| format!("{prefix}{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pairs = names.len() * USERS.len();
    let granted = compare(&ad, &directory, &current, &names, USERS).await;
    assert!(granted > pairs / 10 && granted < pairs * 9 / 10, "{granted} of {pairs}");
}

#[tokio::test]
async fn groups_of_an_account_are_those_that_the_domain_controller_gives_it() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    for user in ["alice", "carol", "dave"] {
        let ran = ad.kinit(user).ldapsearch(Forest::Corp, "", "base", "(objectClass=*)", &["tokenGroups"]);
        let theirs = ran.text().lines().filter(|line| line.starts_with("tokenGroups")).count();
        let ours = account(&directory, user).await.principal().sids;
        // The domain controller also counts how one got there: NETWORK, This Organization, asserted identity.
        assert!(theirs >= ours.len() - 2 && theirs <= ours.len() + 3, "{user}: {theirs}, {}", ours.len());
    }
    let carol = account(&directory, "carol").await.principal().sids;
    for group in ["Team", "Division", "PkiUsers", "carol"] {
        assert!(carol.contains(&ad.sid(group).try_into().unwrap()), "{group}");
    }
}

#[tokio::test]
async fn t09_stolen_host_names_are_not_believed() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    for (computer, names, doubt) in [
        ("PC1$", vec!["pc1.corp.test".to_owned()], false),
        // The domain controller's name.
        ("EVIL1$", vec![], true),
        // The name of PC3, and therefore not that of PC3 either.
        ("EVIL2$", vec![], true),
        ("PC3$", vec![], true),
        ("NONAME$", vec![], false),
    ] {
        let principal = account(&directory, computer).await.principal();
        assert_eq!(principal.dns_names, names, "{computer}");
        assert_eq!(principal.directory.unwrap().host_name_doubt.is_some(), doubt, "{computer}");
    }
    for name in
        ["*.corp.test", "pc1.corp.test.", "рс1.corp.test", "dc1.corp.test", "corp.test", "-x.corp.test"]
    {
        let computer = ad.bare_computer(name);
        let principal = account(&directory, &format!("{computer}$")).await.principal();
        assert_eq!(principal.dns_names, Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn disabled_and_deleted_accounts_stop_at_once() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    snapshot(&directory, |_| true).await;
    let user = ad.user(&["CertEnrollers"]);
    let now = || muster_core::Clock::now(&SystemClock);
    assert!(account(&directory, &user).await.usable(now()).is_ok());
    ad.disable(&user);
    let within = async {
        while account(&directory, &user).await.usable(now()).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), within).await.unwrap();
    ad.delete(&ad.dn(&user));
    let key = AccountKey::SamAccount { name: user.clone(), domain: "corp.test".to_owned() };
    let within = async {
        while directory.account(&key).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), within).await.unwrap();
    assert!(account(&directory, "frank").await.usable(now()).is_err());
    assert!(account(&directory, "erin").await.usable(now()).is_err());
}

#[tokio::test]
async fn change_of_a_template_is_seen_within_seconds() {
    let Some(ad) = Ad::or_not_run() else { return };
    // Deletions are hidden from an ordinary account, so they are seen when everything is read again.
    let directory = directory_with(&ad, |settings| settings.refresh = Duration::from_secs(3));
    let template = ad.template("EnrollersUser", &["(OA;;CR;ENROLL;;{Contractors})"]);
    let list = |all: &LiveSnapshot| {
        let found = all.snapshot.templates.iter().find(|one| one.template.name == template);
        found.and_then(|one| one.template.permissions.access.clone())
    };
    let before = list(&*snapshot(&directory, |all| list(all).is_some()).await).unwrap();
    let dn = template_dn(&template);
    let descriptor = ad.directory(Forest::Corp, &["descriptor", &dn]).concat();
    let descriptor = descriptor.replace(&ad.sid("Contractors"), &ad.sid("CertEnrollers"));
    ad.directory(Forest::Corp, &["descriptor", &dn, &descriptor]);
    snapshot(&directory, |all| list(all).is_some_and(|list| list != before)).await;
    ad.delete(&dn);
    snapshot(&directory, |all| list(all).is_none()).await;
}

#[tokio::test]
async fn damaged_and_dangerous_templates_are_named_with_what_is_wrong() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let current = snapshot(&directory, |_| true).await;
    for name in [
        "DamagedPeriod",
        "DamagedPositive",
        "DamagedTriplets",
        "DamagedOid",
        "DamagedBare",
        "Unrecorded",
        "Risky",
    ] {
        let read = current.snapshot.templates.iter().find(|one| one.template.name == name);
        let damaged = current.snapshot.damaged.iter().any(|one| one.dn.contains(&format!("CN={name},")));
        let offered = read.is_some_and(|one| one.is_offered(|_| false));
        assert!(!offered, "{name} is offered: {read:?}");
        assert!(
            damaged || read.is_some_and(|one| !one.findings.is_empty()),
            "{name}: nothing is said about it"
        );
    }
    let read = |name: &str| current.snapshot.templates.iter().find(|one| one.template.name == name);
    assert!(read("Unreadable").is_none());
    // The identifier is put into its certificates all the same, which is said.
    assert!(read("NoSid").is_some_and(|one| !one.findings.is_empty()));
    let good = read("EnrollersUser").unwrap();
    assert!(good.is_offered(|_| false), "{:?}", good.findings);
}
