//! A view of the table of requests: its columns, what is asked for, and the rows.

use crate::client::RpcError;
use crate::dcom::{Version, read_that, this};
use crate::ndr::{NdrError, Reader, Writer, wide};
use crate::status::HResult;
use crate::uuid::Uuid;
use crate::wcce::{read_blob, words};

/// Columns of one table; Windows has fewer than ninety.
const MAX_COLUMNS: u32 = 256;
/// Rows of one answer: more than is ever asked for.
const MAX_ROWS: u32 = 4_096;
/// Octets of CERTTRANSDBRESULTROW and of CERTTRANSDBRESULTCOLUMN.
const ROW: usize = 12;
const CELL: usize = 16;

/// CERTTIME and FILETIME: steps of 100 ns since the year 1601 (MS-CSRA 2.2.1.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime(pub u64);

/// Seconds from 1601 to 1970.
const EPOCH: i64 = 11_644_473_600;

impl FileTime {
    /// From seconds since 1970; what is before 1601 is the year 1601.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        let since = seconds.saturating_add(EPOCH);
        Self(u64::try_from(since).unwrap_or_default().saturating_mul(10_000_000))
    }

    /// Seconds since 1970, rounded down.
    #[must_use]
    pub fn to_unix(self) -> i64 {
        i64::try_from(self.0 / 10_000_000).unwrap_or(i64::MAX) - EPOCH
    }

    /// Two numbers of 32 bits, so without the alignment of one of 64.
    pub(crate) fn write(self, writer: &mut Writer) {
        writer.align(4).octets(&self.0.to_le_bytes());
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// A number.
    Number,
    /// A date.
    Date,
    /// Octets.
    Octets,
    /// A text.
    Text,
}

impl ColumnKind {
    /// The low octet of `Type`; the high word says whether there is an index.
    fn of(number: u32) -> Result<Self, NdrError> {
        match number & 0xff {
            1 => Ok(Self::Number),
            2 => Ok(Self::Date),
            3 => Ok(Self::Octets),
            4 => Ok(Self::Text),
            _ => Err(NdrError::Invalid("the type of a column")),
        }
    }
}

/// A column of the table (CERTTRANSDBCOLUMN, MS-CSRA 2.2.1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it is called by in views.
    pub id: u32,
    /// What it holds.
    pub kind: ColumnKind,
    /// Its name, such as `Request.SubmittedWhen`.
    pub name: String,
}

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seek {
    /// The same: the only one that there is for octets.
    Equal,
    /// Later, or larger.
    Greater,
    /// Not earlier, or not smaller.
    AtLeast,
}

/// In which order a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// Not by this column.
    No,
    /// By this column, the smallest first.
    Ascending,
    /// By this column, the largest first.
    Descending,
}

/// What rows of a view have in common (CERTVIEWRESTRICTION, MS-CSRA 2.2.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The column.
    pub column: u32,
    /// How it is compared.
    pub seek: Seek,
    /// Whether the view is in its order; at most one restriction may say so.
    pub sort: Sort,
    /// With what.
    pub value: Value,
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u32),
    /// A date.
    Date(FileTime),
    /// Octets.
    Octets(Vec<u8>),
    /// A text, fit for a terminal.
    Text(String),
}

impl Value {
    fn to_octets(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_le_bytes().to_vec(),
            Self::Date(FileTime(time)) => time.to_le_bytes().to_vec(),
            Self::Octets(octets) => octets.clone(),
            Self::Text(text) => wide(text),
        }
    }

    fn read(kind: ColumnKind, octets: &[u8]) -> Result<Self, NdrError> {
        let bad = NdrError::Invalid("the length of a cell");
        Ok(match kind {
            ColumnKind::Number => Self::Number(u32::from_le_bytes(*octets.as_array().ok_or(bad)?)),
            ColumnKind::Date => Self::Date(FileTime(u64::from_le_bytes(*octets.as_array().ok_or(bad)?))),
            ColumnKind::Octets => Self::Octets(octets.to_vec()),
            ColumnKind::Text => Self::Text(words(octets)),
        })
    }
}

/// A row: its cells by the numbers of their columns. What is empty is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number, in the table of requests the request's.
    pub id: u32,
    /// The cells.
    pub cells: Vec<(u32, Value)>,
}

/// Some rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// How many rows the view has in all, once the last of them has been answered.
    pub total: Option<u32>,
}

/// The arguments of `EnumViewColumn`: `count` columns of the table of requests, from the place `first` on, 0 being the first.
#[must_use]
pub fn view_columns(version: Version, causality: Uuid, authority: &str, first: u32, count: u32) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority)).u32(first).u32(count);
    })
}

