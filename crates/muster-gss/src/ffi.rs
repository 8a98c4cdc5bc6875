//! The library's functions as safe ones: every pointer that goes in or comes out is handled here.
//!
//! Only the krb5 mechanism is ever named to the library. SPNEGO is ours (`spnego.rs`), so that nothing can be
//! negotiated that we do not speak, and so that the library's error numbers stay those of Kerberos: it renumbers
//! what one mechanism passes on from another.

#![expect(unsafe_code, reason = "the calls into the library")]

mod dce;
mod delegation;

pub(crate) use dce::Leg;

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use zeroize::Zeroize;

use crate::library::{
    Api, BufferDesc, BufferSetDesc, ChannelBindingsDesc, Handle, KeyValueDesc, KeyValueSetDesc, OidDesc,
    OidSetDesc,
};
use crate::status::Status;

/// 1.2.840.113554.1.2.2, the krb5 mechanism (RFC 4121).
pub(crate) const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];

/// 1.2.752.43.13.29, of both MIT's library and Heimdal's.
const NO_FORCED_FLAGS: &[u8] = &[0x2a, 0x85, 0x70, 0x2b, 0x0d, 0x1d];

const ACCEPT: c_int = 2;
const INITIATE: c_int = 1;
const BOTH: c_int = 0;
const INDEFINITE: u32 = u32::MAX;
const MECHANISM_CODE: c_int = 2;
const CONTINUE_NEEDED: u32 = 1;
/// The bits of a major status that mean failure; the others tell something about success.
const ERROR_BITS: u32 = 0xffff_0000;
/// `GSS_S_UNAVAILABLE`.
const UNAVAILABLE: u32 = 16 << 16;

/// How the text of a name is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameForm {
    /// `name@REALM` or `service/host@REALM`, taken as it stands.
    Principal,
    /// A user principal name that the KDC looks up (`KRB5_NT_ENTERPRISE`).
    Enterprise,
}

impl NameForm {
    fn oid(self) -> &'static [u8] {
        match self {
            Self::Principal => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01],
            Self::Enterprise => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x06],
        }
    }
}

fn oid(elements: &'static [u8]) -> OidDesc {
    OidDesc { length: u32::try_from(elements.len()).unwrap_or(0), elements: elements.as_ptr().cast() }
}

/// The library only reads what these describe, although its types do not say so.
fn input(octets: &[u8]) -> BufferDesc {
    BufferDesc { length: octets.len(), value: octets.as_ptr().cast::<c_void>().cast_mut() }
}

const fn empty() -> BufferDesc {
    BufferDesc { length: 0, value: ptr::null_mut() }
}

/// Octets that the library allocated.
struct Output {
    api: &'static Api,
    buffer: BufferDesc,
}

impl Output {
    fn new(api: &'static Api) -> Self {
        Self { api, buffer: empty() }
    }

    fn slice(&self) -> &[u8] {
        if self.buffer.value.is_null() || self.buffer.length == 0 {
            return &[];
        }
        // SAFETY: the library wrote both fields: so many octets at this address, ours until they are released.
        unsafe { std::slice::from_raw_parts(self.buffer.value.cast::<u8>(), self.buffer.length) }
    }

    /// For what nobody else may see: wiped before it is released.
    fn wipe(&mut self) {
        if !self.buffer.value.is_null() && self.buffer.length != 0 {
            // SAFETY: as in `slice`; and nobody else holds a reference to it.
            unsafe { std::slice::from_raw_parts_mut(self.buffer.value.cast::<u8>(), self.buffer.length) }
                .zeroize();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: an empty buffer, or one that the library allocated; it is not used again.
        unsafe { (self.api.gss_release_buffer)(&mut minor, &mut self.buffer) };
    }
}

/// A set of octets that the library allocated; null is an empty one.
struct OutputSet {
    api: &'static Api,
    set: *mut BufferSetDesc,
}

impl OutputSet {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: null, or the library made it, and it is ours until it is released.
        let buffers: &[BufferDesc] = match unsafe { self.set.as_ref() } {
            Some(set) if !set.elements.is_null() => {
                // SAFETY: so many buffers, of the same set.
                unsafe { std::slice::from_raw_parts(set.elements, set.count) }
            }
            Some(_) | None => &[],
        };
        buffers.iter().filter(|one| !one.value.is_null()).map(|one| {
            // SAFETY: so many octets, of the same set.
            unsafe { std::slice::from_raw_parts(one.value.cast::<u8>(), one.length) }
        })
    }
}

