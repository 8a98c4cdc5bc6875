//! `muster agent …`: which accounts may enroll for others, with what, and for whom.

use clap::{Args, Subcommand};
use muster_core::agent::AgentLimit;
use muster_core::identity::{AccountName, GroupName, Sid};
use muster_core::template::access::is_everybody;
use muster_core::template::{Grantee, eku};
use serde::Serialize;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Allow an account to enroll others with a template.
    Allow(Allow),
    /// Take away what an agent may do, at once.
    Forbid {
        /// The agent's account.
        #[arg(long)]
        agent: AccountName,
        /// With this template alone [default: with all].
        #[arg(long)]
        template: Option<String>,
    },
    /// List what agents may do.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Allow {
    /// The agent's account; it also needs a certificate for enrollment agents.
    #[arg(long)]
    agent: AccountName,
    /// The template.
    #[arg(long)]
    template: String,
    #[command(flatten)]
    subjects: Subjects,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Subjects {
    /// For the accounts in this group of the store, without those that are agents themselves.
    #[arg(long, value_name = "GROUP")]
    for_group: Option<GroupName>,
    /// For this account, whatever it is.
    #[arg(long, value_name = "ACCOUNT")]
    for_account: Option<AccountName>,
    /// For an account or the members of a group of a directory; members without agents and without administrators.
    #[arg(long, value_name = "SID")]
    for_sid: Option<Sid>,
}

#[derive(Serialize)]
struct Row {
    agent: String,
    template: String,
    subjects: String,
    created: String,
    created_by: String,
}

pub(crate) async fn run(command: Agent, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Agent::Allow(allow) => {
            let limit = allow.limit()?;
            refuse_unknown(admin, &limit).await?;
            match store.template(&limit.template).await?.filter(|stored| stored.published) {
                Some(stored) if stored.template.has_eku(eku::ENROLLMENT_AGENT) => {
                    return Err(Failure::new("certificates of enrollment agents are not issued on behalf of others")
                        .hint("whoever is to become an agent enrolls itself, and an officer approves"));
                }
                Some(_) => {}
                None => output.note(format_args!(
                    "note: template '{}' is not in the store; if it is in no directory either, this allows nothing",
                    limit.template
                )),
            }
            let told = format!(
                "{} may enroll {} with template {}",
                limit.agent,
                String::from(limit.subjects.clone()),
                limit.template
            );
            store.allow_agent(limit, admin.officer.clone(), now()).await?;
            output.note(told);
        }
        Agent::Forbid { agent, template } => {
            let count = store.forbid_agent(agent.clone(), template, admin.actor(), now()).await?;
            let left = store.agent_limits_of(&agent).await?.len();
            output.note(format_args!("{count} taken from {agent}, {left} left"));
        }
        Agent::List => {
            let rows: Vec<Row> = store
                .agent_limits()
                .await?
                .into_iter()
                .map(|stored| Row {
                    agent: stored.limit.agent.to_string(),
                    template: stored.limit.template,
                    subjects: String::from(stored.limit.subjects),
                    created: stored.created.to_string(),
                    created_by: stored.created_by,
                })
                .collect();
            output.table(&rows, &["AGENT", "TEMPLATE", "FOR", "SINCE", "BY"], |row| {
                vec![
                    row.agent.clone(),
                    row.template.clone(),
                    row.subjects.clone(),
                    row.created.clone(),
                    row.created_by.clone(),
                ]
            })?;
        }
    }
    Ok(())
}

/// What is misspelt would be allowed to whoever gets that name later. Accounts of a directory are not looked up here.
async fn refuse_unknown(admin: &Admin, limit: &AgentLimit) -> Outcome {
    let subject = match &limit.subjects {
        Grantee::Account(name) => Some(name),
        Grantee::Group(_) | Grantee::Sid(_) | Grantee::Authenticated => None,
    };
    for name in std::iter::once(&limit.agent).chain(subject) {
        if name.token_id().is_some() {
            return Err(Failure::new(format_args!("'{name}' is the holder of a token, not an account")));
        }
        if name.is_local() && admin.store.account(name).await?.is_none() {
            return Err(Failure::new(format_args!("there is no account '{name}'")).hint(
                "'muster account list' shows those of the store; one of a directory is written domain\\name",
            ));
        }
    }
    Ok(())
}

impl Allow {
    fn limit(self) -> Outcome<AgentLimit> {
        let Subjects { for_group, for_account, for_sid } = self.subjects;
        let subjects = match (for_group, for_account, for_sid) {
            (Some(group), _, _) => Grantee::Group(group),
            (_, Some(account), _) => Grantee::Account(account),
            (_, _, Some(sid)) if is_everybody(&sid) => {
                return Err(Failure::new(format_args!("{sid} is nearly everybody"))
                    .hint("name a group of those whom the agent is there for"));
            }
            (_, _, Some(sid)) => Grantee::Sid(sid),
            (None, None, None) => {
                return Err(
                    Failure::new("nobody is named").hint("use --for-group, --for-account or --for-sid")
                );
            }
        };
        Ok(AgentLimit { agent: self.agent, template: self.template.to_ascii_lowercase(), subjects })
    }
}
