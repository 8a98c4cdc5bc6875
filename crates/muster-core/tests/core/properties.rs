//! What holds for every request, every template that can be used and every principal.

use std::net::IpAddr;

use muster_core::identity::PrincipalKind;
use muster_core::names::{AltName, NameAttribute};
use muster_core::policy::{Approval, CertificateContents, Circumstances};
use muster_core::request::{RequestForm, RequestedNames};
use muster_core::template::{AltNameFrom, CommonNameFrom, SubjectSource};
use muster_core::{Oid, Principal, RequestId, Serial, Submission, Template, UnixTime};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::*;

/// Few enough that requests, rules and accounts meet often; some spelt so that they should not.
const HOSTS: &[&str] = &[
    "a.lab.example",
    "A.lab.example",
    "b.lab.example",
    "a.b.lab.example",
    "lab.example",
    "evil-lab.example",
    "a.lab.example.",
    "*.lab.example",
    "*.b.lab.example",
    ".lab.example",
    "host",
    "own",
    "a.lab.example\0",
    "10.1.2.3",
    "xn--a-ecp.lab.example",
    "other.example.com",
];
const PATTERNS: &[&str] =
    &["own", "a.lab.example", ".lab.example", "*.lab.example", ".b.lab.example", "other.example.com"];
const MAILBOXES: &[&str] =
    &["alice@lab.example", "ceo@lab.example", "Alice@lab.example", "alice@lab", "a b@c.d"];
const TEXTS: &[&str] =
    &["alice", "Alice Example", "host", "administrator", "DE", "de", "x\u{200b}y", " x", "", "a\nb"];
