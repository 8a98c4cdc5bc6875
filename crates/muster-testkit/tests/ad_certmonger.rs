//! certmonger with `muster certmonger-submit` on machines of a real directory: a computer with its keytab, a user with a
//! ticket; templates, names and permissions are the directory's. The certificate extension of samba-gpupdate drives it
//! too, with our helper in the place of its own.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster_testkit::ad::{Ad, Forest, SERVICE, Tickets};
use muster_testkit::ad_site::AdSite;
use muster_testkit::certmonger::Certmonger;
use muster_testkit::peers::{Peer, muster, not_run, script};
use muster_testkit::tools::{base64, run, run_command};
use serde_json::{Value, json};

/// The helper's command line, which signs in as `kerberos` says in its configuration.
fn helper(site: &AdSite, certmonger: &Certmonger, kerberos: &str) -> String {
    let config = certmonger.file("client.toml");
    let toml = format!(
        "ca_files = [{:?}]\nca_only = true\nkerberos = true\n{kerberos}\ncache_dir = {:?}\n[[policy]]\nurls = [{:?}]\n",
        site.site.ca(),
        certmonger.file("cache"),
        site.cep()
    );
    std::fs::write(&config, toml).unwrap();
    format!("{} certmonger-submit --poll 2 --refresh --config {}", muster().display(), config.display())
}

/// The configuration of a machine that is PC1.
fn pc1(ad: &Ad) -> String {
    format!("keytab = {:?}\nprincipal = \"PC1$@CORP.TEST\"", ad.keytab("pc1"))
}

/// An installation, and certmonger whose helper signs in as `kerberos` says in its configuration, with these variables.
fn bed(kerberos: &str, variables: &str) -> Option<(AdSite, Certmonger)> {
    let certmonger = Peer::Certmonger.or_not_run()?;
    let mut site = AdSite::intranet(&["EnrollersUser", "Machine"])?;
    site.site.serve();
    let certmonger = Certmonger::start(&certmonger, site.site.path("certmonger"));
    let helper = helper(&site, &certmonger, kerberos);
    certmonger.add_ca(&format!("/usr/bin/env {variables} {helper}"));
    Some((site, certmonger))
}

/// What OpenSSL reads in the certificate that certmonger keeps, which verifies with the root that it was given.
fn read(certmonger: &Certmonger, name: &str) -> String {
    read_file(&certmonger.file(&format!("{name}.pem")), &certmonger.file("roots.pem"))
}

fn read_file(certificate: &Path, roots: &Path) -> String {
    let openssl = Peer::OpenSsl.or_not_run().unwrap();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(Command::new(&openssl).args(["verify", "-CAfile"]).arg(roots).arg(certificate));
    run(Command::new(&openssl)
        .args(["x509", "-noout", "-text", "-nameopt", "RFC2253", "-in"])
        .arg(certificate))
}

fn request(certmonger: &Certmonger, name: &str, template: &str) {
    certmonger.request(name, template, &["-F", certmonger.file("roots.pem").to_str().unwrap()]);
}

#[test]
fn computer_gets_and_renews_with_its_keytab() {
    let Some(ad) = Ad::or_not_run() else { return };
    let Some((site, certmonger)) = bed(&pc1(&ad), "") else { return };
    request(&certmonger, "machine", "Machine");
    certmonger.wait("machine", "MONITORING");
    let text = read(&certmonger, "machine");
    assert!(text.contains("DNS:pc1.corp.test") && text.contains(&site.ad.sid("PC1$")), "{text}");

    let before = std::fs::read(certmonger.file("machine.pem")).unwrap();
    let said = certmonger.getcert(&["resubmit", "-i", "machine"]);
    assert!(said.contains("Resubmitting"), "{said}");
    let kept = || std::fs::read(certmonger.file("machine.pem")).unwrap();
    assert_ne!(AdSite::until(kept, |now| *now != before), before, "{}", certmonger.log());
    certmonger.wait("machine", "MONITORING");
    assert!(read(&certmonger, "machine").contains("DNS:pc1.corp.test"));

    // Templates of users are none of a computer's.
    request(&certmonger, "person", "EnrollersUser");
    let said = certmonger.wait("person", "CA_REJECTED");
    assert!(said.contains("the policy has no template \"EnrollersUser\" for you"), "{said}");
}

