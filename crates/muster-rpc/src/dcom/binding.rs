//! DUALSTRINGARRAY (MS-DCOM 2.2.19): the addresses of an exporter of objects, and how it authenticates.

use crate::ndr::{NdrError, Reader, Writer};

/// `ncacn_ip_tcp` as a tower identifier.
pub const TCP: u16 = 7;

/// All entries, in units of two octets: far more than any server has addresses.
const MAX_ENTRIES: u16 = 8_192;
const WHAT: &str = "a list of bindings";

/// An address (MS-DCOM 2.2.19.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringBinding {
    /// The protocol: [`TCP`].
    pub tower: u16,
    /// `host[port]`, or `host` alone.
    pub address: String,
}

impl StringBinding {
    /// Host and port, of an address that has both.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.strip_suffix(']')?.rsplit_once('[')?;
        Some((host, port.parse().ok().filter(|port| *port != 0)?))
    }
}

/// How to authenticate (MS-DCOM 2.2.19.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityBinding {
    /// The provider.
    pub auth_type: u16,
    /// The service's name, often empty.
    pub principal: String,
}

/// Both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DualStringArray {
    /// The addresses.
    pub strings: Vec<StringBinding>,
    /// How to authenticate.
    pub security: Vec<SecurityBinding>,
}

impl DualStringArray {
    /// Reads one as it stands in an OBJREF, from its count of entries on. What cannot be read of a list ends it.
    ///
    /// # Errors
    /// If the counts are wrong.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, NdrError> {
        let entries = reader.u16()?;
        let security = reader.u16()?;
        if entries > MAX_ENTRIES {
            let (count, limit) = (entries.into(), MAX_ENTRIES.into());
            return Err(NdrError::TooMany { what: WHAT, count, limit });
        }
        if security > entries {
            return Err(NdrError::Invalid(WHAT));
        }
        let octets = reader.octets(usize::from(entries) * 2)?;
        let (pairs, _) = octets.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().copied().map(u16::from_le_bytes).collect();
        let (strings, security) =
            units.split_at_checked(usize::from(security)).ok_or(NdrError::Invalid(WHAT))?;
        let mut list = Self::default();
        let mut rest = strings;
        while let [tower, after @ ..] = rest
            && *tower != 0
        {
            let Some((address, after)) = text(after) else { break };
            list.strings.push(StringBinding { tower: *tower, address });
            rest = after;
        }
        let mut rest = security;
        while let [auth_type, _authorization, after @ ..] = rest
            && *auth_type != 0
        {
            let Some((principal, after)) = text(after) else { break };
            list.security.push(SecurityBinding { auth_type: *auth_type, principal });
            rest = after;
        }
        Ok(list)
    }

    /// Reads one that is a referent, whose array's count comes first.
    ///
    /// # Errors
    /// If the counts are wrong.
    pub fn read_conformant(reader: &mut Reader<'_>) -> Result<Self, NdrError> {
        let count = reader.u32()?;
        let mut ahead = reader.clone();
        if u32::from(ahead.u16()?) != count {
            return Err(NdrError::Invalid(WHAT));
        }
        Self::read(reader)
    }

    /// Writes one as it stands in an OBJREF.
    pub fn write(&self, writer: &mut Writer) {
        let (units, security) = self.units();
        writer.u16(crate::pdu::u16_of(units.len())).u16(crate::pdu::u16_of(security));
        for unit in units {
            writer.u16(unit);
        }
    }

    /// Writes one that is a referent.
    pub fn write_conformant(&self, writer: &mut Writer) {
        writer.count(self.units().0.len());
        self.write(writer);
        writer.align(4);
    }

    fn units(&self) -> (Vec<u16>, usize) {
        let mut units = Vec::new();
        for binding in &self.strings {
            units.push(binding.tower);
            units.extend(binding.address.encode_utf16().chain([0]));
        }
        units.push(0);
        let security = units.len();
        for binding in &self.security {
            units.extend([binding.auth_type, 0xffff]);
            units.extend(binding.principal.encode_utf16().chain([0]));
        }
        units.push(0);
        (units, security)
    }

    /// The port of the first TCP address that has one.
    #[must_use]
    pub fn tcp_port(&self) -> Option<u16> {
        let tcp = self.strings.iter().filter(|binding| binding.tower == TCP);
        tcp.filter_map(|binding| binding.host_and_port()).map(|(_, port)| port).next()
    }
}

/// A text that ends with NUL, and what comes after it.
fn text(units: &[u16]) -> Option<(String, &[u16])> {
    let end = units.iter().position(|unit| *unit == 0)?;
    let (text, rest) = units.split_at_checked(end)?;
    Some((String::from_utf16(text).ok()?, rest.split_first()?.1))
}
