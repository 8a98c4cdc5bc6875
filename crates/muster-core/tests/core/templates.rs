//! Templates: what can be written down, what is refused and in which words.

use muster_core::names::NameAttribute;
use muster_core::request::KeyAlgorithm;
use muster_core::risk::Risk;
use muster_core::template::{
    AltNameFrom, CommonNameFrom, Grantee, IssuanceRules, KeyUsage, SubjectSource, TemplateError, eku,
};
use muster_core::{Template, defaults};

use crate::support::*;

#[test]
fn default_templates_survive_writing_and_reading() {
    let defaults = defaults::templates().unwrap();
    assert_eq!(defaults.len(), defaults::TEMPLATES.len());
    for template in defaults.into_iter().chain(catalog()) {
        let text = template.to_toml().unwrap();
        assert_eq!(Template::from_toml(&text).as_ref(), Ok(&template), "{text}");
    }
}

#[test]
fn misspelt_keys_are_refused_with_their_line() {
    let [_, _, _, web_server, code_signing] = defaults::TEMPLATES;
    for (text, from, to, expected) in [
        (web_server, "allow_dns", "alow_dns", "alow_dns"),
        (web_server, "minimum_rsa_bits", "minimum_rsa_bit", "minimum_rsa_bit"),
        (web_server, "renew_before_days", "renew_before", "renew_before"),
        (web_server, "enroll =", "enrol =", "enrol"),
        (web_server, "display_name", "displayname", "displayname"),
        (code_signing, "approval", "aproval", "aproval"),
        (web_server, "[permissions]", "[permission]", "permission"),
        (web_server, "\"p256\"", "\"dsa\"", "dsa"),
        (web_server, "group:computers", "computers", "group:NAME"),
        (web_server, "\"computer\"", "\"machine\"", "machine"),
        (web_server, "days = 90", "days = -1", "-1"),
        (web_server, "days = 90", "days = 90\ndays = 91", "days"),
        (web_server, "\"1.3.6.1.5.5.7.3.1\"", "\"serverAuth\"", "serverAuth"),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from}");
        let Err(TemplateError::Syntax(message)) = Template::from_toml(&wrong) else {
            panic!("accepted: {wrong}");
        };
        let line = wrong.lines().position(|line| line.contains(to.lines().last().unwrap())).unwrap() + 1;
        assert!(message.contains(&format!("line {line}")), "line {line}: {message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[track_caller]
fn refusal(name: &str, change: impl FnOnce(&mut Template)) -> TemplateError {
    let mut template = template(name);
    change(&mut template);
    let error = template.check().unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.chars().count() <= 200, "{}: {sentence}", sentence.chars().count());
    assert!(sentence.starts_with("template '"), "{sentence}");
    assert!(!sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
    error
}

/// Every value outside its range, in words that name the key.
#[test]
fn values_outside_their_range_are_refused() {
    type Change = Box<dyn FnOnce(&mut Template)>;
    fn on(change: impl FnOnce(&mut Template) + 'static) -> Change {
        Box::new(change)
    }
    let mut table: Vec<(&str, &str, Change)> = vec![
        ("User", "display_name", on(|t| t.display_name.clear())),
        ("User", "display_name", on(|t| t.display_name = " ".to_owned())),
        ("User", "display_name", on(|t| t.display_name = "a\u{1}b".to_owned())),
        ("User", "display_name", on(|t| t.display_name = "a\u{ffff}b".to_owned())),
        ("User", "display_name", on(|t| t.display_name = "x".repeat(129))),
        ("User", "major", on(|t| t.major = 0)),
        ("User", "renewal.window_percent", on(|t| t.renewal.window_percent = 0)),
        ("User", "renewal.window_percent", on(|t| t.renewal.window_percent = 101)),
        ("User", "renewal.max_generations", on(|t| t.renewal.max_generations = u32::MAX)),
        ("User", "renewal.max_age_days", on(|t| t.renewal.max_age_days = 36_501)),
        ("User", "supersedes", on(|t| t.supersedes = vec!["USER".to_owned()])),
        ("User", "supersedes", on(|t| t.supersedes = vec!["a b".to_owned()])),
        ("User", "eku", on(|t| t.eku.clear())),
        ("User", "validity.days", on(|t| t.validity.days = 0)),
        ("User", "validity.days", on(|t| t.validity.days = 3_651)),
        ("User", "validity.renew_before_days", on(|t| t.validity.renew_before_days = 0)),
        ("User", "validity.renew_before_days", on(|t| t.validity.renew_before_days = 365)),
        ("User", "issuance.signatures", on(|t| t.issuance.signatures = 5)),
        ("User", "key.algorithms", on(|t| t.key.algorithms.clear())),
        ("User", "key.minimum_rsa_bits", on(|t| t.key.minimum_rsa_bits = 1024)),
        ("User", "key.minimum_rsa_bits", on(|t| t.key.minimum_rsa_bits = 2049)),
        ("User", "key.usage", on(|t| t.key.usage.clear())),
        ("User", "key.usage", on(|t| t.key.usage = [KeyUsage::KeyEncipherment].into())),
        (
            "UserEmail",
            "key.usage",
            on(|t| {
                t.key.algorithms = vec![KeyAlgorithm::P256, KeyAlgorithm::Ed25519];
                t.key.usage = [KeyUsage::KeyAgreement].into();
            }),
        ),
        ("User", "subject.alternatives", on(|t| t.subject.common_name = CommonNameFrom::None)),
        ("Computer", "subject.alternatives", on(|t| t.subject.alternatives.clear())),
        ("Computer", "subject.alternatives", on(|t| t.subject.alternatives = [AltNameFrom::Email].into())),
        ("WebServer", "subject.alternatives", on(|t| t.subject.alternatives = [AltNameFrom::Email].into())),
        ("User", "subject.allow_dns", on(|t| t.subject.allow_dns = vec!["own".to_owned()])),
        ("User", "subject.allow_own_email", on(|t| t.subject.allow_own_email = true)),
        ("User", "subject.allow_ip", on(|t| t.subject.allow_ip = vec!["10.0.0.1".to_owned()])),
        (
            "User",
            "subject.allow_attributes",
            on(|t| {
                t.subject.allow_attributes = [NameAttribute::State].into();
            }),
        ),
        (
            "WebServer",
            "subject.allow_attributes",
            on(|t| {
                t.subject.allow_attributes = [NameAttribute::CommonName].into();
            }),
        ),
    ];
    for name in ["", "a b", "ä", "User\n", &"x".repeat(65), "CA", "SubCA", "subca", "CROSSCA"] {
        let name = name.to_owned();
        table.push(("User", "name", on(move |t| t.name = name)));
    }
    for pattern in
        ["", ".", "*", "..", ".example", "*.example", "Own", "LAB.example", "a.*.example", ".*.lab.example"]
    {
        table.push((
            "WebServer",
            "subject.allow_dns",
            on(move |t| t.subject.allow_dns = vec![pattern.to_owned()]),
        ));
    }
    for prefix in
        ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "host"]
    {
        table.push((
            "WebServer",
            "subject.allow_ip",
            on(move |t| t.subject.allow_ip = vec![prefix.to_owned()]),
        ));
    }
    for (attribute, value) in [
        (NameAttribute::CommonName, "administrator"),
        (NameAttribute::Email, "all@lab.example"),
        (NameAttribute::Country, "Germany"),
        (NameAttribute::Country, "de"),
        (NameAttribute::Organization, ""),
        (NameAttribute::Organization, "a\nb"),
        (NameAttribute::DomainComponent, "lab.example"),
        (NameAttribute::SerialNumber, "ä"),
    ] {
        table.push((
            "User",
            "subject.fixed",
            on(move |t| t.subject.fixed = vec![(attribute, value.to_owned())]),
        ));
    }
    for (name, expected, change) in table {
        match refusal(name, change) {
            TemplateError::Value { key, problem, .. } => assert_eq!(key, expected, "{problem}"),
            error @ (TemplateError::Syntax(_) | TemplateError::Risky(_)) => panic!("{expected}: {error}"),
        }
    }
}

/// T08: each danger by its name, and with what to do.
#[test]
fn dangerous_combinations_are_refused_by_name() {
    fn request(template: &mut Template) {
        template.subject.source = SubjectSource::Request;
        template.subject.alternatives.clear();
    }
    let risk = |name: &str, change: &dyn Fn(&mut Template)| match refusal(name, change) {
        TemplateError::Risky(risk) => risk,
        error @ (TemplateError::Syntax(_) | TemplateError::Value { .. }) => panic!("{error}"),
    };
    let user = || "User".to_owned();
    for purpose in [eku::CLIENT_AUTHENTICATION, eku::SMARTCARD_LOGON, eku::PKINIT_CLIENT] {
        let found = risk("User", &|t| {
            request(t);
            t.eku = vec![oid(eku::EMAIL_PROTECTION), oid(purpose)];
        });
        assert_eq!(found, Risk::ChosenLogonName(user()), "{purpose}");
        assert!(found.to_string().contains("ESC1") && found.to_string().contains("approval = true"));
    }
    for purpose in [eku::ANY, eku::ANY_APPLICATION_POLICY] {
        let found = risk("User", &|t| t.eku.push(oid(purpose)));
        assert_eq!(found, Risk::AnyPurpose(user()), "{purpose}");
        assert!(found.to_string().contains("ESC2"));
    }
    let agent = risk("User", &|t| t.eku.push(oid(eku::ENROLLMENT_AGENT)));
    assert_eq!(agent, Risk::EnrollmentAgent(user()));
    assert!(agent.to_string().contains("ESC3"));
    // With an officer's approval each time there may be one, unless it is open to everybody or its holder names itself.
    let guarded = |change: &dyn Fn(&mut Template)| {
        let agent = |t: &mut Template| {
            t.eku = vec![oid(eku::ENROLLMENT_AGENT)];
            t.issuance = IssuanceRules { approval: true, ..IssuanceRules::default() };
            change(t);
        };
        let mut template = template("User");
        agent(&mut template);
        template.check()
    };
    assert_eq!(guarded(&|_| ()), Ok(()));
    let changes: [&dyn Fn(&mut Template); 4] = [
        &|t| t.issuance.approval = false,
        &|t| t.issuance.renewal_without_approval = true,
        &|t| t.subject.source = SubjectSource::Request,
        &|t| t.permissions.enroll = vec![Grantee::Authenticated],
    ];
    for change in changes {
        assert_eq!(guarded(change), Err(TemplateError::Risky(Risk::EnrollmentAgent(user()))));
    }
    for purpose in [
        eku::OCSP_SIGNING,
        eku::CA_EXCHANGE,
        eku::KDC_AUTHENTICATION,
        eku::TIME_STAMPING,
        eku::KEY_RECOVERY_AGENT,
        eku::QUALIFIED_SUBORDINATION,
    ] {
        // Approval makes these no better.
        let found = risk("User", &|t| {
            t.issuance.approval = true;
            t.eku.push(oid(purpose));
        });
        assert!(matches!(&found, Risk::CaPurpose { oid, .. } if *oid == purpose), "{found}");
        assert!(found.to_string().contains(&format!("remove {purpose} from eku")), "{found}");
    }
    for pattern in [".lab.example", "dc01.lab.example", "*.lab.example"] {
        let found = risk("WebServer", &|t| t.subject.allow_dns.push(pattern.to_owned()));
        let expected =
            Risk::ChosenServerName { template: "WebServer".to_owned(), pattern: pattern.to_owned() };
        assert_eq!(found, expected);
        assert!(found.to_string().contains("ESC17") && found.to_string().contains("approval = true"));
    }
    for prefix in ["0.0.0.0/0", "10.1.2.3"] {
        let found = risk("WebServer", &|t| t.subject.allow_ip = vec![prefix.to_owned()]);
        let expected =
            Risk::ChosenServerName { template: "WebServer".to_owned(), pattern: prefix.to_owned() };
        assert_eq!(found, expected);
    }
    let open = risk("WebServer", &|t| t.permissions.enroll = vec![Grantee::Authenticated]);
    assert_eq!(open, Risk::OpenToAll("WebServer".to_owned()));
}

#[test]
fn approval_makes_chosen_names_acceptable() {
    for name in ["User", "Computer", "WebServer"] {
        changed(name, |t| {
            t.subject.source = SubjectSource::Request;
            t.subject.alternatives.clear();
            t.subject.allow_dns = vec![".lab.example".to_owned()];
            t.issuance.approval = true;
        });
    }
}

#[test]
fn lifetime_is_compared_with_the_ca_when_published() {
    let template = template("WebServer");
    assert_eq!(template.check_lifetime(NOW, NOW.plus(90 * DAY)), Ok(()));
    assert_eq!(template.check_lifetime(NOW, NOW.plus(90 * DAY - 1)), Ok(()));
    let sentence = template.check_lifetime(NOW, NOW.plus(90 * DAY - 2)).unwrap_err().to_string();
    let end = NOW.plus(90 * DAY - 2);
    assert_eq!(
        sentence,
        format!(
            "template 'WebServer': validity.days goes beyond the CA certificate, which ends on {end}: \
             use at most 89, or renew the CA"
        )
    );
    assert!(template.check_lifetime(NOW, NOW.plus(-DAY)).unwrap_err().to_string().contains("at most 0,"));
}

/// Rows that an earlier version wrote are read by this one.
#[test]
fn signature_purposes_are_none_one_or_more() {
    let read = |rules: &str| {
        let rules: IssuanceRules = serde_json::from_str(rules).unwrap();
        rules.signature_eku
    };
    let agent = oid(eku::ENROLLMENT_AGENT);
    assert_eq!(read(r#"{"signatures": 0, "signature_eku": null}"#), []);
    assert_eq!(read("{}"), []);
    assert_eq!(read(r#"{"signature_eku": "1.3.6.1.4.1.311.20.2.1"}"#), std::slice::from_ref(&agent));
    assert_eq!(read(r#"{"signature_eku": ["1.3.6.1.4.1.311.20.2.1"]}"#), [agent]);
    assert!(serde_json::from_str::<IssuanceRules>(r#"{"signature_eku": 3}"#).is_err());
}
