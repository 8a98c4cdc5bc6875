//! The privilege attribute certificate (MS-PAC): who the directory says the caller is, and in which groups.
//!
//! This reads one that has already been verified; the signature is the library's to check. No input or output, no
//! `unsafe`; every length is checked against what is there before anything is allocated.

mod ndr;

use std::collections::BTreeSet;

use ndr::Reader;

/// What a PAC says. SIDs are text, `S-1-5-21-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pac {
    /// sAMAccountName (EffectiveName), `alice` or `PC1$`.
    pub account_name: String,
    /// displayName; often empty.
    pub full_name: String,
    /// The domain's NetBIOS name, `CORP`.
    pub logon_domain: String,
    /// The domain controller that authenticated the caller, NetBIOS name.
    pub logon_server: String,
    /// SID of the domain that the account is in.
    pub domain_sid: String,
    /// SID of the account.
    pub user_sid: String,
    /// SID of the primary group; also one of `group_sids`.
    pub primary_group_sid: String,
    /// All groups: the domain's own, those of other domains, and resource groups. Without the account itself.
    pub group_sids: BTreeSet<String>,
    /// `USER_…` flags of MS-SAMR 2.2.1.12; not those of LDAP's userAccountControl.
    pub user_account_control: u32,
    /// User principal name, if the KDC sends it.
    pub upn: Option<String>,
    /// The account has no userPrincipalName: `upn` was made of account and domain name.
    pub upn_constructed: bool,
    /// DNS name of the domain, as the KDC writes it, `corp.example` or `CORP.EXAMPLE`.
    pub dns_domain: Option<String>,
    /// The name in the ticket (PAC_CLIENT_INFO).
    pub client_name: Option<String>,
    /// SID of who asked for the first ticket (PAC_REQUESTOR); the same as `user_sid`.
    pub requestor_sid: Option<String>,
}

/// A PAC that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacError {
    /// It ends before its fields do.
    #[error("the PAC is cut off in {0}")]
    CutOff(&'static str),
    /// A field has a value that it cannot have.
    #[error("the PAC has a wrong {0}")]
    Wrong(&'static str),
    /// A buffer is there twice.
    #[error("the PAC has two buffers of type {0}")]
    Twice(u32),
    /// It has no logon information (KERB_VALIDATION_INFO): who the caller is, is not said.
    #[error("the PAC has no logon information")]
    NoLogonInfo,
    /// Two buffers name different accounts.
    #[error("the PAC names two accounts: its {0} is another than its logon information's")]
    TwoAccounts(&'static str),
    /// A group counts for refusals only; KDCs do not say that of any.
    #[error("the PAC has a group for denying only")]
    DenyOnly,
}

/// Buffers of interest (MS-PAC 2.4).
const LOGON_INFO: u32 = 0x01;
const CLIENT_INFO: u32 = 0x0a;
const UPN_DNS_INFO: u32 = 0x0c;
const REQUESTOR: u32 = 0x12;

/// More than Windows' 1 024 SIDs of a token, and than any KDC sends.
const MAX_BUFFERS: usize = 64;

impl Pac {
    /// Reads a PACTYPE (MS-PAC 2.3).
    ///
    /// # Errors
    /// If it is cut off, contradicts itself, or lacks the logon information.
    pub fn parse(pac: &[u8]) -> Result<Self, PacError> {
        let buffers = Buffers::of(pac)?;
        let mut parsed = logon_info(buffers.logon_info.ok_or(PacError::NoLogonInfo)?)?;
        if let Some(info) = buffers.client_info {
            parsed.client_name = Some(client_info(info)?);
        }
        if let Some(info) = buffers.upn_dns_info {
            parsed.add_upn_dns_info(info)?;
        }
        if let Some(requestor) = buffers.requestor {
            let sid = Reader::new(requestor).sid("requestor")?;
            if sid != parsed.user_sid {
                return Err(PacError::TwoAccounts("requestor"));
            }
            parsed.requestor_sid = Some(sid);
        }
        Ok(parsed)
    }

    /// UPN_DNS_INFO (MS-PAC 2.10).
    fn add_upn_dns_info(&mut self, info: &[u8]) -> Result<(), PacError> {
        const WHAT: &str = "name of the user principal";
        let mut reader = Reader::new(info);
        let text = |reader: &mut Reader<'_>| -> Result<String, PacError> {
            let (length, offset) = (reader.u16(WHAT)?, reader.u16(WHAT)?);
            ndr::utf16(ndr::range(info, offset.into(), length.into(), WHAT)?, WHAT)
        };
        let (upn, dns_domain) = (text(&mut reader)?, text(&mut reader)?);
        let flags = reader.u32(WHAT)?;
        self.upn_constructed = flags & 1 != 0;
        self.upn = Some(upn).filter(|upn| !upn.is_empty());
        self.dns_domain = Some(dns_domain).filter(|domain| !domain.is_empty());
        if flags & 2 != 0 {
            let account = text(&mut reader)?;
            let (length, offset) = (reader.u16(WHAT)?, reader.u16(WHAT)?);
            let sid = Reader::new(ndr::range(info, offset.into(), length.into(), WHAT)?).sid(WHAT)?;
            if sid != self.user_sid || !account.eq_ignore_ascii_case(&self.account_name) {
                return Err(PacError::TwoAccounts("user principal"));
            }
        }
        Ok(())
    }
}

/// The buffers that are read.
#[derive(Default)]
struct Buffers<'a> {
    logon_info: Option<&'a [u8]>,
    client_info: Option<&'a [u8]>,
    upn_dns_info: Option<&'a [u8]>,
    requestor: Option<&'a [u8]>,
}

