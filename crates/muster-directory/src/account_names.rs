//! From what a directory says of an account to a [`Principal`]: only names that passed [`crate::guard`].

use std::collections::BTreeSet;

use muster_core::Principal;
use muster_core::directory::{DirectoryNames, ObjectGuid};
use muster_core::identity::{AccountName, PrincipalKind, Sid};
use muster_core::names::{is_email, is_host_name, is_upn};

use crate::dn;
use crate::guard::{self, HostEvidence};

/// Attributes of one account, and the facts about it that take a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFacts {
    /// The name that records and audit use; unique over all configured domains.
    pub name: AccountName,
    /// Person or machine: computer if the account is one of class computer.
    pub kind: PrincipalKind,
    /// distinguishedName.
    pub distinguished_name: String,
    /// objectGUID.
    pub object_guid: Option<ObjectGuid>,
    /// objectSid, or that of the ticket, which must be the same.
    pub sid: Sid,
    /// Every group, from the ticket or from tokenGroups; what every account has is added.
    pub groups: BTreeSet<Sid>,
    /// sAMAccountName.
    pub sam_account_name: String,
    /// userPrincipalName.
    pub user_principal_name: Option<String>,
    /// cn.
    pub common_name: Option<String>,
    /// mail.
    pub mail: Option<String>,
    /// dNSHostName.
    pub dns_host_name: Option<String>,
    /// How many objects of the forest have this dNSHostName, the account included; 0 if nobody counted, and then
    /// the name is not used.
    pub host_name_holders: usize,
    /// servicePrincipalName.
    pub service_principal_names: Vec<String>,
    /// userAccountControl.
    pub user_account_control: u32,
    /// DNS name of the account's domain.
    pub domain_dns: String,
}

impl AccountFacts {
    /// The account as policy sees it.
    ///
    /// Names that cannot stand in a certificate are left out, so that a template that needs them is refused with a
    /// sentence that says so.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let domain = self.domain_dns.to_ascii_lowercase();
        let host = self.dns_host_name.as_deref().filter(|name| !name.is_empty()).map(|name| {
            guard::host_name(&HostEvidence {
                dns_host_name: name,
                holders: self.host_name_holders,
                sam_account_name: &self.sam_account_name,
                domain_dns: &domain,
                service_principal_names: &self.service_principal_names,
            })
        });
        let (dns_names, host_name_doubt) = match host {
            Some(Ok(name)) => (vec![name], None),
            Some(Err(doubt)) => (Vec::new(), Some(doubt)),
            None => (Vec::new(), None),
        };
        let directory = DirectoryNames {
            distinguished_name: dn::subject(&self.distinguished_name),
            object_guid: self.object_guid,
            domain_dns: Some(domain).filter(|name| is_host_name(name, false)),
            service_principal_names: self.service_principal_names.clone(),
            domain_controller: guard::is_domain_controller(self.user_account_control),
            host_name_doubt,
        };
        Principal {
            common_name: self.common_name.clone().filter(|name| guard::is_plain_subject_text(name)),
            email: self.mail.clone().filter(|address| is_email(address)),
            upn: self.user_principal_name.clone().filter(|name| is_upn(name)),
            dns_names,
            sid: Some(self.sid.clone()),
            sids: crate::sid::token(&self.sid, self.groups.iter().cloned()),
            directory: Some(Box::new(directory)),
            ..Principal::named(self.name.clone(), self.kind)
        }
    }
}
