//! Options that the client verbs share, and what is made of them: trust, credentials, cache.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use muster_client::kerberos::{Kerberos, KerberosError, Login, MACHINE_KEYTAB, principal_of};
use muster_client::policy::Cache;
use muster_client::session::{CredentialSet, Session};
use muster_client::tls::{ClientIdentity, Trust, client_config};
use muster_client::transport::{Timeouts, Transport};
use muster_client::{Clock, DateTime, Endpoint, Password, SystemRandom, UsernameToken, files};

use super::config::is_root;
use super::failure::ClientFailure;

/// How to reach services and what to show to them.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Trust the certificates in this PEM file as issuers of TLS servers, besides the system's. May be repeated.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// Trust nothing but --ca-file.
    #[arg(long, requires = "ca_file", help_heading = "Connection")]
    pub(crate) ca_only: bool,
    /// User name for endpoints that take passwords. The password is asked for, unless a file has it.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub(crate) user: Option<String>,
    /// File with the password in its first line; '-' is stdin.
    #[arg(long, value_name = "FILE", requires = "user", help_heading = "Connection")]
    pub(crate) password_file: Option<PathBuf>,
    /// Take the password from this systemd credential (LoadCredential=NAME:… in the unit).
    #[arg(
        long,
        value_name = "NAME",
        requires = "user",
        conflicts_with = "password_file",
        help_heading = "Connection"
    )]
    pub(crate) password_credential: Option<String>,
    /// Sign in with Kerberos: the tickets that there are (kinit); for root, the machine's key in /etc/krb5.keytab. Tried
    /// by itself where neither password nor client certificate is given.
    #[arg(long, help_heading = "Connection")]
    pub(crate) kerberos: bool,
    /// Sign in with Kerberos and a key of this keytab.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) keytab: Option<PathBuf>,
    /// Whose key, such as PC1$@CORP.EXAMPLE (default: the machine's, otherwise the first of the keytab).
    #[arg(long, value_name = "NAME", requires = "keytab", help_heading = "Connection")]
    pub(crate) principal: Option<String>,
    /// PEM file with a certificate for endpoints that take client certificates.
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Connection")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "Connection")]
    pub(crate) client_key: Option<PathBuf>,
    /// Seconds for name resolution, TCP and TLS of one endpoint.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(1..=600),
        help_heading = "Connection"
    )]
    pub(crate) connect_timeout: u64,
    /// Seconds from the first octet of a request to the last of its answer.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=600),
        help_heading = "Connection"
    )]
    pub(crate) timeout: u64,
}

/// What to sign in with, besides a client certificate.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    /// User name and password.
    username: Option<UsernameToken>,
    /// Kerberos tickets.
    kerberos: Option<Kerberos>,
}

impl SignIn {
    /// Whether there is nothing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.username.is_none() && self.kerberos.is_none()
    }
}

/// Where the policy comes from.
#[derive(Debug, Args)]
pub(crate) struct PolicySource {
    /// URL of a policy server (CEP). Repeat it for servers of the same policy: they are asked in random order.
    #[arg(long, value_name = "URL", required = true, help_heading = "Policy")]
    pub(crate) policy_url: Vec<String>,
    #[command(flatten)]
    pub(crate) cache: CacheOptions,
}

/// Where policies are kept.
#[derive(Debug, Args)]
pub(crate) struct CacheOptions {
    /// Keep policies in this folder until their next update (default: muster in the user's cache folder).
    #[arg(long, value_name = "FOLDER", help_heading = "Policy")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Neither use nor keep policies on disk.
    #[arg(long, conflicts_with = "cache_dir", help_heading = "Policy")]
    pub(crate) no_cache: bool,
    /// Ask a policy server even if the kept policy is not due.
    #[arg(long, help_heading = "Policy")]
    pub(crate) refresh: bool,
}

/// Passwords are at most this long, in octets.
const MAX_PASSWORD: u64 = 4096;

impl Connection {
    /// Makes everything that a conversation needs. `own` is shown where no other client certificate is given.
    pub(crate) fn open(&self, own: Option<ClientIdentity>) -> Result<Context, ClientFailure> {
        self.open_as(own, self.sign_in()?)
    }

    /// Password, which may have to be asked for, and Kerberos.
    pub(crate) fn sign_in(&self) -> Result<SignIn, ClientFailure> {
        Ok(SignIn { username: self.username()?, kerberos: self.tickets()? })
    }

    /// Kerberos, if it is asked for, or if nothing else is given and there is some.
    fn tickets(&self) -> Result<Option<Kerberos>, ClientFailure> {
        let opened = self.login().and_then(|login| Kerberos::open(&login));
        if self.kerberos || self.keytab.is_some() {
            return Ok(Some(opened?));
        }
        if self.user.is_some() || self.client_cert.is_some() {
            return Ok(None);
        }
        opened
            .inspect_err(|error| tracing::debug!(%error, "no Kerberos"))
            .map_or(Ok(None), |found| Ok(Some(found)))
    }

    fn login(&self) -> Result<Login, KerberosError> {
        if let Some(keytab) = &self.keytab {
            let principal = match &self.principal {
                Some(principal) => principal.clone(),
                None => principal_of(keytab)?,
            };
            return Ok(Login::Keytab { keytab: keytab.clone(), principal });
        }
        let machine = Path::new(MACHINE_KEYTAB);
        // Who names a cache means it.
        if is_root() && std::env::var_os("KRB5CCNAME").is_none() && machine.exists() {
            let principal = principal_of(machine)?;
            if principal.contains("$@") {
                return Ok(Login::Keytab { keytab: machine.to_owned(), principal });
            }
        }
        Ok(Login::DefaultCache)
    }

