//! What can be wrong with the arguments of a call over RPC. Apart from `fault.rs` for its length only.

use muster_proto::wstep::Hresult;

/// Arguments of a caller who is authenticated, and which nobody can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The name of the authority is none of ours.
    #[error(
        "The call is for another certification authority than the one here; use the name under which the directory has it."
    )]
    OtherAuthority,
    /// Above the bound, in octets.
    #[error("The request is larger than {} KiB.", .0 / 1024)]
    TooLarge(usize),
    /// A query with a request's number and a serial number, or with neither.
    #[error(
        "The call has no request in it and names not exactly one of earlier; name the number of a request, or the serial number of a certificate."
    )]
    NothingNamed,
}

impl CallError {
    pub(super) const fn hresult(self) -> Hresult {
        match self {
            Self::OtherAuthority | Self::NothingNamed => Hresult::E_INVALIDARG,
            Self::TooLarge(_) => Hresult::E_OUTOFMEMORY,
        }
    }
}
