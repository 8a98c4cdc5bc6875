//! The Active Directory of `tests/beds/ad`, for tests in files `ad_*.rs`.
//!
//! `cargo xtask test` starts it once (three forests) and runs these tests inside; what is in it says
//! `tests/beds/ad/world.py`. By hand: `tests/beds/ad/up.sh --forests target/beds/ad cargo nextest run -p muster-testkit
//! --test ad_bed`. Outside of it they say that they were not run.
//!
//! Tests run at the same time in one directory: what a test changes is an object that it made for itself
//! ([`Ad::user`], [`Ad::computer`], [`Ad::template`]), never one of `world.py`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop here, at the first surprise")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::peers;
use crate::tools::Ran;

/// The service of the bed's own keytabs `http` and `all`; the name leads to loopback.
pub const SERVICE: &str = "ces.corp.test";

/// The configuration partition's container of everything about certificates.
pub const SERVICES: &str = "CN=Public Key Services,CN=Services,CN=Configuration,DC=corp,DC=test";

/// A forest of the bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forest {
    /// CORP.TEST, where the services are.
    Corp,
    /// PARTNER.TEST, which trusts CORP.TEST and is trusted.
    Partner,
    /// OTHER.TEST, without trust.
    Other,
}

impl Forest {
    /// Its realm; the domain's DNS name is the same in lower case.
    #[must_use]
    pub fn realm(self) -> &'static str {
        match self {
            Self::Corp => "CORP.TEST",
            Self::Partner => "PARTNER.TEST",
            Self::Other => "OTHER.TEST",
        }
    }

    /// Its domain controller.
    #[must_use]
    pub fn dc(self) -> &'static str {
        match self {
            Self::Corp => "dc1.corp.test",
            Self::Partner => "pdc1.partner.test",
            Self::Other => "odc1.other.test",
        }
    }

    /// The domain controller's address.
    #[must_use]
    pub fn address(self) -> &'static str {
        match self {
            Self::Corp => "127.0.0.2",
            Self::Partner => "127.0.0.3",
            Self::Other => "127.0.0.4",
        }
    }

    /// The DN of its domain.
    #[must_use]
    pub fn base(self) -> &'static str {
        match self {
            Self::Corp => "DC=corp,DC=test",
            Self::Partner => "DC=partner,DC=test",
            Self::Other => "DC=other,DC=test",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Corp => "corp",
            Self::Partner => "partner",
            Self::Other => "other",
        }
    }
}

/// The running bed.
#[derive(Clone, Debug)]
pub struct Ad {
    keytabs: PathBuf,
    ca: PathBuf,
}

