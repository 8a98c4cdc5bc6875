//! `muster ad check`: the whole way from this machine's keytab to what the directory says about this CA.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use muster_core::Method;
use muster_directory::ldap::{Access, Filter, Login, Search, TlsBind};
use muster_directory::publish::Action;
use muster_directory::{Checked, Directory, EnrollmentServer, Severity, Snapshot};
use muster_gss::{
    AcceptorError, AcceptorSettings, ChannelBinding, Framing, Gss, InitiateError, InitiatorSettings,
    KeytabEntry, KeytabError, Login as GssLogin, Refused, ReplayCache, Step, read_keytab,
};
use muster_server::config::{DirectoryDomain, Endpoint, KerberosRealm};
use muster_server::{Settings, directory_entry};
use serde::Serialize;

use super::templates::{self, State};
use crate::output::{Failure, Outcome, Output};

/// A finding in a line.
#[derive(Serialize)]
pub(in crate::admin) struct Row {
    severity: &'static str,
    sentence: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl From<&Checked> for Row {
    fn from(checked: &Checked) -> Self {
        let severity = match checked.severity {
            Severity::Fine => "ok",
            Severity::Warning => "warning",
            Severity::Failure => "wrong",
        };
        Self { severity, sentence: checked.sentence.clone(), advice: checked.advice.clone() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.severity, self.sentence)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n         -> {}", self.advice) }
    }
}

#[derive(Serialize)]
struct DomainRows {
    domain: String,
    findings: Vec<Row>,
}

pub(in crate::admin) fn fine(sentence: impl Into<String>) -> Checked {
    Checked { severity: Severity::Fine, sentence: sentence.into(), advice: String::new() }
}

pub(in crate::admin) fn warning(sentence: impl Into<String>, advice: impl Into<String>) -> Checked {
    Checked { severity: Severity::Warning, sentence: sentence.into(), advice: advice.into() }
}

pub(in crate::admin) fn wrong(sentence: impl Into<String>, advice: impl Into<String>) -> Checked {
    Checked { severity: Severity::Failure, sentence: sentence.into(), advice: advice.into() }
}

pub(super) async fn run(settings: &Settings, domain: Option<&str>, output: Output) -> Outcome {
    if domain.is_some() || settings.kerberos.is_empty() {
        super::choose(settings, domain.map(str::to_owned))?;
    }
    let mut all = Vec::new();
    // A realm alone, without accounts of a directory, is checked as far as its keytab goes.
    let alone = settings.kerberos.iter().filter(|realm| {
        domain.is_none() && !settings.directories.iter().any(|domain| domain.realm == realm.name)
    });
    for realm in alone {
        let mut found = keys(realm);
        found.extend(endpoints(settings, realm));
        all.push((realm.name.clone(), found));
    }
    for configured in
        settings.directories.iter().filter(|known| domain.is_none_or(|name| known.domain == name))
    {
        all.push((configured.domain.clone(), one(settings, configured).await));
    }
    let failed =
        all.iter().flat_map(|(_, found)| found).filter(|one| one.severity == Severity::Failure).count();
    let domains: Vec<DomainRows> = all
        .into_iter()
        .map(|(domain, found)| DomainRows { domain, findings: found.iter().map(Row::from).collect() })
        .collect();
    if output.json {
        output.value(&domains, String::new)?;
    } else {
        for domain in &domains {
            output.line(format_args!("{}:", domain.domain))?;
            domain.findings.iter().try_for_each(|row| output.line(row))?;
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::new("1 thing is wrong")),
        count => Err(Failure::new(format_args!("{count} things are wrong"))),
    }
}

async fn one(settings: &Settings, configured: &DirectoryDomain) -> Vec<Checked> {
    let mut found = Vec::new();
    let realm = settings.kerberos.iter().find(|realm| realm.name == configured.realm);
    if let Some(realm) = realm {
        found.extend(keys(realm));
        found.extend(endpoints(settings, realm));
    }
    let directory = super::connect(configured, false);
    let (general, reached) = directory.check_and_reach().await;
    // The keytab's own sentences came with the realm, if it is the same file.
    found.extend(general);
    if let Some(realm) = realm {
        found.extend(tickets(configured, realm, &directory).await);
    }
    if reached {
        match super::snapshot(&directory, false).await {
            Ok(live) => found.extend(published(settings, configured, &directory, &live.snapshot).await),
            Err(failure) => found.push(wrong(failure.into_parts().0, "see what is said above")),
        }
    }
    found
}

/// Whether others can read the file.
pub(in crate::admin) fn file_mode(file: &Path) -> Option<Checked> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        wrong(
            format!("everybody on this machine can read the keys in {} (mode {mode:o})", file.display()),
            format!("chmod 600 {}, and let the service's user own it", file.display()),
        )
    })
}

