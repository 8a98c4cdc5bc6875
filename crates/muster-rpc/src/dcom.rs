//! What of MS-DCOM a call to an authority needs: ask what the server speaks, activate the object, call its methods,
//! release it.

pub mod activation;
mod binding;
mod objref;
mod orpc;

pub use binding::{DualStringArray, SecurityBinding, StringBinding, TCP};
pub use objref::{CustomRef, ObjRef, StandardRef};
pub(crate) use orpc::read_that;
pub use orpc::{
    ALIVE2, RELEASE, ServerAlive, Version, alive_response, parse_alive_response, parse_release,
    parse_release_response, parse_this, release_request, that, this,
};
