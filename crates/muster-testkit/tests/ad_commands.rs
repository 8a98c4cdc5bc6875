//! `muster ad …` from outside, inside the Active Directory of the bed: what it prints is run, what it finds was planted,
//! what it writes is read back by others.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use muster_server::SystemClock;
use muster_testkit::ad::{Ad, Forest, SERVICES, Tickets, template_dn};
use muster_testkit::ad_site::AdSite;
use muster_testkit::peers;
use muster_testkit::site::{SigningAlgorithm, Site};
use muster_testkit::tools::{Ran, run_command};
use serde_json::Value;

const HOST: &str = "ces.corp.test";

/// An installation that knows CORP.TEST by a keytab with service and account.
struct Bed {
    ad: Ad,
    /// Of the CA: all tests publish in one directory.
    ca: String,
    site: Site,
}

fn bed() -> Option<Bed> {
    let ad = Ad::or_not_run()?;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ca = format!("Command CA {}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let site = Site::make_named(HOST, &ca, SigningAlgorithm::P256, &SystemClock);
    Some(Bed { ad, ca, site })
}

impl Bed {
    /// With the tables for this keytab of the service, and the account's own keytab.
    fn configured(keytab: &str) -> Option<Self> {
        let bed = bed()?;
        bed.configure(keytab, HOST, Forest::Corp.dc());
        Some(bed)
    }

    fn configure(&self, keytab: &str, host: &str, dc: &str) {
        let (keytab, own) = (self.private(keytab), self.private("svc-ces"));
        self.site.configure(&format!(
            "[kerberos.\"CORP.TEST\"]\nkeytab = {keytab:?}\nservices = [\"HTTP/{host}\"]\n\n[directory.\"corp.test\"]\n\
             account = \"svc-ces@CORP.TEST\"\nkeytab = {own:?}\nservers = [{dc:?}]\n\n[[policy_endpoint]]\n\
             authentication = \"kerberos\"\nlistener = \"password\"\n\n[[enrollment_endpoint]]\n\
             authentication = \"kerberos\"\nlistener = \"password\"\n"
        ));
    }

    fn private(&self, name: &str) -> String {
        let copy = self.site.path(&format!("{name}.keytab"));
        fs::copy(self.ad.keytab(name), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        copy.to_str().unwrap().to_owned()
    }

    fn run(&self, tickets: Option<&Tickets>, arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(peers::muster());
        command.args(["ad", "--config"]).arg(self.site.installed("muster.toml")).args(arguments);
        if let Some(tickets) = tickets {
            command.env("KRB5CCNAME", tickets.cache());
        }
        run_command(command, input.as_bytes())
    }

    fn good(&self, tickets: Option<&Tickets>, arguments: &[&str]) -> Ran {
        let ran = self.run(tickets, arguments, "");
        assert!(ran.ok, "{arguments:?}: {}", ran.all());
        ran
    }

    /// The findings of `check` that are not fine, a line each; and whether it ended with 0.
    fn check(&self) -> (bool, Vec<String>) {
        let ran = self.run(None, &["check", "--json"], "");
        let domains: Value = serde_json::from_slice(&ran.output).unwrap();
        let findings = domains[0]["findings"].as_array().unwrap().iter();
        let bad = findings.filter(|finding| finding["severity"] != "ok");
        (
            ran.ok,
            bad.map(|f| {
                format!(
                    "{}: {} -> {}",
                    f["severity"].as_str().unwrap(),
                    f["sentence"].as_str().unwrap(),
                    f["advice"].as_str().unwrap()
                )
            })
            .collect(),
        )
    }
}

fn administrator() -> Tickets {
    let tickets = Tickets::empty();
    let ran = tickets.run_with("kinit", &["Administrator@CORP.TEST"], b"Passw0rd!test");
    assert!(ran.ok, "{}", ran.all());
    tickets
}

/// One object as `ldapsearch` shows it.
fn found(ad: &Ad, dn: &str) -> String {
    ad.kinit("svc-ces").ldapsearch(Forest::Corp, dn, "base", "(objectClass=*)", &["*"]).text()
}

fn wrong(findings: &[String]) -> Vec<&String> {
    findings.iter().filter(|finding| finding.starts_with("wrong")).collect()
}

#[test]
fn setup_prints_samba_commands_that_make_a_keytab_that_works() {
    let Some(bed) = bed() else { return };
    // A host of this process, so that the tests can run again in the same directory.
    let (host, account) =
        (format!("setup{}.corp.test", std::process::id()), format!("svc-{}", std::process::id()));
    let arguments = ["setup", "--domain", "corp.test", "--host", &host, "--account", &account];
    let printed: Value =
        serde_json::from_slice(&bed.good(None, &[&arguments[..], &["--json"]].concat()).output).unwrap();
    let windows = printed["windows"].as_str().unwrap();
    for part in
        ["New-ADUser", "-KerberosEncryptionType AES128,AES256", "setspn -S HTTP/setup", "-crypto AES256-SHA1"]
    {
        assert!(windows.contains(part), "{part}: {windows}");
    }
    let samba = std::env::var("BED_SAMBA").unwrap();
    let script = format!("set -e\n{}", printed["samba"].as_str().unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(bed.site.path("."));
    shell.env("SMB_CONF_PATH", Path::new(&samba).join("etc/smb.conf"));
    let ran = run_command(shell, b"Passw0rd!test\n");
    assert!(ran.ok, "{script}{}", ran.all());

    let keytab = bed.site.path(&format!("{account}.keytab"));
    let keytab = keytab.to_str().unwrap();
    let with = [&arguments[..], &["--keytab", keytab]].concat();
    // Nothing is written unless it is asked for.
    let config = bed.site.installed("muster.toml");
    let before = fs::read_to_string(&config).unwrap();
    let ran = bed.good(None, &with);
    assert!(ran.text().contains(&format!("account = \"{account}@CORP.TEST\"")), "{}", ran.all());
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    bed.good(None, &[&with[..], &["--write"]].concat());
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with(&before) && text.contains("[directory.\"corp.test\"]"), "{text}");
    let again = bed.run(None, &[&with[..], &["--write"]].concat(), "");
    assert!(!again.ok && again.errors.contains("has [kerberos.\"CORP.TEST\"] already"), "{}", again.all());

    // The service's host is another one, which is the only thing that is wrong.
    let (ok, findings) = bed.check();
    let wrong = wrong(&findings);
    assert!(!ok && wrong.len() == 1 && wrong[0].contains("which is not among the services"), "{findings:#?}");
}

#[test]
fn setup_refuses_a_keytab_of_another_host_or_without_aes() {
    let Some(bed) = bed() else { return };
    for (keytab, host, expected) in [
        ("pc1", HOST, "has no key of HTTP/ces.corp.test@CORP.TEST, but of PC1$@CORP.TEST"),
        ("rc4", "rc4.corp.test", "has no AES key of HTTP/rc4.corp.test@CORP.TEST, only RC4"),
    ] {
        let keytab = bed.private(keytab);
        let ran = bed.run(None, &["setup", "--domain", "corp.test", "--host", host, "--keytab", &keytab], "");
        assert!(!ran.ok && ran.errors.contains(expected), "{}", ran.all());
        assert!(!ran.text().contains("[kerberos"), "{}", ran.all());
    }
    fs::set_permissions(bed.private("http"), fs::Permissions::from_mode(0o644)).unwrap();
    let keytab = bed.site.path("http.keytab");
    let ran = bed.run(
        None,
        &["setup", "--domain", "corp.test", "--keytab", keytab.to_str().unwrap(), "--host", HOST],
        "",
    );
    assert!(!ran.ok && ran.errors.contains("everybody on this machine can read"), "{}", ran.all());
}

#[test]
fn check_is_content_with_what_is_right() {
    let Some(bed) = Bed::configured("http") else { return };
    let ran = bed.good(None, &["check"]);
    assert!(
        ran.text().contains("clients get tickets for HTTP/ces.corp.test that this service can open"),
        "{}",
        ran.all()
    );
    assert!(ran.text().contains("AES keys of HTTP/ces.corp.test@CORP.TEST"), "{}", ran.all());
}

#[test]
fn check_finds_each_planted_fault_in_one_sentence() {
    for (keytab, host, dc, expected) in [
        ("stale", "old.corp.test", "dc1.corp.test", "with version 2 of the key of svc-old, and"),
        ("rc4", "rc4.corp.test", "dc1.corp.test", "has no AES key of HTTP/rc4.corp.test@CORP.TEST, only RC4"),
        ("pc1", HOST, "dc1.corp.test", "has no key of HTTP/ces.corp.test@CORP.TEST, but of PC1$@CORP.TEST"),
        ("http", HOST, "dc9.corp.test", "dc9.corp.test cannot be reached"),
    ] {
        let Some(bed) = bed() else { return };
        bed.configure(keytab, host, dc);
        let (ok, findings) = bed.check();
        assert!(!ok, "{keytab}: {findings:#?}");
        assert!(
            wrong(&findings).iter().any(|finding| finding.contains(expected)),
            "{expected}: {findings:#?}"
        );
        assert!(findings.iter().all(|finding| !finding.contains('\n')), "{findings:#?}");
        let foreign = host != HOST;
        assert_eq!(
            findings.iter().any(|f| f.contains("which is not among the services")),
            foreign,
            "{findings:#?}"
        );
    }
}

#[test]
fn check_finds_a_wrong_clock_and_says_how_wrong() {
    let Some(bed) = Bed::configured("http") else { return };
    if !Path::new("/usr/bin/faketime").exists() {
        peers::not_run("faketime");
        return;
    }
    for (skew, severity) in
        [("+120s", "warning"), ("-120s", "warning"), ("+400s", "wrong"), ("-400s", "wrong")]
    {
        let mut command = Command::new("/usr/bin/faketime");
        command.args(["-f", skew]).arg(peers::muster()).args(["ad", "--config"]);
        command.arg(bed.site.installed("muster.toml")).args(["check", "--json"]);
        let ran = run_command(command, b"");
        let domains: Value = serde_json::from_slice(&ran.output).unwrap();
        let findings = domains[0]["findings"].as_array().unwrap();
        let about = |finding: &&Value| {
            let sentence = finding["sentence"].as_str().unwrap();
            finding["severity"] == severity && sentence.contains("clock")
        };
        assert!(findings.iter().any(|finding| about(&finding)), "{skew}: {domains:#}");
        assert_eq!(ran.ok, severity == "warning", "{skew}: {domains:#}");
    }
}

#[test]
fn check_goes_through_all_domains_whatever_is_wrong_with_one() {
    let Some(bed) = Bed::configured("http") else { return };
    let own = bed.private("svc-ces");
    bed.site.configure(&format!(
        "[directory.\"partner.test\"]\nservers = [\"pdc9.partner.test\"]\naccount = \"svc-ces@CORP.TEST\"\nkeytab = {own:?}\n\
         templates = false\ntrusted_by = \"corp.test\"\n"
    ));
    let ran = bed.run(None, &["check", "--json"], "");
    let domains: Value = serde_json::from_slice(&ran.output).unwrap();
    let all: Vec<(&str, bool)> = domains
        .as_array()
        .unwrap()
        .iter()
        .map(|domain| {
            let findings = domain["findings"].as_array().unwrap();
            (domain["domain"].as_str().unwrap(), findings.iter().any(|f| f["severity"] == "wrong"))
        })
        .collect();
    assert!(!ran.ok && all == [("corp.test", false), ("partner.test", true)], "{domains:#}");
    assert!(ran.errors.contains("1 thing is wrong"), "{}", ran.all());
    let one = bed.run(None, &["--domain", "corp.test", "check", "--json"], "");
    assert!(one.ok, "{}", one.all());
}

#[test]
fn ca_is_published_read_back_and_taken_back() {
    let Some(bed) = Bed::configured("http") else { return };
    let admin = administrator();
    let name = &bed.ca;
    let service = format!("CN={name},CN=Enrollment Services,{SERVICES}");
    let nt_auth = format!("CN=NTAuthCertificates,{SERVICES}");
    let der =
        Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(bed.site.ca()).output().unwrap();
    let certificate = muster_testkit::tools::base64(&der.stdout);
    let publish = ["publish", "--template", "User", "--template", "Machine", "--template", "EnrollersUser"];

    // A dry run is LDIF, and changes nothing.
    let dry = bed.good(Some(&admin), &[&publish[..], &["--dry-run", "--as-me"]].concat());
    assert!(
        dry.text().replace("\n ", "").contains(&format!("dn: {service}\nchangetype: add\n")),
        "{}",
        dry.all()
    );
    assert_eq!(found(&bed.ad, &service), "");
    // The service's account may not write.
    let refused = bed.run(None, &publish, "");
    assert!(!refused.ok && refused.errors.contains("add --as-me"), "{}", refused.all());

    let ran = bed.good(Some(&admin), &[&publish[..], &["--as-me"]].concat());
    assert!(ran.text().contains(&format!("added  {service}")), "{}", ran.all());
    let entry = found(&bed.ad, &service);
    for part in ["dNSHostName: ces.corp.test", "certificateTemplates: User", "certificateTemplates: Machine"]
    {
        assert!(entry.contains(part), "{part}: {entry}");
    }
    assert!(entry.contains(&format!("cACertificate:: {certificate}")), "{entry}");
    let uri = format!(
        "https://{HOST}:{}/{}_CES_Kerberos/service.svc/CES",
        bed.site.port(),
        name.replace(' ', "%20")
    );
    let value = muster_testkit::tools::base64(format!("1\n2\n0\n{uri}\n0").as_bytes());
    assert!(entry.contains(&format!("msPKI-Enrollment-Servers:: {value}")), "{entry}");
    assert!(!found(&bed.ad, &nt_auth).contains(&certificate));

    let again = bed.good(Some(&admin), &[&publish[..], &["--as-me"]].concat());
    assert!(again.text().is_empty() && again.errors.contains("nothing was to be changed"), "{}", again.all());
    let (ok, findings) = bed.check();
    assert!(
        ok && !findings.iter().any(|f| f.contains("the directory names") || f.contains("differs")),
        "{findings:#?}"
    );

    let unwritten = "certificates for EnrollersUser are not written into userCertificate of their accounts";
    assert!(findings.iter().any(|finding| finding.contains(unwritten)), "{findings:#?}");

    // A URL that is not configured here is found, and published over.
    bed.ad.set(&service, "msPKI-Enrollment-Servers", &["1\n2\n0\nhttps://gone.corp.test/CES\n0"]);
    let (_, findings) = bed.check();
    let other = "the directory names another URL than configured: https://gone.corp.test/CES";
    assert!(findings.iter().any(|finding| finding.contains(other)), "{findings:#?}");
    bed.good(Some(&admin), &["publish", "--as-me", "--remove-template", "Machine"]);
    let entry = found(&bed.ad, &service);
    assert!(entry.contains(&value) && entry.contains("certificateTemplates: User"), "{entry}");
    assert!(!entry.contains("certificateTemplates: Machine"), "{entry}");

    // NTAuth says what it means, and wants the domain's name.
    let ran = bed.run(Some(&admin), &["publish", "--as-me", "--nt-auth"], "yes\n");
    assert!(!ran.ok && ran.errors.contains("log on to every computer of the forest"), "{}", ran.all());
    assert!(!found(&bed.ad, &nt_auth).contains(&certificate));
    let ran = bed.run(Some(&admin), &["publish", "--as-me", "--nt-auth"], "corp.test\n");
    assert!(ran.ok, "{}", ran.all());
    assert!(found(&bed.ad, &nt_auth).contains(&certificate));
    assert!(bed.good(None, &["check"]).text().contains(&format!("NTAuth has {name}")));

    bed.good(Some(&admin), &["unpublish", "--as-me"]);
    assert_eq!(found(&bed.ad, &service), "");
    assert!(!found(&bed.ad, &nt_auth).contains(&certificate));
    let again = bed.good(Some(&admin), &["unpublish", "--as-me"]);
    assert!(again.errors.contains("nothing was to be changed"), "{}", again.all());
}

#[test]
fn dangerous_template_is_offered_after_it_was_accepted_and_not_when_it_changes_again() {
    let Some(bed) = Bed::configured("http") else { return };
    let admin = administrator();
    let name = bed.ad.template("User", &["(OA;;CR;ENROLL;;{CertEnrollers})"]);
    let dn = template_dn(&name);
    // Enrollees choose their name, in a certificate that logs on.
    bed.ad.set(&dn, "msPKI-Certificate-Name-Flag", &["1"]);
    let state = |bed: &Bed| {
        let listed: Value =
            serde_json::from_slice(&bed.good(None, &["templates", "list", "--json"]).output).unwrap();
        let row =
            listed.as_array().unwrap().iter().find(|row| row["name"] == name.as_str()).cloned().unwrap();
        (row["state"].as_str().unwrap().to_owned(), row["reason"].as_str().unwrap_or_default().to_owned())
    };
    bed.good(Some(&admin), &["publish", "--as-me", "--template", &name]);
    let (word, reason) = state(&bed);
    assert!(word == "waits" && reason.contains("ESC1"), "{word}: {reason}");
    let (ok, findings) = bed.check();
    assert!(ok && findings.iter().any(|f| f.contains("waits for acceptance")), "{findings:#?}");

    for answer in ["", "yes\n"] {
        let ran = bed.run(None, &["templates", "accept", &name], answer);
        assert!(
            !ran.ok && ran.errors.contains("ESC1") && ran.errors.contains("nothing was changed"),
            "{}",
            ran.all()
        );
    }
    assert_eq!(state(&bed).0, "waits");
    let ran = bed.run(None, &["templates", "accept", &name], &format!("{name}\n"));
    assert!(ran.ok, "{}", ran.all());
    assert_eq!(state(&bed).0, "offered");
    let log = bed.site.muster("audit", &["list"]);
    assert!(log.contains("accept_template") && log.contains(&name), "{log}");

    bed.ad.set(&dn, "pKIExtendedKeyUsage", &["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2"]);
    bed.ad.set(&dn, "msPKI-Certificate-Application-Policy", &["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2"]);
    assert_eq!(state(&bed).0, "waits");
    bed.good(None, &["templates", "accept", &name, "--yes"]);
    assert_eq!(state(&bed).0, "offered");
    // What is refused cannot be accepted.
    bed.ad.set(&dn, "flags", &["131744"]);
    assert_eq!(state(&bed).0, "refused");
    let ran = bed.run(None, &["templates", "accept", &name, "--yes"], "");
    assert!(!ran.ok && ran.errors.contains("cannot be accepted"), "{}", ran.all());
    bed.good(Some(&admin), &["unpublish", "--as-me"]);
    bed.ad.delete(&dn);
}

#[test]
fn template_goes_into_the_directory_and_comes_back() {
    let Some(bed) = Bed::configured("http") else { return };
    let admin = administrator();
    bed.site.template(&template(bed.site.port()));
    let name = format!("Exported{}", bed.site.port());
    let dn = template_dn(&name);
    let export = ["templates", "export", &name, "--enroll", "CertEnrollers", "--as-me"];
    let dry = bed.good(Some(&admin), &[&export[..], &["--dry-run"]].concat());
    assert!(dry.text().contains("msPKI-Enterprise-Oid") && found(&bed.ad, &dn).is_empty(), "{}", dry.all());
    let ran = bed.good(Some(&admin), &export);
    assert!(ran.errors.contains("2 objects changed"), "{}", ran.all());
    let entry = found(&bed.ad, &dn);
    assert!(entry.contains("displayName: Exported for tests"), "{entry}");
    // The directory itself lets those enroll who were named, and nobody else.
    assert_eq!(bed.ad.judge(&name, &["alice", "bob"]), [true, false]);
    let again = bed.good(Some(&admin), &export);
    assert!(again.errors.contains("nothing was to be changed"), "{}", again.all());
    // It stays when the CA goes, which is said, unless it is to go too.
    let said = bed.good(Some(&admin), &["unpublish", "--as-me", "--dry-run", "--json"]);
    assert!(
        said.text().contains("exported templates stay, --templates deletes them")
            && said.text().contains(&dn),
        "{}",
        said.all()
    );

    // Into the store of another installation.
    let Some(other) = Bed::configured("http") else { return };
    other.good(None, &["templates", "import", &name]);
    let shown = other.site.muster("template", &["show", &name]);
    let sid = bed.ad.sid("CertEnrollers");
    assert!(shown.contains("Exported for tests") && shown.contains(&format!("sid:{sid}")), "{shown}");
    let ran = bed.good(Some(&admin), &["unpublish", "--as-me", "--templates"]);
    assert!(
        ran.text().contains(&format!("deleted  {dn}")) && ran.errors.contains("2 objects changed"),
        "{}",
        ran.all()
    );
    assert_eq!(found(&bed.ad, &dn), "");
    assert!(found(&bed.ad, &template_dn("User")).contains("pKICertificateTemplate"));
}

/// A template of the store that can be exported.
fn template(port: u16) -> String {
    format!(
        "name = \"Exported{port}\"\ndisplay_name = \"Exported for tests\"\nkind = \"user\"\n\
         eku = [\"1.3.6.1.5.5.7.3.2\"]\n[subject]\nsource = \"identity\"\n[key]\nalgorithms = [\"rsa\"]\nusage = [\"digital_signature\"]\n\
         [validity]\ndays = 90\nrenew_before_days = 30\n[permissions]\nenroll = [\"group:users\"]\n"
    )
}

#[test]
fn unknown_template_is_not_published() {
    let Some(bed) = Bed::configured("http") else { return };
    let ran = bed.run(None, &["publish", "--dry-run", "--template", "Nonsense"], "");
    assert!(!ran.ok && ran.errors.contains("the directory has no template 'Nonsense'"), "{}", ran.all());
    let template = template_dn("User");
    assert!(found(&bed.ad, &template).contains("pKICertificateTemplate"));
}

#[test]
fn check_names_the_accounts_that_share_a_service_principal_name() {
    Ad::of_its_own("", |ad| {
        let Some(bed) = Bed::configured("http") else { return };
        let user = ad.user(&[]);
        let mut command = Command::new("/usr/bin/python3");
        command.arg(peers::script("duplicate_spn.py")).args([&user, "HTTP/CES.CORP.TEST"]);
        let ran = run_command(command, b"");
        assert!(ran.ok, "{}", ran.all());
        let (ok, findings) = bed.check();
        let wrong = wrong(&findings);
        let [finding] = wrong.as_slice() else { panic!("{findings:#?}") };
        let start =
            "the KDC of CORP.TEST gives no tickets for HTTP/ces.corp.test: several accounts have this name: ";
        assert!(!ok && finding.contains(start), "{finding}");
        assert!(finding.contains("svc-ces") && finding.contains(&user), "{finding}");
        assert!(finding.contains("samba-tool spn delete"), "{finding}");
    });
}

/// What administrators keep in NTAuth themselves is neither taken nor counted as this CA's.
#[test]
fn nt_auth_of_others_keeps_what_it_has() {
    Ad::of_its_own("", |ad| {
        let Some(bed) = Bed::configured("http") else { return };
        let admin = administrator();
        let dn = format!("CN=NTAuthCertificates,{SERVICES}");
        let der = |pem: &Path| {
            let mut command = Command::new("openssl");
            command.args(["x509", "-outform", "DER", "-in"]).arg(pem);
            muster_testkit::tools::base64(&run_command(command, b"").output)
        };
        let (theirs, ours) = (der(&ad.ca()), der(&bed.site.ca()));
        let ldif = format!(
            "dn: {dn}\nchangetype: modify\nreplace: cACertificate\ncACertificate:: {theirs}\n-\n\
             replace: description\ndescription: kept by hand\n"
        );
        let modify = ["-Q", "-Y", "GSSAPI", "-H", "ldap://dc1.corp.test"];
        let ran = admin.run_with("ldapmodify", &modify, ldif.as_bytes());
        assert!(ran.ok, "{}", ran.all());
        // What changes with every write is no content.
        let content = || {
            let entry = found(ad, &dn);
            let lines =
                entry.lines().filter(|l| !l.starts_with("uSNChanged") && !l.starts_with("whenChanged"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = content();
        let name = &bed.ca;
        bed.good(Some(&admin), &["publish", "--as-me", "--template", "User"]);
        assert_eq!(content(), before);
        let said = bed.good(None, &["check"]).text();
        assert!(said.contains(&format!("NTAuth does not have {name}")), "{said}");
        let ran = bed.run(Some(&admin), &["publish", "--as-me", "--nt-auth"], "corp.test\n");
        assert!(ran.ok, "{}", ran.all());
        let both = found(ad, &dn);
        assert!(both.contains(&theirs) && both.contains(&ours), "{both}");
        assert!(bed.good(None, &["check"]).text().contains(&format!("NTAuth has {name}")));

        bed.good(Some(&admin), &["unpublish", "--as-me"]);
        assert_eq!(content(), before);
    });
}

/// What runs stays what an officer agreed to: content that was accepted goes on when the directory has other dangerous
/// content, until that is accepted too.
#[test]
fn former_content_stays_in_force_when_an_accepted_template_changes() {
    const SMART_CARD_LOGON: &str = "1.3.6.1.4.1.311.20.2.2";
    let Some(mut bed) = Bed::configured("http") else { return };
    let admin = administrator();
    let name = bed.ad.template("User", &["(OA;;CR;ENROLL;;{CertEnrollers})"]);
    let dn = template_dn(&name);
    bed.ad.set(&dn, "msPKI-Certificate-Name-Flag", &["1"]);
    bed.good(Some(&admin), &["publish", "--as-me", "--template", &name]);
    bed.good(None, &["templates", "accept", &name, "--yes"]);
    bed.site.serve();

    let alice = bed.ad.kinit("alice");
    let enroll = |bed: &Bed, file: &str| {
        let mut command = Command::new(peers::muster());
        let url = format!("https://{HOST}:{}/ADPolicyProvider_CEP_Kerberos/service.svc/CEP", bed.site.port());
        command.args(["enroll", "--kerberos", "--no-cache", "--force", "--ca-only", "--policy-url", &url]);
        command.args(["--template", &name, "--subject", "CN=alice", "--ca-file"]).arg(bed.site.ca());
        command.arg("--out").arg(bed.site.path(file)).env("KRB5CCNAME", alice.cache());
        run_command(command, b"")
    };
    let purposes = |bed: &Bed, file: &str| {
        let ran = AdSite::until(|| enroll(bed, file), |ran| ran.ok);
        assert!(ran.ok, "{}", ran.all());
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-ext", "extendedKeyUsage", "-in"]).arg(bed.site.path(file));
        run_command(command, b"").text()
    };
    let state = |bed: &Bed| {
        let listed: Value =
            serde_json::from_slice(&bed.good(None, &["templates", "list", "--json"]).output).unwrap();
        let row = listed.as_array().unwrap().iter().find(|row| row["name"] == name.as_str()).cloned();
        row.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert!(purposes(&bed, "before.pem").contains("TLS Web Client Authentication"));
    assert_eq!(state(&bed), "offered");

    let both = ["1.3.6.1.5.5.7.3.2", SMART_CARD_LOGON];
    bed.ad.set(&dn, "msPKI-Certificate-Application-Policy", &both);
    bed.ad.set(&dn, "pKIExtendedKeyUsage", &both);
    // It is chosen when somebody asks.
    let asked = || (enroll(&bed, "asked.pem").ok, bed.site.log());
    let (_, log) = AdSite::until(asked, |(_, log)| log.contains("former_content_stays=true"));
    assert!(log.contains("former_content_stays=true"), "{log}");
    assert_eq!(state(&bed), "former content");
    let (ok, findings) = bed.check();
    let sentence =
        format!("template {name} was changed and is now dangerous; its former content stays in force");
    assert!(ok && findings.iter().any(|finding| finding.contains(&sentence)), "{findings:#?}");
    let said = purposes(&bed, "former.pem");
    assert!(!said.contains("Smartcard"), "{said}");

    // Also after a restart, with what was kept in a file.
    bed.site.stop();
    bed.site.serve();
    let said = purposes(&bed, "restarted.pem");
    assert!(!said.contains("Smartcard"), "{said}");
    assert_eq!(state(&bed), "former content");

    bed.good(None, &["templates", "accept", &name, "--yes"]);
    assert_eq!(state(&bed), "offered");
    let said = AdSite::until(|| purposes(&bed, "after.pem"), |said| said.contains("Smartcard"));
    assert!(said.contains("Smartcard"), "{said}");
    bed.good(Some(&admin), &["unpublish", "--as-me"]);
    bed.ad.delete(&dn);
}
