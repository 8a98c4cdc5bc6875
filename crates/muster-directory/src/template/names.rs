//! Name rules from msPKI-Certificate-Name-Flag (MS-WCCE 3.2.2.6.2.1.4.5.9).

use std::collections::BTreeSet;

use muster_core::identity::PrincipalKind;
use muster_core::names::NameAttribute;
use muster_core::template::{AltNameFrom, CommonNameFrom, SubjectRules, SubjectSource};

use super::WireTemplate;
use crate::finding::{Effect, Finding};
use crate::flags::{enrollment, name as flag};

/// Alternative names by flag. The one for service principal names means the user principal name, by specification.
const ALTERNATIVES: [(u32, AltNameFrom); 6] = [
    (flag::ALT_DNS, AltNameFrom::DnsNames),
    (flag::ALT_EMAIL, AltNameFrom::Email),
    (flag::ALT_UPN, AltNameFrom::Upn),
    (flag::ALT_SPN, AltNameFrom::Upn),
    (flag::ALT_GUID, AltNameFrom::Guid),
    (flag::ALT_DOMAIN_DNS, AltNameFrom::DomainDns),
];

pub(super) fn rules(
    wire: &WireTemplate,
    kind: PrincipalKind,
    approval: bool,
    domain_controllers: bool,
    findings: &mut Vec<Finding>,
) -> SubjectRules {
    let has = |bit| wire.subject_name_flags & bit != 0;
    let requested = has(flag::ENROLLEE_SUPPLIES_SUBJECT);
    let alternatives: BTreeSet<AltNameFrom> =
        ALTERNATIVES.into_iter().filter(|(bit, _)| has(*bit)).map(|(_, from)| from).collect();
    let named = [flag::DIRECTORY_PATH, flag::COMMON_NAME, flag::DNS_AS_CN, flag::EMAIL].into_iter().any(has);
    let mut report = |sentence| {
        let about = "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT";
        findings.push(Finding::new(Effect::Ignored, about, sentence));
    };
    if requested && (named || !alternatives.is_empty()) {
        report("names come from the request, so the flags that build them from the directory do nothing");
    }
    if requested && !approval {
        report("without an officer's approval a request gets the account's own names and no others");
    }
    let identity = SubjectRules {
        source: SubjectSource::Identity,
        common_name: match kind {
            PrincipalKind::Computer | PrincipalKind::User if has(flag::DIRECTORY_PATH) => {
                CommonNameFrom::DirectoryPath
            }
            // Either flag means the host name of a computer, and the common name of a user.
            PrincipalKind::Computer if has(flag::COMMON_NAME | flag::DNS_AS_CN) => CommonNameFrom::DnsName,
            PrincipalKind::User if has(flag::COMMON_NAME | flag::DNS_AS_CN) => CommonNameFrom::CommonName,
            PrincipalKind::Computer | PrincipalKind::User => CommonNameFrom::None,
        },
        alternatives,
        email: has(flag::EMAIL),
        domain_controllers,
        without_sid: wire.enrollment_flags & enrollment::NO_SECURITY_EXTENSION != 0,
        allow_dns: Vec::new(),
        allow_own_email: false,
        allow_ip: Vec::new(),
        allow_attributes: BTreeSet::new(),
        fixed: Vec::new(),
    };
    if !requested {
        return identity;
    }
    SubjectRules {
        source: SubjectSource::Request,
        common_name: CommonNameFrom::CommonName,
        alternatives: BTreeSet::new(),
        email: false,
        allow_dns: vec![if approval { "any" } else { "own" }.to_owned()],
        allow_own_email: true,
        allow_attributes: [
            NameAttribute::Organization,
            NameAttribute::OrganizationalUnit,
            NameAttribute::Locality,
            NameAttribute::State,
            NameAttribute::Country,
        ]
        .into(),
        ..identity
    }
}
