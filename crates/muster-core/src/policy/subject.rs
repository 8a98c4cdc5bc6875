//! Which names a certificate gets: those of the authenticated identity, or those of the request that the template
//! and the identity allow. Nothing that a request says is copied before it was compared.

use crate::identity::Principal;
use crate::names::{self, AltName, NameAttribute, SubjectName};
use crate::refusal::Refusal;
use crate::request::RequestedNames;
use crate::template::{AltNameFrom, CommonNameFrom, IpPrefix, SubjectSource, Template, eku};
use crate::token::TokenGrant;

/// Names from the authenticated identity (MS-WCCE 3.2.2.6.2.1.4.5.9); what was asked for does not matter.
///
/// Names of the account that cannot stand in a certificate are as good as absent: a directory may hold anything.
pub(super) fn of_identity(
    principal: &Principal,
    template: &Template,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    let hosts = || {
        let hosts = &principal.dns_names;
        let valid = !hosts.is_empty() && hosts.iter().all(|host| names::is_host_name(host, false));
        if valid { Ok(hosts) } else { Err(no_host_name(principal)) }
    };
    let email = || {
        let address = principal.email.as_ref().filter(|address| names::is_email(address));
        address.ok_or(Refusal::EmailMissing)
    };
    let directory = principal.directory.as_deref();
    let common_name = match template.subject.common_name {
        CommonNameFrom::CommonName => {
            let name = principal.common_name.as_deref().filter(|name| names::is_subject_text(name));
            Some(name.unwrap_or(principal.name.as_str()).to_owned())
        }
        // RFC 5280 limits a common name to 64 characters; a longer host name stands among the alternatives alone.
        CommonNameFrom::DnsName => hosts()?.first().filter(|name| names::is_subject_text(name)).cloned(),
        CommonNameFrom::DirectoryPath | CommonNameFrom::None => None,
    };
    let mut alternatives = Vec::new();
    for wanted in &template.subject.alternatives {
        match wanted {
            AltNameFrom::DnsNames => alternatives.extend(hosts()?.iter().cloned().map(AltName::Dns)),
            AltNameFrom::Email => alternatives.push(AltName::Email(email()?.clone())),
            AltNameFrom::Upn => {
                let upn = principal.upn.as_ref().filter(|upn| names::is_upn(upn));
                alternatives.push(AltName::Upn(upn.ok_or(Refusal::UpnMissing)?.clone()));
            }
            AltNameFrom::Guid => {
                let guid = directory.and_then(|d| d.object_guid).ok_or(Refusal::GuidMissing)?;
                alternatives.push(AltName::Guid(guid));
            }
            // With it a server can speak for the whole domain, as its controllers do and members must not.
            AltNameFrom::DomainDns => {
                let controller =
                    directory.filter(|d| d.domain_controller).ok_or(Refusal::DomainController)?;
                let domain = controller.domain_dns.as_ref().filter(|d| names::is_host_name(d, false));
                alternatives.push(AltName::Dns(domain.ok_or(Refusal::DnsNameMissing)?.clone()));
            }
        }
    }
    let mut subject = match template.subject.common_name {
        CommonNameFrom::DirectoryPath => {
            let path = directory.and_then(|d| d.distinguished_name.as_ref());
            let whole = |path: &&SubjectName| {
                !path.0.is_empty() && path.0.iter().all(|(a, v)| names::is_attribute_value(*a, v))
            };
            path.filter(whole).ok_or(Refusal::DirectoryPathMissing)?.clone()
        }
        CommonNameFrom::CommonName | CommonNameFrom::DnsName | CommonNameFrom::None => {
            subject(template, Vec::new(), common_name)
        }
    };
    if template.subject.email {
        subject.0.push((NameAttribute::Email, email()?.clone()));
    }
    if subject.0.len() == template.subject.fixed.len() && alternatives.is_empty() {
        return Err(no_host_name(principal));
    }
    check_controller(principal, template, &subject, &alternatives)?;
    Ok((subject, alternatives))
}

