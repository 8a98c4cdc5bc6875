//! `muster policy`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use muster_client::policy::{self, Template};
use serde::Serialize;

use super::enroll::remark;
use super::failure::ClientFailure;
use super::options::{Connection, PolicySource, parse_urls};
use super::report::Steps;
use super::servers::Servers;
use crate::output::Output;

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Policy {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    source: PolicySource,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the policy servers that group policy names on this machine.
    Servers(Servers),
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    policy_id: String,
    friendly_name: String,
    source: String,
    freshness: &'static str,
    last_update: String,
    next_update: String,
    templates: Vec<TemplateReport>,
    endpoints: Vec<EndpointReport>,
}

#[derive(Debug, Serialize)]
struct TemplateReport {
    name: String,
    display_name: String,
    oid: Option<String>,
    schema: u32,
    revision: String,
    enroll: bool,
    auto_enroll: bool,
    /// What the key would be; none if this client does not make it.
    key: Option<String>,
    minimal_key_length: u32,
    subject_from_request: bool,
    validity_seconds: u64,
    renewal_seconds: u64,
    /// Why this client cannot enroll; none if it can.
    obstacle: Option<String>,
}

#[derive(Debug, Serialize)]
struct EndpointReport {
    url: String,
    authentication: &'static str,
    priority: Option<u32>,
    renewal_only: bool,
    templates: Vec<String>,
}

pub(crate) async fn run(arguments: Policy, output: Output) -> Result<ExitCode, ClientFailure> {
    let Policy { verb, source, connection } = arguments;
    if let Some(Verb::Servers(servers)) = verb {
        return super::servers::run(&servers, output);
    }
    let endpoints = parse_urls(&source.policy_url)?;
    let context = connection.open(None)?;
    let policy = {
        let steps = Steps::new(output);
        steps.now("asking for the policy");
        let cache = source.cache.open();
        policy::fetch(context.session(), &endpoints, cache.as_ref(), source.cache.refresh).await?
    };
    remark(output, &policy);
    let report = Report {
        status: "ok",
        policy_id: policy.answer.response.policy_id.clone(),
        friendly_name: policy.answer.response.policy_friendly_name.clone(),
        source: policy.source.to_string(),
        freshness: policy.freshness.name(),
        last_update: policy.last_update.to_string(),
        next_update: policy.next_update.to_string(),
        templates: policy.templates().map(template).collect(),
        endpoints: gather(policy.templates()),
    };
    if output.json {
        output.value(&report, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    let title = if report.friendly_name.is_empty() { &report.policy_id } else { &report.friendly_name };
    output.line(format_args!("{title} from {}, next update {}\n", report.source, report.next_update))?;
    output.table(&report.templates, &["TEMPLATE", "NAME", "KEY", "DAYS", "SUBJECT FROM", "ENROLL"], |t| {
        vec![
            t.name.clone(),
            t.display_name.clone(),
            t.key.clone().unwrap_or_else(|| format!("{} bits", t.minimal_key_length)),
            (t.validity_seconds / 86_400).to_string(),
            (if t.subject_from_request { "request" } else { "account" }).to_owned(),
            match &t.obstacle {
                None if t.auto_enroll => "yes, also unattended".to_owned(),
                None => "yes".to_owned(),
                Some(why) => format!("no: {why}"),
            },
        ]
    })?;
    output.line("")?;
    output.table(&report.endpoints, &["ENROLLMENT SERVICE", "AUTHENTICATION", "PRIORITY", "FOR"], |e| {
        vec![
            e.url.clone(),
            e.authentication.to_owned(),
            e.priority.map_or_else(|| "-".to_owned(), |p| p.to_string()),
            (if e.renewal_only { "renewals" } else { "all" }).to_owned(),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}

fn template(template: Template<'_>) -> TemplateReport {
    let attributes = template.attributes();
    TemplateReport {
        name: template.name().to_owned(),
        display_name: template.display_name().to_owned(),
        oid: template.oid().map(str::to_owned),
        schema: attributes.policy_schema,
        revision: format!("{}.{}", attributes.revision.major_revision, attributes.revision.minor_revision),
        enroll: attributes.permission.enroll,
        auto_enroll: attributes.permission.auto_enroll,
        key: template.key_type().ok().map(|kind| kind.to_string()),
        minimal_key_length: attributes.private_key_attributes.minimal_key_length,
        subject_from_request: template.subject_from_request(),
        validity_seconds: attributes.certificate_validity.validity_period_seconds,
        renewal_seconds: attributes.certificate_validity.renewal_period_seconds,
        obstacle: template.check(false).err().map(|error| error.to_string()),
    }
}

/// Every enrollment endpoint once, with the templates behind it.
fn gather<'a>(templates: impl Iterator<Item = Template<'a>>) -> Vec<EndpointReport> {
    let mut endpoints: Vec<EndpointReport> = Vec::new();
    for template in templates {
        for (candidate, _) in template.candidates() {
            let name = template.name().to_owned();
            match endpoints.iter_mut().find(|e| e.url == candidate.endpoint.as_str()) {
                Some(known) => known.templates.push(name),
                None => endpoints.push(EndpointReport {
                    url: candidate.endpoint.to_string(),
                    authentication: muster_client::session::authentication_name(candidate.authentication),
                    priority: candidate.priority,
                    renewal_only: candidate.renewal_only,
                    templates: vec![name],
                }),
            }
        }
    }
    endpoints.sort_by_key(|e| (e.priority.is_none(), e.priority));
    endpoints
}
