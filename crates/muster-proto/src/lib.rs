//! SOAP, MS-XCEP, MS-WSTEP and the certificate request formats that they carry; no input or output, no clock, no randomness.

pub mod soap;
pub mod wcce;
pub mod wstep;
pub mod xcep;
