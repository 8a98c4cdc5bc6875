//! Whether the service can act for a caller, and if not, in which step it fails and why.

use muster_adcs::{Adcs, AdcsError, Identity};
use muster_directory::Checked;
use muster_directory::ldap::{Filter, Search};
use muster_gss::{Credential, Framing, InitiateError};
use muster_server::Settings;
use muster_server::config::{AdcsSettings, OwnAccount};

use super::{advice, credential, ticket_advice};
use crate::admin::ad::check::{fine, warning, wrong};

/// `TRUSTED_TO_AUTH_FOR_DELEGATION` of userAccountControl: "any authentication protocol".
const ANY_PROTOCOL: i64 = 0x100_0000;
/// `NOT_DELEGATED`: "account is sensitive and cannot be delegated".
const SENSITIVE: i64 = 0x10_0000;

/// What the directory says of both accounts.
#[derive(Debug, Default)]
struct Facts {
    any_protocol: bool,
    allowed: Vec<String>,
    sensitive: bool,
    protected: bool,
}

/// Acts for `user` as far as the authority's door.
pub(super) async fn check(
    settings: &Settings,
    adcs: &AdcsSettings,
    connector: &Adcs,
    account: &OwnAccount,
    user: &str,
) -> Vec<Checked> {
    let realm = account.principal.split_once('@').map_or("", |(_, realm)| realm);
    let user = if user.contains('@') { user.to_owned() } else { format!("{user}@{realm}") };
    let own = match credential(account) {
        Ok(own) => own,
        Err(failure) => {
            let (error, hint) = failure.into_parts();
            return vec![wrong(error, hint.unwrap_or_default())];
        }
    };
    let name = user.clone();
    let impersonated = tokio::task::spawn_blocking(move || own.impersonate(&name)).await;
    let alice = match impersonated {
        Ok(Ok(alice)) => alice,
        Ok(Err(error)) => {
            let sentence =
                format!("no ticket in the name of {user} could be had for this service (S4U2Self): {error}");
            return vec![wrong(sentence, impersonation_advice(&error))];
        }
        Err(error) => return vec![wrong(error.to_string(), "see what is said above")],
    };
    let mut found =
        vec![fine(format!("the KDC gives this service a ticket in the name of {user} (S4U2Self)"))];
    for class in classes(adcs) {
        let service = format!("{class}/{}", adcs.server);
        match ticket(&alice, class, &adcs.server).await {
            Ok(()) => {
                found.push(fine(format!("a ticket of {user} for {service} could be had (S4U2Proxy)")));
            }
            Err(error @ InitiateError::NotDelegated(_)) => {
                found.extend(why_not(settings, account, realm, &user, &service, &error).await);
            }
            Err(error) => found.push(wrong(
                format!("a ticket of {user} for {service} could not be had (S4U2Proxy): {error}"),
                ticket_advice(&error),
            )),
        }
    }
    if found.iter().any(|one| one.severity != muster_directory::Severity::Fine) {
        return found;
    }
    match connector.health(&Identity::new(&user, alice)).await {
        Ok(_) => found.push(fine(format!("the authority takes a connection in the name of {user}"))),
        Err(error @ AdcsError::Ticket { .. }) => found.push(wrong(error.to_string(), advice(&error))),
        Err(error) => found.push(wrong(
            format!("the authority takes no connection in the name of {user}: {error}"),
            "all callers need to be in the group Certificate Service DCOM Access on the authority's host; by default \
             Everyone is",
        )),
    }
    found
}

/// The kinds of service that tickets are needed for.
pub(super) fn classes(adcs: &AdcsSettings) -> &'static [&'static str] {
    match adcs.protocol {
        muster_server::config::file::Protocol::Dcom => &["RPCSS", "HOST"],
        muster_server::config::file::Protocol::Rpc => &["HOST"],
    }
}

/// A ticket for `class/host`, got where that may block.
pub(super) async fn ticket(
    credential: &Credential,
    class: &'static str,
    host: &str,
) -> Result<(), InitiateError> {
    let (credential, host) = (credential.clone(), host.to_owned());
    let tried = tokio::task::spawn_blocking(move || {
        credential.dce_initiator(class, &host, Framing::Negotiate)?.step(None).map(drop)
    });
    tried.await.unwrap_or(Err(InitiateError::OutOfOrder))
}

