//! `muster enroll`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use muster_client::Clock as _;
use muster_client::enrollment::{Enrollment, OutputFiles};
use muster_client::failover::{Candidate, order};
use muster_client::files;
use muster_client::key::{KeyType, PrivateKey};
use muster_client::policy::{self, Freshness, Policy, Template};
use muster_client::request::{Form, Old, RequestedNames, build};
use muster_client::session::ServiceError;

use super::failure::ClientFailure;
use super::options::{CacheOptions, Connection, Context, parse_urls};
use super::report::Steps;
use super::run::{Following, check_state, keep_key, run_and_report, with_suffix};
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// Name, OID or display name of the template.
    #[arg(long, short, value_name = "NAME", required_unless_present = "resume")]
    template: Option<String>,
    /// Where the certificate goes (PEM).
    #[arg(long, short, value_name = "FILE", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Where the private key goes (PEM, PKCS#8, mode 0600); by default beside the certificate, as NAME.key.pem.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Use the private key that is in --key instead of making one.
    #[arg(long, requires = "key", conflicts_with = "key_type")]
    existing_key: bool,
    /// Kind of key: rsa2048, rsa3072, rsa4096, p256, p384 or ed25519; by default what the template asks for.
    #[arg(long, value_name = "KIND")]
    key_type: Option<KeyType>,
    /// Where the certificates of the CAs go, from the issuer upwards.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// Where the certificate and those of the CAs go, in one file.
    #[arg(long, value_name = "FILE")]
    full_chain: Option<PathBuf>,
    /// Subject to ask for, RFC 4514, such as "CN=host.example.test,O=Example".
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// DNS name to ask for. May be repeated.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// E-mail address to ask for. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    email: Vec<String>,
    /// IP address to ask for. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// Send a bare PKCS#10 whatever the template's schema.
    #[arg(long)]
    pkcs10: bool,
    /// Continue an earlier request: send the very same again if its outcome is unknown, or ask for the decision.
    #[arg(long, conflicts_with_all = ["template", "key", "existing_key", "key_type", "chain", "full_chain", "subject", "dns", "email", "ip", "pkcs10", "policy_url"])]
    resume: bool,
    /// What is needed to continue is kept in this file; by default beside the certificate, as FILE.pending.json.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// URL of a policy server (CEP). Repeat it for servers of the same policy: they are asked in random order.
    #[arg(long, value_name = "URL", required_unless_present = "resume", help_heading = "Policy")]
    policy_url: Vec<String>,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Enroll, output: Output) -> Result<ExitCode, ClientFailure> {
    if arguments.resume {
        return resume(arguments, output).await;
    }
    let (Some(template), Some(out)) = (&arguments.template, &arguments.out) else {
        return Err(ClientFailure::usage("--template and --out are needed", "see muster enroll --help"));
    };
    let Enroll { following, .. } = &arguments;
    let existing = following.existing();
    let key_file = arguments.key.clone().unwrap_or_else(|| out.with_extension("key.pem"));
    let state = arguments.state.clone().unwrap_or_else(|| with_suffix(out, ".pending.json"));
    check_state(&state, following.force)?;
    for file in [Some(out), arguments.chain.as_ref(), arguments.full_chain.as_ref()].into_iter().flatten() {
        files::check(file, existing)?;
    }
    let names =
        RequestedNames::new(arguments.subject.as_deref(), &arguments.dns, &arguments.email, &arguments.ip)?;
    let own_key = if arguments.existing_key {
        Some(PrivateKey::from_file(&key_file)?)
    } else {
        files::check(&key_file, existing)?;
        None
    };
    let cache = &arguments.cache;
    let endpoints = parse_urls(&arguments.policy_url)?;
    let context = arguments.connection.open(None)?;
    let bundle = following.bundle(existing)?;

    let steps = Steps::new(output);
    steps.now("asking for the policy");
    let policy = policy::fetch(context.session(), &endpoints, cache.open().as_ref(), cache.refresh).await?;
    remark(output, &policy);
    let template = policy.template(template)?;
    template.check(false)?;
    check_names(template, &names, output)?;

    let kept = own_key.is_some();
    let key = match own_key {
        Some(key) => key,
        None => {
            let kind = match arguments.key_type {
                Some(kind) => kind,
                None => template.key_type()?,
            };
            steps.now(format!("making a key ({kind})"));
            generate(kind).await?
        }
    };
    let outputs = OutputFiles {
        new_key: (!kept).then(|| with_suffix(&key_file, ".new")),
        key: key_file,
        certificate: out.clone(),
        chain: arguments.chain.clone(),
        full_chain: arguments.full_chain.clone(),
    };
    let enrollment = prepare(template, &key, &names, None, arguments.pkcs10, outputs, &context)?;
    keep_key(&key, &enrollment.files, &context)?;
    drop(steps);
    run_and_report(enrollment, &state, &context, following, bundle, output).await
}

async fn resume(arguments: Enroll, output: Output) -> Result<ExitCode, ClientFailure> {
    let state = match (arguments.state, &arguments.out) {
        (Some(state), _) => state,
        (None, Some(out)) => with_suffix(out, ".pending.json"),
        (None, None) => {
            return Err(ClientFailure::usage(
                "--resume needs --state or --out",
                "name the state file, or the certificate file that was asked for",
            ));
        }
    };
    let enrollment = Enrollment::load(&state)?;
    let key = enrollment.key();
    if !key.is_some_and(|key| enrollment.files.holds(&key)) {
        return Err(ClientFailure::failed(
            format!("{} does not hold the key of the request", enrollment.files.current_key().display()),
            "put the key back, or give the request up by removing the state file",
        ));
    }
    let context = arguments.connection.open(None)?;
    let bundle = arguments.following.bundle(arguments.following.existing())?;
    run_and_report(enrollment, &state, &context, &arguments.following, bundle, output).await
}

