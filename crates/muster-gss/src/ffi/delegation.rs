//! What acting for callers needs of a credential: to be one for somebody else, and to say by whose right.
//!
//! Apart from `ffi.rs` for its length only.

use std::ptr;

use crate::ffi::{Cred, INDEFINITE, INITIATE, KRB5, Name, OutputSet, checked, oid};
use crate::library::OidSetDesc;
use crate::status::Status;

/// 1.2.840.113554.1.2.2.5.14, `GSS_KRB5_GET_CRED_IMPERSONATOR`.
const IMPERSONATOR: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x05, 0x0e];

impl Cred {
    /// `gss_acquire_cred_impersonate_name`: S4U2Self. Asks the KDC.
    pub(crate) fn impersonate(&self, name: &Name) -> Result<Self, Status> {
        let krb5 = oid(KRB5);
        let mechanisms = OidSetDesc { count: 1, elements: &krb5 };
        let (mut minor, mut handle) = (0, ptr::null_mut());
        // SAFETY: all pointers are to live values of the right types; credential and name are live, and the library
        // keeps references of its own to what it needs of them.
        let major = unsafe {
            (self.api.gss_acquire_cred_impersonate_name)(
                &mut minor,
                self.handle,
                name.handle,
                INDEFINITE,
                &mechanisms,
                INITIATE,
                &mut handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        checked(self.api, major, minor)?;
        Ok(Self { api: self.api, handle })
    }

    /// Who acts with it for the one that it is for: `None` if it is that one's own. `gss_inquire_cred_by_oid`.
    pub(crate) fn impersonator(&self) -> Result<Option<String>, Status> {
        let (option, mut minor) = (oid(IMPERSONATOR), 0);
        let mut names = OutputSet { api: self.api, set: ptr::null_mut() };
        // SAFETY: all pointers are to live values of the right types, and the credential is live.
        let major =
            unsafe { (self.api.gss_inquire_cred_by_oid)(&mut minor, self.handle, &option, &mut names.set) };
        checked(self.api, major, minor)?;
        Ok(names.iter().next().map(|name| String::from_utf8_lossy(name).into_owned()))
    }
}
