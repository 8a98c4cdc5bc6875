//! Faults planted in what is about to be signed: each is found, and named for what it is.

use const_oid::ObjectIdentifier;
use der::asn1::AnyRef;
use der::{Decode, Encode, Reader, SliceReader};
use muster_ca::{Authority, Finding};
use muster_core::UnixTime;
use muster_core::issuance::{Issuer, PrepareError};
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::template::KeyUsage;

use crate::support::{NOW, ca_in_memory, contents, serial, spki};

const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa3;

/// The fields of a TBSCertificate in their order.
#[derive(Clone, Copy)]
enum Field {
    Version,
    Serial,
    Algorithm,
    Issuer,
    Validity,
    Subject,
    PublicKey,
    Extensions,
}

/// One element of DER, made without the code under test.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [head, content.to_vec()].concat()
}

fn split(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let mut reader = SliceReader::new(content).unwrap();
        let part = reader.tlv_bytes().unwrap();
        parts.push(part.to_vec());
        content = &content[part.len()..];
    }
    parts
}

fn inside(element: &[u8]) -> Vec<Vec<u8>> {
    split(AnyRef::from_der(element).unwrap().value())
}

/// A CA, approved contents, and the certificate that was built for them.
struct Bench {
    authority: Authority,
    contents: CertificateContents,
    fields: Vec<Vec<u8>>,
}

impl Bench {
    fn new() -> Self {
        let authority = ca_in_memory();
        let contents = contents();
        let tbs = authority.build(&contents, serial(1)).unwrap();
        assert_eq!(authority.lint(&contents, &tbs), Ok(()));
        Self { authority, contents, fields: inside(&tbs) }
    }

    #[track_caller]
    fn finds(&self, finding: &Finding, tbs: &[u8]) {
        let expected = Err(PrepareError::Lint(finding.to_string()));
        assert_eq!(self.authority.lint(&self.contents, tbs), expected);
    }

    /// Expects `finding` after `field` is replaced.
    #[track_caller]
    fn with_field(&self, field: Field, replacement: &[u8], finding: &Finding) {
        let mut fields = self.fields.clone();
        let at = match field {
            Field::Version => 0,
            Field::Serial => 1,
            Field::Algorithm => 2,
            Field::Issuer => 3,
            Field::Validity => 4,
            Field::Subject => 5,
            Field::PublicKey => 6,
            Field::Extensions => 7,
        };
        assert_ne!(fields[at], replacement, "nothing was changed");
        fields[at] = replacement.to_vec();
        self.finds(finding, &tlv(SEQUENCE, &fields.concat()));
    }

    fn extensions(&self) -> Vec<Vec<u8>> {
        inside(&inside(&self.fields[7])[0])
    }

    fn with_extensions(&self, extensions: &[Vec<u8>], finding: &Finding) {
        let wrapped = tlv(EXTENSIONS, &tlv(SEQUENCE, &extensions.concat()));
        self.with_field(Field::Extensions, &wrapped, finding);
    }

    /// Expects [`Finding::Value`] after the value of the extension `oid` is replaced.
    fn with_value(&self, oid: &str, value: &[u8]) {
        let oid = ObjectIdentifier::new(oid).unwrap();
        let head = oid.to_der().unwrap();
        let mut extensions = self.extensions();
        let extension = extensions.iter_mut().find(|e| inside(e)[0] == head).unwrap();
        let mut parts = inside(extension);
        *parts.last_mut().unwrap() = tlv(4, value);
        *extension = tlv(SEQUENCE, &parts.concat());
        self.with_extensions(&extensions, &Finding::Value(oid));
    }

    /// The list as [`Finding::Extensions`] quotes it.
    fn quoted(extensions: &[Vec<u8>]) -> Finding {
        let list: Vec<String> = extensions
            .iter()
            .map(|e| inside(e)[0].clone())
            .map(|der| <ObjectIdentifier>::from_der(&der).unwrap().to_string())
            .collect();
        Finding::Extensions(list.join(", "))
    }

