//! What is wrong between this machine and a domain, each in a sentence, with what to do about it.

use std::path::Path;

use muster_gss::{InitiateError, KeytabError, Principal, read_keytab};

use crate::directory::Directory;
use crate::ldap::{
    Access, Filter, LdapError, LdapSettings, Login, Root, Search, Server, TlsBind, probe, servers,
};

/// Kerberos refuses clocks that differ by more, seconds.
const MAX_SKEW: i64 = 300;
/// A difference that is worth a word, seconds.
const NOTABLE_SKEW: i64 = 60;

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub sentence: String,
    /// What to do about it; empty if nothing is to be done.
    pub advice: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Works, but not all of it.
    Warning,
    /// Does not work.
    Failure,
}

impl Checked {
    fn fine(sentence: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, sentence: sentence.into(), advice: String::new() }
    }

    fn warning(sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, sentence: sentence.into(), advice: advice.into() }
    }

    fn failure(sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Failure, sentence: sentence.into(), advice: advice.into() }
    }
}

impl Directory {
    /// Checks keys, every domain controller, and what can be read and written there. Makes connections of its own.
    pub async fn check(&self) -> Vec<Checked> {
        self.check_and_reach().await.0
    }

    /// The same; and whether a domain controller could be asked.
    pub async fn check_and_reach(&self) -> (Vec<Checked>, bool) {
        let settings = &self.settings().ldap;
        let mut results = keys(settings);
        let servers = match servers(settings).await {
            Ok(servers) => servers,
            Err(error) => {
                results.push(explained(&error, settings));
                return (results, false);
            }
        };
        let mut usable = false;
        for server in &servers {
            match probe(settings, server).await {
                Ok(root) => {
                    usable = true;
                    self.server(server, &root, &mut results);
                }
                Err(error) => results.push(explained(&error, settings)),
            }
        }
        if usable && let Err(error) = self.contents(&mut results).await {
            results.push(explained(&error, settings));
        }
        (results, usable)
    }

    fn server(&self, server: &Server, root: &Root, results: &mut Vec<Checked>) {
        results.push(Checked::fine(format!("{server} answers for {}", self.settings().ldap.domain)));
        if let Some(skew) = root.time().map(|time| self.clock().now().since(time)) {
            let sentence =
                format!("the clock of this machine and that of {server} differ by {} s", skew.abs());
            let advice = "let both take the time from the same source (chrony, systemd-timesyncd)";
            match skew.abs() {
                ..NOTABLE_SKEW => {}
                NOTABLE_SKEW..MAX_SKEW => results.push(Checked::warning(sentence, advice)),
                _ => results.push(Checked::failure(sentence, advice)),
            }
        }
        if !root.whole_forest {
            results.push(Checked::warning(
                format!(
                    "{server} is no global catalog, and the forest has other domains: host names cannot be \
                         proven to be unique and are not put into certificates"
                ),
                "name domain controllers that are global catalogs first",
            ));
        }
        if !root.deleted_visible {
            results.push(Checked::warning(
                format!("{server} does not show deleted objects to this account: after every change of the directory \
                         accounts are read again one by one"),
                "harmless in a small domain; otherwise let it list them, once as a domain administrator: dsacls \
                 \"CN=Deleted Objects,…\" /takeownership, then /G \"DOMAIN\\account:LCRP\"",
            ));
        }
    }

