//! `muster policy servers`: which policy servers group policy names, in the order in which they are asked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use muster_client::group_policy::{self, Autoenrollment, PolicyServer, Scope};
use muster_client::session::authentication_name;
use serde::Serialize;

use super::autoenroll::KindOption;
use super::failure::ClientFailure;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Servers {
    /// Read this Registry.pol, or those below this folder (a copy of SYSVOL). May be repeated; the last one wins.
    /// Default: the folders of Samba's and Ubuntu's programs that apply group policy.
    #[arg(long, value_name = "PATH")]
    registry_pol: Vec<PathBuf>,
    /// The settings of the machine or of the user.
    #[arg(long, value_name = "KIND", default_value = "machine")]
    kind: KindOption,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    /// `AEPolicy`; none if group policy says nothing.
    autoenrollment: Option<u32>,
    servers: Vec<ServerReport>,
    unusable: Vec<Unusable>,
}

#[derive(Debug, Serialize)]
struct ServerReport {
    url: String,
    authentication: &'static str,
    cost: u32,
    policy_id: String,
    friendly_name: String,
    autoenroll: bool,
}

#[derive(Debug, Serialize)]
struct Unusable {
    url: String,
    reason: String,
}

pub(crate) fn run(arguments: &Servers, output: Output) -> Result<ExitCode, ClientFailure> {
    let policy = group_policy::read(&arguments.registry_pol, arguments.kind.scope())?;
    let report = Report {
        status: "ok",
        autoenrollment: policy.autoenrollment.map(|Autoenrollment(value)| value),
        servers: policy.servers.iter().map(server).collect(),
        unusable: policy.unusable.into_iter().map(|(url, reason)| Unusable { url, reason }).collect(),
    };
    if output.json {
        output.value(&report, String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    output.table(
        &report.servers,
        &["POLICY SERVER", "AUTHENTICATION", "COST", "UNATTENDED", "POLICY"],
        |server| {
            vec![
                server.url.clone(),
                server.authentication.to_owned(),
                server.cost.to_string(),
                (if server.autoenroll { "yes" } else { "no" }).to_owned(),
                server.policy_id.clone(),
            ]
        },
    )?;
    for Unusable { url, reason } in &report.unusable {
        output.note(format_args!("not usable: {url} ({reason})"));
    }
    output.line(format_args!("\nautoenrollment: {}", words(policy.autoenrollment)))?;
    Ok(ExitCode::SUCCESS)
}

fn server(server: &PolicyServer) -> ServerReport {
    ServerReport {
        url: server.endpoint.to_string(),
        authentication: authentication_name(server.authentication),
        cost: server.cost,
        policy_id: server.policy_id.clone(),
        friendly_name: server.friendly_name.clone(),
        autoenroll: server.autoenroll,
    }
}

fn words(policy: Option<Autoenrollment>) -> String {
    let Some(policy) = policy else { return "not configured".to_owned() };
    if policy.is_disabled() {
        return "switched off".to_owned();
    }
    let parts = [
        (policy.enrolls(), "enroll as templates say"),
        (policy.renews(), "renew"),
        (policy.fetches(), "fetch what was pending"),
    ];
    let allowed: Vec<&str> =
        parts.into_iter().filter(|(allowed, _)| *allowed).map(|(_, what)| what).collect();
    if allowed.is_empty() { "nothing is allowed".to_owned() } else { allowed.join(", ") }
}

impl KindOption {
    /// Which part of group policy it belongs to.
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Machine => Scope::Machine,
            Self::User => Scope::User,
        }
    }
}