/// Keys that nothing here uses, and that are worth stealing.
pub(super) fn weak_keys(file: &Path, entries: &[KeytabEntry]) -> Option<Checked> {
    let weak: BTreeSet<String> = entries
        .iter()
        .filter(|entry| !entry.etype.is_aes())
        .map(|entry| format!("{} of {}@{}", entry.etype, entry.name, entry.realm))
        .collect();
    let some: Vec<String> = weak.into_iter().take(5).collect();
    (!some.is_empty()).then(|| {
        warning(
            format!("{} also has keys that are not AES: {}", file.display(), some.join(", ")),
            "nothing here uses them: with 'ktutil', 'rkt' the file, 'list', 'delent' each of them, 'wkt' a new file",
        )
    })
}

/// The keytab of a realm: readable, private, with an AES key of each service.
fn keys(realm: &KerberosRealm) -> Vec<Checked> {
    let entries = match read_keytab(&realm.keytab) {
        Ok(entries) => entries,
        Err(error @ KeytabError::Read { .. }) => {
            return vec![wrong(error.to_string(), "correct the path, or let the service's account read it")];
        }
        Err(error @ KeytabError::Format { .. }) => {
            return vec![wrong(error.to_string(), "'muster ad setup' prints how to make one")];
        }
    };
    let mut found: Vec<Checked> = file_mode(&realm.keytab).into_iter().collect();
    for service in &realm.services {
        let principal = format!("{service}@{}", realm.name);
        found.extend(muster_directory::check::keytab(&realm.keytab, &principal));
    }
    found.extend(weak_keys(&realm.keytab, &entries));
    found
}

/// Clients ask for a ticket for the host name in the address.
fn endpoints(settings: &Settings, realm: &KerberosRealm) -> Vec<Checked> {
    let kerberos = |endpoint: &&std::sync::Arc<Endpoint>| endpoint.method == Method::Kerberos;
    let mut found = Vec::new();
    if !settings.endpoints().any(|endpoint| endpoint.method == Method::Kerberos) {
        found.push(warning(
            "no endpoint takes tickets",
            "add [[policy_endpoint]] and [[enrollment_endpoint]] with authentication = \"kerberos\"",
        ));
    }
    let hosts: BTreeSet<&str> = settings
        .endpoints()
        .filter(kerberos)
        .filter_map(|endpoint| directory_entry::host(&endpoint.uri))
        .collect();
    for host in hosts {
        let service = format!("HTTP/{host}");
        // With several realms a host belongs to the one whose domain it is in, and to whichever names it.
        let named = settings.kerberos.iter().any(|realm| realm.services.contains(&service));
        if !named {
            found.push(wrong(
                format!("clients of https://{host} ask for a ticket for {service}, which is not among the services"),
                format!("add it to services of [kerberos.\"{}\"], and its key to the keytab", realm.name),
            ));
        }
    }
    found
}