    async fn contents(&self, results: &mut Vec<Checked>) -> Result<(), LdapError> {
        let session = self.client().session().await?;
        let services = session.root.public_key_services();
        let readable = Search::object(services.clone(), &["objectClass"]);
        if self.client().object(readable).await?.is_none() {
            results.push(Checked::failure(
                format!("{services} cannot be read"),
                "the account needs what every authenticated user has by default: check its permissions",
            ));
            return Ok(());
        }
        for (container, class, none) in [
            (
                "Certificate Templates",
                "pKICertificateTemplate",
                "there are no certificate templates in the directory",
            ),
            ("Enrollment Services", "pKIEnrollmentService", "no CA is published in the directory"),
        ] {
            let base = format!("CN={container},{services}");
            let search = Search::below(base.clone(), Filter::text("objectClass", class), &["cn"], 20_000);
            let count = self.client().search(search).await?.len();
            if count == 0 {
                results.push(Checked::warning(
                    none,
                    "publish some: `muster ad publish --dry-run` shows what it would write",
                ));
            } else {
                results.push(Checked::fine(format!("{count} readable objects in CN={container}")));
            }
            let rights = Search::object(base, &["allowedChildClassesEffective"]);
            let rights = self.client().object(rights).await?;
            let may = rights.is_some_and(|rights| {
                rights
                    .texts("allowedChildClassesEffective")
                    .any(|allowed| allowed.eq_ignore_ascii_case(class))
            });
            if !may {
                results.push(Checked::warning(
                    format!("this account may not make objects in CN={container}"),
                    "needed for publishing only: let an enterprise administrator run `muster ad publish`",
                ));
            }
        }
        Ok(())
    }
}

/// What the keytab says before anybody is asked.
fn keys(settings: &LdapSettings) -> Vec<Checked> {
    let login = match &settings.access {
        Access::Sealed(login) | Access::Tls { bind: TlsBind::Kerberos(login), .. } => login,
        Access::Tls { bind: TlsBind::Password { .. }, .. } => return Vec::new(),
    };
    match login {
        Login::Keytab { file, principal } => keytab(file, principal),
        Login::Tickets(_) => Vec::new(),
    }
}

/// Whether a keytab has an AES key for a principal, and nobody else can read it.
#[must_use]
pub fn keytab(file: &Path, principal: &str) -> Vec<Checked> {
    let name = file.display();
    let export = format!(
        "export it again with AES keys: samba-tool domain exportkeytab FILE --principal={principal}, or ktpass /crypto \
         AES256-SHA1"
    );
    let entries = match read_keytab(file) {
        Ok(entries) => entries,
        Err(error @ KeytabError::Read { .. }) => {
            return vec![Checked::failure(
                error.to_string(),
                "let the service's account read it, and nobody else",
            )];
        }
        Err(error @ KeytabError::Format { .. }) => return vec![Checked::failure(error.to_string(), export)],
    };
    let mut results = Vec::new();
    let own = |entry: &&muster_gss::KeytabEntry| {
        Principal::parse(principal)
            .is_some_and(|wanted| wanted.name == entry.name && wanted.realm == entry.realm)
    };
    let ours: Vec<_> = entries.iter().filter(own).collect();
    if ours.is_empty() {
        let mut has: Vec<String> =
            entries.iter().map(|entry| format!("{}@{}", entry.name, entry.realm)).collect();
        has.dedup();
        has.truncate(5);
        let has = if has.is_empty() { "nobody".to_owned() } else { has.join(", ") };
        results.push(Checked::failure(format!("{name} has no key of {principal}, but of {has}"), export));
    } else if !ours.iter().any(|entry| entry.etype.is_aes()) {
        let kinds: Vec<String> = ours.iter().map(|entry| entry.etype.to_string()).collect();
        results.push(Checked::failure(
            format!("{name} has no AES key of {principal}, only {}", kinds.join(", ")),
            export,
        ));
    } else {
        let newest = ours.iter().map(|entry| entry.kvno).max().unwrap_or_default();
        results.push(Checked::fine(format!(
            "{name} has AES keys of {principal}, the newest of version {newest}"
        )));
    }
    results
}

/// An error and what to do about it.
fn explained(error: &LdapError, settings: &LdapSettings) -> Checked {
    Checked::failure(error.to_string(), advice(error, settings))
}

