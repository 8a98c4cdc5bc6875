//! Between the domain's types and what SQLite stores.

use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial};
use rusqlite::{Row, RowIndex};

use crate::error::StoreError;

pub(super) fn id(id: RequestId) -> i64 {
    i64::from(id.number())
}

/// Counters stay below 2^63.
pub(super) fn counter(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn read_id(row: &Row<'_>, column: impl RowIndex) -> Result<RequestId, StoreError> {
    RequestId::new(row.get(column)?).ok_or_else(|| StoreError::unreadable("request id"))
}

pub(super) fn read_serial(row: &Row<'_>, column: impl RowIndex) -> Result<Serial, StoreError> {
    let octets: [u8; 20] = row.get(column)?;
    Serial::from_bytes(&octets).ok_or_else(|| StoreError::unreadable("serial number"))
}

pub(super) fn read_reason(code: u8) -> Result<Reason, StoreError> {
    Reason::from_code(code).ok_or_else(|| StoreError::unreadable("reason for revocation"))
}

/// Reads a word that is stored for a value of the domain.
pub(super) fn parse<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::unreadable(what))
}
