//! Where policies come from, for commands that run unattended: options, the configuration file, group policy.

use std::path::PathBuf;

use clap::Args;
use muster_client::Endpoint;
use muster_client::failover::Candidate;
use muster_client::group_policy::{self, Autoenrollment, Scope};

use super::config::ClientConfig;
use super::failure::ClientFailure;
use super::options::{Context, parse_urls};
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// URL of a policy server (CEP). Repeat it for servers of the same policy. Instead of those of the configuration.
    #[arg(long, value_name = "URL", help_heading = "Policy")]
    policy_url: Vec<String>,
    /// Use the policy servers of group policy, and do what it allows.
    #[arg(long, help_heading = "Policy")]
    group_policy: bool,
    /// Read group policy from this Registry.pol, or from those below this folder. May be repeated; the last one wins.
    #[arg(long, value_name = "PATH", requires = "group_policy", help_heading = "Policy")]
    registry_pol: Vec<PathBuf>,
}

/// What group policy says.
pub(crate) struct FromGroupPolicy {
    /// What autoenrollment may do.
    pub(crate) allowed: Autoenrollment,
    /// Servers by policy.
    policies: Vec<Vec<Candidate>>,
}

impl Sources {
    /// What group policy says, if it is to be asked.
    pub(crate) fn group_policy(
        &self,
        config: &ClientConfig,
        scope: Scope,
        output: Output,
    ) -> Result<Option<FromGroupPolicy>, ClientFailure> {
        if !(self.group_policy || config.group_policy) {
            return Ok(None);
        }
        let paths = if self.registry_pol.is_empty() { &config.registry_pol } else { &self.registry_pol };
        let policy = group_policy::read(paths, scope)?;
        for (url, reason) in &policy.unusable {
            output.note(format_args!("warning: policy server {url} is left out ({reason})"));
        }
        Ok(Some(FromGroupPolicy {
            policies: policy.policies(|server| server.autoenroll),
            allowed: policy.autoenrollment.unwrap_or(Autoenrollment::ALL),
        }))
    }

    /// The servers to ask, by policy.
    pub(crate) fn policies(
        &self,
        config: &ClientConfig,
        group: Option<FromGroupPolicy>,
        context: &Context,
    ) -> Result<Vec<Vec<Candidate>>, ClientFailure> {
        let candidate = |endpoint: Endpoint| Candidate {
            authentication: context.credentials.for_url(&endpoint),
            endpoint,
            priority: None,
            renewal_only: false,
        };
        let configured: Vec<&[String]> = if self.policy_url.is_empty() {
            config.policy.iter().map(|policy| policy.urls.as_slice()).collect()
        } else {
            vec![&self.policy_url]
        };
        let mut policies = Vec::new();
        for urls in configured {
            policies.push(parse_urls(urls)?.into_iter().map(candidate).collect());
        }
        let from_group = group.is_some();
        policies.extend(group.into_iter().flat_map(|group| group.policies));
        // That group policy names none is its right.
        if policies.is_empty() && !from_group {
            return Err(ClientFailure::usage(
                "there is no policy server to ask",
                "name one with --policy-url or in the configuration file, or use --group-policy",
            ));
        }
        Ok(policies)
    }
}
