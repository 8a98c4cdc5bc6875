//! Publishing: what is planned is what `ldapsearch` then finds, a second plan is empty, and taking back leaves nothing of
//! ours and everything of others.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_core::Template;
use muster_core::template::{Grantee, Permissions};
use muster_directory::authority::ServerAuthentication;
use muster_directory::ldap::{Access, LdapError, Login, ResultCode};
use muster_directory::publish::{Action, MARK};
use muster_directory::{CaPublication, Directory, DirectorySettings, EnrollmentServer};
use muster_testkit::ad::{Ad, Forest, SERVICES, Tickets, template_dn};

use crate::{administrator, directory, ldap, start, within};

fn publication(name: &str) -> CaPublication {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let server = |priority, authentication, renewal_only| EnrollmentServer {
        priority,
        authentication,
        renewal_only,
        uri: format!("https://ces.corp.test/{name}/service.svc/CES").replace([' ', ','], "-"),
        key_based_renewal: renewal_only,
    };
    CaPublication {
        name: name.to_owned(),
        display_name: format!("{name} of Corp"),
        dns_host_name: "ces.corp.test".to_owned(),
        roots: vec![(name.to_owned(), certificate.clone())],
        certificate,
        certificate_dn: format!("CN={}", name.replace(',', "\\,")),
        templates: vec!["User".to_owned(), "Machine".to_owned()],
        servers: vec![
            server(1, ServerAuthentication::Kerberos, false),
            server(2, ServerAuthentication::Certificate, true),
        ],
        nt_auth: true,
    }
}

fn as_administrator() -> (Tickets, std::sync::Arc<Directory>) {
    let tickets = administrator();
    let access = Access::Sealed(Login::Tickets(Some(tickets.cache())));
    let directory = start(DirectorySettings::new(ldap(access)));
    (tickets, directory)
}

/// What `ldapsearch` says of one object: its lines, none if there is no such object.
fn found(ad: &Ad, dn: &str) -> Vec<String> {
    let ran = ad.kinit("svc-ces").ldapsearch(Forest::Corp, dn, "base", "(objectClass=*)", &["*"]);
    ran.text().lines().map(str::to_owned).collect()
}

/// Lines of LDIF: the attribute, and its value as text or, if `ldapsearch` says so, as base64.
fn has(lines: &[String], attribute: &str, value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).ok().map(|text| format!("{attribute}: {text}"));
    let octets = format!("{attribute}:: {}", STANDARD.encode(value));
    lines.iter().any(|line| Some(line) == text.as_ref() || *line == octets)
}

