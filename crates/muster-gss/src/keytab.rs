//! What is in a keytab file: which principals, key versions and encryption types. The keys are not handed out.
//!
//! The format is MIT's, version 0x0502: big-endian records of a signed length, where a negative length is a hole.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A keytab with thousands of entries is smaller.
const MAX_FILE: usize = 1 << 20;

/// One key in a keytab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeytabEntry {
    /// `HTTP/pki.corp.example`: components with `/` between them, and `\/` for one inside.
    pub name: String,
    /// `CORP.EXAMPLE`.
    pub realm: String,
    /// Version of the key.
    pub kvno: u32,
    /// RFC 3961's number of the encryption type.
    pub etype: EncryptionType,
}

/// An encryption type by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptionType(pub i64);

impl EncryptionType {
    /// AES, with SHA-1 (17, 18) or SHA-2 (19, 20).
    #[must_use]
    pub fn is_aes(self) -> bool {
        matches!(self.0, 17..=20)
    }
}

impl fmt::Display for EncryptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1..=3 => write!(f, "DES"),
            16 => write!(f, "DES3"),
            17 => write!(f, "aes128-cts-hmac-sha1-96"),
            18 => write!(f, "aes256-cts-hmac-sha1-96"),
            19 => write!(f, "aes128-cts-hmac-sha256-128"),
            20 => write!(f, "aes256-cts-hmac-sha384-192"),
            23 => write!(f, "RC4"),
            other => write!(f, "encryption type {other}"),
        }
    }
}

/// A keytab that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeytabError {
    /// The file cannot be read.
    #[error("the keytab {path} cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The file is not a keytab of version 0x0502.
    #[error("{path} is not a keytab: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The entries of a keytab file. Blocks on the disk.
///
/// # Errors
/// If the file cannot be read or is not a keytab.
pub fn read_keytab(path: &Path) -> Result<Vec<KeytabEntry>, KeytabError> {
    Ok(read_keys(path)?.into_iter().map(|(entry, _)| entry).collect())
}

/// Whether two principals, each with its keytab, have a key in common: then both are names of one account, and what is
/// encrypted for one can be read by the other. No, if one is not in its keytab. Blocks on the disk.
///
/// # Errors
/// If a file cannot be read or is not a keytab.
pub fn same_account(one: (&Path, &str), other: (&Path, &str)) -> Result<bool, KeytabError> {
    let keys = |(keytab, principal): (&Path, &str)| {
        let mut keys = read_keys(keytab)?;
        keys.retain(|(entry, _)| principal.eq_ignore_ascii_case(&format!("{}@{}", entry.name, entry.realm)));
        Ok::<_, KeytabError>(keys)
    };
    let (one, other) = (keys(one)?, keys(other)?);
    Ok(one.iter().any(|(a, key)| other.iter().any(|(b, same)| a.etype == b.etype && key == same)))
}

type Key = Zeroizing<Vec<u8>>;

fn read_keys(path: &Path) -> Result<Vec<(KeytabEntry, Key)>, KeytabError> {
    let read = |error: std::io::Error| KeytabError::Read { path: path.into(), error: error.to_string() };
    let content = Zeroizing::new(std::fs::read(path).map_err(read)?);
    parse_keys(&content).map_err(|reason| KeytabError::Format { path: path.into(), reason })
}

/// The entries in the octets of a keytab.
///
/// # Errors
/// What is wrong with it.
pub fn parse_keytab(content: &[u8]) -> Result<Vec<KeytabEntry>, &'static str> {
    Ok(parse_keys(content)?.into_iter().map(|(entry, _)| entry).collect())
}

fn parse_keys(content: &[u8]) -> Result<Vec<(KeytabEntry, Key)>, &'static str> {
    const CUT: &str = "it is cut off";
    if content.len() > MAX_FILE {
        return Err("it is larger than one mebibyte");
    }
    let mut rest = match content.split_first_chunk() {
        Some(([5, 2], rest)) => rest,
        Some(([5, 1], _)) => return Err("it has the format 0x0501 of before 1993: make it anew"),
        Some(_) | None => return Err("it does not begin with 0x0502"),
    };
    let mut entries = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = i32::from_be_bytes(*length);
        if length == 0 {
            return Ok(entries);
        }
        let size = usize::try_from(length.unsigned_abs()).map_err(|_| CUT)?;
        let (record, after) = after.split_at_checked(size).ok_or(CUT)?;
        if length > 0 {
            entries.push(entry(record).ok_or("one of its entries cannot be read")?);
        }
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(CUT) }
}

fn entry(mut record: &[u8]) -> Option<(KeytabEntry, Key)> {
    let count = u16::from_be_bytes(take(&mut record)?);
    let realm = counted(&mut record)?;
    let realm = String::from_utf8_lossy(realm).into_owned();
    let mut name = Vec::new();
    for _ in 0..count {
        name.push(String::from_utf8_lossy(counted(&mut record)?).replace('/', "\\/"));
    }
    let name = name.join("/");
    let [_type, _time] = [take::<4>(&mut record)?, take::<4>(&mut record)?];
    let [short] = take(&mut record)?;
    let etype = EncryptionType(i64::from(u16::from_be_bytes(take(&mut record)?)));
    let key = Zeroizing::new(counted(&mut record)?.to_vec());
    // A version that needs more than eight bits follows the key.
    let long = take(&mut record).map_or(0, u32::from_be_bytes);
    let kvno = if long == 0 { u32::from(short) } else { long };
    Some((KeytabEntry { name, realm, kvno, etype }, key))
}

fn take<const N: usize>(record: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = record.split_first_chunk()?;
    *record = rest;
    Some(*taken)
}

fn counted<'a>(record: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(take(record)?));
    let (taken, rest) = record.split_at_checked(length)?;
    *record = rest;
    Some(taken)
}
