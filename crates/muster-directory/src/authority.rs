//! pKIEnrollmentService: a CA as the directory knows it, and where to enroll with it.

use std::fmt;
use std::str::FromStr;

use muster_core::template::AccessEntry;
use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;
use crate::entry::{AttributeError, AttributeProblem, RawEntry};
use crate::finding::{Effect, Finding};

/// A CA (MS-WCCE 2.2.2.11.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollmentService {
    /// Distinguished name of the object.
    pub dn: String,
    /// cn: the name of the CA.
    pub name: String,
    /// displayName.
    pub display_name: Option<String>,
    /// dNSHostName of the machine that it runs on.
    pub dns_host_name: Option<String>,
    /// cACertificate, DER; the newest comes first.
    pub ca_certificate: Option<Vec<u8>>,
    /// certificateTemplates: names of the templates that it offers.
    pub templates: Vec<String>,
    /// msPKI-Enrollment-Servers.
    pub servers: Vec<EnrollmentServer>,
    /// Who may ask it for certificates.
    pub access: Vec<AccessEntry>,
    /// What is damaged.
    pub findings: Vec<Finding>,
}

impl EnrollmentService {
    /// Reads an entry. Damaged attributes are left out and reported.
    ///
    /// # Errors
    /// Without a usable `cn` there is nothing to report about.
    pub fn from_entry(entry: &RawEntry) -> Result<Self, AttributeError> {
        let missing = AttributeError { attribute: "cn", problem: AttributeProblem::Missing };
        let name = entry.text("cn")?.ok_or(missing)?.to_owned();
        let mut findings = Vec::new();
        let mut report = |about: &str, sentence: String| {
            findings.push(Finding::new(Effect::Ignored, about, sentence));
        };
        let mut text = |attribute| {
            let value = entry.text(attribute).map_err(|error| report(attribute, error.to_string()));
            value.unwrap_or_default().map(str::to_owned)
        };
        let display_name = text("displayName");
        let dns_host_name = text("dNSHostName");
        let templates = match entry.texts("certificateTemplates") {
            Ok(names) => names.into_iter().map(str::to_owned).collect(),
            Err(error) => {
                report("certificateTemplates", error.to_string());
                Vec::new()
            }
        };
        let mut servers = Vec::new();
        for value in entry.values("msPKI-Enrollment-Servers") {
            match std::str::from_utf8(value).map_err(|_| BadServer).and_then(str::parse) {
                Ok(server) => servers.push(server),
                Err(BadServer) => report("msPKI-Enrollment-Servers", BadServer.to_string()),
            }
        }
        servers.sort();
        let access = match entry.octets("nTSecurityDescriptor") {
            Ok(Some(octets)) => match Descriptor::parse(octets) {
                Ok(descriptor) => descriptor.enrollment_access(),
                Err(error) => {
                    report("nTSecurityDescriptor", error.to_string());
                    Vec::new()
                }
            },
            Ok(None) => Vec::new(),
            Err(error) => {
                report("nTSecurityDescriptor", error.to_string());
                Vec::new()
            }
        };
        let ca_certificate = entry.values("cACertificate").first().cloned().filter(|der| der.len() > 2);
        Ok(Self {
            dn: entry.dn.clone(),
            name,
            display_name,
            dns_host_name,
            ca_certificate,
            templates,
            servers,
            access,
            findings,
        })
    }
}

/// One address at which a CA can be asked: a value of msPKI-Enrollment-Servers (MS-ADA2 2.612).
///
/// Addresses sort by priority, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnrollmentServer {
    /// Lower is preferred.
    pub priority: u32,
    /// How to authenticate there.
    pub authentication: ServerAuthentication,
    /// Accepts renewals only.
    pub renewal_only: bool,
    /// The address.
    pub uri: String,
    /// Renews for keys alone, without an account.
    pub key_based_renewal: bool,
}

/// How to authenticate at an [`EnrollmentServer`] (MS-XCEP 3.1.4.1.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerAuthentication {
    /// 1.
    Anonymous,
    /// 2.
    Kerberos,
    /// 4.
    UsernamePassword,
    /// 8.
    Certificate,
}

impl ServerAuthentication {
    /// The number that stands for it.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Anonymous => 1,
            Self::Kerberos => 2,
            Self::UsernamePassword => 4,
            Self::Certificate => 8,
        }
    }

    /// What a number stands for.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Anonymous),
            2 => Some(Self::Kerberos),
            4 => Some(Self::UsernamePassword),
            8 => Some(Self::Certificate),
            _ => None,
        }
    }
}

/// The text is not a value of msPKI-Enrollment-Servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value is not an enrollment address: priority, authentication, renewal only, URL, each on a line")]
pub struct BadServer;

impl FromStr for EnrollmentServer {
    type Err = BadServer;

    /// Reads five fields separated by line feeds; the last one, or the last and *renewal only*, may be absent, as in
    /// what early servers wrote.
    fn from_str(text: &str) -> Result<Self, BadServer> {
        let mut fields: Vec<&str> = text.split('\n').map(|field| field.trim_end_matches('\r')).collect();
        while fields.last().is_some_and(|last| last.is_empty()) {
            fields.pop();
        }
        let flag = |field: &str| match field {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(BadServer),
        };
        let (priority, authentication, renewal_only, uri, key_based) = match fields.as_slice() {
            [priority, authentication, uri] => (priority, authentication, false, uri, false),
            [priority, authentication, renewal, uri] => {
                (priority, authentication, flag(renewal)?, uri, false)
            }
            [priority, authentication, renewal, uri, key_based] => {
                (priority, authentication, flag(renewal)?, uri, flag(key_based)?)
            }
            _ => return Err(BadServer),
        };
        let number = |field: &str| field.parse::<u32>().map_err(|_| BadServer);
        let address = uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
            && uri.len() > 8
            && uri.bytes().all(|b| b.is_ascii_graphic());
        if !address {
            return Err(BadServer);
        }
        Ok(Self {
            priority: number(priority)?,
            authentication: ServerAuthentication::from_number(number(authentication)?).ok_or(BadServer)?,
            renewal_only,
            uri: (*uri).to_owned(),
            key_based_renewal: key_based,
        })
    }
}

impl fmt::Display for EnrollmentServer {
    /// The five fields, separated by line feeds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n{}\n{}\n{}\n{}",
            self.priority,
            self.authentication.number(),
            u8::from(self.renewal_only),
            self.uri,
            u8::from(self.key_based_renewal)
        )
    }
}
