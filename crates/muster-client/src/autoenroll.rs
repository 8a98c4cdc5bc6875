//! Unattended enrollment: what a machine or person should have by policy, compared with what is in a folder.
//!
//! [`folder`] keeps certificates and requests under way, each in its place whatever happens to the process; [`mod@plan`]
//! compares that with the policies and says what to do. Carrying it out is enrollment as elsewhere
//! ([`crate::enrollment`]). Rules of MS-CAESO 4.4.5 and MS-WCCE 3.1.2.4, as far as they do not speak of Windows.

pub mod folder;
pub mod plan;

pub use folder::{CertificateFolder, Held, Record, Slot, Under};
pub use plan::{Action, Conditions, Kind, Reason, Step, plan};
