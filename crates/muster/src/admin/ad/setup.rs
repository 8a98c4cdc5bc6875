//! `muster ad setup`: the commands for the domain's administrator, and the configuration for this one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_core::names::is_host_name;
use muster_directory::{Checked, Severity};
use muster_gss::{KeytabEntry, read_keytab};
use muster_server::config::Service;
use muster_server::{Settings, directory_entry};
use serde::Serialize;

use crate::output::{Failure, Outcome, Output};
use crate::serve::ConfigFile;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Host name that clients use, once for each [default: those of the configured addresses].
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Name of the account that the service gets in the domain.
    #[arg(long, value_name = "NAME", default_value = "svc-muster")]
    account: String,
    /// Check this keytab and print the configuration for it.
    #[arg(long, value_name = "FILE")]
    keytab: Option<PathBuf>,
    /// Append the tables to the configuration file.
    #[arg(long, requires = "keytab")]
    write: bool,
}

#[derive(Serialize)]
struct Printed {
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samba: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keytab: Vec<super::check::Row>,
    configuration: String,
}

/// Everything is checked, so that it can stand in a command.
struct Names {
    domain: String,
    realm: String,
    hosts: Vec<String>,
    account: String,
}

pub(super) fn run(setup: &Setup, domain: Option<String>, file: &ConfigFile, output: Output) -> Outcome {
    let settings = match file.path() {
        Ok(path) => Some((crate::serve::load(&path)?, path)),
        // Without one there is nothing to look at yet, unless it was asked for.
        Err(failure) if setup.write => return Err(failure),
        Err(_) => None,
    };
    let names = Names::new(setup, domain, settings.as_ref().map(|(settings, _)| settings))?;
    let known = settings.as_ref().map(|(settings, _)| settings);
    let Some(keytab) = &setup.keytab else {
        let keytab = format!("secrets/{}.keytab", names.account);
        let account = format!("{}@{}", names.account, names.realm);
        let printed = Printed {
            windows: Some(names.windows()),
            samba: Some(names.samba()),
            keytab: Vec::new(),
            configuration: names.tables(&keytab, &account, known),
        };
        return output.value(&printed, || names.everything(&printed));
    };
    let (checked, account) = names.check(keytab)?;
    let path = std::path::absolute(keytab)?;
    let tables = names.tables(&path.display().to_string(), &account, known);
    let failed = checked.iter().any(|one| one.severity == Severity::Failure);
    let rows: Vec<_> = checked.iter().map(super::check::Row::from).collect();
    let wrong = || {
        Failure::new(format_args!("{} cannot be used for this service", keytab.display()))
            .hint("make it again as 'muster ad setup' without --keytab shows")
    };
    if failed {
        if output.json {
            output.value(&rows, String::new)?;
        } else {
            rows.iter().for_each(|row| output.note(row));
        }
        return Err(wrong());
    }
    if let (true, Some((settings, config))) = (setup.write, &settings) {
        append(settings, config, &names, &tables)?;
    }
    let printed = Printed { windows: None, samba: None, keytab: rows, configuration: tables };
    if output.json {
        return output.value(&printed, String::new);
    }
    printed.keytab.iter().for_each(|row| output.note(row));
    match &settings {
        Some((_, config)) if setup.write => {
            output.note(format_args!("these tables were appended to {}:\n", config.display()));
        }
        Some(_) | None => output.note("append this to the configuration:\n"),
    }
    output.line(printed.configuration.trim_end())
}

