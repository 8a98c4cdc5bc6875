//! `muster token …`: user names and passwords that are good for one certificate.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use muster_core::names::{self, AltName};
use muster_core::template::eku;
use muster_core::token::{TokenGrant, TokenTrouble};
use muster_core::{Refusal, Template, TokenId, policy};
use muster_server::NewToken;
use muster_store::Token as Stored;
use serde::Serialize;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

/// Longest life of a token, in seconds.
const LONGEST: i64 = 90 * 86_400;

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print its user name and password, which is shown this once.
    Create(Create),
    /// List all tokens, the newest first.
    List,
    /// Revoke a token: its password is no longer taken, and whoever enrolled with it can no longer renew.
    Revoke {
        /// Its user name.
        id: TokenId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The template that it is good for.
    #[arg(long)]
    template: String,
    /// A host name of the certificate; may be repeated.
    #[arg(long = "dns", value_name = "HOST")]
    dns_names: Vec<String>,
    /// An address of the certificate; may be repeated.
    #[arg(long = "ip", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// The e-mail address of the certificate.
    #[arg(long)]
    email: Option<String>,
    /// The user principal name of the certificate.
    #[arg(long)]
    upn: Option<String>,
    /// How many enrollments it is good for; all of them are one identity.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
    /// How long it is good: 30m, 1h, 7d; at most 90d.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    ttl: i64,
}

#[derive(Serialize)]
struct Row {
    username: String,
    template: String,
    names: Vec<String>,
    uses: u32,
    used: u32,
    created: String,
    created_by: String,
    expires: String,
    /// usable, used, expired, revoked.
    state: &'static str,
}

#[derive(Serialize)]
struct Created {
    username: String,
    password: String,
    template: String,
    names: Vec<String>,
    uses: u32,
    expires: String,
}

impl From<Stored> for Row {
    fn from(token: Stored) -> Self {
        let state = match token.trouble(now()) {
            None => "usable",
            Some(TokenTrouble::Used) => "used",
            Some(TokenTrouble::Expired) => "expired",
            Some(TokenTrouble::Revoked | TokenTrouble::Unknown | TokenTrouble::Secret) => "revoked",
        };
        Self {
            username: token.id.to_string(),
            template: token.template,
            names: token.grant.names.iter().map(ToString::to_string).collect(),
            uses: token.uses,
            used: token.used,
            created: token.created.to_string(),
            created_by: token.created_by,
            expires: token.expires.to_string(),
            state,
        }
    }
}

pub(crate) async fn run(command: Token, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Token::Create(create) => return make(create, admin, output).await,
        Token::List => {
            let rows: Vec<Row> = store.tokens().await?.into_iter().map(Row::from).collect();
            output.table(&rows, &["TOKEN", "STATE", "USED", "TEMPLATE", "EXPIRES", "NAMES"], |row| {
                vec![
                    row.username.clone(),
                    row.state.to_owned(),
                    format!("{}/{}", row.used, row.uses),
                    row.template.clone(),
                    row.expires.clone(),
                    row.names.join(" "),
                ]
            })?;
        }
        Token::Revoke { id } => {
            store.revoke_token(id.clone(), admin.actor(), now()).await?;
            output.note(format_args!(
                "token {id} is revoked; certificates issued on it no longer sign in or renew, and are valid until they \
                 end or 'muster cert revoke' ends them"
            ));
        }
    }
    Ok(())
}