const ADDRESSES: &[&str] = &["10.1.2.3", "10.2.2.3", "::ffff:10.1.2.3", "2001:db8::1", "2001:db9::1"];
/// A prefix, and what it covers.
type Prefix = (&'static str, fn(IpAddr) -> bool);
const PREFIXES: &[Prefix] = &[
    ("10.1.0.0/16", |a| a.to_string().starts_with("10.1.")),
    ("10.2.2.3", |a| a.to_string() == "10.2.2.3"),
    ("2001:db8::/32", |a| a.to_string().starts_with("2001:db8:")),
];

fn owned(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![owned(HOSTS), owned(MAILBOXES), owned(TEXTS), owned(ADDRESSES), "\\PC{0,70}"]
}

fn attribute() -> impl Strategy<Value = NameAttribute> {
    use NameAttribute as A;
    prop_oneof![
        4 => Just(A::CommonName),
        4 => select(vec![
            A::Organization, A::OrganizationalUnit, A::Locality, A::State, A::Country, A::DomainComponent,
            A::Email, A::SerialNumber,
        ]),
    ]
}

fn alternative() -> impl Strategy<Value = AltName> {
    prop_oneof![
        6 => owned(HOSTS).prop_map(AltName::Dns),
        2 => owned(MAILBOXES).prop_map(AltName::Email),
        2 => select(ADDRESSES).prop_map(|a| AltName::Ip(a.parse().unwrap())),
        1 => any_text().prop_map(AltName::Dns),
        1 => any_text().prop_map(AltName::Uri),
        1 => owned(MAILBOXES).prop_map(AltName::Upn),
    ]
}

prop_compose! {
    fn requested()(
        subject in vec((attribute(), any_text()), 0..3),
        alternatives in vec(alternative(), 0..3),
        unknown in option::weighted(0.05, any_text()),
        sid in option::weighted(0.1, select(vec![OWN_SID, "S-1-5-21-1-2-3-500"])),
        wants_ca in prop::bool::weighted(0.05),
    ) -> RequestedNames {
        RequestedNames {
            subject: muster_core::names::SubjectName(subject),
            unknown_subject_attributes: Vec::new(),
            alternatives,
            unknown_alternatives: unknown.into_iter().collect(),
            sids: sid.into_iter().map(str::to_owned).collect(),
            wants_ca,
        }
    }
}

prop_compose! {
    fn principal()(
        name in select(vec!["alice", "host", "a.lab.example", "alice@lab.example", "10.1.2.3"]),
        common_name in option::of(any_text()),
        email in option::of(owned(MAILBOXES)),
        upn in option::of(owned(MAILBOXES)),
        dns_names in subsequence(HOSTS, 0..3),
        with_sid in any::<bool>(),
    ) -> Principal {
        Principal {
            name: name.parse().unwrap(),
            common_name,
            email,
            upn,
            dns_names: dns_names.into_iter().map(str::to_owned).collect(),
            sid: alice().sid.filter(|_| with_sid),
            ..alice()
        }
    }
}

prop_compose! {
    /// A template of any kind that [`Template::check`] accepts.
    fn usable_template()(
        base in select(catalog()),
        from_request in any::<bool>(),
        common_name in select(vec![CommonNameFrom::CommonName, CommonNameFrom::DnsName, CommonNameFrom::None]),
        alternatives in subsequence(vec![AltNameFrom::DnsNames, AltNameFrom::Email, AltNameFrom::Upn], 0..=3),
        allow_dns in subsequence(PATTERNS, 0..4),
        allow_ip in subsequence(PREFIXES, 0..=3),
        (allow_own_email, approval) in any::<(bool, bool)>(),
        allow_attributes in vec(attribute(), 0..4),
        fixed in subsequence(vec![(NameAttribute::Country, "DE"), (NameAttribute::Organization, "Example")], 0..=2),
    ) -> Template {
        let mut template = base;
        template.kind = PrincipalKind::User;
        template.permissions.enroll = vec!["group:users".to_owned().try_into().unwrap()];
        template.issuance.approval = approval;
        template.issuance.renewal_without_approval = false;
        let rules = &mut template.subject;
        rules.fixed = fixed.into_iter().map(|(a, v)| (a, v.to_owned())).collect();
        rules.common_name = common_name;
        rules.alternatives.clear();
        if from_request {
            rules.source = SubjectSource::Request;
            rules.allow_dns = allow_dns.into_iter().map(str::to_owned).collect();
            rules.allow_ip = allow_ip.into_iter().map(|(prefix, _)| prefix.to_owned()).collect();
            rules.allow_own_email = allow_own_email;
            rules.allow_attributes =
                allow_attributes.into_iter().filter(|a| *a != NameAttribute::CommonName).collect();
        } else {
            rules.source = SubjectSource::Identity;
            rules.alternatives = alternatives.into_iter().collect();
            rules.allow_dns.clear();
        }
        template
    }
}

/// Whether a rule of the template, read anew and simply, lets this principal have a host name.
fn host_by_rule(principal: &Principal, template: &Template, host: &str) -> bool {
    template.subject.allow_dns.iter().any(|rule| match rule.as_str() {
        "own" => principal.dns_names.iter().any(|own| own == host),
        ".lab.example" | ".b.lab.example" => {
            !host.contains('*') && host.strip_suffix(rule.as_str()).is_some_and(|head| !head.is_empty())
        }
        exact => exact == host,
    })
}

/// Every name in the certificate is the principal's or allowed by a rule. Written anew, without the code under test.
fn assert_names_are_covered(
    principal: &Principal,
    template: &Template,
    contents: &CertificateContents,
) -> Result<(), TestCaseError> {
    let from_request = template.subject.source == SubjectSource::Request;
    for name in &contents.alternatives {
        let covered = match name {
            AltName::Dns(host) if from_request => host_by_rule(principal, template, host),
            AltName::Dns(host) => principal.dns_names.contains(host),
            AltName::Email(address) => principal.email.as_ref() == Some(address),
            AltName::Upn(upn) => !from_request && principal.upn.as_ref() == Some(upn),
            AltName::Ip(address) => PREFIXES.iter().any(|(prefix, covers)| {
                template.subject.allow_ip.iter().any(|rule| rule == prefix) && covers(*address)
            }),
            AltName::Uri(_) | AltName::Guid(_) => false,
        };
        prop_assert!(covered, "{name} for {principal:?}");
        if let AltName::Dns(host) = name {
            let clean = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b);
            prop_assert!(host.bytes().all(clean) && host.contains('.') && !host.ends_with('.'), "{host:?}");
        }
    }
    for (attribute, value) in &contents.subject.0 {
        let same = |a: &AltName| a.to_string().split_once(':').is_some_and(|(_, name)| name == value);
        let lower = value.to_ascii_lowercase();
        let covered = match attribute {
            NameAttribute::CommonName => {
                principal.common_name.as_ref() == Some(value)
                    || principal.name.as_str() == value
                    || !from_request && principal.dns_names.contains(value)
                    || contents.alternatives.iter().any(same)
                    || contents.alternatives.contains(&AltName::Dns(lower))
            }
            NameAttribute::Email => principal.email.as_ref() == Some(value),
            NameAttribute::Organization
            | NameAttribute::OrganizationalUnit
            | NameAttribute::Locality
            | NameAttribute::State
            | NameAttribute::Country
            | NameAttribute::DomainComponent
            | NameAttribute::SerialNumber => false,
        };
        let fixed = template.subject.fixed.contains(&(*attribute, value.clone()));
        let copied = from_request
            && !matches!(attribute, NameAttribute::CommonName | NameAttribute::Email)
            && template.subject.allow_attributes.contains(attribute)
            && !template.subject.fixed.iter().any(|(f, _)| f == attribute);
        prop_assert!(covered || fixed || copied, "{attribute:?}={value:?} for {principal:?}");
        prop_assert!(!value.is_empty() && !value.contains(char::is_control) && value.chars().count() <= 64);
    }
    let common_names = contents.subject.values(NameAttribute::CommonName).count();
    prop_assert!(common_names <= 1);
    prop_assert!(common_names + contents.alternatives.len() > 0, "nobody is named");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 30_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_are_the_principals_or_allowed_by_a_rule(
        principal in principal(),
        template in usable_template(),
        names in requested(),
    ) {
        prop_assume!(template.check().is_ok());
        let given = Circumstances { approval: Approval::Given, ..good_day() };
        match outcome_in(&principal, &template, &asking(names.clone()), &given) {
            Outcome::Issue(contents) => {
                assert_names_are_covered(&principal, &template, &contents)?;
                prop_assert!(!names.wants_ca);
                prop_assert!(names.sids.iter().all(|sid| principal.sid.as_ref().is_some_and(|own| own.as_str() == sid)));
                prop_assert_eq!(&contents.sid, &principal.sid);
                prop_assert_eq!(&contents.eku, &template.eku);
                prop_assert!(!contents.usage.is_empty());
            }
            Outcome::Deny(refusal) => prop_assert!(refusal.to_string().chars().count() <= 200, "{}", refusal),
            Outcome::Pend | Outcome::Forked => prop_assert!(false, "approved, but pending"),
        }
    }

    /// With names from the identity, nothing that is asked for changes the certificate.
    #[test]
    fn identity_templates_ignore_names(principal in principal(), template in usable_template(), names in requested()) {
        prop_assume!(template.check().is_ok() && template.subject.source == SubjectSource::Identity);
        let names = RequestedNames { wants_ca: false, sids: Vec::new(), ..names };
        prop_assert_eq!(
            outcome(&principal, &template, &asking(names)),
            outcome(&principal, &template, &plain())
        );
    }

    #[test]
    fn nothing_is_issued_on_behalf_of_others(principal in principal(), template in usable_template(), who in any_text()) {
        let form = RequestForm::OnBehalfOf { requester: who, agents: Vec::new(), cosigners: Vec::new() };
        let submission = Submission { form, ..plain() };
        let given = Circumstances { approval: Approval::Given, ..good_day() };
        prop_assert_eq!(outcome_in(&principal, &template, &submission, &given).code(), "ON_BEHALF_OF");
    }

    #[test]
    fn usable_templates_survive_writing_and_reading(template in usable_template()) {
        prop_assume!(template.check().is_ok());
        let text = template.to_toml().unwrap();
        prop_assert_eq!(Template::from_toml(&text), Ok(template));
    }

    #[test]
    fn serial_numbers_read_back(number in 1u32.., random: [u8; 15]) {
        let id = RequestId::new(number).unwrap();
        let serial = Serial::compose(id, random);
        let text = serial.to_string();
        prop_assert_eq!(serial.request_id(), Some(id));
        prop_assert_eq!(Serial::from_bytes(serial.as_bytes()), Some(serial));
        prop_assert_eq!(text.parse(), Ok(serial));
        prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(serial));
        let pairs: Vec<String> = serial.as_bytes().iter().map(|b| format!("{b:02X}")).collect();
        prop_assert_eq!(pairs.join(":").parse(), Ok(serial));
        prop_assert!(serial.as_bytes()[0].leading_zeros() == 1, "positive, no leading zero");
        let mut shorter = text;
        shorter.pop();
        prop_assert!(shorter.parse::<Serial>().is_err());
    }

    #[test]
    fn serial_numbers_are_read_without_panic(text in "[0-9a-fA-F:\\PC]{0,60}") {
        if let Ok(serial) = text.parse::<Serial>() {
            prop_assert_eq!(serial.to_string(), text.replace(':', "").to_ascii_lowercase());
        }
    }

    #[test]
    fn identifiers_of_good_arcs_read_back(first in 0u32..=2, second in 0u32..40, rest in vec(any::<u32>(), 0..8)) {
        let text = [first, second].iter().chain(&rest).map(u32::to_string).collect::<Vec<_>>().join(".");
        prop_assert_eq!(text.parse::<Oid>().map(String::from), Ok(text));
    }

    #[test]
    fn identifiers_are_read_in_one_way_only(text in "[0-9.+ -]{0,20}") {
        if let Ok(oid) = text.parse::<Oid>() {
            let arcs: Vec<u32> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
            prop_assert_eq!(arcs.iter().map(u32::to_string).collect::<Vec<_>>().join("."), oid.as_str());
            prop_assert!(arcs.len() >= 2);
        }
    }

    /// Against another implementation of the calendar, from the year 0 to 9999.
    #[test]
    fn instants_print_as_another_calendar_says(seconds in -62_167_219_200i64..=253_402_207_200) {
        let expected = jiff::Timestamp::from_second(seconds).unwrap().to_string();
        prop_assert_eq!(UnixTime(seconds).to_string(), expected);
    }

    #[test]
    fn instants_never_panic(seconds: i64, by: i64) {
        let moved = UnixTime(seconds).plus(by);
        prop_assert!(moved.to_string().ends_with('Z'));
        prop_assert!(moved.since(UnixTime(seconds)).signum() * by.signum() >= 0);
    }
}
