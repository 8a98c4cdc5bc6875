//! Reads `Registry.pol`, the file in which group policy keeps registry values (MS-GPREG 2.2).
//!
//! Behind a head of eight octets stand instructions, all text in UTF-16LE: `[key;value;type;size;data]`. The data are
//! skipped by their size, so what they hold cannot be taken for an instruction.

use thiserror::Error;

/// A registry value that a policy sets, or an instruction to delete (then the name begins with `**`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryValue {
    /// Path of the key, without the hive.
    pub key: String,
    /// Name of the value; empty for the key's default value.
    pub name: String,
    /// What it holds.
    pub data: RegistryData,
}

/// The data of a registry value, as far as policies about certificates use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryData {
    /// REG_SZ and REG_EXPAND_SZ, without the zero at the end.
    Text(String),
    /// REG_DWORD.
    Number(u32),
    /// Any other type, by its number.
    Other(u32),
}

/// Why a file is no `Registry.pol`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryPolError {
    /// The head is not that of such a file.
    #[error("not a Registry.pol file of version 1")]
    Head,
    /// The file ends within an instruction.
    #[error("the file ends within an instruction")]
    Truncated,
    /// A separator or bracket is missing at this octet.
    #[error("no valid instruction at octet {0}")]
    Syntax(usize),
    /// A text is no UTF-16.
    #[error("a text before octet {0} is not UTF-16")]
    Text(usize),
    /// A text is longer than the registry allows.
    #[error("a name before octet {0} is too long")]
    TooLong(usize),
    /// More instructions than one policy has.
    #[error("more than {MAX_VALUES} instructions")]
    TooMany,
}

/// Octets of a file that are read: real ones have some kilobytes.
pub const MAX_FILE: u64 = 4 << 20;
/// Instructions of a file.
pub const MAX_VALUES: usize = 20_000;
/// UTF-16 units of a key's path or a value's name; the registry's own limit for names is 16383.
const MAX_NAME: usize = 16_384;

const SIGNATURE: &[u8] = b"PReg\x01\x00\x00\x00";
const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_DWORD: u32 = 4;

/// Reads all instructions, in the file's order, which is the order of their effect.
///
/// # Errors
/// [`RegistryPolError`] for the first thing that is wrong.
pub fn parse(file: &[u8]) -> Result<Vec<RegistryValue>, RegistryPolError> {
    let rest = file.strip_prefix(SIGNATURE).ok_or(RegistryPolError::Head)?;
    let mut reader = Reader { whole: file.len(), rest };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        if values.len() >= MAX_VALUES {
            return Err(RegistryPolError::TooMany);
        }
        values.push(reader.value()?);
    }
    Ok(values)
}

struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn at(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RegistryPolError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(RegistryPolError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn unit(&mut self) -> Result<u16, RegistryPolError> {
        self.take().map(u16::from_le_bytes)
    }

    fn number(&mut self) -> Result<u32, RegistryPolError> {
        self.take().map(u32::from_le_bytes)
    }

    fn sign(&mut self, expected: char) -> Result<(), RegistryPolError> {
        let at = self.at();
        if u32::from(self.unit()?) == u32::from(expected) {
            Ok(())
        } else {
            Err(RegistryPolError::Syntax(at))
        }
    }

    /// A text up to its zero.
    fn name(&mut self) -> Result<String, RegistryPolError> {
        let mut units = Vec::new();
        loop {
            match self.unit()? {
                0 => break,
                _ if units.len() >= MAX_NAME => return Err(RegistryPolError::TooLong(self.at())),
                unit => units.push(unit),
            }
        }
        String::from_utf16(&units).map_err(|_| RegistryPolError::Text(self.at()))
    }

    fn octets(&mut self, size: u32) -> Result<&'a [u8], RegistryPolError> {
        let size = usize::try_from(size).map_err(|_| RegistryPolError::Truncated)?;
        let (data, rest) = self.rest.split_at_checked(size).ok_or(RegistryPolError::Truncated)?;
        self.rest = rest;
        Ok(data)
    }

    fn value(&mut self) -> Result<RegistryValue, RegistryPolError> {
        self.sign('[')?;
        let key = self.name()?;
        self.sign(';')?;
        let name = self.name()?;
        self.sign(';')?;
        let kind = self.number()?;
        self.sign(';')?;
        let size = self.number()?;
        self.sign(';')?;
        let octets = self.octets(size)?;
        self.sign(']')?;
        Ok(RegistryValue { key, name, data: data(kind, octets) })
    }
}