/// Why there is no host name to use.
fn no_host_name(principal: &Principal) -> Refusal {
    let doubt = principal.directory.as_ref().and_then(|directory| directory.host_name_doubt);
    doubt.map_or(Refusal::DnsNameMissing, Refusal::HostNameDoubtful)
}

/// The host names of a domain controller stand only in certificates of templates for domain controllers: whoever
/// can make one enroll for another template would get a second name of the most trusted server there is.
fn check_controller(
    principal: &Principal,
    template: &Template,
    subject: &SubjectName,
    alternatives: &[AltName],
) -> Result<(), Refusal> {
    let controller = principal.directory.as_ref().is_some_and(|directory| directory.domain_controller);
    let names_host = alternatives.iter().any(|name| matches!(name, AltName::Dns(_)))
        || subject
            .values(NameAttribute::CommonName)
            .any(|name| names::is_host_name(&name.to_ascii_lowercase(), false));
    if controller && names_host && !template.subject.domain_controllers {
        return Err(Refusal::DomainController);
    }
    Ok(())
}

/// Names from the request, each of them within the template's rules.
pub(super) fn of_request(
    principal: &Principal,
    template: &Template,
    requested: &RequestedNames,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    let refuse =
        |name: &dyn std::fmt::Display| Err(Refusal::NameNotAllowed(names::shorten(&name.to_string())));
    let rules = &template.subject;
    let unknown = requested.unknown_alternatives.iter().chain(&requested.unknown_subject_attributes).next();
    if let Some(unknown) = unknown {
        return refuse(unknown);
    }
    for alternative in &requested.alternatives {
        let allowed = match alternative {
            AltName::Dns(name) => dns_allowed(principal, &rules.allow_dns, name),
            AltName::Email(address) => rules.allow_own_email && is_own_email(principal, address),
            AltName::Ip(address) => {
                rules.allow_ip.iter().any(|p| IpPrefix::parse(p).is_some_and(|p| p.contains(*address)))
            }
            AltName::Uri(_) | AltName::Upn(_) | AltName::Guid(_) => false,
        };
        if !allowed {
            return refuse(alternative);
        }
    }
    let mut alternatives = requested.alternatives.clone();
    let mut common_name: Option<&String> = None;
    let mut copied = Vec::new();
    for (attribute, value) in &requested.subject.0 {
        if rules.fixed.iter().any(|(a, v)| a == attribute && v == value) {
            continue;
        }
        let allowed = match attribute {
            NameAttribute::CommonName if common_name.is_some() => false,
            NameAttribute::CommonName => {
                common_name = Some(value);
                common_name_allowed(principal, template, &mut alternatives, value)
            }
            NameAttribute::Email => {
                is_own_email(principal, value) && rules.allow_attributes.contains(attribute)
            }
            NameAttribute::Organization
            | NameAttribute::OrganizationalUnit
            | NameAttribute::Locality
            | NameAttribute::State
            | NameAttribute::Country
            | NameAttribute::DomainComponent
            | NameAttribute::SerialNumber => rules.allow_attributes.contains(attribute),
        };
        if !allowed || !names::is_attribute_value(*attribute, value) {
            return refuse(&format_args!("{}={value}", attribute.short()));
        }
        if *attribute != NameAttribute::CommonName {
            copied.push((*attribute, value.clone()));
        }
    }
    if alternatives.is_empty() && common_name.is_none() {
        return Err(Refusal::NameMissing);
    }
    let subject = subject(template, copied, common_name.cloned());
    check_controller(principal, template, &subject, &alternatives)?;
    Ok((subject, alternatives))
}