impl Drop for OutputSet {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.set.is_null() {
            // SAFETY: the set is ours, and neither it nor what was borrowed from it is used again.
            unsafe { (self.api.gss_release_buffer_set)(&mut minor, &mut self.set) };
        }
    }
}

/// Judges a major status; the message must be fetched in the thread of the call.
fn checked(api: &'static Api, major: u32, minor: u32) -> Result<(), Status> {
    if major & ERROR_BITS == 0 { Ok(()) } else { Err(status(api, major, minor)) }
}

fn status(api: &'static Api, major: u32, minor: u32) -> Status {
    let mut message = String::new();
    let (mechanism, mut more) = (oid(KRB5), 0);
    // Bounded, should the library never come to an end.
    for _ in 0..4 {
        let (mut ignored, mut text) = (0, Output::new(api));
        // SAFETY: all pointers are to live values of the right types.
        let result = unsafe {
            (api.gss_display_status)(
                &mut ignored,
                minor,
                MECHANISM_CODE,
                &mechanism,
                &mut more,
                &mut text.buffer,
            )
        };
        if result & ERROR_BITS != 0 {
            break;
        }
        message.push_str(&String::from_utf8_lossy(text.slice()));
        if more == 0 {
            break;
        }
    }
    Status::new(major, minor, &message)
}

/// `gss_name_t`.
pub(crate) struct Name {
    api: &'static Api,
    handle: Handle,
}

// SAFETY: the library's names are bound to no thread; `Name` is the only owner of its handle.
unsafe impl Send for Name {}

// SAFETY: through `&Name` the library only reads: it locks or copies what it caches with a name.
unsafe impl Sync for Name {}

/// A name attribute (RFC 6680).
pub(crate) struct Attribute {
    /// The library has verified it.
    pub(crate) authenticated: bool,
    pub(crate) value: Vec<u8>,
}

impl Name {
    pub(crate) fn import(api: &'static Api, text: &str, form: NameForm) -> Result<Self, Status> {
        let (mut minor, mut handle) = (0, ptr::null_mut());
        let (text, form) = (input(text.as_bytes()), oid(form.oid()));
        // SAFETY: all pointers are to live values of the right types; the library copies text and form.
        let major = unsafe { (api.gss_import_name)(&mut minor, &text, &form, &mut handle) };
        checked(api, major, minor)?;
        Ok(Self { api, handle })
    }

    pub(crate) fn display(&self) -> Result<String, Status> {
        let (mut minor, mut text) = (0, Output::new(self.api));
        // SAFETY: the name is live; the form of the name is not asked for.
        let major = unsafe {
            (self.api.gss_display_name)(&mut minor, self.handle, &mut text.buffer, ptr::null_mut())
        };
        checked(self.api, major, minor)?;
        Ok(String::from_utf8_lossy(text.slice()).into_owned())
    }

    /// Whether the name lists an attribute. The library lists a PAC that it could not verify, but does not hand it out.
    pub(crate) fn lists(&self, attribute: &str) -> Result<bool, Status> {
        let (mut minor, mut is_mechanism_name) = (0, 0);
        let (mut mechanism, mut attributes) = (ptr::null(), ptr::null_mut());
        // SAFETY: the name is live and all pointers are to live values of the right types.
        let major = unsafe {
            (self.api.gss_inquire_name)(
                &mut minor,
                self.handle,
                &mut is_mechanism_name,
                &mut mechanism,
                &mut attributes,
            )
        };
        checked(self.api, major, minor)?;
        let attributes = OutputSet { api: self.api, set: attributes };
        let found = attributes.iter().any(|one| one == attribute.as_bytes());
        Ok(found)
    }