    fn username(&self) -> Result<Option<UsernameToken>, ClientFailure> {
        let token =
            |name: &String| Ok(UsernameToken { username: name.clone(), password: self.password(name)? });
        self.user.as_ref().map(token).transpose()
    }

    /// The same with what was read before.
    pub(crate) fn open_as(
        &self,
        own: Option<ClientIdentity>,
        sign_in: SignIn,
    ) -> Result<Context, ClientFailure> {
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                crate::output::warn_if_readable(key);
                Some(ClientIdentity::from_files(certificate, key)?)
            }
            (_, _) => own,
        };
        let certificate = identity.as_ref().map(ClientIdentity::name);
        let trust = Trust { files: self.ca_file.clone(), only: self.ca_only, ..Trust::default() };
        let config = client_config(&trust, identity)?;
        let timeouts = Timeouts {
            connect: Duration::from_secs(self.connect_timeout),
            request: Duration::from_secs(self.timeout),
        };
        Ok(Context {
            transport: Transport::new(config, timeouts),
            credentials: CredentialSet {
                username: sign_in.username,
                kerberos: sign_in.kerberos,
                certificate,
            },
            clock: SystemClock,
            random: SystemRandom::new(),
        })
    }

    fn password(&self, user: &str) -> Result<Password, ClientFailure> {
        let file = match (&self.password_file, &self.password_credential) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(name)) => Some(credential(name)?),
            (None, None) => None,
        };
        let text = match file {
            Some(file) => first_line(&file)?,
            None => ask(&format!("Password of {user}"), false, "--password-file")?,
        };
        Ok(Password::new(text))
    }
}

/// The file that systemd made for a credential.
fn credential(name: &str) -> Result<PathBuf, ClientFailure> {
    // The variable names a folder that only the service can read; it holds no secret itself.
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        ClientFailure::failed(
            "systemd passed no credentials",
            "run it as a service with LoadCredential=, or use --password-file",
        )
    })?;
    if name.contains('/') || name.is_empty() {
        return Err(ClientFailure::usage("the name of a credential has no slash", "see systemd.exec(5)"));
    }
    Ok(Path::new(&folder).join(name))
}

/// First line of a file with a secret; '-' is stdin.
pub(crate) fn first_line(file: &Path) -> Result<String, ClientFailure> {
    use std::io::Read as _;

    let content = if file == Path::new("-") {
        let mut content = Vec::new();
        std::io::stdin().take(MAX_PASSWORD).read_to_end(&mut content).map_err(|error| {
            ClientFailure::failed(format!("stdin: {error}"), "write the password to stdin")
        })?;
        content
    } else {
        crate::output::warn_if_readable(file);
        files::read(file, MAX_PASSWORD)?
    };
    let text = String::from_utf8(content).map_err(|_| {
        ClientFailure::failed(format!("{}: not UTF-8", file.display()), "write the password as UTF-8 text")
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(ClientFailure::failed(
            format!("{} holds no password", file.display()),
            "write the password into the first line",
        ));
    }
    Ok(line.to_owned())
}

/// Asks for a secret on the terminal.
pub(crate) fn ask(prompt: &str, twice: bool, otherwise: &str) -> Result<String, ClientFailure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(ClientFailure::usage(
            "there is no terminal to ask for a password on",
            format!("give it in a file with {otherwise}"),
        ));
    }
    let mut question = dialoguer::Password::new().with_prompt(prompt);
    if twice {
        question = question.with_confirmation("Again", "that was something else");
    }
    question.interact().map_err(|error| ClientFailure::failed(error, format!("use {otherwise}")))
}

pub(crate) fn parse_urls(urls: &[String]) -> Result<Vec<Endpoint>, ClientFailure> {
    urls.iter().map(|url| url.parse().map_err(ClientFailure::from)).collect()
}

impl CacheOptions {
    /// The same with another folder unless one is named.
    pub(crate) fn open_or(&self, configured: Option<&PathBuf>) -> Option<Cache> {
        match (&self.cache_dir, configured) {
            (None, Some(folder)) if !self.no_cache => Some(Cache::new(folder.clone())),
            (_, _) => self.open(),
        }
    }

    pub(crate) fn open(&self) -> Option<Cache> {
        if self.no_cache {
            return None;
        }
        self.cache_dir.clone().or_else(default_cache).map(Cache::new)
    }
}

/// XDG base directory specification; an empty or relative path counts as unset.
fn default_cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("muster"))
}

/// What a session borrows.
pub(crate) struct Context {
    pub(crate) transport: Transport,
    pub(crate) credentials: CredentialSet,
    pub(crate) clock: SystemClock,
    pub(crate) random: SystemRandom,
}

impl Context {
    pub(crate) fn session(&self) -> Session<'_> {
        Session {
            transport: &self.transport,
            credentials: &self.credentials,
            clock: &self.clock,
            random: &self.random,
        }
    }
}

/// The time of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the client's only reading of the clock; all else is told")]
    fn now(&self) -> DateTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        DateTime::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}
