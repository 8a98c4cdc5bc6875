//! `muster adcs check`: the whole way from the service's account to what the authority lets it do, and what is too much.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use muster_adcs::{Adcs, AdcsError, HResult, Health, Identity, Roles};
use muster_directory::{Checked, Severity};
use muster_server::Settings;
use muster_server::config::{AdcsSettings, Endpoint, IdentityMode, OwnAccount};
use serde::Serialize;

use super::{advice, authorities, choose, credential, delegation, ticket_advice};
use crate::admin::ad::check::{Row, fine, warning, wrong};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Try to act for this account, as for a caller with a certificate: alice, or alice@CORP.EXAMPLE. Nothing is requested.
    #[arg(long = "as", value_name = "ACCOUNT")]
    user: Option<String>,
}

#[derive(Serialize)]
struct CaRows {
    ca: String,
    findings: Vec<Row>,
}

pub(super) async fn run(check: &Check, settings: &Settings, ca: Option<&str>, output: Output) -> Outcome {
    let chosen = match ca {
        Some(name) => vec![choose(settings, Some(name))?],
        None => authorities(settings),
    };
    if chosen.is_empty() {
        choose(settings, None)?;
    }
    let mut all = Vec::new();
    for (name, adcs) in chosen {
        all.push((name.to_owned(), one(check, settings, name, adcs).await));
    }
    let failed =
        all.iter().flat_map(|(_, found)| found).filter(|one| one.severity == Severity::Failure).count();
    let rows: Vec<CaRows> = all
        .into_iter()
        .map(|(ca, found)| CaRows { ca, findings: found.iter().map(Row::from).collect() })
        .collect();
    if output.json {
        output.value(&rows, String::new)?;
    } else {
        for ca in &rows {
            output.line(format_args!("{}:", ca.ca))?;
            ca.findings.iter().try_for_each(|row| output.line(row))?;
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::new("1 thing is wrong")),
        count => Err(Failure::new(format_args!("{count} things are wrong"))),
    }
}

/// In whose names callers of this authority are let in.
fn modes<'a>(settings: &'a Settings, name: &str) -> Vec<(&'a Arc<Endpoint>, IdentityMode)> {
    let of = settings.enrollment_endpoints.iter().filter(|endpoint| *endpoint.ca == *name);
    of.filter_map(|endpoint| Some((endpoint, endpoint.identity?))).collect()
}

async fn one(check: &Check, settings: &Settings, name: &str, adcs: &AdcsSettings) -> Vec<Checked> {
    let mut found = Vec::new();
    let modes = modes(settings, name);
    if modes.is_empty() {
        found.push(warning(
            "no address enrolls with this authority",
            "add [[enrollment_endpoint]] with its name as 'ca' and an 'identity', or remove its table",
        ));
    }
    let settings_of_connector = match adcs.connector(name) {
        Ok(connector) => connector,
        Err(problem) => {
            found.push(wrong(problem, "correct 'certificates' or the name in the configuration"));
            return found;
        }
    };
    let issuers = settings_of_connector.issuers.clone();
    let connector = Adcs::new(settings_of_connector);
    let Some(account) = &adcs.account else {
        found.push(warning(
            "no account of the service is configured, so that nothing more can be tried",
            "set account and keytab of the authority; callers with passwords need none",
        ));
        return found;
    };
    if let Some(mode) = crate::admin::ad::check::file_mode(&account.keytab) {
        found.push(mode);
    }
    let own = match credential(account) {
        Ok(own) => own,
        Err(failure) => {
            let (error, hint) = failure.into_parts();
            found.push(wrong(error, hint.unwrap_or_default()));
            return found;
        }
    };
    for class in delegation::classes(adcs) {
        let service = format!("{class}/{}", adcs.server);
        match delegation::ticket(&own, class, &adcs.server).await {
            Ok(()) => found.push(fine(format!("{} gets a ticket for {service}", account.principal))),
            Err(error) => {
                let sentence = format!("{} gets no ticket for {service}: {error}", account.principal);
                found.push(wrong(sentence, ticket_advice(&error)));
                return found;
            }
        }
    }
    let identity = Identity::new(&account.principal, own);
    let Some((health, roles)) = reached(&connector, &identity, adcs, &mut found).await else { return found };
    of_itself(name, adcs, &issuers, &health, &mut found);
    if let Some(roles) = roles {
        rights(account, &modes, roles, &mut found);
    }
    let delegating: Vec<_> = modes
        .iter()
        .filter(|(_, mode)| *mode == IdentityMode::Delegate)
        .map(|(endpoint, _)| endpoint)
        .collect();
    match (&check.user, delegating.is_empty()) {
        (Some(user), _) => {
            found.extend(delegation::check(settings, adcs, &connector, account, user).await);
        }
        (None, false) => found.push(warning(
            format!("whether this service can act for callers, as at {}, was not tried", first(&delegating)),
            "'muster adcs check --as ACCOUNT' tries it with an account; nothing is requested",
        )),
        (None, true) => {}
    }
    connector.close().await;
    found
}

fn first<'a>(endpoints: &[&'a &Arc<Endpoint>]) -> &'a str {
    endpoints.first().map_or("", |endpoint| endpoint.uri.as_str())
}