impl Ad {
    /// The bed in which this process runs.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        let forests = std::env::var("BED_FORESTS").ok()?;
        assert_eq!(forests, "corp partner other", "these tests need up.sh --forests");
        Some(Self { keytabs: folder("BED_KEYTABS")?, ca: folder("BED_CA")? })
    }

    /// The bed, or `None` after having said that the calling test is not run.
    #[must_use]
    pub fn or_not_run() -> Option<Self> {
        let bed = Self::from_environment();
        if bed.is_none() {
            peers::not_run("the Active Directory of tests/beds/ad");
        }
        bed
    }

    /// Runs `work` in a bed that no other test uses, for what would disturb them; `smb`: for the section global of the
    /// controllers' smb.conf. To be called by the test itself, and by nothing before it: the test is run once more
    /// inside.
    pub fn of_its_own(smb: &str, work: impl FnOnce(&Self)) {
        let Some(outer) = Self::or_not_run() else { return };
        if std::env::var_os("BED_OWN").is_some() {
            return work(&outer);
        }
        let name = peers::test_name();
        let test = name.split_once("::").map_or(name.as_str(), |(_, test)| test);
        let from = PathBuf::from(std::env::var_os("BED_DIR").unwrap());
        let over = tempfile::Builder::new().prefix("own-").tempdir_in(from.parent().unwrap()).unwrap();
        std::fs::hard_link(from.join("forests.tar"), over.path().join("forests.tar")).unwrap();
        for part in ["stamp", "keytabs", "ca"] {
            let copied = Command::new("cp").arg("-a").arg(from.join(part)).arg(over.path()).status().unwrap();
            assert!(copied.success());
        }
        let mut command = Command::new(peers::script("../beds/ad/up.sh"));
        command.arg("--forests").arg(&from).arg(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]);
        let command = command.env("BED_OVER", over.path()).env("BED_SMB", smb).env("BED_OWN", test);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr]
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .concat();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Changes that the domain controller of CORP.TEST wrote down and made, as JSON, for an account's SID.
    #[must_use]
    pub fn changes_by(&self, sid: &str) -> Vec<serde_json::Value> {
        let folder = PathBuf::from(std::env::var_os("BED_SAMBA").unwrap());
        let log = std::fs::read(folder.join("samba.log")).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line.trim()).ok());
        let text = |line: &serde_json::Value, name: &str| {
            line.pointer(name).and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        lines
            .filter(|line: &serde_json::Value| text(line, "/type").as_deref() == Some("dsdbChange"))
            .filter(|line| text(line, "/dsdbChange/userSid").as_deref() == Some(sid))
            .filter(|line| text(line, "/dsdbChange/status").as_deref() == Some("Success"))
            .collect()
    }

    /// A keytab of `world.KEYTABS`.
    #[must_use]
    pub fn keytab(&self, name: &str) -> PathBuf {
        let path = self.keytabs.join(format!("{name}.keytab"));
        assert!(path.is_file(), "{} does not exist", path.display());
        path
    }

    /// The certificate of the CA that made those of LDAPS, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.ca.join("ca.pem")
    }

    /// Passwords of everything that the bed or these functions made.
    #[must_use]
    pub fn password(name: &str) -> String {
        format!("Passw0rd!{name}")
    }

    /// A ticket for a user by password. `user` without a realm is of CORP.TEST.
    pub fn kinit(&self, user: &str) -> Tickets {
        let tickets = Tickets::empty();
        let password = Self::password(user.split('@').next().unwrap_or(user));
        let ran = tickets.run_with("kinit", &[user], password.as_bytes());
        assert!(ran.ok, "kinit {user}: {}", ran.all());
        tickets
    }

    /// What kinit says to a user that is not to get a ticket.
    pub fn kinit_refused(&self, user: &str, password: &str) -> String {
        let ran = Tickets::empty().run_with("kinit", &[user], password.as_bytes());
        assert!(!ran.ok, "kinit {user}: {}", ran.all());
        ran.all()
    }

    /// A ticket by keytab: `machine("pc1", "PC1$")`.
    pub fn machine(&self, keytab: &str, principal: &str) -> Tickets {
        let tickets = Tickets::empty();
        let keytab = self.keytab(keytab);
        let ran = tickets.run("kinit", &["-k", "-t", keytab.to_str().unwrap(), principal]);
        assert!(ran.ok, "kinit {principal}: {}", ran.all());
        tickets
    }

    /// `directory.py`, which has to succeed: its lines.
    pub fn directory(&self, forest: Forest, arguments: &[&str]) -> Vec<String> {
        let script = peers::script("../beds/ad/directory.py");
        let mut all = vec!["--forest", forest.name()];
        all.extend(arguments);
        let ran = Tickets::empty().run_program("/usr/bin/python3", Some(&script), &all, b"");
        assert!(ran.ok, "directory.py {arguments:?}: {}", ran.all());
        ran.text().lines().map(str::to_owned).collect()
    }

    fn answer(&self, arguments: &[&str]) -> String {
        self.directory(Forest::Corp, arguments).concat()
    }

    /// A new user of CORP.TEST in these groups; its name.
    pub fn user(&self, groups: &[&str]) -> String {
        let name = unique("user");
        let mut arguments = vec!["user", &name];
        arguments.extend(groups);
        self.answer(&arguments);
        name
    }

    /// A new computer of CORP.TEST with this host name; its name without the dollar sign.
    pub fn computer(&self, host: &str) -> String {
        let name = unique("pc").to_uppercase();
        self.answer(&["computer", &name, host]);
        name
    }

    /// The same without service principal names, which is what a thief of names makes.
    pub fn bare_computer(&self, host: &str) -> String {
        let name = unique("pc").to_uppercase();
        self.answer(&["bare", &name, host]);
        name
    }

    /// A copy of a template, published by CORP-CA, whose descriptor has these entries: SDDL where `{Group}` stands for
    /// its SID and ENROLL, AUTOENROLL for the rights. Its name.
    pub fn template(&self, like: &str, entries: &[&str]) -> String {
        let name = unique("Template");
        let mut arguments = vec!["template", &name, like];
        arguments.extend(entries);
        self.answer(&arguments);
        name
    }

    /// Where an account or group is.
    pub fn dn(&self, name: &str) -> String {
        self.answer(&["dn", name])
    }

    /// The SID of an account or group.
    pub fn sid(&self, name: &str) -> String {
        self.answer(&["sid", name])
    }

    /// Replaces an attribute's values; none takes it away.
    pub fn set(&self, dn: &str, attribute: &str, values: &[&str]) {
        let mut arguments = vec!["set", dn, attribute];
        arguments.extend(values);
        self.answer(&arguments);
    }

    /// Lets these accounts act for others at the services of an account: resource-based constrained delegation.
    pub fn let_act(&self, at: &str, accounts: &[&str]) {
        let dn = self.dn(at);
        let mut arguments = vec!["acting", &dn];
        arguments.extend(accounts);
        // Samba prints its own notes of the change.
        self.directory(Forest::Corp, &arguments);
    }

    /// Whether the account of a keytab gets a ticket for `service` in the name of `user` without anything of the user's:
    /// what MIT's `kvno` finds.
    #[must_use]
    pub fn kvno_may_act(&self, keytab: &str, account: &str, user: &str, service: &str) -> bool {
        let ran = self.machine(keytab, account).run("kvno", &["-U", user, "-P", service]);
        // It also prints a number where it failed; a refusal is a line on stderr.
        ran.ok && !ran.all().contains("delegation failed")
    }

    /// Disables an account that the test made.
    pub fn disable(&self, name: &str) {
        self.set(&self.dn(name), "userAccountControl", &["514"]);
    }

    /// Removes an object.
    pub fn delete(&self, dn: &str) {
        self.answer(&["delete", dn]);
    }

    /// Who of `users` may enroll for a template: what the domain controller itself decides about its descriptor.
    pub fn judge(&self, template: &str, users: &[&str]) -> Vec<bool> {
        self.judge_all(&[template], users).concat()
    }

    /// The same for several templates, which is quicker.
    pub fn judge_all(&self, templates: &[&str], users: &[&str]) -> Vec<Vec<bool>> {
        let names = templates.join(",");
        let mut arguments = vec!["judge", &names];
        arguments.extend(users);
        let verdict = |line: &String| match line.rsplit_once(' ') {
            Some((_, "yes")) => true,
            Some((_, "no")) => false,
            Some(_) | None => panic!("judge said {line}"),
        };
        let verdicts: Vec<bool> = self.directory(Forest::Corp, &arguments).iter().map(verdict).collect();
        assert_eq!(verdicts.len(), templates.len() * users.len());
        verdicts.chunks(users.len()).map(<[bool]>::to_vec).collect()
    }
}

