//! Accounts and templates of a directory: access lists, names that only a directory knows, their guards.

use muster_core::directory::{DirectoryNames, HostNameDoubt, ObjectGuid};
use muster_core::identity::{AccountName, PrincipalKind, Sid};
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::template::access::{is_everybody, is_granted};
use muster_core::template::{
    AccessEffect, AccessEntry, AccessRight, AltNameFrom, CommonNameFrom, Grantee, SubjectSource,
    TemplateError,
};
use muster_core::{Principal, Template, risk};

use crate::support::*;

const GUID: ObjectGuid = ObjectGuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

fn sid(text: &str) -> Sid {
    text.parse().unwrap()
}

fn path(parts: &[(NameAttribute, &str)]) -> Option<SubjectName> {
    Some(SubjectName(parts.iter().map(|(attribute, value)| (*attribute, (*value).to_owned())).collect()))
}

fn alice_of_the_directory() -> Principal {
    use NameAttribute::{CommonName, DomainComponent, OrganizationalUnit};
    let directory = DirectoryNames {
        distinguished_name: path(&[
            (DomainComponent, "example"),
            (DomainComponent, "lab"),
            (OrganizationalUnit, "Staff"),
            (CommonName, "Alice Example"),
        ]),
        object_guid: Some(GUID),
        domain_dns: Some("lab.example".to_owned()),
        ..DirectoryNames::default()
    };
    Principal {
        directory: Some(Box::new(directory)),
        sids: [sid(OWN_SID), sid("S-1-5-11")].into(),
        ..alice()
    }
}

fn with(principal: &Principal, change: impl FnOnce(&mut DirectoryNames)) -> Principal {
    let mut principal = principal.clone();
    change(principal.directory.as_mut().unwrap());
    principal
}

fn told(principal: &Principal, template: &Template) -> String {
    match outcome(principal, template, &plain()) {
        Outcome::Issue(contents) => names(&contents),
        Outcome::Deny(refusal) => refusal.code().to_owned(),
        Outcome::Pend | Outcome::Forked => "pending".to_owned(),
    }
}

#[test]
fn subject_is_the_path_with_the_address_last() {
    let template = changed("User", |t| {
        t.subject.common_name = CommonNameFrom::DirectoryPath;
        t.subject.alternatives = [AltNameFrom::Guid, AltNameFrom::Upn].into();
    });
    let with_email = changed("User", |t| {
        t.subject.common_name = CommonNameFrom::DirectoryPath;
        t.subject.email = true;
    });
    let only_email = changed("User", |t| {
        t.subject.common_name = CommonNameFrom::None;
        t.subject.email = true;
    });
    let alice = alice_of_the_directory();
    let staff = "CN=Alice Example, OU=Staff, DC=lab, DC=example";
    let guid = "GUID:04030201-0605-0807-090a-0b0c0d0e0f10";
    assert_eq!(told(&alice, &template), format!("{staff} | UPN:alice@corp.lab.example, {guid}"));
    assert_eq!(told(&alice, &with_email), format!("E=alice@lab.example, {staff} | "));
    assert_eq!(told(&alice, &only_email), "E=alice@lab.example | ");
    let local = Principal { directory: None, ..alice.clone() };
    assert_eq!(told(&local, &with_email), "PATH_REQUIRED");
    assert_eq!(told(&Principal { email: None, ..alice.clone() }, &with_email), "EMAIL_REQUIRED");
    for wrong in [
        None,
        path(&[]),
        path(&[(NameAttribute::CommonName, "a\nb")]),
        path(&[(NameAttribute::CommonName, &"x".repeat(65))]),
        path(&[(NameAttribute::DomainComponent, "lab.example"), (NameAttribute::CommonName, "a")]),
    ] {
        assert_eq!(told(&with(&alice, |d| d.distinguished_name = wrong), &with_email), "PATH_REQUIRED");
    }
    assert_eq!(told(&with(&alice, |d| d.object_guid = None), &template), "GUID_REQUIRED");
    assert_eq!(told(&local, &template), "GUID_REQUIRED");
}

