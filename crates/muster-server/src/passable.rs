//! Whether a request may go to another CA as it came. That CA reads more in it than we do, so what we do not judge is not
//! passed on: no attribute but the few that are known, no extension outside of the PKCS#10, no purpose that the template
//! has not.

use std::collections::BTreeSet;

use der::Decode as _;
use muster_core::{Oid, Template};
use muster_proto::wcce::{CertificateRequest, ParsedRequest};
use x509_cert::ext::pkix::{CertificatePolicies, ExtendedKeyUsage};

use crate::fault::RequestFault;

/// Names of pairs that say nothing of what is issued (MS-WCCE 2.2.2.7.10, 3.2.1.4.2.1.2): the template, which is judged, and
/// hints about the domain controller and the machine.
const PERMITTED: [&str; 4] = ["CertificateTemplate", "cdc", "rmd", "ccm"];
/// DER of 1.3.6.1.4.1.311.13.2.1, a name-value pair.
const PAIR: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0d, 0x02, 0x01];
/// DER of 1.3.6.1.4.1.311.13.1, the certificate that is renewed.
const RENEWAL: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0d, 0x01];
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const CERTIFICATE_POLICIES: &str = "2.5.29.32";
/// In form certificate policies, in meaning purposes (MS-WCCE 2.2.2.7.7.3).
const APPLICATION_POLICIES: &str = "1.3.6.1.4.1.311.21.10";
const LONGEST: usize = 256;

fn refused<T>(what: impl Into<String>) -> Result<T, RequestFault> {
    Err(RequestFault::Attribute(what.into()))
}

/// Looks at everything that does not depend on the template.
///
/// # Errors
/// [`RequestFault`].
pub(crate) fn check(raw: &[u8]) -> Result<ParsedRequest, RequestFault> {
    let parsed = CertificateRequest::parse(raw)?;
    let whole = CertificateRequest::as_der(raw)?;
    for (pattern, name) in [(PAIR, "name-value pair"), (RENEWAL, "renewal certificate")] {
        // Those of signers and controls are read by nobody here.
        if occurrences(&whole, pattern) > occurrences(&parsed.pkcs10_der, pattern) {
            return refused(format!("{name} outside of its PKCS#10"));
        }
    }
    for pair in &parsed.pairs {
        let printable = |text: &str| {
            text.len() <= LONGEST && text.bytes().all(|octet| (b' '..=b'~').contains(&octet) && octet != b'%')
        };
        if !printable(&pair.name) || !printable(&pair.value) {
            let name: String = pair.name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
            return refused(format!("{name} with characters that it may not have"));
        }
        if !PERMITTED.iter().any(|name| name.eq_ignore_ascii_case(&pair.name)) {
            return refused(pair.name.clone());
        }
    }
    if let Some(extension) = parsed.control_extensions.first() {
        return refused(format!("{} in a control of CMC", extension.oid));
    }
    Ok(parsed)
}

/// Whether purposes and policies in the request are the template's.
///
/// # Errors
/// [`RequestFault::Attribute`] with the first that is not.
pub(crate) fn check_uses(parsed: &ParsedRequest, template: &Template) -> Result<(), RequestFault> {
    let purposes: BTreeSet<&str> = template.eku.iter().map(Oid::as_str).collect();
    let policies: BTreeSet<&str> = template.policies.iter().map(Oid::as_str).collect();
    for extension in &parsed.extensions {
        let dotted = extension.oid.to_string();
        let (found, permitted) = match dotted.as_str() {
            EXTENDED_KEY_USAGE => {
                let read = ExtendedKeyUsage::from_der(&extension.value);
                (read.ok().map(|list| list.0.iter().map(ToString::to_string).collect()), &purposes)
            }
            APPLICATION_POLICIES => (policy_identifiers(&extension.value), &purposes),
            CERTIFICATE_POLICIES => (policy_identifiers(&extension.value), &policies),
            _ => continue,
        };
        let found: Vec<String> = match found {
            Some(found) => found,
            None => return refused(format!("{dotted}, which cannot be read")),
        };
        if let Some(other) = found.iter().find(|oid| !permitted.contains(oid.as_str())) {
            return refused(format!("{dotted} with {other}, which the template has not"));
        }
    }
    Ok(())
}

fn policy_identifiers(value: &[u8]) -> Option<Vec<String>> {
    let read = CertificatePolicies::from_der(value).ok()?;
    Some(read.0.iter().map(|policy| policy.policy_identifier.to_string()).collect())
}

fn occurrences(octets: &[u8], pattern: &[u8]) -> usize {
    octets.windows(pattern.len()).filter(|window| *window == pattern).count()
}