/// The DN of a template of CORP.TEST.
#[must_use]
pub fn template_dn(name: &str) -> String {
    format!("CN={name},CN=Certificate Templates,{SERVICES}")
}

/// A name that no other test uses, at most 20 characters long.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{:x}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A credential cache of its own, and programs that use it; removed with the last clone.
#[derive(Clone, Debug)]
pub struct Tickets {
    folder: Arc<TempDir>,
}

impl Tickets {
    /// No tickets at all.
    #[must_use]
    pub fn empty() -> Self {
        Self { folder: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// The cache's name, for KRB5CCNAME.
    #[must_use]
    pub fn cache(&self) -> String {
        format!("FILE:{}", self.folder.path().join("cache").display())
    }

    /// Runs a program that uses these tickets.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.run_with(program, arguments, b"")
    }

    /// The same with something to read.
    pub fn run_with(&self, program: &str, arguments: &[&str], input: &[u8]) -> Ran {
        self.run_program(program, None, arguments, input)
    }

    fn run_program(&self, program: &str, script: Option<&Path>, arguments: &[&str], input: &[u8]) -> Ran {
        let script: Option<&OsStr> = script.map(Path::as_os_str);
        let mut child = Command::new(program)
            .args(script)
            .args(arguments)
            .env("KRB5CCNAME", self.cache())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        // A program that does not read is no fault.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { ok: output.status.success(), output: output.stdout, errors }
    }

    /// `ldapsearch` with GSSAPI, which also encrypts: LDIF without line folding.
    pub fn ldapsearch(
        &self,
        forest: Forest,
        base: &str,
        scope: &str,
        filter: &str,
        attributes: &[&str],
    ) -> Ran {
        let url = format!("ldap://{}", forest.dc());
        let mut arguments = vec![
            "-LLL",
            "-Q",
            "-Y",
            "GSSAPI",
            "-o",
            "ldif-wrap=no",
            "-H",
            &url,
            "-b",
            base,
            "-s",
            scope,
            filter,
        ];
        arguments.extend(attributes);
        self.run("ldapsearch", &arguments)
    }
}
