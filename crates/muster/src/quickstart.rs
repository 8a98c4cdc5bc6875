//! `muster quickstart`: from nothing to a first certificate, and what to paste elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_ca::SigningAlgorithm;
use muster_core::identity::AccountName;
use muster_server::setup::{self, CONFIG_FILE, Plan};
use muster_server::snippets::{self, Subject};
use muster_server::{Settings, SystemClock};
use muster_store::{Options, Store};
use serde::Serialize;

use crate::client::First;
use crate::output::{Failure, Outcome, Output};
use crate::serve::{self, LogFormat};

/// The account and the template of the first certificate.
const ACCOUNT: &str = "first-user";
const TEMPLATE: &str = "User";

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Where everything lives; found again at the next run.
    #[arg(long, value_name = "FOLDER", default_value = "muster-data")]
    dir: PathBuf,
    /// Where to serve: this port for passwords, the next for client certificates, the one after for the revocation
    /// list.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The name by which clients reach this machine; certificates name it for ever.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Name of the CA.
    #[arg(long, value_name = "NAME", default_value = "Muster CA")]
    ca_name: String,
    /// What the CA signs with: rsa2048, rsa3072, rsa4096, p256, p384 or ed25519.
    #[arg(long, value_name = "ALGORITHM", default_value = "p256")]
    ca_algorithm: SigningAlgorithm,
    /// End after the first certificate instead of serving on.
    #[arg(long)]
    once: bool,
}

/// What was made, for --json.
#[derive(Serialize)]
struct Made<'a> {
    config: &'a Path,
    account: &'static str,
    password_file: &'a Path,
    certificate: &'a Path,
    private_key: &'a Path,
    ca_certificate: &'a Path,
    policy_id: &'a str,
    endpoints: Vec<&'a str>,
}

pub(crate) async fn run(arguments: Quickstart, output: Output) -> Outcome {
    serve::start_log(LogFormat::Text)?;
    let config = arguments.dir.join(CONFIG_FILE);
    if config.exists() {
        output.note(format_args!(
            "found the installation in {}; its settings stay as they are",
            arguments.dir.display()
        ));
    } else {
        let plan = Plan {
            directory: arguments.dir.clone(),
            listen: arguments.listen,
            host: arguments.host.to_ascii_lowercase(),
            ca_name: arguments.ca_name.clone(),
            algorithm: arguments.ca_algorithm,
            ca_years: 10,
        };
        ports_are_free(arguments.listen)?;
        setup::create(&plan, &SystemClock).await?;
        output.note(format_args!("made a CA and an installation in {}", arguments.dir.display()));
    }
    let settings = serve::load(&config)?;
    let store = open_store(&settings)?;
    let policy_id = store.instance().await?.map(|i| i.policy_id).unwrap_or_default();
    let account: AccountName = ACCOUNT.parse()?;
    let password_file = arguments.dir.join("secrets").join(format!("{ACCOUNT}.password"));
    if store.account(&account).await?.is_none() {
        setup::first_account(&store, &account, &password_file, &SystemClock).await?;
    }
    drop(store);
    let node = serve::start(settings.clone()).await?;
    let first = enroll(&arguments.dir, &settings, &password_file, output).await;
    match first {
        Ok((certificate, private_key)) => {
            let made = Made {
                config: &config,
                account: ACCOUNT,
                password_file: &password_file,
                certificate: &certificate,
                private_key: &private_key,
                ca_certificate: &settings.embedded()?.directory.join(muster_ca::CERTIFICATE_FILE),
                policy_id: &policy_id,
                endpoints: settings.endpoints().map(|e| e.uri.as_str()).collect(),
            };
            output.value(&made, || text(&made, &settings))?;
        }
        Err(failure) => {
            serve::end(node).await;
            return Err(failure);
        }
    }
    if !arguments.once {
        output.note("serving; Ctrl-C ends it, 'muster quickstart' or 'muster serve' starts it again");
        return serve::until_the_end(node).await;
    }
    serve::end(node).await;
    Ok(())
}

/// Asks before anything is made: the ports then stand in the configuration and in certificates.
fn ports_are_free(listen: SocketAddr) -> Outcome {
    for offset in 0..3 {
        let Some(port) = listen.port().checked_add(offset) else { return Ok(()) };
        let address = SocketAddr::new(listen.ip(), port);
        if let Err(error) = std::net::TcpListener::bind(address) {
            return Err(Failure::new(format_args!("cannot listen on {address}: {error}")).hint(
                "three ports in a row are needed; name the first of others with --listen ADDRESS:PORT",
            ));
        }
    }
    Ok(())
}

fn open_store(settings: &Settings) -> Outcome<Store> {
    let options = Options { create: false, ..Options::default() };
    let path = muster_server::service::store_path(settings);
    Ok(Store::open(&path, &options, crate::admin::now())?)
}

/// Enrolls through the services, as any client would, unless there is a certificate from an earlier run.
async fn enroll(
    dir: &Path,
    settings: &Settings,
    password_file: &Path,
    output: Output,
) -> Outcome<(PathBuf, PathBuf)> {
    let folder = dir.join("first-certificate");
    let (certificate, key) =
        (folder.join(format!("{ACCOUNT}.pem")), folder.join(format!("{ACCOUNT}.key.pem")));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    std::fs::create_dir_all(&folder)?;
    let policy = settings.policy_endpoints.iter().find(|e| e.method == muster_core::Method::UsernamePassword);
    let policy = policy.ok_or_else(|| {
        Failure::new(
            "no policy service takes passwords, so there is nothing to enroll the first certificate through",
        )
        .hint("add a [[policy_endpoint]] with authentication = \"username_password\"")
    })?;
    let first = First {
        policy_url: &policy.uri,
        ca_file: &settings.embedded()?.directory.join(muster_ca::CERTIFICATE_FILE),
        user: ACCOUNT,
        password_file,
        template: TEMPLATE,
        certificate: &certificate,
        key: &key,
    };
    crate::client::enroll_first(first, output).await?;
    Ok((certificate, key))
}

fn text(made: &Made<'_>, settings: &Settings) -> String {
    let subject = Subject { settings, policy_id: made.policy_id, account: ACCOUNT, template: TEMPLATE };
    let mut page = format!(
        "The first certificate is in   {}\n\
         its private key in            {}\n\
         the CA certificate in         {}\n\
         the configuration in          {}\n\
         Account '{ACCOUNT}' signs in with the password in {}\n\n\
         Services:\n",
        made.certificate.display(),
        made.private_key.display(),
        made.ca_certificate.display(),
        made.config.display(),
        made.password_file.display(),
    );
    for uri in &made.endpoints {
        page.push_str(&format!("    {uri}\n"));
    }
    let listens_here = settings.listeners.values().all(|l| l.address.ip().is_loopback());
    if listens_here {
        page.push_str(
            "\nThey listen on this machine alone. For others, start again in a new folder with\n    \
             muster quickstart --dir FOLDER --listen 0.0.0.0:8443 --host NAME-OF-THIS-MACHINE\n",
        );
    }
    page.push_str("\nOn Linux, with this program:\n");
    page.push_str(&snippets::linux(subject).unwrap_or_default());
    page.push_str("\nOn Windows, in PowerShell:\n");
    page.push_str(&snippets::powershell(subject).unwrap_or_default());
    page.push_str("\nOn Windows, as a .reg file (the policy server for the current user):\n");
    page.push_str(&snippets::registry(subject).unwrap_or_default().replace("\r\n", "\n"));
    page.push_str("\nWith curl (what may this account have?):\n");
    page.push_str(&snippets::curl(subject).unwrap_or_default());
    page
}