    /// The first value of an attribute; `None` if the name has none.
    pub(crate) fn attribute(&self, attribute: &str) -> Result<Option<Attribute>, Status> {
        let (mut minor, mut authenticated, mut complete, mut more) = (0, 0, 0, -1);
        let (mut value, mut display) = (Output::new(self.api), Output::new(self.api));
        let attribute = input(attribute.as_bytes());
        // SAFETY: the name is live and all pointers are to live values of the right types.
        let major = unsafe {
            (self.api.gss_get_name_attribute)(
                &mut minor,
                self.handle,
                &attribute,
                &mut authenticated,
                &mut complete,
                &mut value.buffer,
                &mut display.buffer,
                &mut more,
            )
        };
        if major & ERROR_BITS == UNAVAILABLE {
            return Ok(None);
        }
        checked(self.api, major, minor)?;
        Ok(Some(Attribute { authenticated: authenticated != 0, value: value.slice().to_vec() }))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the handle is ours and is not used again.
        unsafe { (self.api.gss_release_name)(&mut minor, &mut self.handle) };
    }
}

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Accept,
    Initiate,
    /// Both: a service that also acts for its callers.
    Both,
}

/// `gss_cred_id_t`, for the krb5 mechanism alone.
pub(crate) struct Cred {
    api: &'static Api,
    handle: Handle,
}

// SAFETY: the library's credentials are bound to no thread; `Cred` is the only owner of its handle.
unsafe impl Send for Cred {}

// SAFETY: the krb5 mechanism locks a credential for as long as a call uses it.
unsafe impl Sync for Cred {}

