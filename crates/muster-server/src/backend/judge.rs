//! What a certificate of a CA that is not ours has to be like, in the words of those who read the answer, and the last look
//! at it, whichever way it came: whose names it has.

use der::Decode as _;
use muster_core::forwarding::{Expected, Outcome};
use muster_proto::wcce::certificate_sid;
use x509_cert::Certificate;

use crate::decode;

/// What whoever reads the answer compares: key, template and the security identifier that must be there.
#[must_use]
pub fn expected(wanted: &Expected) -> muster_adcs::Expected {
    let oid = wanted.template_oid.as_ref().map(ToString::to_string);
    muster_adcs::Expected {
        public_key: wanted.spki.clone(),
        template: std::iter::once(wanted.template_name.clone()).chain(oid).collect(),
        sid: wanted.sid.demanded().map(str::to_owned),
    }
}

/// What is wrong with the names of a certificate (DER), whose key, signature and template have been looked at.
///
/// # Errors
/// A sentence for the administrator. The certificate is not to be handed out then.
pub fn check_names(certificate: &[u8], expected: &Expected) -> Result<(), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("the certificate cannot be read: {error}");
    let certificate = Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
    let sid = certificate_sid(&certificate).map_err(|error| unreadable(&error))?;
    let names = decode::names_of(&certificate);
    expected.check_names(&names, sid.as_deref()).map_err(|other| other.to_string())
}

/// The same outcome, unless its certificate is somebody else's.
pub(super) fn judged(outcome: Outcome, expected: &Expected) -> Outcome {
    let Outcome::Issued { backend_id, certificate, response } = outcome else { return outcome };
    match check_names(&certificate, expected) {
        Ok(()) => Outcome::Issued { backend_id, certificate, response },
        Err(why) => Outcome::Untrusted { backend_id: Some(backend_id), why },
    }
}
