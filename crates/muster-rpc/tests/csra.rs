//! MS-CSRA against octets that were written from its pages alone: what is asked is the same octet for octet.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::Path;

use muster_rpc::Uuid;
use muster_rpc::csra::{
    self, Column, ColumnKind, FileTime, Restriction, RevocationReason, Roles, Row, Rows, Seek, Sort, Value,
};
use muster_rpc::dcom::Version;
use muster_rpc::status::HResult;
use muster_rpc::wcce::Disposition;
use proptest::prelude::*;

const CAUSALITY: Uuid = Uuid::new(0x11111111_2222_3333_4444_555555555555);
const V: Version = Version::NEWEST;
const CA: &str = "CORP-CA";
/// 2026-01-02 03:04:05 UTC.
const TIME: i64 = 1_767_323_045;

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/ms-csra");
    std::fs::read(folder.join(format!("handmade-{name}.bin"))).unwrap()
}

#[test]
fn decisions_are_asked_for_as_the_specification_says() {
    assert_eq!(csra::of_request(V, CAUSALITY, CA, 17), vector("resubmit-request"));
    assert_eq!(csra::parse_resubmitted(&vector("resubmit-response")), Ok(Ok(Disposition::Issued)));
    let missing = Disposition::Failed(HResult::PROPERTY_EMPTY);
    assert_eq!(csra::parse_resubmitted(&vector("resubmit-missing")), Ok(Ok(missing)));
    assert_eq!(csra::parse_done(&vector("deny-refused")), Ok(HResult::ACCESS_DENIED));
    let since = FileTime::from_unix(TIME);
    let asked = csra::revoke(V, CAUSALITY, CA, "61000000ab", RevocationReason::KeyCompromise, since);
    assert_eq!(asked, vector("revoke-request"));
    assert_eq!(csra::parse_done(&vector("revoke-response")), Ok(HResult::OK));
    assert_eq!(csra::of_authority(V, CAUSALITY, CA), vector("close-view"));
}

#[test]
fn roles_are_read() {
    let roles = csra::parse_roles(&vector("roles-response")).unwrap().unwrap();
    assert_eq!(roles, Roles(0x300));
    assert!(roles.read() && roles.enroll() && !roles.officer() && !roles.administrator());
    assert!(Roles(2).read() && Roles(1).read() && !Roles(4).read() && !Roles(0x100).enroll());
}

#[test]
fn columns_are_found_by_name() {
    assert_eq!(csra::view_columns(V, CAUSALITY, CA, 0, 100), vector("enum-view-column"));
    let columns = csra::parse_columns(&vector("columns-response")).unwrap().unwrap();
    let column = |id, kind, name: &str| Column { id, kind, name: name.to_owned() };
    assert_eq!(
        columns,
        [
            column(0x1000, ColumnKind::Number, "Request.RequestID"),
            column(0x1001, ColumnKind::Octets, "Request.RawRequest"),
            column(0x100b, ColumnKind::Date, "Request.SubmittedWhen"),
            column(0x2003, ColumnKind::Text, "CertificateTemplate"),
        ]
    );
}

#[test]
fn views_are_asked_for_as_the_specification_says() {
    let restrictions = [
        Restriction {
            column: 0x100b,
            seek: Seek::AtLeast,
            sort: Sort::Ascending,
            value: Value::Date(FileTime::from_unix(TIME)),
        },
        Restriction {
            column: 0x1001,
            seek: Seek::Equal,
            sort: Sort::No,
            value: Value::Octets(b"seven".to_vec()),
        },
    ];
    let asked = csra::open_view(V, CAUSALITY, CA, &restrictions, &[0x1000, 0x100b, 0x2003], (1, 64));
    assert_eq!(asked, vector("open-view"));
    assert_eq!(csra::open_view(V, CAUSALITY, CA, &[], &[0x1000], (1, 64)), vector("open-view-all"));
    assert_eq!(csra::enum_view(V, CAUSALITY, CA, 65, 64), vector("enum-view"));
    assert_eq!(csra::close_view(V, CAUSALITY, CA), vector("close-view"));
}

#[test]
fn rows_are_read_to_the_end() {
    let Rows { rows, total } = csra::parse_rows(&vector("rows-response")).unwrap().unwrap();
    assert_eq!(total, None);
    let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
    let time = Value::Date(FileTime::from_unix(TIME));
    assert_eq!(
        first,
        &Row {
            id: 11,
            cells: vec![
                (0x1000, Value::Number(11)),
                (0x100b, time),
                (0x2003, Value::Text("User".to_owned()))
            ]
        }
    );
    // An empty cell is none.
    let columns: Vec<u32> = second.cells.iter().map(|(column, _)| *column).collect();
    assert_eq!((second.id, columns), (12, vec![0x1000, 0x100b, 0x1001]));
    assert_eq!(second.cells.last().unwrap().1, Value::Octets(b"seven".to_vec()));
    let end = csra::parse_rows(&vector("rows-end-response")).unwrap().unwrap();
    assert_eq!((end.rows.len(), end.total), (1, Some(3)));
    assert_eq!(csra::parse_rows(&vector("rows-open-response")), Ok(Err(HResult::UNEXPECTED)));
}

#[test]
fn times_are_those_of_1601() {
    assert_eq!(FileTime::from_unix(0), FileTime(116_444_736_000_000_000));
    assert_eq!(FileTime(116_444_736_000_000_000).to_unix(), 0);
    assert_eq!(FileTime::from_unix(i64::MIN), FileTime(0));
    let _ = (FileTime::from_unix(i64::MAX).to_unix(), FileTime(u64::MAX).to_unix());
}

fn read(octets: &[u8]) -> usize {
    let _ = (csra::parse_resubmitted(octets), csra::parse_roles(octets), csra::parse_done(octets));
    let columns = csra::parse_columns(octets).map_or(0, |columns| columns.map_or(0, |found| found.len()));
    let rows = csra::parse_rows(octets).map_or(0, |rows| rows.map_or(0, |found| found.rows.len()));
    columns + rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    /// Whatever is changed in an answer, what is read is not more than what came.
    #[test]
    fn damaged_answers_are_read_or_refused(
        name in proptest::sample::select(vec!["columns-response", "rows-response", "rows-end-response"]),
        place in 0_usize..600,
        value: u8,
        cut in 0_usize..600,
    ) {
        let mut octets = vector(name);
        let length = octets.len();
        if let Some(octet) = octets.get_mut(place % length) {
            *octet = value;
        }
        prop_assert!(read(&octets) <= length / 12);
        octets.truncate(cut % length);
        prop_assert!(read(&octets) <= length / 12);
    }
}