#[tokio::test]
async fn ca_is_published_found_published_again_without_change_and_taken_back() {
    let Some(ad) = Ad::or_not_run() else { return };
    let (_tickets, admin) = as_administrator();
    // A name that has to be escaped.
    let name = format!("Muster, CA {}", std::process::id());
    let mut ca = publication(&name);
    let rdn = name.replace(',', "\\,");
    let service = format!("CN={rdn},CN=Enrollment Services,{SERVICES}");
    let aia = format!("CN={rdn},CN=AIA,{SERVICES}");
    let root = format!("CN={rdn},CN=Certification Authorities,{SERVICES}");
    let nt_auth = format!("CN=NTAuthCertificates,{SERVICES}");

    let plan = admin.plan_ca(&ca).await.unwrap();
    assert_eq!((plan.changes.len(), plan.remarks.len()), (4, 0), "{plan}");
    let ldif = plan.to_string();
    assert!(ldif.contains("changetype: modify\nadd: cACertificate\n"), "{ldif}");
    assert!(ldif.contains("msPKI-Enrollment-Servers:: MQoyCjAKaHR0cHM6"), "{ldif}");
    assert!(found(&ad, &service).is_empty(), "a plan changes nothing");

    assert_eq!(admin.apply(&plan).await, Ok(4));
    let lines = found(&ad, &service);
    for (attribute, value) in [
        ("objectClass", &b"pKIEnrollmentService"[..]),
        ("cn", name.as_bytes()),
        ("dNSHostName", b"ces.corp.test"),
        ("displayName", ca.display_name.as_bytes()),
        ("cACertificateDN", ca.certificate_dn.as_bytes()),
        ("cACertificate", &ca.certificate),
        ("certificateTemplates", b"User"),
        ("certificateTemplates", b"Machine"),
        ("flags", b"10"),
        ("msPKI-Enrollment-Servers", ca.servers[0].to_string().as_bytes()),
        ("msPKI-Enrollment-Servers", ca.servers[1].to_string().as_bytes()),
    ] {
        assert!(has(&lines, attribute, value), "{attribute}: {lines:#?}");
    }
    for dn in [&aia, &root, &nt_auth] {
        assert!(has(&found(&ad, dn), "cACertificate", &ca.certificate), "{dn}");
    }
    // Authenticated Users may enroll and read, administrators may do everything, nobody else anything.
    let sddl = ad.directory(Forest::Corp, &["descriptor", &service]).concat();
    assert!(sddl.contains("(OA;;CR;0e10c968-78fb-11d2-90d4-00c04f79dc55;;AU)(A;;RPLCLORC;;;AU)"), "{sddl}");
    assert!(sddl.contains("D:P") && sddl.matches("(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;").count() == 2, "{sddl}");

    assert_eq!(admin.plan_ca(&ca).await.unwrap().changes, []);
    // Our own view of the directory has it, and judges the access as published.
    let reader = directory(&ad);
    within(Duration::from_secs(5), "live", async || {
        reader.live().current().is_some_and(|live| live.snapshot.authority(&name).is_some())
    })
    .await;
    let live = reader.live().current().unwrap();
    let authority = live.snapshot.authority(&name).unwrap();
    assert_eq!((&authority.servers, &authority.ca_certificate), (&ca.servers, &Some(ca.certificate.clone())));

    // Another list of templates is one change of one attribute.
    ca.templates = vec!["User".to_owned()];
    let plan = admin.plan_ca(&ca).await.unwrap();
    let [change] = plan.changes.as_slice() else { panic!("{plan}") };
    assert!(matches!(&change.action, Action::Modify(changes) if changes.len() == 1), "{plan}");
    assert_eq!(admin.apply(&plan).await, Ok(1));
    assert!(!has(&found(&ad, &service), "certificateTemplates", b"Machine"));

    let plan = admin.plan_unpublish(&ca).await.unwrap();
    assert_eq!(admin.apply(&plan).await, Ok(4), "{plan}");
    for dn in [&service, &aia, &root] {
        assert!(found(&ad, dn).is_empty(), "{dn}");
    }
    let left = found(&ad, &nt_auth);
    assert!(!left.is_empty() && !has(&left, "cACertificate", &ca.certificate), "{plan}{left:#?}");
    assert_eq!(admin.plan_unpublish(&ca).await.unwrap().changes, []);
}

#[tokio::test]
async fn ldapmodify_applies_what_a_dry_run_prints() {
    let Some(ad) = Ad::or_not_run() else { return };
    let (tickets, admin) = as_administrator();
    let ca =
        CaPublication { nt_auth: false, ..publication(&format!("Muster Dry Run {}", std::process::id())) };
    let ldapmodify = async |ldif: String| {
        let ran = tickets.run_with(
            "ldapmodify",
            &["-Q", "-Y", "GSSAPI", "-H", "ldap://dc1.corp.test"],
            ldif.as_bytes(),
        );
        assert!(ran.ok, "{}{ldif}", ran.all());
    };
    ldapmodify(admin.plan_ca(&ca).await.unwrap().to_string()).await;
    let service = format!("CN={},CN=Enrollment Services,{SERVICES}", ca.name);
    assert!(has(&found(&ad, &service), "cACertificate", &ca.certificate));
    assert_eq!(admin.plan_ca(&ca).await.unwrap().changes, []);
    ldapmodify(admin.plan_unpublish(&ca).await.unwrap().to_string()).await;
    assert!(found(&ad, &service).is_empty());
}