/// Builds the request and chooses where it may go.
pub(crate) fn prepare(
    template: Template<'_>,
    key: &PrivateKey,
    names: &RequestedNames,
    old: Option<Old<'_>>,
    pkcs10: bool,
    outputs: OutputFiles,
    context: &Context,
) -> Result<Enrollment, ClientFailure> {
    let form = if template.uses_cmc() && !pkcs10 { Form::Cmc } else { Form::Pkcs10 };
    let token = build(form, key, &template.selector()?, names, old).map_err(|error| {
        ClientFailure::failed(
            format!("the request cannot be built: {error}"),
            "try another key type or other names",
        )
    })?;
    let targets = targets(template, old.is_some(), context)?;
    let now = context.clock.now();
    Ok(Enrollment::new(&token, key.public(), template.name(), &targets, outputs, now, &context.random))
}

/// Where a request may go, in the order in which to ask, each with the DER certificate of its CA.
pub(crate) fn targets<'a>(
    template: Template<'a>,
    renewing: bool,
    context: &Context,
) -> Result<Vec<(Candidate, &'a [u8])>, ClientFailure> {
    let all: Vec<_> = template.candidates().collect();
    let usable = |authentication| context.credentials.usable(authentication);
    let ordered = order(all.iter().map(|(c, _)| c.clone()), usable, renewing, &context.random);
    let targets: Vec<_> = ordered
        .into_iter()
        .filter_map(|candidate| all.iter().find(|(c, _)| *c == candidate).cloned())
        .collect();
    if targets.is_empty() { Err(ServiceError::NoEndpoint.into()) } else { Ok(targets) }
}

/// Makes a key without holding up the runtime: RSA takes its time.
pub(crate) async fn generate(kind: KeyType) -> Result<PrivateKey, ClientFailure> {
    let made = tokio::task::spawn_blocking(move || PrivateKey::generate(kind)).await;
    let made = made.map_err(|error| ClientFailure::failed(error, "this is a defect; please report it"))?;
    Ok(made?)
}

/// Tells of a policy that is not new.
pub(crate) fn remark(output: Output, policy: &Policy) {
    if policy.freshness == Freshness::Stale {
        output.note(format_args!(
            "warning: no policy server answered; going by the policy of {}",
            policy.last_update
        ));
    }
}

fn check_names(template: Template<'_>, names: &RequestedNames, output: Output) -> Result<(), ClientFailure> {
    if template.subject_from_request() {
        if names.is_empty() {
            return Err(ClientFailure::usage(
                format!("template {:?} takes the names from the request", template.name()),
                "name what the certificate is for with --subject, --dns, --email or --ip",
            ));
        }
    } else if !names.is_empty() {
        output.note(format_args!(
            "warning: template {:?} takes the names from your account; those given here may be ignored",
            template.name()
        ));
    }
    Ok(())
}

/// What the first enrollment of an installation needs.
#[cfg(feature = "server")]
pub(crate) struct First<'a> {
    /// The policy service.
    pub(crate) policy_url: &'a str,
    /// PEM of the CA that the service's certificate comes from.
    pub(crate) ca_file: &'a std::path::Path,
    /// The account.
    pub(crate) user: &'a str,
    /// The file with its password.
    pub(crate) password_file: &'a std::path::Path,
    /// The template's name.
    pub(crate) template: &'a str,
    /// Where the certificate goes.
    pub(crate) certificate: &'a std::path::Path,
    /// Where the private key goes.
    pub(crate) key: &'a std::path::Path,
}

/// Enrolls the first certificate of an installation, through the services as any client would. Prints nothing.
#[cfg(feature = "server")]
pub(crate) async fn enroll_first(first: First<'_>, output: Output) -> crate::output::Outcome {
    first_certificate(first, output).await.map_err(crate::output::Failure::from)
}

#[cfg(feature = "server")]
async fn first_certificate(first: First<'_>, output: Output) -> Result<(), ClientFailure> {
    let connection = Connection {
        ca_file: vec![first.ca_file.to_owned()],
        ca_only: true,
        user: Some(first.user.to_owned()),
        password_file: Some(first.password_file.to_owned()),
        password_credential: None,
        kerberos: false,
        keytab: None,
        principal: None,
        client_cert: None,
        client_key: None,
        connect_timeout: 15,
        timeout: 30,
    };
    let following =
        Following { wait: 0, retry_unknown: false, pkcs12: None, pkcs12_password_file: None, force: true };
    let state = with_suffix(first.certificate, ".pending.json");
    check_state(&state, following.force)?;
    let context = connection.open(None)?;
    let endpoint = first.policy_url.parse()?;
    let steps = Steps::new(output);
    steps.now("asking for the policy");
    let policy = policy::fetch(context.session(), &[endpoint], None, true).await?;
    let template = policy.template(first.template)?;
    template.check(false)?;
    let key = generate(template.key_type()?).await?;
    let outputs = OutputFiles {
        key: first.key.to_owned(),
        new_key: Some(with_suffix(first.key, ".new")),
        certificate: first.certificate.to_owned(),
        chain: None,
        full_chain: None,
    };
    let mut enrollment = prepare(template, &key, &RequestedNames::default(), None, false, outputs, &context)?;
    keep_key(&key, &enrollment.files, &context)?;
    match super::run::run(&mut enrollment, &state, &context, &following, None, &steps).await? {
        super::run::Ending::Issued(_) => Ok(()),
        super::run::Ending::Pending => Err(ClientFailure::failed(
            "the first certificate waits for approval",
            "approve it with 'muster request', then start again",
        )),
    }
}
