//! The system's GSSAPI library, loaded at run time, so that a machine without Kerberos builds and runs the rest.
//!
//! The types here and in `ffi.rs` repeat MIT's `gssapi.h` and `gssapi_ext.h`: the names are theirs.

#![expect(unsafe_code, reason = "loading a library and naming the types of its functions")]

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// MIT's library. Heimdal's has another name and another major version.
const FILE: &str = "libgssapi_krb5.so.2";

static LOADED: OnceLock<Api> = OnceLock::new();

/// Kerberos cannot be used on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The library is not installed, or cannot be loaded.
    #[error(
        "Kerberos needs MIT's library libgssapi_krb5.so.2: install libgssapi-krb5-2 (Debian) or krb5-libs (Fedora) ({0})"
    )]
    Library(String),
    /// The library has not got this function: it is older than MIT Kerberos 1.19.
    #[error("Kerberos needs MIT's library libgssapi_krb5.so.2 from version 1.19 on: the one here has no {0}")]
    Function(&'static str),
}

/// `gss_OID_desc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OidDesc {
    pub(crate) length: u32,
    pub(crate) elements: *const c_void,
}

/// `gss_OID_set_desc`.
#[repr(C)]
pub(crate) struct OidSetDesc {
    pub(crate) count: usize,
    pub(crate) elements: *const OidDesc,
}

/// `gss_buffer_desc`.
#[repr(C)]
pub(crate) struct BufferDesc {
    pub(crate) length: usize,
    pub(crate) value: *mut c_void,
}

/// `struct gss_channel_bindings_struct`.
#[repr(C)]
pub(crate) struct ChannelBindingsDesc {
    pub(crate) initiator_addrtype: u32,
    pub(crate) initiator_address: BufferDesc,
    pub(crate) acceptor_addrtype: u32,
    pub(crate) acceptor_address: BufferDesc,
    pub(crate) application_data: BufferDesc,
}

/// `gss_buffer_set_desc`.
#[repr(C)]
pub(crate) struct BufferSetDesc {
    pub(crate) count: usize,
    pub(crate) elements: *const BufferDesc,
}

/// `gss_key_value_element_desc`.
#[repr(C)]
pub(crate) struct KeyValueDesc {
    pub(crate) key: *const c_char,
    pub(crate) value: *const c_char,
}

/// `gss_key_value_set_desc`.
#[repr(C)]
pub(crate) struct KeyValueSetDesc {
    pub(crate) count: u32,
    pub(crate) elements: *const KeyValueDesc,
}

/// `gss_iov_buffer_desc`.
#[repr(C)]
pub(crate) struct IovDesc {
    pub(crate) kind: u32,
    pub(crate) buffer: BufferDesc,
}

/// `gss_name_t`, `gss_cred_id_t`, `gss_ctx_id_t`: pointers that only the library looks behind.
pub(crate) type Handle = *mut c_void;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {
        /// The functions that we call, each as `gssapi.h` or `gssapi_ext.h` declares it.
        pub(crate) struct Api {
            $($(#[$doc])* pub(crate) $name: unsafe extern "C" fn($($argument: $kind),*) -> u32,)*
        }

        impl Api {
            fn of(library: &Library) -> Result<Self, Missing> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is the one of the declaration in MIT's headers, which have kept all of
                        // them unchanged for as long as the library has had its major version 2.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($argument: $kind),*) -> u32>(stringify!($name))
                        };
                        *symbol.map_err(|_| Missing::Function(stringify!($name)))?
                    },)*
                })
            }
        }
    };
}