async fn make(create: Create, admin: &Admin, output: Output) -> Outcome {
    let names = create.names()?;
    let stored = admin.store.template(&create.template).await?.filter(|stored| stored.published);
    let template = stored.map(|stored| stored.template).ok_or_else(|| {
        Failure::new(format_args!("there is no template '{}'", create.template))
            .hint("'muster template list' shows those that are offered; templates of a directory are not for tokens")
    })?;
    let oid = check_template(&template)?;
    let new = NewToken::draw()?;
    let grant = TokenGrant { template: oid, names };
    let principal = grant.principal(&new.id, template.kind);
    policy::names_for_token(&principal, &grant, &template).map_err(|refusal| unfit(&template, &refusal))?;
    let at = now();
    let token = Stored {
        id: new.id.clone(),
        verifier: new.verifier.clone(),
        template: template.name.clone(),
        kind: template.kind,
        uses: create.uses,
        used: 0,
        created: at,
        created_by: admin.officer.clone(),
        expires: at.plus(create.ttl),
        revoked: None,
        grant,
    };
    let created = Created {
        username: new.id.to_string(),
        password: new.secret.to_string(),
        template: template.name.clone(),
        names: token.grant.names.iter().map(ToString::to_string).collect(),
        uses: token.uses,
        expires: token.expires.to_string(),
    };
    admin.store.put_token(token, admin.actor(), at).await?;
    if !template.has_eku(eku::CLIENT_AUTHENTICATION) {
        output.note(format_args!(
            "note: certificates of template {} are not for client authentication, so whoever enrolls with this token \
             cannot renew with the certificate",
            template.name
        ));
    }
    output.value(&created, || {
        format!(
            "user name  {}\npassword   {}\ntemplate   {}\nnames      {}\nuses       {}\nuntil      {}",
            created.username,
            created.password,
            created.template,
            created.names.join(" "),
            created.uses,
            created.expires
        )
    })
}

/// Whether tokens may be made for a template, whatever the names; its identifier.
fn check_template(template: &Template) -> Outcome<muster_core::Oid> {
    template.check()?;
    let refuse =
        |why: &str| Err(Failure::new(format_args!("template '{}' is not for tokens: {why}", template.name)));
    if template.issuance.signatures > 0 {
        return refuse("its requests need the signature of an enrollment agent");
    }
    if template.has_eku(eku::ENROLLMENT_AGENT) {
        return refuse("it makes enrollment agents, who must be accounts");
    }
    match &template.oid {
        Some(oid) => Ok(oid.clone()),
        None => refuse("it has no identifier"),
    }
}

fn unfit(template: &Template, refusal: &Refusal) -> Failure {
    let template = &template.name;
    if let Refusal::NameNotAllowed(name) = refusal {
        return Failure::new(format_args!("template '{template}' does not give the name {name}"))
            .hint("its subject rules say which names it gives: 'muster template show' shows them");
    }
    let missing = [
        (Refusal::DnsNameMissing, "--dns"),
        (Refusal::EmailMissing, "--email"),
        (Refusal::UpnMissing, "--upn"),
    ];
    match missing.iter().find(|(lacks, _)| lacks == refusal) {
        Some((_, option)) => {
            Failure::new(format_args!("template '{template}' needs a name that the token lacks"))
                .hint(format_args!("add {option}"))
        }
        None => Failure::new(format_args!("template '{template}' is not for tokens: {refusal}")),
    }
}

impl Create {
    fn names(&self) -> Outcome<Vec<AltName>> {
        let mut all = Vec::new();
        for name in &self.dns_names {
            let lower = name.to_ascii_lowercase();
            if !names::is_host_name(&lower, false) {
                return Err(Failure::new(format_args!("'{name}' is not a host name")).hint(
                    "use at least two labels of ASCII letters, digits and hyphens, such as host.example",
                ));
            }
            all.push(AltName::Dns(lower));
        }
        all.extend(self.addresses.iter().copied().map(AltName::Ip));
        if let Some(address) = &self.email {
            if !names::is_email(address) {
                return Err(Failure::new(format_args!("'{address}' is not an e-mail address")));
            }
            all.push(AltName::Email(address.clone()));
        }
        if let Some(upn) = &self.upn {
            if !names::is_upn(upn) {
                return Err(Failure::new(format_args!("'{upn}' is not a user principal name"))
                    .hint("it has the form name@domain"));
            }
            all.push(AltName::Upn(upn.clone()));
        }
        let twice = (1..all.len()).any(|at| all.iter().take(at).any(|earlier| all.get(at) == Some(earlier)));
        if twice {
            return Err(Failure::new("a name is given twice"));
        }
        if all.is_empty() {
            return Err(Failure::new("a token without names would be for nobody")
                .hint("name the machine with --dns, or whoever it is with --email or --upn"));
        }
        Ok(all)
    }
}

/// `90s`, `30m`, `1h`, `7d`.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is not a time such as 30m, 1h or 7d, at most 90d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(factor).filter(|total| (1..=LONGEST).contains(total)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_a_unit_and_a_bound() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("1h"), Ok(3_600));
        assert_eq!(seconds("90d"), Ok(7_776_000));
        for wrong in ["", "h", "1", "0h", "-1h", "91d", "1w", "1.5h", "9223372036854775807d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
