//! MS-XCEP: the enrollment policy (the "CEP" service): which templates may the caller use, and where.
//!
//! Types carry the specification's names. In the answer no element is optional: a value that is absent is written
//! as `xsi:nil`, in the order of the schema, since Windows refuses anything else. Empty collections are not valid
//! in the schema either, so an empty `Vec` is written as nil and nil is read as an empty `Vec`.

mod check;
mod flags;
mod read;
mod request;
mod response;
mod write;

pub use check::PolicyProblem;
pub use flags::{
    ClientAuthentication, EnrollmentFlags, GeneralFlags, KeySpec, KeyUsageProperty, OidGroup,
    PrivateKeyFlags, SubjectNameFlags,
};
pub use request::{Client, GetPolicies, RequestFilter, XcepError};
pub use response::{
    Attributes, Ca, CaUri, CertificateEnrollmentPolicy, CertificateValidity, EnrollmentPermission, Extension,
    GetPoliciesResponse, KeyArchivalAttributes, Oid, PrivateKeyAttributes, RaRequirements, Response,
    Revision,
};
pub use write::WrittenPolicies;