functions! {
    gss_import_name(minor: *mut u32, text: *const BufferDesc, form: *const OidDesc, name: *mut Handle);
    gss_display_name(minor: *mut u32, name: Handle, text: *mut BufferDesc, form: *mut *const OidDesc);
    gss_release_name(minor: *mut u32, name: *mut Handle);
    gss_get_name_attribute(
        minor: *mut u32,
        name: Handle,
        attribute: *const BufferDesc,
        authenticated: *mut c_int,
        complete: *mut c_int,
        value: *mut BufferDesc,
        display_value: *mut BufferDesc,
        more: *mut c_int,
    );
    gss_inquire_name(
        minor: *mut u32,
        name: Handle,
        is_mechanism_name: *mut c_int,
        mechanism: *mut *const OidDesc,
        attributes: *mut *mut BufferSetDesc,
    );
    gss_inquire_cred_by_oid(
        minor: *mut u32,
        credential: Handle,
        option: *const OidDesc,
        buffers: *mut *mut BufferSetDesc,
    );
    gss_release_buffer_set(minor: *mut u32, buffers: *mut *mut BufferSetDesc);
    gss_release_buffer(minor: *mut u32, buffer: *mut BufferDesc);
    gss_display_status(
        minor: *mut u32,
        status: u32,
        kind: c_int,
        mechanism: *const OidDesc,
        message_context: *mut u32,
        text: *mut BufferDesc,
    );
    gss_acquire_cred_from(
        minor: *mut u32,
        name: Handle,
        time_req: u32,
        mechanisms: *const OidSetDesc,
        usage: c_int,
        store: *const KeyValueSetDesc,
        credential: *mut Handle,
        actual_mechanisms: *mut *mut OidSetDesc,
        time_rec: *mut u32,
    );
    gss_acquire_cred_with_password(
        minor: *mut u32,
        name: Handle,
        password: *const BufferDesc,
        time_req: u32,
        mechanisms: *const OidSetDesc,
        usage: c_int,
        credential: *mut Handle,
        actual_mechanisms: *mut *mut OidSetDesc,
        time_rec: *mut u32,
    );
    gss_set_cred_option(
        minor: *mut u32,
        credential: *mut Handle,
        option: *const OidDesc,
        value: *const BufferDesc,
    );
    gss_release_cred(minor: *mut u32, credential: *mut Handle);
    gss_accept_sec_context(
        minor: *mut u32,
        context: *mut Handle,
        credential: Handle,
        token: *const BufferDesc,
        bindings: *const ChannelBindingsDesc,
        client: *mut Handle,
        mechanism: *mut *const OidDesc,
        reply: *mut BufferDesc,
        flags: *mut u32,
        lifetime: *mut u32,
        delegated: *mut Handle,
    );
    gss_init_sec_context(
        minor: *mut u32,
        credential: Handle,
        context: *mut Handle,
        target: Handle,
        mechanism: *const OidDesc,
        flags: u32,
        time_req: u32,
        bindings: *const ChannelBindingsDesc,
        token: *const BufferDesc,
        actual_mechanism: *mut *const OidDesc,
        reply: *mut BufferDesc,
        actual_flags: *mut u32,
        lifetime: *mut u32,
    );
    gss_delete_sec_context(minor: *mut u32, context: *mut Handle, token: *mut BufferDesc);
    gss_wrap(
        minor: *mut u32,
        context: Handle,
        confidential: c_int,
        protection: u32,
        message: *const BufferDesc,
        was_confidential: *mut c_int,
        wrapped: *mut BufferDesc,
    );
    gss_unwrap(
        minor: *mut u32,
        context: Handle,
        wrapped: *const BufferDesc,
        message: *mut BufferDesc,
        confidential: *mut c_int,
        protection: *mut u32,
    );
    gss_get_mic(
        minor: *mut u32,
        context: Handle,
        protection: u32,
        message: *const BufferDesc,
        mic: *mut BufferDesc,
    );
    gss_verify_mic(
        minor: *mut u32,
        context: Handle,
        message: *const BufferDesc,
        mic: *const BufferDesc,
        protection: *mut u32,
    );
    gss_wrap_iov(
        minor: *mut u32,
        context: Handle,
        confidential: c_int,
        protection: u32,
        was_confidential: *mut c_int,
        buffers: *mut IovDesc,
        count: c_int,
    );
    gss_wrap_iov_length(
        minor: *mut u32,
        context: Handle,
        confidential: c_int,
        protection: u32,
        was_confidential: *mut c_int,
        buffers: *mut IovDesc,
        count: c_int,
    );
    gss_unwrap_iov(
        minor: *mut u32,
        context: Handle,
        confidential: *mut c_int,
        protection: *mut u32,
        buffers: *mut IovDesc,
        count: c_int,
    );
    gss_acquire_cred_impersonate_name(
        minor: *mut u32,
        impersonator: Handle,
        name: Handle,
        time_req: u32,
        mechanisms: *const OidSetDesc,
        usage: c_int,
        credential: *mut Handle,
        actual_mechanisms: *mut *mut OidSetDesc,
        time_rec: *mut u32,
    );
    gss_wrap_size_limit(
        minor: *mut u32,
        context: Handle,
        confidential: c_int,
        protection: u32,
        output: u32,
        input: *mut u32,
    );
}

impl Api {
    /// The functions of the library; loaded by the first call, and never unloaded.
    pub(crate) fn load() -> Result<&'static Self, Missing> {
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded);
        }
        // SAFETY: the initialisers of MIT's library set up its own data and nothing else.
        let library = unsafe { Library::open(Some(FILE), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| Missing::Library(error.to_string()))?;
        let api = Self::of(&library)?;
        // The functions have to stay valid, and the library's data of each thread have to find its code.
        std::mem::forget(library);
        Ok(LOADED.get_or_init(|| api))
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(FILE)
    }
}