#[test]
fn names_of_domains_and_their_controllers_are_for_controllers() {
    let computer = template("Computer");
    let domain = changed("Computer", |t| {
        t.subject.alternatives = [AltNameFrom::DnsNames, AltNameFrom::DomainDns].into()
    });
    let for_controllers = changed("Computer", |t| {
        t.subject.alternatives = [AltNameFrom::DnsNames, AltNameFrom::DomainDns].into();
        t.subject.domain_controllers = true;
    });
    let member = Principal { directory: alice_of_the_directory().directory, ..web01() };
    let controller = with(&member, |d| d.domain_controller = true);
    assert!(told(&member, &computer).starts_with("CN=web01.lab.example | "));
    assert_eq!(told(&member, &domain), "DC_NAME");
    assert_eq!(told(&member, &for_controllers), "DC_NAME");
    assert_eq!(told(&controller, &computer), "DC_NAME");
    assert_eq!(told(&controller, &domain), "DC_NAME");
    assert!(told(&controller, &for_controllers).ends_with("DNS:lab.example"));
    assert_eq!(told(&with(&controller, |d| d.domain_dns = None), &for_controllers), "DNS_REQUIRED");
    // The names that a controller asks for itself, too, and a common name that is a host name.
    let asked = outcome(
        &Principal { groups: ["web-admins".parse().unwrap()].into(), ..controller.clone() },
        &{
            let mut template = template("WebServer");
            template.kind = PrincipalKind::Computer;
            template.permissions.enroll = vec![Grantee::Authenticated];
            template
        },
        &asking(dns(&["web01.lab.example"])),
    );
    assert_eq!(asked.code(), "DC_NAME");
}

#[test]
fn doubts_about_host_names_reach_the_requester() {
    let bare = Principal { dns_names: vec![], directory: alice_of_the_directory().directory, ..web01() };
    assert_eq!(told(&bare, &template("Computer")), "DNS_REQUIRED");
    for doubt in [HostNameDoubt::Shared, HostNameDoubt::Foreign, HostNameDoubt::Malformed] {
        let doubted = with(&bare, |d| d.host_name_doubt = Some(doubt));
        assert_eq!(told(&doubted, &template("Computer")), "DNS_DOUBTFUL", "{doubt:?}");
    }
}

#[test]
fn access_list_alone_decides_and_its_first_entry_wins() {
    let entry = |effect, right, who: &str| AccessEntry { effect, right, sid: sid(who) };
    use AccessEffect::{Allow, Deny};
    use AccessRight::{AutoEnroll, Both, Enroll};
    let (all, own) = ("S-1-5-11", OWN_SID);
    for (list, enroll, auto_enroll) in [
        (vec![], false, false),
        (vec![entry(Allow, Enroll, all)], true, false),
        (vec![entry(Allow, AutoEnroll, all)], false, false),
        (vec![entry(Allow, Both, all)], true, true),
        (vec![entry(Allow, Enroll, "S-1-5-21-1-2-3-9999")], false, false),
        (vec![entry(Deny, Enroll, own), entry(Allow, Both, all)], false, false),
        (vec![entry(Allow, Both, all), entry(Deny, Enroll, own)], true, true),
        (vec![entry(Deny, AutoEnroll, own), entry(Allow, Both, all)], true, false),
        (vec![entry(Deny, Both, "S-1-5-21-1-2-3-9999"), entry(Allow, Enroll, own)], true, false),
    ] {
        let mut template = template("User");
        // What else is granted does not count.
        template.permissions.enroll = vec![Grantee::Authenticated];
        template.permissions.auto_enroll = vec![Grantee::Authenticated];
        template.permissions.access = Some(list.clone());
        let permission = template.permission(&alice_of_the_directory());
        assert_eq!((permission.enroll, permission.auto_enroll), (enroll, auto_enroll), "{list:?}");
        template.kind = PrincipalKind::Computer;
        assert!(!template.permission(&alice_of_the_directory()).enroll);
    }
    assert!(!is_granted(&[entry(Allow, Both, all)], Enroll, &[].into()));
}

#[test]
fn native_templates_can_name_security_identifiers() {
    let grantee: Grantee = format!("sid:{OWN_SID}").try_into().unwrap();
    assert_eq!(String::from(grantee.clone()), format!("sid:{OWN_SID}"));
    assert!(Grantee::try_from("sid:S-1-x".to_owned()).is_err());
    let template = changed("User", |t| t.permissions.enroll = vec![grantee]);
    assert!(template.permission(&alice()).enroll, "the account itself");
    let member = Principal { sid: Some(sid("S-1-5-21-1-2-3-7")), ..alice_of_the_directory() };
    assert!(template.permission(&member).enroll, "a group in its token");
    assert!(!template.permission(&Principal { sid: None, ..alice() }).enroll);
    assert_eq!(Template::from_toml(&template.to_toml().unwrap()), Ok(template));
}

