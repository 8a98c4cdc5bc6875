//! Messages octet by octet, and octets that are none.

use super::*;

/// What a server would write.
fn message(id: i32, operation: u8, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    out.nested(SEQUENCE, |out| {
        out.integer(INTEGER, id);
        out.nested(operation, fill);
    });
    out.finish().to_vec()
}

#[test]
fn simple_bind_has_the_octets_of_rfc_4511() {
    let request =
        Request::Simple { name: "a".to_owned(), password: zeroize::Zeroizing::new(b"secret".to_vec()) };
    assert_eq!(
        request.encode(1).as_slice(),
        b"\x30\x13\x02\x01\x01\x60\x0e\x02\x01\x03\x04\x01a\x80\x06secret"
    );
}

#[test]
fn search_carries_its_controls() {
    let search = Search { descriptor: true, deleted: true, ..Search::object("DC=a", &["cn"]) };
    let octets = Request::Search { search, page: Some(Page { size: 500, cookie: vec![1, 2] }) }.encode(7);
    let mut inside = Reader::new(Reader::new(&octets).expect(SEQUENCE).unwrap());
    assert_eq!(inside.integer(), Ok(7));
    assert_eq!(inside.element().unwrap().0, 0x63);
    let mut controls = Reader::new(inside.expect(context_constructed(0)).unwrap());
    let mut seen = Vec::new();
    while !controls.is_empty() {
        let mut control = Reader::new(controls.expect(SEQUENCE).unwrap());
        let oid = control.text().unwrap().to_owned();
        assert_eq!(boolean(control.expect(BOOLEAN).unwrap()), Ok(true), "{oid} is critical");
        seen.push((oid, control.optional(OCTET_STRING).unwrap().map(<[u8]>::to_vec)));
    }
    assert_eq!(
        seen,
        [
            (PAGED.to_owned(), Some(b"\x30\x08\x02\x02\x01\xf4\x04\x02\x01\x02".to_vec())),
            (SD_FLAGS.to_owned(), Some(b"\x30\x03\x02\x01\x07".to_vec())),
            (SHOW_DELETED.to_owned(), None),
        ]
    );
}

#[test]
fn entry_keeps_octets_as_they_are() {
    let octets = message(3, 0x64, |out| {
        out.octets(b"CN=a,DC=b");
        out.nested(SEQUENCE, |out| {
            write_attribute(out, &("objectSid".to_owned(), vec![vec![1, 0xff, 0]]));
            write_attribute(out, &("member;range=0-1".to_owned(), vec![b"x".to_vec(), b"y".to_vec()]));
        });
    });
    let Message { id: 3, response: Response::Entry(entry) } = Message::decode(&octets).unwrap() else {
        panic!("not an entry")
    };
    assert_eq!(entry.value("OBJECTSID"), Some(&[1, 0xff, 0][..]));
    assert_eq!(entry.text("objectSid"), None);
    assert_eq!(entry.texts("member").collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn page_cookie_is_found_among_other_controls() {
    let mut out = Writer::default();
    out.nested(SEQUENCE, |out| {
        out.integer(INTEGER, 1);
        out.nested(0x65, |out| {
            out.integer(ENUMERATED, 0);
            out.octets(b"");
            out.octets(b"");
        });
        out.nested(context_constructed(0), |out| {
            flag(out, "1.2.3");
            control(out, PAGED, |value| {
                value.integer(INTEGER, 0);
                value.octets(b"next");
            });
        });
    });
    let decoded = Message::decode(&out.finish()).unwrap();
    let outcome = Outcome { code: ResultCode::SUCCESS, message: String::new(), referrals: Vec::new() };
    assert_eq!(decoded.response, Response::Done { outcome, cookie: b"next".to_vec() });
}

#[test]
fn referral_is_reported_and_the_servers_text_is_tamed() {
    let octets = message(2, 0x65, |out| {
        out.integer(ENUMERATED, 10);
        out.octets(b"");
        out.octets(format!("go\x1b[2J\r\naway{}", "!".repeat(999)).as_bytes());
        out.nested(context_constructed(3), |out| out.octets(b"ldap://other.test/DC=x"));
    });
    let Message { response: Response::Done { outcome, .. }, .. } = Message::decode(&octets).unwrap() else {
        panic!("not the end of a search")
    };
    assert_eq!(outcome.code, ResultCode::REFERRAL);
    assert_eq!(outcome.referrals, ["ldap://other.test/DC=x"]);
    assert!(outcome.message.starts_with("go[2Jaway!!") && outcome.message.chars().count() == 200);
}

#[test]
fn every_cut_and_every_flipped_octet_is_an_answer_or_an_error() {
    let whole = message(3, 0x64, |out| {
        out.octets(b"CN=a,DC=b");
        out.nested(SEQUENCE, |out| write_attribute(out, &("cn".to_owned(), vec![b"a".to_vec()])));
    });
    for end in 0..whole.len() {
        assert!(Message::decode(&whole[..end]).is_err(), "cut at {end}");
    }
    let mut understood = 0;
    for position in 0..whole.len() {
        for bit in 0..8 {
            let mut octets = whole.clone();
            octets[position] ^= 1 << bit;
            understood += usize::from(Message::decode(&octets).is_ok());
        }
    }
    // Letters of names and values can change without the message losing its form; nothing else can.
    assert!(understood < whole.len() * 8 / 2, "{understood}");
}

#[test]
fn request_from_the_server_is_refused_without_reading_it() {
    // A search request with a filter nested 100,000 deep: a recursive decoder would use up its stack.
    let mut octets = vec![0x30, 0x84, 0, 6, 0x1a, 0x89, 0x02, 0x01, 1, 0x63, 0x84, 0, 6, 0x1a, 0x80];
    octets.resize(octets.len() + 400_000, 0xa2);
    assert_eq!(
        Message::decode(&octets),
        Err(BerError::Unexpected { expected: 0x64, found: 0x63 }),
        "wrong lengths would be another error"
    );
}
