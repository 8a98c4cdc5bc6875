//! Verification trailers (MS-RPCE 2.2.2.13): what a client says again behind the arguments of a call, where sealing covers it.
//!
//! They are from a time in which headers were not signed. Here headers always are, so a trailer proves nothing more; but a
//! client that sends one means that the call is refused if it is not so, and its octets are no arguments.

use crate::connection::RpcError;
use crate::ndr::{NdrError, Reader};
use crate::pdu;
use crate::uuid::Syntax;

const SIGNATURE: [u8; 8] = [0x8a, 0xe3, 0x13, 0x71, 0x02, 0xf4, 0x36, 0x71];
/// Longer than any trailer of commands that exist: only there the signature is looked for.
const MAX_TRAILER: usize = 1_024;
const MAX_COMMANDS: usize = 16;

const END: u16 = 0x4000;
const MUST_PROCESS: u16 = 0x8000;
const BITMASK: u16 = 1;
const CONTEXT: u16 = 2;
const HEADER: u16 = 3;
/// In the bit mask: the client signs headers.
const SIGNS_HEADERS: u32 = 1;

/// What a trailer can say of a call, as the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The client offered to sign headers when it bound.
    pub(crate) signs_headers: bool,
    /// The interface of the presentation context.
    pub(crate) interface: Syntax,
    pub(crate) call_id: u32,
    pub(crate) context: u16,
    pub(crate) opnum: u16,
}

/// Where a trailer begins, if there is one. It is aligned to four octets.
fn find(stub: &[u8]) -> Option<usize> {
    let first = stub.len().saturating_sub(MAX_TRAILER).next_multiple_of(4);
    let last = stub.len().checked_sub(SIGNATURE.len())?;
    let mut places = (first / 4..last / 4 + 1).rev().map(|place| place * 4);
    places.find(|at| stub.get(*at..).is_some_and(|rest| rest.starts_with(&SIGNATURE)))
}

/// Takes the trailer off the arguments of a call, if there is one, and compares it with the call.
///
/// # Errors
/// [`RpcError::Trailer`], if it says something else, or something that must be understood and is not;
/// [`RpcError::Results`], if it cannot be read.
pub(crate) fn remove(stub: &mut Vec<u8>, call: Said) -> Result<(), RpcError> {
    let Some(at) = find(stub) else { return Ok(()) };
    let mut reader = Reader::new(stub.get(at..).unwrap_or_default());
    reader.octets(SIGNATURE.len())?;
    for _ in 0..MAX_COMMANDS {
        let (command, length) = (reader.u16()?, reader.u16()?);
        check(command, reader.octets(usize::from(length))?, call)?;
        if command & END != 0 {
            // What is behind it is no padding of anybody's.
            if !reader.rest().is_empty() {
                break;
            }
            stub.truncate(at);
            return Ok(());
        }
    }
    Err(NdrError::Invalid("the end of a verification trailer").into())
}

fn check(command: u16, value: &[u8], call: Said) -> Result<(), RpcError> {
    let mut reader = Reader::new(value);
    let same = match command & !(END | MUST_PROCESS) {
        BITMASK => reader.u32()? & SIGNS_HEADERS == 0 || call.signs_headers,
        CONTEXT => {
            let (interface, transfer) = (pdu::syntax(&mut reader)?, pdu::syntax(&mut reader)?);
            (interface, transfer) == (call.interface, Syntax::NDR)
        }
        HEADER => {
            // Only a request can carry a trailer; its data representation has been checked.
            let kind = reader.u8()?;
            reader.octets(3)?;
            let representation = reader.u32()?;
            let said = (reader.u32()?, reader.u16()?, reader.u16()?);
            (kind, representation, said) == (0, 0x10, (call.call_id, call.context, call.opnum))
        }
        _ => command & MUST_PROCESS == 0,
    };
    if same { Ok(()) } else { Err(RpcError::Trailer(command & !(END | MUST_PROCESS))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uuid::Interface;

    const CALL: Said = Said {
        signs_headers: true,
        interface: Interface::CertPassage.syntax(),
        call_id: 7,
        context: 1,
        opnum: 3,
    };

    fn command(number: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        [&number.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
    }

    fn taken_off(arguments: &[u8], commands: &[Vec<u8>]) -> Result<Vec<u8>, RpcError> {
        let mut stub = [arguments, &SIGNATURE, &commands.concat()].concat();
        remove(&mut stub, CALL).map(|()| stub)
    }

    #[test]
    fn trailer_that_says_what_is_so_is_taken_off() {
        let bits = command(BITMASK | END, &[1, 0, 0, 0]);
        assert_eq!(taken_off(b"arg4", &[bits]), Ok(b"arg4".to_vec()));
        let unknown = command(9, b"1234");
        let empty = command(9 | END, b"");
        assert_eq!(taken_off(b"", &[unknown, empty]), Ok(Vec::new()));
        let mut plain = b"no trailer".to_vec();
        assert_eq!(remove(&mut plain, CALL), Ok(()));
        assert_eq!(plain, b"no trailer");
    }

    #[test]
    fn trailer_that_cannot_be_read_is_refused() {
        let end = RpcError::Results(NdrError::Invalid("the end of a verification trailer"));
        let last = command(9 | END, b"");
        assert_eq!(taken_off(b"", &[last.clone(), vec![0; 4]]), Err(end.clone()));
        assert_eq!(taken_off(b"", &vec![command(9, b""); 17]), Err(end));
        assert!(matches!(taken_off(b"", &[]), Err(RpcError::Results(NdrError::Truncated { .. }))));
        let must = command(9 | END | MUST_PROCESS, b"");
        assert_eq!(taken_off(b"", &[must]), Err(RpcError::Trailer(9)));
        // Not aligned: arguments that happen to look so.
        assert_eq!(taken_off(b"abc", &[last]).map(|stub| stub.len()), Ok(15));
    }

    #[test]
    fn header_signing_that_was_not_offered_is_not_believed() {
        let mut stub = [&SIGNATURE[..], &command(BITMASK | END, &[1, 0, 0, 0])].concat();
        let unsigned = Said { signs_headers: false, ..CALL };
        assert_eq!(remove(&mut stub.clone(), unsigned), Err(RpcError::Trailer(BITMASK)));
        assert_eq!(remove(&mut stub, CALL), Ok(()));
    }
}