#[test]
fn user_gets_with_a_ticket_and_is_told_when_there_is_none() {
    let Some(ad) = Ad::or_not_run() else { return };
    let user = ad.user(&["CertEnrollers"]);
    let tickets = ad.kinit(&user);
    let Some((site, certmonger)) = bed("", &format!("KRB5CCNAME={}", tickets.cache())) else { return };
    request(&certmonger, "user", "EnrollersUser");
    certmonger.wait("user", "MONITORING");
    let text = read(&certmonger, "user");
    assert!(text.contains(&format!("{user}@corp.test")) && text.contains(&site.ad.sid(&user)), "{text}");

    assert!(tickets.run("kdestroy", &[]).ok);
    request(&certmonger, "again", "EnrollersUser");
    let said = certmonger.wait("again", "CA_UNCONFIGURED");
    assert!(said.contains("there is no Kerberos ticket"), "{said}");
    let password = Ad::password(&user);
    assert!(tickets.run_with("kinit", &[&user], password.as_bytes()).ok);
    certmonger.getcert(&["resubmit", "-i", "again"]);
    certmonger.wait("again", "MONITORING");

    // The ticket is still there, the account may not be used any more.
    site.ad.disable(&user);
    std::thread::sleep(Duration::from_secs(3));
    request(&certmonger, "disabled", "EnrollersUser");
    let said = certmonger.wait("disabled", "CA_REJECTED");
    assert!(said.contains("or it is disabled"), "{said}");
}

/// As `samba-gpupdate` of Debian, which did not join: the policy object is given to its extension. What the extension
/// then does with the directory and with certmonger is all its own.
#[test]
fn samba_gpupdate_enrolls_a_computer_at_the_published_ca() {
    Ad::of_its_own("", |ad| {
        let python = Path::new("/usr/bin/python3");
        if !run(python, &["-c", "import samba.gp.gp_cert_auto_enroll_ext"], b"").ok {
            return not_run("Debian's packages python3-samba and python3-cryptography");
        }
        let Some(certmonger) = Peer::Certmonger.or_not_run() else { return };
        let Some(mut site) = AdSite::or_not_run() else { return };
        site.configure("http", &["HTTP/ces.corp.test"]);
        site.configure_directory(Forest::Corp, "");
        let admin = Tickets::empty();
        assert!(admin.run_with("kinit", &["Administrator@CORP.TEST"], b"Passw0rd!test").ok);
        let config = site.site.installed("muster.toml");
        let publish =
            ["ad", "--config", config.to_str().unwrap(), "publish", "--as-me", "--template", "Machine"];
        let ran = admin.run(muster().to_str().unwrap(), &publish);
        assert!(ran.ok, "{}", ran.all());
        site.site.serve();

        let certmonger = Certmonger::start(&certmonger, site.site.path("certmonger"));
        let commands = site.site.path("commands");
        std::fs::create_dir(&commands).unwrap();
        let theirs = commands.join("cepces-submit");
        let helper = helper(&site, &certmonger, &pc1(ad));
        // Other services of this directory are none of ours.
        let shim = format!("#!/bin/sh\ncase \"$1\" in --server={SERVICE}) exec {helper};; esac\nexit 6\n");
        std::fs::write(&theirs, shim).unwrap();
        std::fs::set_permissions(&theirs, Permissions::from_mode(0o755)).unwrap();

        let folder = site.site.path("samba");
        let mut command = Command::new(python);
        command.arg(script("samba_autoenroll.py")).arg(&folder);
        command.args([SERVICE, "PC1$", &Ad::password("PC1")]);
        command.env("PATH", format!("{}:/usr/bin:/bin", commands.display()));
        command.env("CERTMONGER_PVT_ADDRESS", certmonger.address());
        let ran = run_command(command, b"");
        assert!(ran.ok, "{}", ran.all());
        let said: Value = serde_json::from_slice(&ran.output).unwrap();

        let name = site.site.ca_name();
        let der = run(
            "openssl".as_ref(),
            &["x509", "-outform", "DER", "-in", site.site.ca().to_str().unwrap()],
            b"",
        );
        let published = json!([{"name": name, "certificate": base64(&der.output)}]);
        assert_eq!(said.get("services"), Some(&published));
        let member = |part: &str| said.get(part).and_then(|part| part.get(name)).cloned().unwrap_or_default();
        assert_eq!(member("rsop"), json!({"server": SERVICE, "templates": ["Machine"]}), "{said:#}");
        let nickname = format!("{name}.Machine");
        assert_eq!(member("kept").get("templates"), Some(&json!([nickname])), "{said:#}");

        certmonger.wait(&nickname, "MONITORING");
        let pem = folder.join("trust").join(format!("{nickname}.crt"));
        let text = read_file(&pem, &folder.join("trust").join(format!("{name}.crt")));
        assert!(text.contains("DNS:pc1.corp.test") && text.contains(&ad.sid("PC1$")), "{text}");
    });
}