impl Names {
    fn new(setup: &Setup, domain: Option<String>, settings: Option<&Settings>) -> Outcome<Self> {
        let domain = domain.ok_or_else(|| {
            Failure::new("which domain?").hint("name it with --domain, as in --domain corp.example").code(2)
        })?;
        if !is_host_name(&domain, false) {
            return Err(Failure::new(format_args!("'{domain}' is not the DNS name of a domain"))
                .hint("it has at least two labels, as in corp.example"));
        }
        let mut hosts: Vec<String> = setup.host.iter().map(|host| host.to_ascii_lowercase()).collect();
        if hosts.is_empty() {
            let urls = settings.into_iter().flat_map(|settings| settings.listeners.values());
            let named = urls.filter(|listener| !listener.client_certificate);
            hosts
                .extend(named.filter_map(|listener| directory_entry::host(&listener.url).map(str::to_owned)));
        }
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            return Err(Failure::new("under which name do clients reach this service?")
                .hint("name it with --host, as in --host pki.corp.example")
                .code(2));
        }
        if let Some(wrong) = hosts.iter().find(|host| !is_host_name(host, false)) {
            return Err(Failure::new(format_args!("'{wrong}' is not a host name that tickets can be for"))
                .hint("name the whole name with --host, as in --host pki.corp.example"));
        }
        let account = setup.account.clone();
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=20).contains(&account.len()) || !account.bytes().all(good) {
            return Err(Failure::new(format_args!("'{account}' cannot be the name of an account"))
                .hint("use 1 to 20 letters, digits, hyphens, underscores and dots"));
        }
        Ok(Self { realm: domain.to_ascii_uppercase(), domain, hosts, account })
    }

    fn windows(&self) -> String {
        let Self { domain, realm, account, hosts } = self;
        let mut text = format!(
            "New-ADUser -Name {account} -UserPrincipalName {account}@{domain} -Enabled $true -PasswordNeverExpires $true \
             -AccountPassword (Read-Host -AsSecureString 'Any long password; ktpass replaces it')\n\
             Set-ADUser {account} -KerberosEncryptionType AES128,AES256\n"
        );
        for host in hosts {
            let _ = writeln!(text, "setspn -S HTTP/{host} {account}");
        }
        let mut hosts = hosts.iter();
        if let Some(first) = hosts.next() {
            let _ = writeln!(
                text,
                "ktpass -princ HTTP/{first}@{realm} -mapuser {account}@{domain} -crypto AES256-SHA1 -ptype \
                 KRB5_NT_PRINCIPAL +rndPass -out {account}.keytab"
            );
        }
        for host in hosts {
            // A second random password would make the first key useless.
            let _ = writeln!(
                text,
                "# HTTP/{host} has the same account: on Linux, copy its key with 'ktutil', or give it a keytab of its own"
            );
        }
        text
    }

    fn samba(&self) -> String {
        let Self { realm, account, hosts, .. } = self;
        let mut text = format!(
            "samba-tool user create {account} --random-password\n\
             samba-tool user setexpiry {account} --noexpiry\n\
             net ads enctypes set {account} 24 -U Administrator@{realm}\n"
        );
        for host in hosts {
            let _ = writeln!(text, "samba-tool spn add HTTP/{host} {account}");
        }
        let _ = writeln!(text, "samba-tool domain exportkeytab {account}.keytab --principal={account}");
        for host in hosts {
            let _ = writeln!(text, "samba-tool domain exportkeytab {account}.keytab --principal=HTTP/{host}");
        }
        text
    }

    /// The tables, with the endpoints that are not there yet.
    fn tables(&self, keytab: &str, account: &str, settings: Option<&Settings>) -> String {
        let Self { domain, realm, hosts, .. } = self;
        let services: Vec<String> = hosts.iter().map(|host| format!("\"HTTP/{host}\"")).collect();
        let mut text = format!(
            "[kerberos.\"{realm}\"]\nkeytab = {keytab:?}\nservices = [{}]\n\n[directory.\"{domain}\"]\naccount = \
             {account:?}\n",
            services.join(", ")
        );
        let has = |service| {
            settings.is_some_and(|settings| {
                settings
                    .endpoints()
                    .any(|e| e.service == service && e.method == muster_core::Method::Kerberos)
            })
        };
        let listener = settings.and_then(|settings| {
            settings.listeners.values().find(|listener| !listener.client_certificate).map(|l| l.name.clone())
        });
        let listener = listener.unwrap_or_else(|| "password".to_owned());
        for (service, table) in [(Service::Policy, "policy"), (Service::Enrollment, "enrollment")] {
            if !has(service) {
                let _ = write!(
                    text,
                    "\n[[{table}_endpoint]]\nauthentication = \"kerberos\"\nlistener = {listener:?}\n"
                );
            }
        }
        text
    }

    fn everything(&self, printed: &Printed) -> String {
        let Self { domain, realm, account, hosts } = self;
        let hosts: Vec<String> = hosts.iter().map(|host| format!(" --host {host}")).collect();
        format!(
            "# 1. Make the account and its keys. Either on a domain controller of Windows, in PowerShell as a domain\n\
             #    administrator. (No gMSA: its password changes by itself, and nothing here fetches the new one.)\n\n\
             {windows}\n\
             # Or on a domain controller of Samba, as root.\n\n\
             {samba}\n\
             # 2. Bring {account}.keytab here, readable by the service alone, and let it be checked. This prints the tables \
             for\n#    it as well; with --write they are appended to the configuration.\n\n\
             muster ad setup --domain {domain}{hosts} --keytab {account}.keytab\n\n\
             # 3. The tables. For a keytab of ktpass the account is \"HTTP/…@{realm}\", the only name in it.\n\n\
             {tables}\n\
             # 4. Start the service again, then:\n\n\
             muster ad check\n",
            windows = printed.windows.as_deref().unwrap_or_default(),
            samba = printed.samba.as_deref().unwrap_or_default(),
            hosts = hosts.concat(),
            tables = printed.configuration,
        )
    }

    /// What a keytab is worth, and the account that can log on with it.
    fn check(&self, file: &Path) -> Outcome<(Vec<Checked>, String)> {
        let entries = read_keytab(file).map_err(|error| {
            Failure::new(error).hint("name the file that ktpass or samba-tool wrote, and see who may read it")
        })?;
        let mut results: Vec<Checked> = super::check::file_mode(file).into_iter().collect();
        for host in &self.hosts {
            results.extend(muster_directory::check::keytab(file, &format!("HTTP/{host}@{}", self.realm)));
        }
        results.extend(super::check::weak_keys(file, &entries));
        let account = self.account_in(&entries);
        if account != format!("{}@{}", self.account, self.realm) {
            results.push(Checked {
                severity: Severity::Warning,
                sentence: format!("the keytab has no AES key of {}@{}, so the service will log on as {account}", self.account, self.realm),
                advice: "right for a keytab of ktpass, which gives the account that name; otherwise name the account \
                         with --account"
                    .to_owned(),
            });
        }
        Ok((results, account))
    }

    /// The name to log on with: that of the account, else of whatever is no service, else what ktpass gave it.
    fn account_in(&self, entries: &[KeytabEntry]) -> String {
        let usable = |entry: &&KeytabEntry| entry.realm == self.realm && entry.etype.is_aes();
        let usable: Vec<&KeytabEntry> = entries.iter().filter(usable).collect();
        let own = usable.iter().find(|entry| entry.name.eq_ignore_ascii_case(&self.account));
        let person = own.or_else(|| usable.iter().find(|entry| !entry.name.contains('/')));
        let found = person.or_else(|| usable.first());
        let name = found.map_or(self.account.as_str(), |entry| entry.name.as_str());
        format!("{name}@{}", self.realm)
    }
}

/// Appends the tables, if the file is right with them.
fn append(settings: &Settings, config: &Path, names: &Names, tables: &str) -> Outcome {
    let there = |table: &str| {
        Failure::new(format_args!("{} has {table} already; nothing was written", config.display()))
            .hint("without --write the tables are printed: change those in the file by hand")
    };
    if settings.kerberos.iter().any(|realm| realm.name == names.realm) {
        return Err(there(&format!("[kerberos.\"{}\"]", names.realm)));
    }
    if settings.directories.iter().any(|domain| domain.domain == names.domain) {
        return Err(there(&format!("[directory.\"{}\"]", names.domain)));
    }
    let before = std::fs::read_to_string(config)?;
    let after = format!("{}\n\n{tables}", before.trim_end());
    Settings::parse(config, &after).map_err(|error| {
        Failure::from(error).hint("nothing was written; the tables are printed without --write")
    })?;
    // Only ever appended: a crash leaves what was there.
    let mut file = std::fs::OpenOptions::new().append(true).open(config)?;
    std::io::Write::write_all(&mut file, format!("\n{tables}").as_bytes())?;
    file.sync_all()?;
    Ok(())
}