fn advice(error: &LdapError, settings: &LdapSettings) -> String {
    let port = settings.access.port();
    match error {
        LdapError::NoServer(_) => format!(
            "name the domain controllers in the configuration, or let this machine ask a name server that knows \
             _ldap._tcp.dc._msdcs.{}",
            settings.domain
        ),
        LdapError::Connect { cause, .. } if cause.contains("lookup") => {
            "let this machine ask the domain's name servers, or correct the name".to_owned()
        }
        LdapError::Connect { .. } | LdapError::Closed { .. } => {
            format!("see whether the controller runs and whether port {port} is open from here to there")
        }
        LdapError::TimedOut { .. } => {
            format!("see whether a firewall drops what goes to port {port}, or the controller is overloaded")
        }
        LdapError::Tls { cause, .. } if cause.contains("UnknownIssuer") => {
            "put the CA that issued the controller's certificate into the CA file".to_owned()
        }
        LdapError::Tls { cause, .. } if cause.contains("NotValidForName") => {
            "the controller's certificate must have its host name as a DNS name (subject alternative name)"
                .to_owned()
        }
        LdapError::Tls { .. } => {
            format!("see what `openssl s_client -connect HOST:{port}` shows of the certificate")
        }
        LdapError::File { .. } => "correct the path, or what the file holds".to_owned(),
        LdapError::KerberosMissing(_) => "install it, or use TLS with a password".to_owned(),
        LdapError::Kerberos { cause: InitiateError::UnknownService(_), .. } => format!(
            "name a domain controller of {} by its full host name, as the directory knows it, not by an address or an \
             alias",
            settings.domain
        ),
        LdapError::Kerberos { cause, .. } => kerberos_advice(cause).to_owned(),
        LdapError::NoSealing { .. } => "use TLS for this server".to_owned(),
        LdapError::Bind { .. } => {
            "see whether the account is enabled and the password or key is its present one".to_owned()
        }
        LdapError::NotActiveDirectory { .. } | LdapError::OtherDomain { .. } => {
            "correct the name of the domain or of the server".to_owned()
        }
        LdapError::Disconnected { .. }
        | LdapError::Malformed { .. }
        | LdapError::OutOfPlace { .. }
        | LdapError::Unseal { .. }
        | LdapError::TooLarge { .. } => {
            "see the controller's log; another controller is used as long as there is one".to_owned()
        }
        LdapError::Refused(_) | LdapError::Attribute { .. } => {
            "see whether the account may read what every authenticated user may by default".to_owned()
        }
        LdapError::Referral(_) => "name a controller of the domain itself".to_owned(),
    }
}

/// What to do when no ticket can be had.
#[must_use]
pub const fn kerberos_advice(error: &InitiateError) -> &'static str {
    match error {
        InitiateError::NoCredential(_) => {
            "see whether the keytab has a key of the account that is configured"
        }
        InitiateError::Expired => "get a new ticket, or let the service use a keytab",
        InitiateError::WrongKey => {
            "the keytab is older than the account's password: export it again, and leave the password alone"
        }
        InitiateError::UnknownAccount => "correct the account's name or realm; a computer's ends in $",
        InitiateError::AccountRefused(_) => "enable or unlock the account in the directory",
        InitiateError::UnknownService(_) => "name a domain controller of this domain",
        InitiateError::KdcUnreachable(_) => {
            "see whether /etc/krb5.conf or the name servers name a KDC of the realm, and whether port 88 is open"
        }
        InitiateError::ClockSkew => "let both machines take the time from the same source (chrony)",
        InitiateError::NotProven(_) | InitiateError::Rejected | InitiateError::OtherMechanism => {
            "see whether the name really leads to a domain controller of this domain"
        }
        InitiateError::Malformed(_)
        | InitiateError::OutOfOrder
        | InitiateError::NotSealed
        | InitiateError::NotDelegated(_)
        | InitiateError::Library(_) => {
            "see the controller's log; KRB5_TRACE=/dev/stderr shows what the library does"
        }
    }
}
