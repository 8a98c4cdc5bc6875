//! Builds what goes into the token of Issue: PKCS#10 or CMC for a new certificate, CMS or CMC for a renewal.
//!
//! The form follows the schema of the template, as Windows has it (MS-WCCE 3.1.2.4.2.1):
//!
//! | Template schema | New | Renewal |
//! |---|---|---|
//! | 1 | bare PKCS#10 | CMS around PKCS#10, signed with the old key |
//! | 2 and later | CMC full request | CMC, signed with new and old key |

use std::net::IpAddr;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use der::Encode as _;
use muster_proto::wcce::{
    BuildError, CertificateRequest, Cosigner, Pkcs10Builder, PublicKey, RequestError, RequestedName,
    TemplateSelector, build_cmc, build_cms_renewal, parse_general_names,
};
use muster_proto::wstep::{BinarySecurityToken, ValueType};
use thiserror::Error;
use x509_cert::name::Name;

use crate::certificate::Certificate;
use crate::key::PrivateKey;

/// Names that a request asks for. Whether they are granted, the template says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedNames {
    /// DER of the subject; empty for none.
    pub subject: Vec<u8>,
    /// Subject alternative names.
    pub alternatives: Vec<RequestedName>,
}

/// Why names cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a distinguished name.
    #[error("{0:?} is not a distinguished name")]
    Subject(String),
    /// Not a DNS name.
    #[error("{0:?} is not a DNS name")]
    Dns(String),
    /// Not an e-mail address.
    #[error("{0:?} is not an e-mail address")]
    Email(String),
}

impl NameError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Subject(_) => {
                "write it like \"CN=host.example.test,O=Example\", most specific part first (RFC 4514)"
            }
            Self::Dns(_) => "give an ASCII host name (internationalised names in their xn-- form)",
            Self::Email(_) => "write it like someone@example.test",
        }
    }
}

impl RequestedNames {
    /// From text.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(
        subject: Option<&str>,
        dns: &[String],
        email: &[String],
        ip: &[IpAddr],
    ) -> Result<Self, NameError> {
        let mut names = Self::default();
        if let Some(text) = subject {
            let name = Name::from_str(text).ok().filter(|name| !name.is_empty());
            let der = name.and_then(|name| name.to_der().ok());
            names.subject = der.ok_or_else(|| NameError::Subject(text.to_owned()))?;
        }
        for name in dns {
            if !is_dns(name) {
                return Err(NameError::Dns(name.clone()));
            }
            names.alternatives.push(RequestedName::Dns(name.clone()));
        }
        for address in email {
            let parts = address.split_once('@');
            if !address.is_ascii()
                || address.contains(char::is_whitespace)
                || !parts.is_some_and(|(l, d)| !l.is_empty() && is_dns(d))
            {
                return Err(NameError::Email(address.clone()));
            }
            names.alternatives.push(RequestedName::Email(address.clone()));
        }
        names.alternatives.extend(ip.iter().copied().map(RequestedName::Ip));
        Ok(names)
    }

    /// Those of a certificate, for its renewal.
    ///
    /// # Errors
    /// [`RequestError`] if its alternative names cannot be read.
    pub fn of(certificate: &Certificate) -> Result<Self, RequestError> {
        let subject = certificate.decoded().tbs_certificate().subject();
        let subject = if subject.is_empty() { Vec::new() } else { subject.to_der().unwrap_or_default() };
        let alternatives = certificate.subject_alt_name().map(parse_general_names).transpose()?;
        Ok(Self { subject, alternatives: alternatives.unwrap_or_default() })
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subject.is_empty() && self.alternatives.is_empty()
    }
}

/// Letters, digits, hyphens and underscores between dots; a wildcard in front.
fn is_dns(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    rest.len() <= 253 && rest.split('.').all(label)
}

/// The certificate that is to be renewed, with its key.
#[derive(Clone, Copy, Debug)]
pub struct Old<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// Its private key.
    pub key: &'a PrivateKey,
}