    /// Expects `finding` when the certificate is built for contents that nobody should have approved.
    #[track_caller]
    fn with_contents(&self, finding: &Finding, change: impl FnOnce(&mut CertificateContents)) {
        let mut contents = self.contents.clone();
        change(&mut contents);
        let tbs = self.authority.build(&contents, serial(1)).unwrap();
        assert_eq!(self.authority.lint(&contents, &tbs), Err(PrepareError::Lint(finding.to_string())));
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn broken_encodings_are_found() {
    let bench = Bench::new();
    let whole = tlv(SEQUENCE, &bench.fields.concat());
    for octets in [&[][..], b"\x30\x00", b"\x05\x00", &whole[..whole.len() - 1]] {
        bench.finds(&Finding::NotDer, octets);
    }
    bench.finds(&Finding::NotDer, &[whole.as_slice(), &[0]].concat());
    // The length in more octets than it needs.
    let length = u16::try_from(whole.len() - 4).unwrap().to_be_bytes();
    let padded = [&[0x30, 0x83, 0, length[0], length[1]], &whole[4..]].concat();
    bench.finds(&Finding::NotDer, &padded);
    // issuerUniqueID before the extensions.
    let mut fields = bench.fields.clone();
    fields.insert(7, tlv(0x81, &[0, 1]));
    bench.finds(&Finding::Fields, &tlv(SEQUENCE, &fields.concat()));
}

/// Whatever single bit is changed, it is found; but not in the serial number, which says nothing.
#[test]
fn every_changed_bit_is_found() {
    let bench = Bench::new();
    let whole = tlv(SEQUENCE, &bench.fields.concat());
    // 4 octets of head, 5 of version, 3 of the serial number's head and marker, its 19 other octets.
    let serial = 12..31;
    assert_eq!(whole[11], 0x4d);
    for at in (0..whole.len()).filter(|at| !serial.contains(at)) {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            assert!(bench.authority.lint(&bench.contents, &changed).is_err(), "octet {at}, bit {bit}");
        }
    }
}

#[test]
fn wrong_heads_are_found() {
    let bench = Bench::new();
    bench.with_field(Field::Version, &hex("a003020101"), &Finding::Version);
    for serial in ["020100", "020107", "02084d00000001020304", "02144d00000000ffffffffffffffffffffffffffffff"]
    {
        bench.with_field(Field::Serial, &hex(serial), &Finding::Serial);
    }
    // ecdsa-with-SHA384
    bench.with_field(Field::Algorithm, &hex("300a06082a8648ce3d040303"), &Finding::Algorithm);
    bench.with_field(Field::Issuer, &bench.fields[5], &Finding::Issuer);
    // The CA's name in another string type looks the same and is another.
    let printable = String::from_utf8_lossy(&bench.fields[3]).contains("Example");
    assert!(printable);
    let other: Vec<u8> = bench.fields[3].iter().map(|b| if *b == 0x0c { 0x13 } else { *b }).collect();
    bench.with_field(Field::Issuer, &other, &Finding::Issuer);
    bench.with_field(Field::PublicKey, &spki(), &Finding::PublicKey);
}

#[test]
fn wrong_validity_is_found() {
    let bench = Bench::new();
    let times = inside(&bench.fields[4]);
    let later = tlv(0x17, b"271123044143Z");
    bench.with_field(
        Field::Validity,
        &tlv(SEQUENCE, &[times[0].clone(), later].concat()),
        &Finding::Validity,
    );
    let general = tlv(0x18, b"20271123044142Z");
    let validity = tlv(SEQUENCE, &[times[0].clone(), general].concat());
    bench.with_field(Field::Validity, &validity, &Finding::TimeForm);
    let end = bench.authority.not_after();
    bench.with_contents(&Finding::OutsideCa, |c| c.not_after = end.plus(1));
    bench.with_contents(&Finding::OutsideCa, |c| c.not_before = NOW.plus(-601));
    bench.with_contents(&Finding::OutsideCa, |c| c.not_after = c.not_before);
    bench.with_contents(&Finding::OutsideCa, |c| c.not_after = UnixTime(0));
}

#[test]
fn wrong_subjects_are_found() {
    let bench = Bench::new();
    let rdns = inside(&bench.fields[5]);
    let subject = |rdns: &[Vec<u8>]| tlv(SEQUENCE, &rdns.concat());
    bench.with_field(Field::Subject, &subject(&rdns[..2]), &Finding::Subject);
    bench.with_field(Field::Subject, &subject(&[]), &Finding::Subject);
    let common_name =
        |tag, text: &[u8]| tlv(0x31, &tlv(SEQUENCE, &[hex("0603550403"), tlv(tag, text)].concat()));
    for last in [
        vec![rdns[2].clone(), rdns[2].clone()],
        vec![common_name(0x0c, b"administrator")],
        vec![common_name(0x13, b"alice")],
        vec![tlv(
            0x31,
            &[inside(&rdns[2])[0].clone(), inside(&common_name(0x0c, b"bob"))[0].clone()].concat(),
        )],
    ] {
        let changed = subject(&[rdns[..2].to_vec(), last].concat());
        bench.with_field(Field::Subject, &changed, &Finding::Subject);
    }
    // A subject that nobody should have approved.
    let tbs = tlv(SEQUENCE, &bench.fields.concat());
    let mut contents = bench.contents.clone();
    contents.subject = SubjectName(vec![(NameAttribute::CommonName, "x".repeat(65))]);
    let sentence = Finding::Name("CN has 65 characters; the limit is 64".to_owned()).to_string();
    assert_eq!(bench.authority.lint(&contents, &tbs), Err(PrepareError::Lint(sentence)));
    contents.subject.0.clear();
    contents.alternatives.clear();
    let sentence = Finding::Nameless.to_string();
    assert_eq!(bench.authority.lint(&contents, &tbs), Err(PrepareError::Lint(sentence)));
}

#[test]
fn wrong_sets_of_extensions_are_found() {
    let bench = Bench::new();
    let whole = bench.extensions();
    let basic_constraints = tlv(SEQUENCE, &[hex("0603551d130101ff"), tlv(4, &hex("30030101ff"))].concat());
    let mut cases = Vec::new();
    for at in 0..=whole.len() {
        let mut more = whole.clone();
        more.insert(at, basic_constraints.clone());
        cases.push(more);
    }
    for at in 0..whole.len() {
        let mut fewer = whole.clone();
        fewer.remove(at);
        cases.push(fewer);
        let mut twice = whole.clone();
        twice.insert(at, whole[at].clone());
        cases.push(twice);
    }
    for at in 1..whole.len() {
        let mut swapped = whole.clone();
        swapped.swap(at - 1, at);
        cases.push(swapped);
    }
    for extensions in cases {
        bench.with_extensions(&extensions, &Bench::quoted(&extensions));
    }
    // Key usage that is not critical, extended key usage that is.
    for (at, critical) in [(2, false), (3, true)] {
        let mut extensions = whole.clone();
        let parts = inside(&extensions[at]);
        let flag = if critical { hex("0101ff") } else { Vec::new() };
        let changed = [parts[0].clone(), flag, parts[parts.len() - 1].clone()].concat();
        extensions[at] = tlv(SEQUENCE, &changed);
        bench.with_extensions(&extensions, &Bench::quoted(&extensions));
    }
    // A security identifier where none was approved (ESC1, ESC9).
    let mut contents = bench.contents.clone();
    contents.sid = None;
    let tbs = tlv(SEQUENCE, &bench.fields.concat());
    let sentence = Bench::quoted(&whole).to_string();
    assert_eq!(bench.authority.lint(&contents, &tbs), Err(PrepareError::Lint(sentence)));
}

#[test]
fn wrong_values_of_extensions_are_found() {
    let bench = Bench::new();
    let other = [0xaa; 20];
    bench.with_value("2.5.29.35", &tlv(SEQUENCE, &tlv(0x80, &other)));
    bench.with_value("2.5.29.14", &tlv(4, &other));
    for usage in ["0303078080", "03020284", "03020780", "030206c0", "0303078880", "030100"] {
        bench.with_value("2.5.29.15", &hex(usage));
    }
    let client = hex("06082b06010505070302");
    let logon = hex("060a2b060104018237140202");
    for purposes in [
        vec![],
        vec![client.clone()],
        vec![logon.clone(), client.clone()],
        vec![client.clone(), logon.clone(), hex("0604551d2500")],
        vec![client.clone(), logon.clone(), hex("06082b06010505070309")],
        vec![client.clone(), client.clone()],
    ] {
        bench.with_value("2.5.29.37", &tlv(SEQUENCE, &purposes.concat()));
        let mirrored: Vec<Vec<u8>> = purposes.iter().map(|p| tlv(SEQUENCE, p)).collect();
        bench.with_value("1.3.6.1.4.1.311.21.10", &tlv(SEQUENCE, &mirrored.concat()));
    }
    let qualified = tlv(SEQUENCE, &[client, tlv(SEQUENCE, &[])].concat());
    bench.with_value("1.3.6.1.4.1.311.21.10", &tlv(SEQUENCE, &[qualified, tlv(SEQUENCE, &logon)].concat()));
    let template = hex("06042a030405");
    for value in [
        template.clone(),
        [template.clone(), hex("020164")].concat(),
        [template, hex("0201640202012c")].concat(),
    ] {
        bench.with_value("1.3.6.1.4.1.311.21.7", &tlv(SEQUENCE, &value));
    }
    bench.with_value("2.5.29.32", &tlv(SEQUENCE, &tlv(SEQUENCE, &hex("0604551d2000"))));
    let names = inside(&tlv(SEQUENCE, &[]));
    assert!(names.is_empty());
    bench.with_value("2.5.29.17", &tlv(SEQUENCE, &tlv(0x82, b"dc1.lab.example")));
    let sid = |text: &[u8]| {
        let typed = [hex("060a2b060104018237190201"), tlv(0xa0, &tlv(4, text))].concat();
        tlv(SEQUENCE, &tlv(0xa0, &typed))
    };
    bench.with_value("1.3.6.1.4.1.311.25.2", &sid(b"S-1-5-21-1-2-3-500"));
    bench.with_value("1.3.6.1.4.1.311.25.2", &sid(b"S-1-5-21-1-2-3-1104 "));
    let url = |text: &[u8]| tlv(0x86, text);
    let point = tlv(SEQUENCE, &tlv(SEQUENCE, &tlv(0xa0, &tlv(0xa0, &url(b"http://evil.example/ca.crl")))));
    bench.with_value("2.5.29.31", &point);
    let access =
        |method: &str, text: &[u8]| tlv(SEQUENCE, &tlv(SEQUENCE, &[hex(method), url(text)].concat()));
    bench.with_value("1.3.6.1.5.5.7.1.1", &access("06082b06010505073002", b"http://evil.example/ca.crt"));
    // The right URL, as that of an OCSP responder.
    bench.with_value("1.3.6.1.5.5.7.1.1", &access("06082b06010505073001", b"http://pki.example/ca.crt"));
    for oid in ["2.5.29.35", "2.5.29.17", "2.5.29.32", "1.3.6.1.4.1.311.21.7", "1.3.6.1.4.1.311.25.2"] {
        bench.with_value(oid, &[]);
        bench.with_value(oid, &hex("0500"));
    }
}

/// Names added beside the approved ones, of every kind.
#[test]
fn additional_names_are_found() {
    let bench = Bench::new();
    let tbs_of = |name: AltName| {
        let mut contents = bench.contents.clone();
        contents.alternatives.push(name);
        bench.authority.build(&contents, serial(1)).unwrap()
    };
    let finding = Finding::Value(ObjectIdentifier::new("2.5.29.17").unwrap());
    for name in [
        AltName::Upn("administrator@lab.example".to_owned()),
        AltName::Dns("dc1.lab.example".to_owned()),
        AltName::Email("ceo@lab.example".to_owned()),
        AltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500".to_owned()),
        AltName::Ip("10.0.0.1".parse().unwrap()),
        AltName::Guid("0e10c968-78fb-11d2-90d4-00c04f79dc56".parse().unwrap()),
    ] {
        bench.finds(&finding, &tbs_of(name));
    }
}

#[test]
fn contents_against_the_rules_are_found() {
    let bench = Bench::new();
    bench.with_contents(&Finding::AnyPurpose, |c| c.eku.push("2.5.29.37.0".parse().unwrap()));
    bench.with_contents(&Finding::Purposes, |c| c.eku.push(c.eku[0].clone()));
    bench.with_contents(&Finding::UsageForKey, |c| c.usage.push(KeyUsage::KeyEncipherment));
    for algorithm in [KeyAlgorithm::Rsa, KeyAlgorithm::P384, KeyAlgorithm::P521, KeyAlgorithm::Ed25519] {
        bench.with_contents(&Finding::KeyKind, |c| c.key_algorithm = algorithm);
    }
}
