//! `muster renew`: a certificate vouches for the next one, once the time of renewal that its template gives has come, or
//! before with `--force`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use muster_client::certificate::Certificate;
use muster_client::enrollment::OutputFiles;
use muster_client::files;
use muster_client::key::{KeyType, PrivateKey};
use muster_client::policy::{self, Policy, Template};
use muster_client::request::{Old, RequestedNames};
use muster_client::tls::ClientIdentity;
use muster_client::{CertificateTemplate, Clock as _};
use serde::Serialize;

use super::enroll::{generate, prepare, remark};
use super::failure::ClientFailure;
use super::options::{Connection, PolicySource, parse_urls};
use super::report::Steps;
use super::run::{Following, check_state, keep_key, run_and_report, with_suffix};
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The certificate to renew (PEM). It is replaced when the new one is there.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key (PEM). It is replaced together with the certificate; by default beside it, as NAME.key.pem.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Put the new certificate here instead.
    #[arg(long, short, value_name = "FILE", requires = "out_key")]
    out: Option<PathBuf>,
    /// Put the new key here instead.
    #[arg(long, value_name = "FILE", requires = "out")]
    out_key: Option<PathBuf>,
    /// Keep the key.
    #[arg(long, conflicts_with = "key_type")]
    same_key: bool,
    /// Kind of the new key: rsa2048, rsa3072, rsa4096, p256, p384 or ed25519; by default as the old one.
    #[arg(long, value_name = "KIND")]
    key_type: Option<KeyType>,
    /// Template, if the certificate does not name it.
    #[arg(long, short, value_name = "NAME")]
    template: Option<String>,
    /// Where the certificates of the CAs go, from the issuer upwards.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// Where the certificate and those of the CAs go, in one file.
    #[arg(long, value_name = "FILE")]
    full_chain: Option<PathBuf>,
    /// What is needed to continue is kept in this file; by default beside the certificate, as FILE.pending.json.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    source: PolicySource,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct NotDue {
    status: &'static str,
    not_after: String,
    renew_from: String,
}

pub(crate) async fn run(arguments: Renew, output: Output) -> Result<ExitCode, ClientFailure> {
    let Renew { following, source, .. } = &arguments;
    let old_key_file = arguments.key.clone().unwrap_or_else(|| arguments.cert.with_extension("key.pem"));
    let old = Certificate::from_file(&arguments.cert)?.map_err(|error| {
        ClientFailure::failed(
            format!("{}: {error}", arguments.cert.display()),
            "give the certificate to renew",
        )
    })?;
    crate::output::warn_if_readable(&old_key_file);
    let old_key = PrivateKey::from_file(&old_key_file)?;
    if !old.has_key(old_key.public()) {
        return Err(ClientFailure::failed(
            format!("{} is not the key of {}", old_key_file.display(), arguments.cert.display()),
            "give the key that belongs to the certificate with --key",
        ));
    }
    let certificate = arguments.out.clone().unwrap_or_else(|| arguments.cert.clone());
    let key_file = arguments.out_key.clone().unwrap_or_else(|| old_key_file.clone());
    let state = arguments.state.clone().unwrap_or_else(|| with_suffix(&certificate, ".pending.json"));
    check_state(&state, following.force)?;
    for file in [arguments.out.as_ref(), arguments.out_key.as_ref()].into_iter().flatten() {
        files::check(file, following.existing())?;
    }
    let names = RequestedNames::of(&old).map_err(|error| {
        ClientFailure::failed(format!("names of the certificate: {error}"), "enroll anew instead")
    })?;
    let endpoints = parse_urls(&source.policy_url)?;
    let own = ClientIdentity::new(vec![old.to_tls()], old_key.to_tls());
    let context = arguments.connection.open(Some(own))?;
    // The renewed certificate replaces what is there, and so do files made from it.
    let bundle = following.bundle(files::Existing::Replace)?;

    let steps = Steps::new(output);
    steps.now("asking for the policy");
    let policy =
        policy::fetch(context.session(), &endpoints, source.cache.open().as_ref(), source.cache.refresh)
            .await?;
    remark(output, &policy);
    let template = find(&policy, &old, arguments.template.as_deref())?;
    template.check(true)?;
    if !following.force {
        let ahead = template.attributes().certificate_validity.renewal_period_seconds;
        let from = old.not_after().unix().saturating_sub(i64::try_from(ahead).unwrap_or(i64::MAX));
        let from = muster_client::DateTime::from_unix(from);
        if context.clock.now() < from {
            drop(steps);
            let report = NotDue {
                status: "not_due",
                not_after: old.not_after().to_string(),
                renew_from: from.to_string(),
            };
            output.value(&report, || format!("not due before {}", report.renew_from))?;
            output.note("hint: '--force' renews it now");
            return Ok(ExitCode::SUCCESS);
        }
    }

    let same_key = arguments.same_key || template.renewal_keeps_key();
    let new_key = if same_key {
        None
    } else {
        let kind = match arguments.key_type.or_else(|| old_key.kind()) {
            Some(kind) => kind,
            None => template.key_type()?,
        };
        steps.now(format!("making a key ({kind})"));
        Some(generate(kind).await?)
    };
    let key = new_key.as_ref().unwrap_or(&old_key);
    let elsewhere = key_file != old_key_file;
    let outputs = OutputFiles {
        // The old key, too, is put in another place by way of a copy.
        new_key: (new_key.is_some() || elsewhere).then(|| with_suffix(&key_file, ".new")),
        key: key_file,
        certificate,
        chain: arguments.chain.clone(),
        full_chain: arguments.full_chain.clone(),
    };
    let proof = Old { certificate: &old, key: &old_key };
    let enrollment = prepare(template, key, &names, Some(proof), false, outputs, &context)?;
    keep_key(key, &enrollment.files, &context)?;
    drop(steps);
    run_and_report(enrollment, &state, &context, following, bundle, output).await
}

/// The template that the certificate was issued from.
fn find<'a>(
    policy: &'a Policy,
    old: &Certificate,
    named: Option<&str>,
) -> Result<Template<'a>, ClientFailure> {
    if let Some(name) = named {
        return Ok(policy.template(name)?);
    }
    let from =
        old.template().map_err(|error| ClientFailure::failed(error, "name the template with --template"))?;
    Ok(match from {
        Some(CertificateTemplate::Id(id)) => policy.template(&id.oid.to_string())?,
        Some(CertificateTemplate::Name(name)) => policy.template(&name)?,
        None => {
            return Err(ClientFailure::failed(
                "the certificate does not say which template it was issued from",
                "name it with --template",
            ));
        }
    })
}