/// Form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// PKCS#10, in CMS if it is a renewal.
    Pkcs10,
    /// CMC full request.
    Cmc,
}

/// Builds the token.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    form: Form,
    key: &PrivateKey,
    template: &TemplateSelector,
    names: &RequestedNames,
    old: Option<Old<'_>>,
) -> Result<BinarySecurityToken, BuildError> {
    let public_key = key.public().spki_der();
    let builder = Pkcs10Builder {
        subject: &names.subject,
        names: &names.alternatives,
        template: Some(template),
        renewal_certificate: old.map(|old| old.certificate.der()),
        ..Pkcs10Builder::new(public_key)
    };
    let pkcs10 = builder.build(key)?;
    let cosigner = old.map(|old| Cosigner { certificate: old.certificate.der(), key: old.key });
    let (value_type, bytes) = match (form, cosigner) {
        (Form::Pkcs10, None) => (ValueType::Pkcs10, pkcs10),
        (Form::Pkcs10, Some(old)) => (ValueType::Pkcs7, build_cms_renewal(&pkcs10, old)?),
        (Form::Cmc, old) => (ValueType::Pkcs7, build_cmc(&pkcs10, public_key, key, &[], old.as_slice())?),
    };
    Ok(BinarySecurityToken { value_type, bytes })
}

/// A PKCS#10 request that another program made and signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRequest {
    der: Vec<u8>,
    public_key: PublicKey,
}

/// Why a request of another program is not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForeignRequestError {
    /// No PEM with a request.
    #[error("no certificate request in PEM")]
    Pem,
    /// Not a request, or its signature is wrong.
    #[error("the certificate request cannot be used: {0}")]
    Request(RequestError),
}

impl ForeignRequest {
    /// Reads the first request of a PEM text. Its signature is verified.
    ///
    /// # Errors
    /// [`ForeignRequestError`].
    pub fn from_pem(text: &str) -> Result<Self, ForeignRequestError> {
        let mut lines = text.lines().map(str::trim);
        let begin =
            |line: &str| line.starts_with("-----BEGIN ") && line.ends_with("CERTIFICATE REQUEST-----");
        lines.find(|line| begin(line)).ok_or(ForeignRequestError::Pem)?;
        let body: String = lines.take_while(|line| !line.starts_with("-----")).collect();
        let der = BASE64.decode(body).map_err(|_| ForeignRequestError::Pem)?;
        let request = CertificateRequest::parse(&der).map_err(ForeignRequestError::Request)?;
        Ok(Self { public_key: request.public_key, der })
    }

    /// The token of Issue.
    #[must_use]
    pub fn token(&self) -> BinarySecurityToken {
        BinarySecurityToken { value_type: ValueType::Pkcs10, bytes: self.der.clone() }
    }

    /// The key to be certified.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> Result<RequestedNames, NameError> {
        RequestedNames::new(None, &[name.to_owned()], &[], &[])
    }

    #[test]
    fn names_are_checked_before_they_are_sent() {
        for good in ["host", "a.b.example.test", "*.example.test", "xn--bcher-kva.example"] {
            assert!(dns(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", "bücher.example", "a b", "*", "a.*.b", &"a".repeat(64)] {
            assert!(dns(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "@example.test", "x@", "x y@example.test"] {
            assert!(RequestedNames::new(None, &[], &[bad.to_owned()], &[]).is_err(), "{bad}");
        }
        for bad in ["", "host.example.test", "CN", "nonsense=1"] {
            assert!(RequestedNames::new(Some(bad), &[], &[], &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn subject_is_written_most_significant_first() {
        let names = RequestedNames::new(Some("CN=host,DC=example,DC=test"), &[], &[], &[]).unwrap();
        let name = <Name as der::Decode>::from_der(&names.subject).unwrap();
        let order: Vec<String> = name.iter().map(ToString::to_string).collect();
        assert_eq!(order, ["DC=test", "DC=example", "CN=host"]);
    }
}