/// Connects for requests and as an officer; what the authority says of itself, by whichever of the two it says it.
async fn reached(
    connector: &Adcs,
    identity: &Identity,
    adcs: &AdcsSettings,
    found: &mut Vec<Checked>,
) -> Option<(Health, Option<Roles>)> {
    let mut health = match connector.health(identity).await {
        Ok(health) => health,
        Err(error) => {
            found.push(wrong(error.to_string(), advice(&error)));
            return None;
        }
    };
    found.push(fine(format!(
        "{} takes the connection of {}, with Kerberos and packet privacy",
        adcs.server,
        identity.name()
    )));
    let mut roles = None;
    match connector.officer(identity).await {
        Ok(mut officer) => {
            match officer.roles().await {
                Ok(known) => roles = Some(known),
                Err(AdcsError::NotDone { result: HResult::ACCESS_DENIED, .. }) => roles = Some(Roles(0)),
                Err(error) => found.push(warning(
                    format!("what {} may do at the authority is not known: {error}", identity.name()),
                    advice(&error),
                )),
            }
            if health.name.is_none()
                && let Ok(told) = officer.health().await
            {
                health = Health { ping: health.ping, ..told };
            }
            officer.close().await;
        }
        Err(error) => found.push(warning(
            format!("what {} may do at the authority is not known: {error}", identity.name()),
            "it is asked over DCOM (ports 135 and 49152 to 65535), whatever requests are sent over",
        )),
    }
    Some((health, roles))
}

/// Name, certificate and templates, compared with the configuration.
fn of_itself(
    name: &str,
    adcs: &AdcsSettings,
    issuers: &[Vec<u8>],
    health: &Health,
    found: &mut Vec<Checked>,
) {
    let Some(theirs) = &health.name else {
        found.push(warning(
            "the authority does not tell this account what it is",
            "give the account \"Read\" on the authority; requests need nothing of this",
        ));
        return;
    };
    if theirs.eq_ignore_ascii_case(name) {
        found.push(fine(format!("it calls itself {theirs}")));
    } else {
        found.push(wrong(
            format!("the authority on {} calls itself {theirs}, not {name}", adcs.server),
            "write its name, as certutil shows it, in [ca.\"NAME\"]",
        ));
    }
    match &health.certificate {
        None => {}
        Some(certificate) if issuers.contains(certificate) => {
            found.push(fine("its newest certificate is among those configured"));
        }
        Some(_) => found.push(wrong(
            "its newest certificate is not among those configured: what it issues with it is kept back as untrusted",
            "add it to 'certificates': certutil -ca.cert FILE there, and make sure that it is the authority's (it was \
             renewed), not somebody else's",
        )),
    }
    let theirs: BTreeSet<String> =
        health.templates.iter().map(|template| template.name.to_ascii_lowercase()).collect();
    let missing: Vec<&str> = adcs
        .templates
        .iter()
        .map(String::as_str)
        .filter(|template| !theirs.contains(&template.to_ascii_lowercase()))
        .collect();
    if !missing.is_empty() {
        found.push(wrong(
            format!("it does not issue from templates that are offered for it: {}", missing.join(", ")),
            "add them there (certsrv.msc, certificate templates, new), or take them out of 'templates'",
        ));
    } else if !adcs.templates.is_empty() {
        found.push(fine(format!(
            "it issues from all {} templates that are offered for it",
            adcs.templates.len()
        )));
    }
}

/// What the account may do there, against what the addresses need: too little, and too much.
fn rights(
    account: &OwnAccount,
    modes: &[(&Arc<Endpoint>, IdentityMode)],
    roles: Roles,
    found: &mut Vec<Checked>,
) {
    let who = &account.principal;
    let needs = |wanted: IdentityMode| modes.iter().any(|(_, mode)| *mode == wanted);
    // What is neither is a registration authority.
    let agent =
        modes.iter().any(|(_, mode)| !matches!(mode, IdentityMode::Delegate | IdentityMode::RenewOnBehalf));
    let before = found.len();
    if roles.administrator() || roles.officer() {
        found.push(warning(
            format!("{who} may manage certificates or the authority itself, which this service never does"),
            "take it out of \"Issue and Manage Certificates\" and \"Manage CA\": officers use their own accounts",
        ));
    }
    match (agent, roles.enroll()) {
        (true, false) => found.push(wrong(
            format!("{who} may not request certificates, which it does as a registration authority"),
            "give it \"Request Certificates\" on the authority",
        )),
        // AC-4.4: with it, whoever takes this machine could also get new certificates, in the name of this account.
        (false, true) if needs(IdentityMode::RenewOnBehalf) => found.push(wrong(
            format!("{who} may request certificates, and needs only \"Read\" to renew for others"),
            "take \"Request Certificates\" from it, and from groups that it is in (by default Authenticated Users has it)",
        )),
        (true, true) | (false, _) => {}
    }
    if !roles.read() {
        let wanted = needs(IdentityMode::RenewOnBehalf);
        let sentence = format!("{who} may not read the authority");
        let advice = "give it \"Read\" there: without, it can neither renew for others nor look up what became of a request \
                      whose call broke";
        found.push(if wanted { wrong(sentence, advice) } else { warning(sentence, advice) });
    }
    if found.len() == before {
        found.push(fine(format!("{who} may do there what it needs, and no more")));
    }
}