/// Data that do not fit their type are of no use to anybody, but no reason to refuse the rest of the file.
fn data(kind: u32, octets: &[u8]) -> RegistryData {
    let decoded = match kind {
        REG_SZ | REG_EXPAND_SZ => {
            let (pairs, rest) = octets.as_chunks();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
            String::from_utf16(text).ok().filter(|_| rest.is_empty()).map(RegistryData::Text)
        }
        REG_DWORD => octets.try_into().ok().map(u32::from_le_bytes).map(RegistryData::Number),
        _ => None,
    };
    decoded.unwrap_or(RegistryData::Other(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn instruction(key: &str, name: &str, kind: u32, data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap();
        [
            units(&format!("[{key}\0;{name}\0;")),
            kind.to_le_bytes().to_vec(),
            units(";"),
            size.to_le_bytes().to_vec(),
            units(";"),
            data.to_vec(),
            units("]"),
        ]
        .concat()
    }

    fn file(instructions: &[Vec<u8>]) -> Vec<u8> {
        [SIGNATURE.to_vec(), instructions.concat()].concat()
    }

    #[test]
    fn data_that_look_like_an_instruction_are_data() {
        let hidden = instruction("A", "URL", REG_SZ, &units("evil\0"));
        let found = parse(&file(&[instruction("K", "V", 3, &hidden)])).unwrap();
        let expected = RegistryValue { key: "K".into(), name: "V".into(), data: RegistryData::Other(3) };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = file(&[
            instruction("Key", "Text", REG_SZ, &units("Grüße\0")),
            instruction("Key", "Number", REG_DWORD, &7_u32.to_le_bytes()),
        ]);
        let found = parse(&whole).unwrap();
        assert_eq!(found[0].data, RegistryData::Text("Grüße".into()));
        assert_eq!(found[1].data, RegistryData::Number(7));
        let first = file(&[instruction("Key", "Text", REG_SZ, &units("Grüße\0"))]).len();
        for cut in (0..whole.len()).filter(|cut| *cut != first && *cut != SIGNATURE.len()) {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        use RegistryPolError::*;

        assert_eq!(parse(b""), Err(Head));
        assert_eq!(parse(b"PReg\x02\x00\x00\x00"), Err(Head));
        assert_eq!(parse(&file(&[units("x")])), Err(Syntax(8)));
        let lone_surrogate = [units("["), vec![0, 0xd8, 0, 0]].concat();
        assert!(matches!(parse(&file(&[lone_surrogate])), Err(Text(_))));
        let long = instruction(&"k".repeat(MAX_NAME + 1), "", REG_SZ, b"");
        assert!(matches!(parse(&file(&[long])), Err(TooLong(_))));
        let mut size = instruction("K", "V", REG_SZ, &units("text\0"));
        let at = size.len() - 2 - units("text\0").len() - 2 - 4;
        size[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse(&file(&[size])), Err(Truncated));
        let many = vec![instruction("", "", REG_SZ, b""); MAX_VALUES + 1];
        assert_eq!(parse(&file(&many)), Err(TooMany));
    }

    #[test]
    fn data_that_do_not_fit_their_type_spoil_nothing_else() {
        let found = parse(&file(&[
            instruction("K", "short", REG_DWORD, b"\x01\x02"),
            instruction("K", "odd", REG_SZ, b"a"),
            instruction("K", "last", REG_EXPAND_SZ, &units("x")),
        ]))
        .unwrap();
        assert_eq!(found[0].data, RegistryData::Other(REG_DWORD));
        assert_eq!(found[1].data, RegistryData::Other(REG_SZ));
        assert_eq!(found[2].data, RegistryData::Text("x".into()));
    }
}