/// The token's names, all of them and no others, within the template's rules.
pub(super) fn of_token(
    principal: &Principal,
    token: &TokenGrant,
    template: &Template,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    let (subject, alternatives) = match template.subject.source {
        SubjectSource::Identity => of_identity(principal, template)?,
        SubjectSource::Request => {
            let common_name = principal.common_name.clone().map(SubjectName::common_name);
            let requested = RequestedNames {
                subject: common_name.unwrap_or_default(),
                alternatives: token.names.clone(),
                ..RequestedNames::default()
            };
            of_request(principal, template, &requested)?
        }
    };
    let stands = |name: &&AltName| match name {
        AltName::Email(address) => {
            alternatives.contains(name) || subject.values(NameAttribute::Email).any(|email| email == address)
        }
        AltName::Dns(_) | AltName::Ip(_) | AltName::Uri(_) | AltName::Upn(_) | AltName::Guid(_) => {
            alternatives.contains(name)
        }
    };
    match token.names.iter().find(|name| !stands(name)) {
        Some(name) => Err(Refusal::NameNotAllowed(names::shorten(&name.to_string()))),
        None => Ok((subject, alternatives)),
    }
}

/// Whether a common name may be asked for: an allowed host name, another name that the request may have, or the
/// account's own name as long as nobody can take it for the name of a server.
///
/// A host name is added to `alternatives` if it is not there: clients that write it into the common name alone still
/// get a certificate that TLS accepts.
fn common_name_allowed(
    principal: &Principal,
    template: &Template,
    alternatives: &mut Vec<AltName>,
    value: &str,
) -> bool {
    let lower = value.to_ascii_lowercase();
    if dns_allowed(principal, &template.subject.allow_dns, &lower) {
        let host = AltName::Dns(lower);
        if !alternatives.contains(&host) {
            alternatives.push(host);
        }
        return true;
    }
    let asked_for = alternatives.iter().any(|alternative| match alternative {
        AltName::Email(address) => address == value,
        AltName::Ip(address) => address.to_string() == value,
        AltName::Dns(_) | AltName::Uri(_) | AltName::Upn(_) | AltName::Guid(_) => false,
    });
    if asked_for {
        return true;
    }
    let own = principal.common_name.as_deref() == Some(value) || principal.name.as_str() == value;
    // An account may be called like somebody else's host. Old TLS clients read the common name as a host name, of one
    // label even, if there is no host name among the alternatives.
    let looks_like_host = names::is_host_name(&lower, true) || value.parse::<std::net::IpAddr>().is_ok();
    let could_serve = template.has_eku(eku::SERVER_AUTHENTICATION)
        && !alternatives.iter().any(|alternative| matches!(alternative, AltName::Dns(_)));
    own && !looks_like_host && !could_serve
}

/// The fixed attributes, then those copied that are not fixed, then the common name.
fn subject(
    template: &Template,
    copied: Vec<(NameAttribute, String)>,
    common_name: Option<String>,
) -> SubjectName {
    let fixed = &template.subject.fixed;
    let free = copied.into_iter().filter(|(attribute, _)| !fixed.iter().any(|(f, _)| f == attribute));
    let mut subject = SubjectName(fixed.clone());
    subject.0.extend(free);
    subject.0.extend(common_name.map(|name| (NameAttribute::CommonName, name)));
    subject
}

fn is_own_email(principal: &Principal, address: &str) -> bool {
    principal.email.as_deref() == Some(address) && names::is_email(address)
}

fn dns_allowed(principal: &Principal, rules: &[String], name: &str) -> bool {
    let wildcard = name.starts_with("*.");
    names::is_host_name(name, wildcard)
        && rules.iter().any(|rule| match rule.as_str() {
            "own" => principal.dns_names.iter().any(|own| own == name),
            "any" => !wildcard,
            // The suffix begins with a dot, so that what is before it is one label or more.
            suffix if suffix.starts_with('.') => {
                !wildcard && name.ends_with(suffix) && name.len() > suffix.len()
            }
            exact => exact == name,
        })
}