impl<'a> Buffers<'a> {
    fn of(pac: &'a [u8]) -> Result<Self, PacError> {
        const WHAT: &str = "list of buffers";
        let mut reader = Reader::new(pac);
        let (count, version) = (reader.u32(WHAT)?, reader.u32(WHAT)?);
        if version != 0 {
            return Err(PacError::Wrong("version"));
        }
        let count =
            usize::try_from(count).ok().filter(|count| *count <= MAX_BUFFERS).ok_or(PacError::Wrong(WHAT))?;
        let (mut found, mut seen) = (Self::default(), BTreeSet::new());
        for _ in 0..count {
            let (kind, size, offset) = (reader.u32(WHAT)?, reader.u32(WHAT)?, reader.u64(WHAT)?);
            if !seen.insert(kind) {
                return Err(PacError::Twice(kind));
            }
            let buffer = ndr::range(pac, offset, size.into(), WHAT)?;
            let place = match kind {
                LOGON_INFO => &mut found.logon_info,
                CLIENT_INFO => &mut found.client_info,
                UPN_DNS_INFO => &mut found.upn_dns_info,
                REQUESTOR => &mut found.requestor,
                _ => continue,
            };
            *place = Some(buffer);
        }
        Ok(found)
    }
}

/// PAC_CLIENT_INFO (MS-PAC 2.7).
fn client_info(info: &[u8]) -> Result<String, PacError> {
    const WHAT: &str = "client name";
    let mut reader = Reader::new(info);
    reader.take(8, WHAT)?;
    let length = reader.u16(WHAT)?;
    ndr::utf16(reader.take(length.into(), WHAT)?, WHAT)
}

/// KERB_VALIDATION_INFO (MS-PAC 2.5): the fixed part, then what its pointers point to, in their order.
fn logon_info(info: &[u8]) -> Result<Pac, PacError> {
    const WHAT: &str = "logon information";
    const NO_DOMAIN: PacError = PacError::Wrong("domain");
    let mut reader = Reader::serialized(info, WHAT)?;
    // Six times: logon, logoff, kick-off, password set, may and must be changed.
    reader.take(6 * 8, WHAT)?;
    // Effective and full name; logon script, profile path, home directory and drive.
    let names = reader.strings::<6>(WHAT)?;
    // How often logged on, how often with a wrong password.
    reader.take(4, WHAT)?;
    let (user_id, primary_group_id) = (reader.u32(WHAT)?, reader.u32(WHAT)?);
    let groups = reader.counted_pointer(WHAT)?;
    // User flags, session key.
    reader.take(4 + 16, WHAT)?;
    let servers = reader.strings::<2>(WHAT)?;
    let domain_id = reader.pointer(WHAT)?;
    reader.take(8, WHAT)?;
    let user_account_control = reader.u32(WHAT)?;
    reader.take(7 * 4, WHAT)?;
    let extra = reader.counted_pointer(WHAT)?;
    let resource_domain_id = reader.pointer(WHAT)?;
    let resource_groups = reader.counted_pointer(WHAT)?;

    let [account_name, full_name, _script, _profile, _home, _drive] = reader.texts(names, WHAT)?;
    let group_ids = reader.groups(groups, "groups")?;
    let [logon_server, logon_domain] = reader.texts(servers, WHAT)?;
    let domain_sid = reader.pointed_sid(domain_id, "domain")?;
    let extra_sids = reader.sids(extra, "extra SIDs")?;
    let resource_domain_sid = reader.pointed_sid(resource_domain_id, "domain of the resource groups")?;
    let resource_group_ids = reader.groups(resource_groups, "resource groups")?;

    let domain_sid = domain_sid.ok_or(NO_DOMAIN)?;
    // An account that is of no domain of the KDC's has its SID among the extra ones.
    let user_sid = match (user_id, extra_sids.first()) {
        (0, Some(first)) => first.clone(),
        (0, None) => return Err(PacError::Wrong("user")),
        (id, _) => format!("{domain_sid}-{id}"),
    };
    let primary_group_sid = format!("{domain_sid}-{primary_group_id}");
    let mut group_sids: BTreeSet<String> = group_ids.iter().map(|id| format!("{domain_sid}-{id}")).collect();
    group_sids.insert(primary_group_sid.clone());
    group_sids.extend(extra_sids);
    if !resource_group_ids.is_empty() {
        let domain = resource_domain_sid.ok_or(PacError::Wrong("domain of the resource groups"))?;
        group_sids.extend(resource_group_ids.iter().map(|id| format!("{domain}-{id}")));
    }
    group_sids.remove(&user_sid);
    Ok(Pac {
        account_name,
        full_name,
        logon_domain,
        logon_server,
        domain_sid,
        user_sid,
        primary_group_sid,
        group_sids,
        user_account_control,
        upn: None,
        upn_constructed: false,
        dns_domain: None,
        client_name: None,
        requestor_sid: None,
    })
}
