//! SOAP, MS-XCEP, MS-WSTEP and the certificate request formats that they carry; no input or output, no clock, no randomness.

pub mod wcce;
