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
    ADD_REFERENCES, ALIVE, ALIVE2, COMPLEX_PING, QUERY_INTERFACE, RELEASE, SIMPLE_PING, ServerAlive, Version,
    add_references_response, alive_response, parse_alive_response, parse_query_interface, parse_release,
    parse_release_response, parse_this, ping_response, query_interface_response, release_request,
    status_response, that, this,
};