impl Cred {
    /// `gss_acquire_cred_from`. `store` has the keys `keytab`, `client_keytab`, `ccache`, `rcache`; values that
    /// contain NUL are none that the library could be told of.
    pub(crate) fn acquire(
        api: &'static Api,
        name: Option<&Name>,
        usage: Usage,
        store: &[(&str, &[u8])],
    ) -> Result<Self, Status> {
        let nul = |_| Status::new(ERROR_BITS, 0, "a file name contains NUL");
        let mut texts = Vec::with_capacity(store.len());
        for (key, value) in store {
            texts.push((CString::new(*key).map_err(nul)?, CString::new(*value).map_err(nul)?));
        }
        let elements: Vec<KeyValueDesc> = texts
            .iter()
            .map(|(key, value)| KeyValueDesc { key: key.as_ptr(), value: value.as_ptr() })
            .collect();
        let store = KeyValueSetDesc {
            count: u32::try_from(elements.len()).unwrap_or(0),
            elements: elements.as_ptr(),
        };
        let krb5 = oid(KRB5);
        let mechanisms = OidSetDesc { count: 1, elements: &krb5 };
        let (mut minor, mut handle) = (0, ptr::null_mut());
        // SAFETY: all pointers are to live values of the right types; the library copies what it keeps. An empty
        // store is passed as none, which means the system's defaults.
        let major = unsafe {
            (api.gss_acquire_cred_from)(
                &mut minor,
                name.map_or(ptr::null_mut(), |name| name.handle),
                INDEFINITE,
                &mechanisms,
                usage.code(),
                if elements.is_empty() { ptr::null() } else { &store },
                &mut handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        checked(api, major, minor)?;
        Ok(Self { api, handle })
    }

    /// `gss_acquire_cred_with_password`. The KDC is asked by the first use of the credential.
    pub(crate) fn with_password(api: &'static Api, name: &Name, password: &str) -> Result<Self, Status> {
        let krb5 = oid(KRB5);
        let mechanisms = OidSetDesc { count: 1, elements: &krb5 };
        let password = input(password.as_bytes());
        let (mut minor, mut handle) = (0, ptr::null_mut());
        // SAFETY: all pointers are to live values of the right types; the library copies the password, and wipes
        // its copy with the credential.
        let major = unsafe {
            (api.gss_acquire_cred_with_password)(
                &mut minor,
                name.handle,
                &password,
                INDEFINITE,
                &mechanisms,
                INITIATE,
                &mut handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        checked(api, major, minor)?;
        Ok(Self { api, handle })
    }

    /// `GSS_KRB5_CRED_NO_CI_FLAGS_X`: without it the library asks for signing and sealing, whatever its caller wants.
    pub(crate) fn unforced(mut self) -> Result<Self, Status> {
        let (option, value, mut minor) = (oid(NO_FORCED_FLAGS), empty(), 0);
        // SAFETY: all pointers are to live values of the right types; the handle stays ours.
        let major = unsafe { (self.api.gss_set_cred_option)(&mut minor, &mut self.handle, &option, &value) };
        checked(self.api, major, minor)?;
        Ok(self)
    }
}

impl Usage {
    fn code(self) -> c_int {
        match self {
            Self::Accept => ACCEPT,
            Self::Initiate => INITIATE,
            Self::Both => BOTH,
        }
    }
}

impl Drop for Cred {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the handle is ours and is not used again.
        unsafe { (self.api.gss_release_cred)(&mut minor, &mut self.handle) };
    }
}

/// A path as the value of a credential store.
pub(crate) fn residual(prefix: &str, path: &Path) -> Vec<u8> {
    [prefix.as_bytes(), path.as_os_str().as_bytes()].concat()
}

/// `gss_ctx_id_t`; null before its first call.
pub(crate) struct Context {
    api: &'static Api,
    handle: Handle,
}

// SAFETY: the library's contexts are bound to no thread; `Context` is the only owner of its handle. It is not `Sync`:
// every call changes the context.
unsafe impl Send for Context {}

/// What `accept` returns.
pub(crate) struct Acceptance {
    pub(crate) client: Name,
    /// A framed AP-REP; empty if the initiator does not want one.
    pub(crate) reply: Vec<u8>,
    pub(crate) flags: u32,
    /// Seconds.
    pub(crate) lifetime: u32,
}

/// What `initiate` returns.
pub(crate) struct Progress {
    pub(crate) token: Vec<u8>,
    pub(crate) flags: u32,
    pub(crate) complete: bool,
}

/// What `initiate` is told in every call.
pub(crate) struct Initiation<'a> {
    pub(crate) credential: &'a Cred,
    pub(crate) target: &'a Name,
    pub(crate) flags: u32,
    /// The application data of the channel binding.
    pub(crate) bindings: Option<&'a [u8]>,
}

fn bindings(application_data: &[u8]) -> ChannelBindingsDesc {
    ChannelBindingsDesc {
        initiator_addrtype: 0,
        initiator_address: empty(),
        acceptor_addrtype: 0,
        acceptor_address: empty(),
        application_data: input(application_data),
    }
}

impl Context {
    pub(crate) fn new(api: &'static Api) -> Self {
        Self { api, handle: ptr::null_mut() }
    }

    /// `gss_accept_sec_context`, one leg. That the library wants another is a failure with `GSS_S_CONTINUE_NEEDED`.
    pub(crate) fn accept(
        credential: &Cred,
        token: &[u8],
        application_data: Option<&[u8]>,
    ) -> Result<Acceptance, Status> {
        let api = credential.api;
        let mut context = Self::new(api);
        let mut client = Name { api, handle: ptr::null_mut() };
        let bindings = application_data.map(bindings);
        let (token, mut reply) = (input(token), Output::new(api));
        let (mut minor, mut flags, mut lifetime) = (0, 0, 0);
        // SAFETY: all pointers are to live values of the right types. The library writes handles that are ours, and
        // which are released when their owners go, in failure as well. No credential is asked for.
        let major = unsafe {
            (api.gss_accept_sec_context)(
                &mut minor,
                &mut context.handle,
                credential.handle,
                &token,
                bindings.as_ref().map_or(ptr::null(), ptr::from_ref),
                &mut client.handle,
                ptr::null_mut(),
                &mut reply.buffer,
                &mut flags,
                &mut lifetime,
                ptr::null_mut(),
            )
        };
        checked(api, major, minor)?;
        if major & CONTINUE_NEEDED != 0 {
            return Err(status(api, major, minor));
        }
        let reply = reply.slice().to_vec();
        Ok(Acceptance { client, reply, flags, lifetime })
    }

    /// `gss_init_sec_context`: the first leg without a token, each further one with the acceptor's.
    pub(crate) fn initiate(
        &mut self,
        how: &Initiation<'_>,
        token: Option<&[u8]>,
    ) -> Result<Progress, Status> {
        let (mut minor, mut flags) = (0, 0);
        let mechanism = oid(KRB5);
        let bindings = how.bindings.map(bindings);
        let (token, mut reply) = (token.map(input), Output::new(self.api));
        // SAFETY: all pointers are to live values of the right types; credential and target are live.
        let major = unsafe {
            (self.api.gss_init_sec_context)(
                &mut minor,
                how.credential.handle,
                &mut self.handle,
                how.target.handle,
                &mechanism,
                how.flags,
                0,
                bindings.as_ref().map_or(ptr::null(), ptr::from_ref),
                token.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null_mut(),
                &mut reply.buffer,
                &mut flags,
                ptr::null_mut(),
            )
        };
        checked(self.api, major, minor)?;
        let complete = major & CONTINUE_NEEDED == 0;
        Ok(Progress { token: reply.slice().to_vec(), flags, complete })
    }

    /// `gss_wrap`; whether it was sealed is the second value.
    pub(crate) fn wrap(&mut self, message: &[u8], confidential: bool) -> Result<(Vec<u8>, bool), Status> {
        let (mut minor, mut was_confidential) = (0, 0);
        let (message, mut wrapped) = (input(message), Output::new(self.api));
        // SAFETY: the context is live and all pointers are to live values of the right types.
        let major = unsafe {
            (self.api.gss_wrap)(
                &mut minor,
                self.handle,
                c_int::from(confidential),
                0,
                &message,
                &mut was_confidential,
                &mut wrapped.buffer,
            )
        };
        checked(self.api, major, minor)?;
        Ok((wrapped.slice().to_vec(), was_confidential != 0))
    }

    /// `gss_unwrap`; whether it was sealed is the second value. What is replayed or out of order is an error.
    pub(crate) fn unwrap(&mut self, wrapped: &[u8]) -> Result<(Vec<u8>, bool), Status> {
        let (mut minor, mut confidential, mut protection) = (0, 0, 0);
        let (wrapped, mut message) = (input(wrapped), Output::new(self.api));
        // SAFETY: the context is live and all pointers are to live values of the right types.
        let major = unsafe {
            (self.api.gss_unwrap)(
                &mut minor,
                self.handle,
                &wrapped,
                &mut message.buffer,
                &mut confidential,
                &mut protection,
            )
        };
        let copy = message.slice().to_vec();
        message.wipe();
        // Also the bits that only inform: duplicate, old, out of sequence, gap.
        if major == 0 { Ok((copy, confidential != 0)) } else { Err(status(self.api, major, minor)) }
    }

    /// `gss_wrap_size_limit`.
    pub(crate) fn wrap_size_limit(&mut self, output: u32, confidential: bool) -> Result<u32, Status> {
        let (mut minor, mut limit) = (0, 0);
        // SAFETY: the context is live and all pointers are to live values of the right types.
        let major = unsafe {
            (self.api.gss_wrap_size_limit)(
                &mut minor,
                self.handle,
                c_int::from(confidential),
                0,
                output,
                &mut limit,
            )
        };
        checked(self.api, major, minor)?;
        Ok(limit)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.handle.is_null() {
            // SAFETY: the handle is ours and is not used again; no token is asked for.
            unsafe { (self.api.gss_delete_sec_context)(&mut minor, &mut self.handle, ptr::null_mut()) };
        }
    }
}
