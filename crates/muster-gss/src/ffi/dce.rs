//! What DCE/RPC needs of a context: several legs, and messages of which a part is sealed where it stands.
//!
//! Apart from `ffi.rs` for its length only.

use std::ffi::c_int;
use std::ptr;

use crate::ffi::{Context, Cred, Name, Output, bindings, checked, empty, input, status};
use crate::library::{BufferDesc, IovDesc};
use crate::status::Status;

/// `GSS_IOV_BUFFER_TYPE_…` of `gssapi_ext.h`.
const DATA: u32 = 1;
const HEADER: u32 = 2;
const SIGN_ONLY: u32 = 11;

/// What one leg of the acceptor returns.
pub(crate) struct Leg {
    pub(crate) client: Name,
    pub(crate) reply: Vec<u8>,
    pub(crate) flags: u32,
    pub(crate) complete: bool,
    /// Seconds for which the ticket is still good, with what clocks may differ by.
    pub(crate) lifetime: u32,
    /// A credential to act for the client with: where the acceptor's is for both, and the ticket permits it.
    pub(crate) delegated: Option<Cred>,
}

/// The library only reads what is signed, although its type does not say so.
fn signed(octets: &[u8]) -> IovDesc {
    IovDesc { kind: SIGN_ONLY, buffer: input(octets) }
}

fn data(octets: &mut [u8]) -> IovDesc {
    IovDesc { kind: DATA, buffer: writable(octets) }
}

fn writable(octets: &mut [u8]) -> BufferDesc {
    BufferDesc { length: octets.len(), value: octets.as_mut_ptr().cast() }
}

/// The number of buffers below.
const FOUR: c_int = 4;

impl Context {
    /// `gss_accept_sec_context`, one of several legs.
    pub(crate) fn accept_leg(
        &mut self,
        credential: &Cred,
        token: &[u8],
        application_data: Option<&[u8]>,
    ) -> Result<Leg, Status> {
        const CONTINUE_NEEDED: u32 = 1;
        let api = self.api;
        let mut client = Name { api, handle: ptr::null_mut() };
        let mut delegated = Cred { api, handle: ptr::null_mut() };
        let bindings = application_data.map(bindings);
        let (token, mut reply) = (input(token), Output::new(api));
        let (mut minor, mut flags, mut lifetime) = (0, 0, 0);
        // SAFETY: all pointers are to live values of the right types. The library writes handles that are ours, and
        // which are released when their owners go, in failure as well.
        let major = unsafe {
            (api.gss_accept_sec_context)(
                &mut minor,
                &mut self.handle,
                credential.handle,
                &token,
                bindings.as_ref().map_or(ptr::null(), ptr::from_ref),
                &mut client.handle,
                ptr::null_mut(),
                &mut reply.buffer,
                &mut flags,
                &mut lifetime,
                &mut delegated.handle,
            )
        };
        checked(api, major, minor)?;
        let delegated = (!delegated.handle.is_null()).then_some(delegated);
        let complete = major & CONTINUE_NEEDED == 0;
        Ok(Leg { client, reply: reply.slice().to_vec(), flags, complete, lifetime, delegated })
    }

    /// `gss_get_mic`.
    pub(crate) fn mic(&mut self, message: &[u8]) -> Result<Vec<u8>, Status> {
        let (mut minor, message, mut mic) = (0, input(message), Output::new(self.api));
        // SAFETY: the context is live and all pointers are to live values of the right types.
        let major = unsafe { (self.api.gss_get_mic)(&mut minor, self.handle, 0, &message, &mut mic.buffer) };
        checked(self.api, major, minor)?;
        Ok(mic.slice().to_vec())
    }

    /// `gss_verify_mic`.
    pub(crate) fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> Result<(), Status> {
        let (mut minor, mut protection, message, mic) = (0, 0, input(message), input(mic));
        // SAFETY: the context is live and all pointers are to live values of the right types.
        let major =
            unsafe { (self.api.gss_verify_mic)(&mut minor, self.handle, &message, &mic, &mut protection) };
        if major == 0 { Ok(()) } else { Err(status(self.api, major, minor)) }
    }

    /// `gss_wrap_iov_length`: the octets of the token that [`Self::seal`] makes for so many octets.
    pub(crate) fn seal_length(&mut self, length: usize) -> Result<usize, Status> {
        self.length(length, 1)
    }

    /// The octets of what [`Self::mic`] makes: as many as a token without sealing has (RFC 4121 4.2.6).
    pub(crate) fn mic_length(&mut self) -> Result<usize, Status> {
        self.length(0, 0)
    }

    fn length(&mut self, length: usize, sealed: c_int) -> Result<usize, Status> {
        let (mut minor, mut confidential) = (0, 0);
        let mut stub = vec![0; length];
        let mut buffers =
            [IovDesc { kind: HEADER, buffer: empty() }, signed(&[]), data(&mut stub), signed(&[])];
        // SAFETY: the context is live, and so many buffers are where the pointer says; the library writes lengths.
        let major = unsafe {
            (self.api.gss_wrap_iov_length)(
                &mut minor,
                self.handle,
                sealed,
                0,
                &mut confidential,
                buffers.as_mut_ptr(),
                FOUR,
            )
        };
        checked(self.api, major, minor)?;
        let [header, ..] = &buffers;
        Ok(header.buffer.length)
    }

    /// `gss_wrap_iov`: seals `stub` where it stands, and signs all three; whether it was sealed is the second value.
    pub(crate) fn seal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
    ) -> Result<(Vec<u8>, bool), Status> {
        let mut token = vec![0; self.seal_length(stub.len())?];
        let (mut minor, mut confidential) = (0, 0);
        let mut buffers = [
            IovDesc { kind: HEADER, buffer: writable(&mut token) },
            signed(header),
            data(stub),
            signed(trailer),
        ];
        // SAFETY: the context is live, and so many buffers are where the pointer says. Token and stub are borrowed
        // as writable, and have the lengths that they are said to have; the library writes no further.
        let major = unsafe {
            (self.api.gss_wrap_iov)(
                &mut minor,
                self.handle,
                1,
                0,
                &mut confidential,
                buffers.as_mut_ptr(),
                FOUR,
            )
        };
        checked(self.api, major, minor)?;
        let [used, ..] = &buffers;
        let used = used.buffer.length;
        token.truncate(used);
        Ok((token, confidential != 0))
    }

    /// `gss_unwrap_iov`: the reverse; whether it was sealed is returned. What is replayed or out of order is an error.
    pub(crate) fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<bool, Status> {
        let (mut minor, mut confidential, mut protection) = (0, 0, 0);
        // The library decrypts parts of the token where they stand.
        let mut token = token.to_vec();
        let mut buffers = [
            IovDesc { kind: HEADER, buffer: writable(&mut token) },
            signed(header),
            data(stub),
            signed(trailer),
        ];
        // SAFETY: as in `seal`.
        let major = unsafe {
            (self.api.gss_unwrap_iov)(
                &mut minor,
                self.handle,
                &mut confidential,
                &mut protection,
                buffers.as_mut_ptr(),
                FOUR,
            )
        };
        // Also the bits that only inform: duplicate, old, out of sequence, gap.
        if major == 0 { Ok(confidential != 0) } else { Err(status(self.api, major, minor)) }
    }
}