/// Gets a ticket for each service with the service's own account, and accepts it as the service would.
async fn tickets(configured: &DirectoryDomain, realm: &KerberosRealm, directory: &Directory) -> Vec<Checked> {
    let (Access::Sealed(login) | Access::Tls { bind: TlsBind::Kerberos(login), .. }) =
        &configured.ldap.access
    else {
        return vec![warning(
            "whether clients get tickets for this service was not tried: the account has a password and no keys",
            "kvno, with a ticket of anybody, tells the version of the key that the KDC uses",
        )];
    };
    let login = match login {
        Login::Keytab { file, principal } => {
            GssLogin::Keytab { keytab: file.clone(), principal: principal.clone() }
        }
        Login::Tickets(None) => GssLogin::DefaultCache,
        Login::Tickets(Some(cache)) => GssLogin::Cache(cache.clone()),
    };
    let mut found = Vec::new();
    for service in &realm.services {
        let (login, realm_too, name) = (login.clone(), realm.clone(), service.clone());
        let tried = tokio::task::spawn_blocking(move || try_ticket(&login, &realm_too, &name)).await;
        let tried = tried.unwrap_or_else(|error| Err(Tried::Failed(error.to_string())));
        found.push(match tried {
            Ok(kvno) => fine(format!("clients get tickets for {service} that this service can open{kvno}")),
            Err(Tried::Kdc(error)) => no_ticket(service, realm, &error, directory).await,
            Err(Tried::Service(Refused::WrongKey { kvno, etype, .. })) => {
                let ours = versions(realm, service);
                let owner = owner(directory, service).await;
                wrong_key(service, realm, &ours, &kvno, &etype.to_string(), &owner)
            }
            Err(Tried::Service(Refused::WeakEncryption(etype))) => wrong(
                format!("the KDC makes tickets for {service} with {etype}, and only AES is taken"),
                "Set-ADUser ACCOUNT -KerberosEncryptionType AES128,AES256 (msDS-SupportedEncryptionTypes = 24), then \
                 a new password and a new keytab",
            ),
            Err(Tried::Service(refused)) => {
                wrong(format!("a ticket for {service} is not taken: {refused}"), "see the service's log")
            }
            Err(Tried::Settings(
                AcceptorError::Keytab(_)
                | AcceptorError::ServiceNotInKeytab { .. }
                | AcceptorError::OnlyWeakKeys { .. }
                | AcceptorError::NoService,
            )) => continue,
            Err(Tried::Settings(error @ AcceptorError::Library { .. })) => {
                wrong(error.to_string(), "see whether the file is readable and whole")
            }
            Err(Tried::Failed(what)) => wrong(what, "install it, or serve without Kerberos"),
        });
    }
    found
}

/// Why no ticket went the whole way.
enum Tried {
    /// The KDC gave none.
    Kdc(InitiateError),
    /// We do not open it.
    Service(Refused),
    /// We cannot even try.
    Settings(AcceptorError),
    Failed(String),
}

fn try_ticket(login: &GssLogin, realm: &KerberosRealm, service: &str) -> Result<String, Tried> {
    let gss = Gss::load().map_err(|missing| Tried::Failed(missing.to_string()))?;
    let name = format!("{service}@{}", realm.name).parse();
    let name: muster_gss::ServiceName =
        name.map_err(|e: muster_gss::ServiceNameError| Tried::Failed(e.to_string()))?;
    let host = name.host().to_owned();
    let acceptor = gss
        .acceptor(&AcceptorSettings {
            keytab: realm.keytab.clone(),
            services: vec![name],
            replay_cache: ReplayCache::Off,
        })
        .map_err(Tried::Settings)?;
    let credential = gss.credential(login).map_err(Tried::Kdc)?;
    // The channel is this process itself.
    let binding = ChannelBinding::from_hash(&[0; 32]).map_err(|e| Tried::Failed(e.to_string()))?;
    let settings = InitiatorSettings {
        class: "HTTP".to_owned(),
        host,
        binding: Some(binding.clone()),
        mutual: false,
        sealing: false,
        framing: Framing::Negotiate,
    };
    let mut initiator = credential.initiator(settings).map_err(Tried::Kdc)?;
    let token = match initiator.step(None).map_err(Tried::Kdc)? {
        Step::Continue(token) | Step::Done(Some(token)) => token,
        Step::Done(None) => return Err(Tried::Failed("the Kerberos library made no token".to_owned())),
    };
    acceptor.accept(&token, &[binding]).map_err(Tried::Service)?;
    let newest = versions(realm, service).into_iter().next_back();
    Ok(newest.map(|kvno| format!(" (key version {kvno})")).unwrap_or_default())
}

/// The versions of a service's AES keys in the keytab.
fn versions(realm: &KerberosRealm, service: &str) -> BTreeSet<u32> {
    let entries = read_keytab(&realm.keytab).unwrap_or_default();
    let ours = |entry: &&KeytabEntry| {
        entry.name.eq_ignore_ascii_case(service) && entry.realm == realm.name && entry.etype.is_aes()
    };
    entries.iter().filter(ours).map(|entry| entry.kvno).collect()
}

/// The accounts that have this service principal name.
async fn owner(directory: &Directory, service: &str) -> Vec<String> {
    let Ok(session) = directory.client().session().await else { return Vec::new() };
    let filter = Filter::text("servicePrincipalName", service);
    let search = Search::below(session.root.domain.clone(), filter, &["sAMAccountName"], 10);
    let entries = directory.client().search(search).await.unwrap_or_default();
    entries.iter().filter_map(|entry| entry.text("sAMAccountName").map(str::to_owned)).collect()
}