fn impersonation_advice(error: &InitiateError) -> String {
    let ours = if *error == InitiateError::UnknownAccount {
        "see whether the account exists, and which realm it is of: --as NAME@REALM"
    } else if matches!(error, InitiateError::AccountRefused(_)) {
        "enable or unlock the account, or try another one"
    } else if matches!(error, InitiateError::NotDelegated(_)) {
        "see whether the service's account has a service principal name: the KDC makes no such tickets for others"
    } else {
        muster_directory::check::kerberos_advice(error)
    };
    ours.to_owned()
}

/// The KDC does not say why; the directory does.
async fn why_not(
    settings: &Settings,
    account: &OwnAccount,
    realm: &str,
    user: &str,
    service: &str,
    error: &InitiateError,
) -> Vec<Checked> {
    let (own, _) = account.principal.split_once('@').unwrap_or((&account.principal, ""));
    let head = format!("no ticket of {user} for {service} could be had (S4U2Proxy)");
    let Some(facts) = facts(settings, realm, own, user).await else {
        return vec![wrong(
            format!("{head}: {error}"),
            format!(
                "see whether msDS-AllowedToDelegateTo of {own} has {service}, whether {own} may delegate with any \
                 authentication protocol (TRUSTED_TO_AUTH_FOR_DELEGATION; not needed for callers with Kerberos tickets), and \
                 whether {user} is sensitive or in Protected Users"
            ),
        )];
    };
    let mut found = Vec::new();
    if !facts.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(service)) {
        found.push(wrong(
            format!("{head}: the directory does not let {own} delegate to {service} (msDS-AllowedToDelegateTo)"),
            format!("Set-ADUser {own} -Add @{{'msDS-AllowedToDelegateTo' = '{service}'}}, with the short name of the host too"),
        ));
    }
    if !facts.any_protocol {
        found.push(warning(
            format!(
                "{head}: {own} may delegate only for callers that bring a Kerberos ticket (TRUSTED_TO_AUTH_FOR_DELEGATION is \
                 not set)"
            ),
            format!(
                "for callers with certificates: Set-ADAccountControl {own} -TrustedToAuthForDelegation $true; for Kerberos \
                 alone leave it, and this trial says no more"
            ),
        ));
    }
    if facts.sensitive {
        found.push(wrong(
            format!("{head}: {user} is sensitive and cannot be delegated (NOT_DELEGATED)"),
            "that is as it should be for administrators: try the account of an ordinary user",
        ));
    }
    if facts.protected {
        found.push(wrong(
            format!("{head}: {user} is a member of Protected Users, whom nobody can act for"),
            "that is as it should be for administrators: try the account of an ordinary user",
        ));
    }
    if found.is_empty() {
        found.push(wrong(
            format!("{head}: {error}"),
            "the directory shows no reason: its changes may not have reached all domain controllers, or the KDC may have \
             kept the former state for some minutes",
        ));
    }
    found
}

/// What the directory says, if one is configured for the realm and can be asked.
async fn facts(settings: &Settings, realm: &str, own: &str, user: &str) -> Option<Facts> {
    let domain = settings.directories.iter().find(|domain| domain.realm == realm)?;
    let directory = crate::admin::ad::connect(domain, false);
    let session = directory.client().session().await.ok()?;
    let read = async |name: &str| {
        let attributes = ["userAccountControl", "msDS-AllowedToDelegateTo", "memberOf"];
        let filter = Filter::text("sAMAccountName", name);
        let search = Search::below(session.root.domain.clone(), filter, &attributes, 1);
        directory.client().search(search).await.ok()?.into_iter().next()
    };
    let service = read(own).await?;
    let mut facts = Facts {
        any_protocol: service.number("userAccountControl").unwrap_or_default() & ANY_PROTOCOL != 0,
        allowed: service.texts("msDS-AllowedToDelegateTo").map(str::to_owned).collect(),
        ..Facts::default()
    };
    let (name, of) = user.split_once('@').unwrap_or((user, realm));
    if of.eq_ignore_ascii_case(realm)
        && let Some(caller) = read(name).await
    {
        facts.sensitive = caller.number("userAccountControl").unwrap_or_default() & SENSITIVE != 0;
        facts.protected = caller
            .texts("memberOf")
            .any(|group| group.to_ascii_lowercase().starts_with("cn=protected users,"));
    }
    Some(facts)
}
