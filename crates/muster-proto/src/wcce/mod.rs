//! Certificate requests and responses in DER: the formats of MS-WCCE 2.2.2 that MS-WSTEP carries.
//!
//! Pure functions over bytes. What a request asks for is data for policy; what it proves has been verified
//! when [`CertificateRequest::parse`] returns.

mod attributes;
mod certificate;
mod encode;
mod error;
mod key;
mod key_check;
pub mod oids;
mod pkcs10;
mod request;
mod request_build;
mod response;
mod response_read;
mod signature;
mod signed_data;
mod tlv;
mod x509;

pub use attributes::{
    ClientDescription, ClientInfo, CspProvider, MAX_EXTENSIONS, MAX_NAMES, MAX_RDN_TEXT, MAX_RDNS,
    NameValuePair, RequestedExtension, RequestedName, RequestedSubject, TemplateId, TemplateIdentifiers,
    parse_general_names, parse_template_name,
};
pub use certificate::{
    CertificateTemplate, application_policies_to_der, certificate_application_policies,
    certificate_key_usages, certificate_sid, certificate_template, general_names_to_der,
    parse_application_policies, parse_key_usages, parse_sid, sid_to_der, template_name_to_der, upn_to_der,
};
pub use encode::BuildError;
pub use error::{Malformed, RequestError, SignatureError};
pub use key::{KeyAlgorithm, KeyError, PublicKey};
pub use key_check::{KeyWeakness, check_public_key, check_requested_key};
pub use request::{
    CertificateRequest, MAX_REQUEST_LEN, ParsedRequest, Possession, RequestForm, VerifiedSigner,
};
pub use request_build::{
    Cosigner, Pkcs10Builder, TemplateSelector, build_cmc, build_cms_renewal, build_on_behalf,
};
pub use response::{ResponseStatus, build_certs_only, build_response};
pub use response_read::{CmcResponse, CmcStatus, MAX_RESPONSE_LEN, ResponseError, parse_certs_only};
pub use signature::{DigestAlgorithm, SignBytes, SignError, SignatureAlgorithm};
pub use tlv::MAX_DEPTH;