async fn no_ticket(
    service: &str,
    realm: &KerberosRealm,
    error: &InitiateError,
    directory: &Directory,
) -> Checked {
    match error {
        InitiateError::UnknownService(_) => {
            let owners = owner(directory, service).await;
            let register = format!("setspn -S {service} ACCOUNT, or samba-tool spn add {service} ACCOUNT");
            match owners.as_slice() {
                [_, _, ..] => wrong(
                    format!(
                        "the KDC of {} gives no tickets for {service}: several accounts have this name: {}",
                        realm.name,
                        owners.join(", ")
                    ),
                    "leave it to one of them: setspn -D, or samba-tool spn delete",
                ),
                [_] | [] => wrong(format!("the KDC of {} does not know {service}", realm.name), register),
            }
        }
        InitiateError::NoCredential(_)
        | InitiateError::Expired
        | InitiateError::WrongKey
        | InitiateError::UnknownAccount
        | InitiateError::AccountRefused(_)
        | InitiateError::NotDelegated(_)
        | InitiateError::KdcUnreachable(_)
        | InitiateError::ClockSkew
        | InitiateError::NotProven(_)
        | InitiateError::Rejected
        | InitiateError::OtherMechanism
        | InitiateError::Malformed(_)
        | InitiateError::OutOfOrder
        | InitiateError::NotSealed
        | InitiateError::Library(_) => wrong(
            format!("no ticket for {service} could be had: {error}"),
            muster_directory::check::kerberos_advice(error),
        ),
    }
}

fn wrong_key(
    service: &str,
    realm: &KerberosRealm,
    ours: &BTreeSet<u32>,
    kvno: &str,
    etype: &str,
    owners: &[String],
) -> Checked {
    let owner = owners.first().map_or("the account", String::as_str);
    let has: Vec<String> = ours.iter().map(u32::to_string).collect();
    let again = format!(
        "export the keys of {owner} again: samba-tool domain exportkeytab FILE --principal={service}, or ktpass; the old \
         ones may stay in the file until their tickets have expired"
    );
    if kvno.parse().is_ok_and(|kvno: u32| !ours.contains(&kvno)) {
        return wrong(
            format!(
                "the KDC makes tickets for {service} with version {kvno} of the key of {owner}, and {} has version {}",
                realm.keytab.display(),
                has.join(", ")
            ),
            again,
        );
    }
    wrong(
        format!(
            "{} has another key for {service} than the KDC, although the version {kvno} ({etype}) is the same: it is of \
             another account than {owner}, or of before its password was reset",
            realm.keytab.display()
        ),
        again,
    )
}

/// What the directory says of this CA, and its templates.
async fn published(
    settings: &Settings,
    configured: &DirectoryDomain,
    directory: &Directory,
    snapshot: &Snapshot,
) -> Vec<Checked> {
    let mut found = Vec::new();
    if configured.forest != configured.domain || !configured.templates {
        return found;
    }
    // The entry of an authority of AD CS is not ours to look after.
    let Ok(own) = settings.embedded() else { return found };
    let name = &own.name;
    let Some(entry) = snapshot.authority(name) else {
        found.push(warning(
            format!("the directory has no entry for {name}: clients that look there do not find it, and no templates of \
                     the directory are offered"),
            "'muster ad publish --dry-run' shows what it would write",
        ));
        return found;
    };
    match directory_entry::ca_publication(settings, entry.templates.clone()) {
        Err(problem) => found.push(wrong(problem, "correct the configuration")),
        Ok(ca) => {
            let before = found.len();
            addresses(&ca.servers, &entry.servers, &mut found);
            match directory.plan_ca(&ca).await {
                Err(error) => found.push(wrong(error.to_string(), "see what is said above")),
                Ok(plan) => {
                    for change in &plan.changes {
                        let what = match &change.action {
                            Action::Add(_) => "is missing".to_owned(),
                            Action::Delete => "is there".to_owned(),
                            Action::Modify(changes) => {
                                let names: Vec<&str> = changes
                                    .iter()
                                    .map(|(_, (name, _))| name.as_str())
                                    .filter(|name| *name != "msPKI-Enrollment-Servers")
                                    .collect();
                                if names.is_empty() {
                                    continue;
                                }
                                format!("differs in {}", names.join(", "))
                            }
                        };
                        found.push(warning(
                            format!("{} {what} ({})", change.dn, change.purpose),
                            "'muster ad publish' writes it",
                        ));
                    }
                    found.extend(plan.remarks.into_iter().map(|remark| {
                        warning(remark, "change it by hand, or delete it and let 'muster ad publish' make it")
                    }));
                }
            }
            if found.len() == before {
                found.push(fine(format!("the directory has {name} as it is configured here")));
            }
            found.push(nt_auth(directory, &ca.certificate, name).await);
        }
    }
    found.extend(templates(settings, configured, snapshot).await);
    found
}

