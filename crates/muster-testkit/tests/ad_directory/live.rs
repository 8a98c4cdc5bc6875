//! Templates and CAs: as the directory has them, within seconds, and as they were while it is away.

use std::time::{Duration, Instant};

use muster_core::template::{AccessEffect, AccessRight};
use muster_directory::ldap::{Access, LdapSettings};
use muster_directory::{Directory, DirectorySettings, LiveSnapshot, Source};
use muster_testkit::ad::{Ad, Forest, SERVICES, template_dn};

use crate::relay::{Mode, Relay};
use crate::{directory, ldap, service, start, within};

const SOON: Duration = Duration::from_secs(3);

async fn first(directory: &Directory) -> std::sync::Arc<LiveSnapshot> {
    let mut receiver = directory.live().subscribe();
    let current = tokio::time::timeout(SOON, receiver.wait_for(Option::is_some)).await.unwrap();
    current.unwrap().clone().unwrap()
}

#[tokio::test]
async fn snapshot_has_what_ldapsearch_finds() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let live = first(&directory).await;
    assert_eq!(live.source, Source::Server("dc1.corp.test".to_owned()));
    let ran = ad.kinit("svc-ces").ldapsearch(
        Forest::Corp,
        SERVICES,
        "sub",
        "(|(objectClass=pKICertificateTemplate)(objectClass=pKIEnrollmentService))",
        &["cn"],
    );
    // Tests make templates of their own meanwhile.
    let listed: Vec<String> =
        ran.text().lines().filter_map(|line| line.strip_prefix("cn: ")).map(str::to_owned).collect();
    let snapshot = &live.snapshot;
    let known = |name: &str| {
        snapshot.templates.iter().any(|template| template.template.name == name)
            || snapshot.authority(name).is_some()
            || snapshot.damaged.iter().any(|damaged| damaged.dn.contains(name))
    };
    let missing: Vec<&String> =
        listed.iter().filter(|name| !name.starts_with("Template") && !known(name)).collect();
    assert!(listed.len() > 10 && missing.is_empty(), "{missing:?}");
    assert!(!snapshot.oids.is_empty());
    assert!(!snapshot.damaged.iter().any(|damaged| damaged.dn.starts_with("CN=OID,")));
}

#[tokio::test]
async fn new_changed_and_withdrawn_templates_are_seen_within_seconds() {
    let Some(ad) = Ad::or_not_run() else { return };
    let directory = directory(&ad);
    let revision = first(&directory).await.revision;
    let name = ad.template("User", &["(OA;;CR;ENROLL;;{CertEnrollers})"]);
    let find = |live: &LiveSnapshot| {
        live.snapshot.published("CORP-CA").find(|template| template.template.name == name).cloned()
    };
    let current = || directory.live().current().unwrap();
    within(SOON, "new template", async || find(&current()).is_some()).await;
    assert!(current().revision > revision);
    let allowed = || {
        let sid = ad.sid("Contractors");
        let template = find(&current()).unwrap().template;
        template.permissions.access.unwrap_or_default().iter().any(|entry| {
            entry.sid.as_str() == sid
                && entry.effect == AccessEffect::Allow
                && entry.right.covers(AccessRight::Enroll)
        })
    };
    assert!(!allowed());
    // What `dsacls` does.
    let dn = template_dn(&name);
    let sddl = ad.directory(Forest::Corp, &["descriptor", &dn]).concat();
    let ace = format!("(OA;;CR;0e10c968-78fb-11d2-90d4-00c04f79dc55;;{})", ad.sid("Contractors"));
    let (head, aces) = sddl.split_once('(').unwrap();
    ad.directory(Forest::Corp, &["descriptor", &dn, &format!("{head}{ace}({aces}")]);
    within(SOON, "changed descriptor", async || allowed()).await;
    let ca = format!("CN=CORP-CA,CN=Enrollment Services,{SERVICES}");
    ad.directory(Forest::Corp, &["remove", &ca, "certificateTemplates", &name]);
    within(SOON, "withdrawn template", async || find(&current()).is_none()).await;
}

#[tokio::test]
async fn last_known_state_serves_while_the_directory_is_away() {
    let Some(ad) = Ad::or_not_run() else { return };
    let folder = tempfile::tempdir().unwrap();
    let state_file = Some(folder.path().join("templates.json"));
    let settings = DirectorySettings {
        state_file: state_file.clone(),
        ..DirectorySettings::new(ldap(Access::Sealed(service(&ad))))
    };
    let read = first(&start(settings.clone())).await;
    within(SOON, "file", async || state_file.as_ref().unwrap().exists()).await;
    let relay = Relay::to(389).await;
    relay.set(Mode::Cut);
    let away = LdapSettings { servers: vec![relay.server.clone()], ..settings.ldap.clone() };
    let directory = start(DirectorySettings { ldap: away.clone(), ..settings });
    let kept = directory.live().current().unwrap();
    assert_eq!((&kept.source, &kept.snapshot), (&Source::File, &read.snapshot));
    relay.set(Mode::Open);
    within(Duration::from_secs(20), "back", async || {
        matches!(directory.live().current().unwrap().source, Source::Server(_))
    })
    .await;
    // A damaged file is no state.
    std::fs::write(state_file.as_ref().unwrap(), "{").unwrap();
    relay.set(Mode::Cut);
    let directory = start(DirectorySettings { state_file, ..DirectorySettings::new(away) });
    assert_eq!(directory.live().current(), None);
}

#[tokio::test]
async fn refresh_is_one_search() {
    let Some(ad) = Ad::or_not_run() else { return };
    let settings = DirectorySettings::new(ldap(Access::Sealed(service(&ad))));
    // Never asked for changes: what is counted is the first look.
    let directory = start(DirectorySettings { poll: Duration::from_secs(600), ..settings });
    let start = Instant::now();
    let live = first(&directory).await;
    // The latest change, then everything in one page.
    assert_eq!(directory.queries().other, 2);
    let count = live.snapshot.templates.len();
    println!("{:?} from the start, connection and bind included, to {count} templates", start.elapsed());
}