#[tokio::test]
async fn objects_of_others_are_neither_changed_nor_deleted() {
    let Some(ad) = Ad::or_not_run() else { return };
    let (_tickets, admin) = as_administrator();
    // The directory's own CA, whose objects this program did not make.
    let ca = CaPublication { nt_auth: false, ..publication("SECOND-CA") };
    let service = format!("CN=SECOND-CA,CN=Enrollment Services,{SERVICES}");
    let before = found(&ad, &service);
    let plan = admin.plan_ca(&ca).await.unwrap();
    assert!(plan.changes.iter().all(|change| change.dn != service), "{plan}");
    assert!(plan.remarks.iter().any(|remark| remark.starts_with(&service)), "{plan}");
    let plan = admin.plan_unpublish(&ca).await.unwrap();
    assert_eq!(plan.changes, [], "{plan}");
    assert_eq!(found(&ad, &service), before);
}

#[tokio::test]
async fn account_without_the_right_is_refused_and_told_what_was_done() {
    let Some(ad) = Ad::or_not_run() else { return };
    let service = directory(&ad);
    let plan = service.plan_ca(&publication(&format!("Denied {}", std::process::id()))).await.unwrap();
    let error = service.apply(&plan).await.unwrap_err();
    assert_eq!(error.done, 0);
    let LdapError::Refused(outcome) = &error.error else { panic!("{error}") };
    assert_eq!(outcome.code, ResultCode::INSUFFICIENT_ACCESS, "{error}");
    assert!(error.to_string().contains("insufficientAccessRights"), "{error}");
}

#[tokio::test]
async fn template_of_ours_is_published_updated_and_taken_back() {
    let Some(ad) = Ad::or_not_run() else { return };
    let (_tickets, admin) = as_administrator();
    let text = include_str!("../../../muster-core/templates/user.toml");
    let mut template = Template::from_toml(text).unwrap();
    template.name = format!("Published{}", std::process::id());
    template.oid = Some(format!("1.3.6.1.4.1.311.21.8.1.2.3.{}", std::process::id()).parse().unwrap());
    template.permissions = Permissions {
        enroll: vec![Grantee::Sid(ad.sid("CertEnrollers").parse().unwrap())],
        ..Permissions::default()
    };
    let all = std::slice::from_ref(&template);
    let plan = admin.plan_templates(all).await.unwrap();
    assert_eq!(admin.apply(&plan).await, Ok(2), "{plan}");
    let dn = template_dn(&template.name);
    let lines = found(&ad, &dn);
    let oid = template.oid.as_ref().unwrap().to_string();
    assert!(has(&lines, "msPKI-Cert-Template-OID", oid.as_bytes()), "{lines:#?}");
    assert!(has(&lines, "adminDescription", MARK.as_bytes()), "{lines:#?}");
    let filter = format!("(msPKI-Cert-Template-OID={oid})");
    let base = format!("CN=OID,{SERVICES}");
    let ran = ad.kinit("svc-ces").ldapsearch(Forest::Corp, &base, "sub", &filter, &["displayName"]);
    assert!(ran.text().contains(&format!("displayName: {}", template.display_name)), "{}", ran.all());
    // The domain controller's own judgement of the descriptor that it was given.
    assert_eq!(ad.judge(&template.name, &["alice", "bob"]), [true, false]);
    assert_eq!(admin.plan_templates(all).await.unwrap().changes, []);

    let mut changed = template.clone();
    changed.minor += 1;
    let plan = admin.plan_templates(std::slice::from_ref(&changed)).await.unwrap();
    assert_eq!(admin.apply(&plan).await, Ok(1), "{plan}");
    let minor = changed.minor.to_string();
    assert!(has(&found(&ad, &dn), "msPKI-Template-Minor-Revision", minor.as_bytes()));

    let plan = admin.plan_unpublish_templates(all).await.unwrap();
    assert_eq!(admin.apply(&plan).await, Ok(2), "{plan}");
    assert!(found(&ad, &dn).is_empty());
    // A template of the directory with the same name stays.
    template.name = "User".to_owned();
    let plan = admin.plan_unpublish_templates(std::slice::from_ref(&template)).await.unwrap();
    assert_eq!((plan.changes.len(), plan.remarks.len()), (0, 1), "{plan}");
}