#[test]
fn rules_for_directories_are_checked() {
    let wrong = |change: fn(&mut Template)| {
        let mut template = template("User");
        change(&mut template);
        match template.check().unwrap_err() {
            TemplateError::Value { key, .. } => key,
            error @ (TemplateError::Syntax(_) | TemplateError::Risky(_)) => panic!("{error}"),
        }
    };
    fn request(t: &mut Template) {
        t.subject.source = SubjectSource::Request;
        t.subject.alternatives.clear();
        t.eku = vec![oid("1.3.6.1.5.5.7.3.4")];
    }
    assert_eq!(wrong(|t| t.permissions.access = Some(vec![])), "permissions.access");
    assert_eq!(
        wrong(|t| {
            request(t);
            t.subject.email = true;
        }),
        "subject.email"
    );
    assert_eq!(
        wrong(|t| {
            request(t);
            t.subject.allow_dns = vec!["any".to_owned()];
        }),
        "subject.allow_dns"
    );
    assert_eq!(
        wrong(|t| {
            t.subject.common_name = CommonNameFrom::DirectoryPath;
            t.subject.fixed = vec![(NameAttribute::Country, "DE".to_owned())];
        }),
        "subject.fixed"
    );
    assert_eq!(wrong(|t| t.validity.hours = 24), "validity.days");
    assert_eq!(wrong(|t| t.validity.renew_before_hours = 24), "validity.renew_before_days");
    // With approval an officer sees which host it is; a wildcard has to be listed all the same.
    let any = changed("User", |t| {
        request(t);
        t.subject.allow_dns = vec!["any".to_owned()];
        t.issuance.approval = true;
    });
    assert_eq!(outcome(&alice(), &any, &asking(dns(&["www.other.example"]))), Outcome::Pend);
    assert_eq!(outcome(&alice(), &any, &asking(dns(&["*.other.example"]))).code(), "NAME_NOT_YOURS");
}

#[test]
fn hours_count() {
    let shift = changed("User", |t| {
        (t.validity.days, t.validity.hours) = (0, 10);
        (t.validity.renew_before_days, t.validity.renew_before_hours) = (0, 2);
    });
    let contents = outcome(&alice(), &shift, &plain()).issued();
    assert_eq!(contents.not_after, NOW.plus(36_000 - 1));
    assert_eq!(Template::from_toml(&shift.to_toml().unwrap()), Ok(shift));
}

#[test]
fn templates_that_need_agents_issue_nothing_without_one() {
    let mut template = template("User");
    template.issuance.signatures = 1;
    assert_eq!(outcome(&alice(), &template, &plain()).code(), "SIGNATURE_REQUIRED");
}

#[test]
fn chosen_names_for_everybody_of_a_directory_are_a_danger() {
    let mut template = changed("WebServer", |t| t.issuance.approval = false);
    for (who, open) in [
        ("S-1-1-0", true),
        ("S-1-5-11", true),
        ("S-1-5-21-1-2-3-513", true),
        ("S-1-5-21-1-2-3-515", true),
        ("S-1-5-21-1-2-3-1104", false),
        ("S-1-5-32-544", false),
    ] {
        assert_eq!(is_everybody(&sid(who)), open, "{who}");
        let entry = AccessEntry { effect: AccessEffect::Allow, right: AccessRight::Enroll, sid: sid(who) };
        template.permissions.access = Some(vec![entry.clone()]);
        assert_eq!(risk::check(&template).is_err(), open, "{who}");
        template.permissions.access = Some(vec![AccessEntry { effect: AccessEffect::Deny, ..entry }]);
        assert_eq!(risk::check(&template), Ok(()), "{who}");
        template.permissions.access = None;
        template.permissions.enroll = vec![Grantee::Sid(sid(who))];
        assert_eq!(risk::check(&template).is_err(), open, "{who}");
    }
}

#[test]
fn accounts_stored_before_still_load() {
    let stored = r#"{"name":"alice","kind":"user"}"#;
    let name: AccountName = "alice".parse().unwrap();
    assert_eq!(
        serde_json::from_str::<Principal>(stored).unwrap(),
        Principal::named(name, PrincipalKind::User)
    );
    let local = serde_json::to_string(&alice()).unwrap();
    assert!(!local.contains("directory") && !local.contains("sids"), "{local}");
    let member = alice_of_the_directory();
    assert_eq!(serde_json::from_str::<Principal>(&serde_json::to_string(&member).unwrap()).unwrap(), member);
    assert_eq!(AltName::Guid(GUID).to_string(), "GUID:04030201-0605-0807-090a-0b0c0d0e0f10");
}