/// The arguments of `OpenView`: `count` rows from the row `first` on, 1 being the first.
#[must_use]
pub fn open_view(
    version: Version,
    causality: Uuid,
    authority: &str,
    restrictions: &[Restriction],
    columns: &[u32],
    (first, count): (u32, u32),
) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority));
        // Both arrays are top-level, so they come without a pointer; what the restrictions point to is after all of them.
        writer.count(restrictions.len()).count(restrictions.len());
        let values: Vec<Vec<u8>> = restrictions.iter().map(|one| one.value.to_octets()).collect();
        for (one, value) in restrictions.iter().zip(&values) {
            let seek = match one.seek {
                Seek::Equal => 1,
                Seek::AtLeast => 8,
                Seek::Greater => 0x10,
            };
            let sort = match one.sort {
                Sort::No => 0,
                Sort::Ascending => 1,
                Sort::Descending => 2,
            };
            writer.u32(one.column).u32(seek).u32(sort).pointer(true).count(value.len());
        }
        for value in &values {
            writer.align(4).sized_octets(value);
        }
        writer.count(columns.len()).count(columns.len());
        for column in columns {
            writer.u32(*column);
        }
        writer.u32(first).u32(count);
    })
}

/// The arguments of `EnumView`: `count` further rows of the open view, from the row `first` on.
#[must_use]
pub fn enum_view(version: Version, causality: Uuid, authority: &str, first: u32, count: u32) -> Vec<u8> {
    view_columns(version, causality, authority, first, count)
}

/// The arguments of `CloseView`.
#[must_use]
pub fn close_view(version: Version, causality: Uuid, authority: &str) -> Vec<u8> {
    super::of_authority(version, causality, authority)
}

/// Count, octets and result, which all the methods here return.
fn counted(stub: &[u8], limit: u32) -> Result<Result<(usize, &[u8]), HResult>, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    let count = reader.count("the answer of a view", limit)?;
    let octets = read_blob(&mut reader, "the answer of a view")?;
    let result = HResult(reader.u32()?);
    Ok(if result.is_success() { Ok((count, octets)) } else { Err(result) })
}

/// The results of `EnumViewColumn`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_columns(stub: &[u8]) -> Result<Result<Vec<Column>, HResult>, RpcError> {
    let (count, octets) = match counted(stub, MAX_COLUMNS)? {
        Ok(counted) => counted,
        Err(result) => return Ok(Err(result)),
    };
    let mut reader = Reader::new(octets);
    let mut one = || {
        let kind = ColumnKind::of(reader.u32()?)?;
        let id = reader.u32()?;
        let _largest = reader.u32()?;
        let name = place(reader.u32()?);
        let _display_name = reader.u32()?;
        let name = words(octets.get(name..).ok_or(NdrError::Invalid("the name of a column"))?);
        Ok::<_, NdrError>(Column { id, kind, name })
    };
    Ok(Ok((0..count).map(|_| one()).collect::<Result<_, _>>()?))
}

/// An offset; one that does not fit into memory is behind all octets.
fn place(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// The results of `OpenView` and `EnumView`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_rows(stub: &[u8]) -> Result<Result<Rows, HResult>, RpcError> {
    let (count, octets) = match counted(stub, MAX_ROWS)? {
        Ok(counted) => counted,
        Err(result) => return Ok(Err(result)),
    };
    let mut rest = octets;
    let mut rows = Vec::new();
    for _ in 0..count {
        let (row, after) = row(rest)?;
        rows.push(row);
        rest = after;
    }
    // At the end stands one more header, with the number of all rows and its inverse (MS-CSRA 3.1.4.1.13).
    let mut last = Reader::new(rest);
    let total = match (last.u32(), last.u32()) {
        (Ok(total), Ok(inverse)) if total == !inverse => Some(total),
        _ => None,
    };
    Ok(Ok(Rows { rows, total }))
}

fn row(octets: &[u8]) -> Result<(Row, &[u8]), NdrError> {
    let bad = NdrError::Invalid("the length of a row");
    let mut reader = Reader::new(octets);
    let id = reader.u32()?;
    let count = reader.count("the columns of a row", MAX_COLUMNS)?;
    let length = place(reader.u32()?);
    if length < ROW + CELL * count {
        return Err(bad);
    }
    let (whole, rest) = octets.split_at_checked(length).ok_or(bad)?;
    let mut reader = Reader::new(whole);
    reader.octets(ROW)?;
    let mut cells = Vec::new();
    // Cells do not overlap (MS-CSRA 2.2.1.10.1): all together are not longer than the row.
    let mut room = length;
    for _ in 0..count {
        let (kind, column) = (ColumnKind::of(reader.u32()?)?, reader.u32()?);
        let (offset, size) = (place(reader.u32()?), place(reader.u32()?));
        if size == 0 {
            continue;
        }
        room = room.checked_sub(size).ok_or(bad)?;
        let value = whole.get(offset..).and_then(|from| from.get(..size)).ok_or(bad)?;
        cells.push((column, Value::read(kind, value)?));
    }
    Ok((Row { id, cells }, rest))
}