fn addresses(ours: &[EnrollmentServer], theirs: &[EnrollmentServer], found: &mut Vec<Checked>) {
    for server in theirs.iter().filter(|server| !ours.contains(server)) {
        let sentence = if ours.iter().any(|own| own.uri == server.uri) {
            format!(
                "the directory names {} with another priority, sign-in or mark than configured",
                server.uri
            )
        } else {
            format!("the directory names another URL than configured: {}", server.uri)
        };
        found.push(warning(sentence, "'muster ad publish' writes the configured ones"));
    }
    for server in ours.iter().filter(|own| !theirs.iter().any(|server| server.uri == own.uri)) {
        found.push(warning(
            format!("the directory does not name {}", server.uri),
            "'muster ad publish' writes the configured ones",
        ));
    }
}

async fn nt_auth(directory: &Directory, certificate: &[u8], name: &str) -> Checked {
    let found = async {
        let session = directory.client().session().await?;
        let dn = format!("CN=NTAuthCertificates,{}", session.root.public_key_services());
        directory.client().object(Search::object(dn, &["cACertificate"])).await
    };
    match found.await {
        Err(error) => wrong(error.to_string(), "see what is said above"),
        Ok(entry) => {
            let there =
                entry.is_some_and(|entry| entry.values("cACertificate").any(|value| value == certificate));
            fine(if there {
                format!(
                    "NTAuth has {name}: its certificates log on to Windows, and it could make one for anybody"
                )
            } else {
                format!(
                    "NTAuth does not have {name}: its certificates do not log on to Windows (smart card, 802.1X by NPS)"
                )
            })
        }
    }
}

/// Templates that are not used as they are.
async fn templates(settings: &Settings, configured: &DirectoryDomain, snapshot: &Snapshot) -> Vec<Checked> {
    let mut found = Vec::new();
    let listed = match templates::states(settings, configured, snapshot).await {
        Ok(listed) => listed,
        Err(failure) => return vec![wrong(failure.into_parts().0, "see whether the store can be opened")],
    };
    let (mut offered, mut unwritten) = (0, Vec::new());
    for (template, state) in listed {
        let name = &template.template.name;
        match state {
            State::Offered => {
                offered += 1;
                if template.publishes_to_account() {
                    unwritten.push(name.clone());
                }
            }
            State::NotPublished => {}
            State::FormerInForce(reason) => found.push(warning(
                format!("template {name} was changed and is now dangerous; its former content stays in force: {reason}"),
                format!("'muster ad templates show {name}', then 'accept' it, or change it in the directory"),
            )),
            State::Waiting(reason) => found.push(warning(
                format!("template {name} is not offered, but waits for acceptance: {reason}"),
                format!("'muster ad templates show {name}', then 'accept' it, or change it in the directory"),
            )),
            State::Refused(reason) => found.push(warning(
                format!("template {name} is refused: {reason}"),
                "change it in the directory, or take it out with 'muster ad publish --remove-template'",
            )),
            State::Hidden => found.push(warning(
                format!("template {name} of the directory is hidden: the store has one of its name or identifier"),
                "remove one of the two: 'muster template remove', or 'muster ad publish --remove-template'",
            )),
        }
    }
    if !unwritten.is_empty() {
        found.push(warning(
            format!(
                "certificates for {} are not written into userCertificate of their accounts, as the directory asks \
                 (CT_FLAG_PUBLISH_TO_DS)",
                unwritten.join(", ")
            ),
            "clear the flag if nobody looks for them there, else write them with an account that may",
        ));
    }
    let unreadable = snapshot.damaged.iter();
    found.extend(unreadable.map(|entry| {
        warning(
            format!("{} cannot be used: {}", entry.dn, entry.finding.sentence),
            "repair it in the directory, or delete it",
        )
    }));
    found.insert(0, fine(format!("{offered} templates of the directory are offered")));
    found
}
