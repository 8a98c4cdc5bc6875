//! SPNEGO (RFC 4178) as one exchange with Kerberos in it, and nothing else.
//!
//! What a client sends first is read here, strictly, before the library sees any of it: the list of mechanisms must
//! begin with Kerberos, and the optimistic token must be an AP-REQ. So no NTLM, NegoEx or IAKERB message
//! reaches a parser, and no negotiation has a second leg that would need state for an unknown caller.
//!
//! Windows lists 1.2.840.48018.1.2.2 first, a slip of Windows 2000 that stayed, and frames the token with the right
//! identifier. Both name the same mechanism, and the first offered is the one accepted, so that RFC 4178 (section 5)
//! asks for no `mechListMIC`.

use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

use crate::acceptor::Refused;
use crate::ffi::KRB5;
use crate::keytab::EncryptionType;

/// The longest token that is read: Windows sends up to 48 000 octets, rarely up to 65 535.
pub const MAX_TOKEN: usize = 65_535;

/// 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
/// 1.2.840.48018.1.2.2.
const MS_KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// 1.3.6.1.4.1.311.2.2.10.
const NTLM: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
const NTLM_SIGNATURE: &[u8] = b"NTLMSSP\0";
/// RFC 4121, section 4.1: what follows the mechanism is an AP-REQ, an AP-REP, or a KRB-ERROR.
const AP_REQ: &[u8] = &[0x01, 0x00];

/// A mechanism named by a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Kerberos,
    MicrosoftKerberos,
}

impl Mechanism {
    fn of(oid: &[u8]) -> Result<Self, Refused> {
        match oid {
            KRB5 => Ok(Self::Kerberos),
            MS_KRB5 => Ok(Self::MicrosoftKerberos),
            NTLM => Err(Refused::Ntlm),
            other => Err(Refused::OtherMechanism(dotted(other))),
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::Kerberos => KRB5,
            Self::MicrosoftKerberos => MS_KRB5,
        }
    }
}

/// How the client wrapped its AP-REQ, and so how the answer is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Negotiate(Mechanism),
    Kerberos,
}

/// The first and only token of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitialToken<'a> {
    framing: Framing,
    ap_req: &'a [u8],
    /// What the AP-REQ says in clear.
    pub(crate) ticket: Ticket,
}

/// What an AP-REQ says without being decrypted. None of it is proven: decryption fails if an encryption type is
/// not the one named, but the service is nowhere inside of what is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) realm: String,
    /// `HTTP/pki.corp.example`.
    pub(crate) service: String,
    pub(crate) ticket_etype: i64,
    /// That of the session key, or of what the client put in its place.
    pub(crate) authenticator_etype: i64,
    /// Version of the service's key; absent from some KDCs.
    pub(crate) kvno: Option<i64>,
}

/// What can be seen in a token without any key. Nothing of it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The service that the ticket names, `HTTP/pki.corp.example@CORP.EXAMPLE`.
    pub service: String,
    /// Encryption of the ticket, by the service's key.
    pub ticket: EncryptionType,
    /// Encryption of the session key.
    pub session: EncryptionType,
    /// Version of the service's key.
    pub kvno: Option<i64>,
    /// The Kerberos token inside, as the library gets it.
    pub kerberos: Vec<u8>,
}

/// Looks at a client's first token, for log lines and diagnosis; [`crate::Acceptor::accept`] does the same first.
///
/// # Errors
/// What [`crate::Acceptor::accept`] refuses without asking the library.
pub fn inspect_token(token: &[u8]) -> Result<Inspected, Refused> {
    let token = InitialToken::parse(token)?;
    let kerberos = token.kerberos();
    let Ticket { realm, service, ticket_etype, authenticator_etype, kvno } = token.ticket;
    Ok(Inspected {
        service: format!("{service}@{realm}"),
        ticket: EncryptionType(ticket_etype),
        session: EncryptionType(authenticator_etype),
        kvno,
        kerberos,
    })
}

impl<'a> InitialToken<'a> {
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::TooLong(token.len()));
        }
        let (mechanism, rest) = unframe(token)?;
        if mechanism != SPNEGO {
            Mechanism::of(mechanism)?;
            let ap_req = ap_req_of(rest)?;
            return Ok(Self { framing: Framing::Kerberos, ap_req, ticket: Ticket::of(ap_req)? });
        }
        let (first, mech_token) = neg_token_init(rest).map_err(Syntax::refusal)??;
        if mech_token.starts_with(NTLM_SIGNATURE) {
            return Err(Refused::Ntlm);
        }
        let (mechanism, rest) = unframe(mech_token)?;
        Mechanism::of(mechanism)?;
        let ap_req = ap_req_of(rest)?;
        Ok(Self { framing: Framing::Negotiate(first), ap_req, ticket: Ticket::of(ap_req)? })
    }

    /// The AP-REQ in the frame of the krb5 mechanism, whatever the client framed it with.
    pub(crate) fn kerberos(&self) -> Vec<u8> {
        frame(KRB5, &[AP_REQ, self.ap_req].concat())
    }

    /// The answer to the client that contains the library's: a NegTokenResp that accepts the mechanism that
    /// the client offered first.
    pub(crate) fn answer(&self, reply: Vec<u8>) -> Vec<u8> {
        let mechanism = match self.framing {
            Framing::Kerberos => return reply,
            Framing::Negotiate(mechanism) => mechanism,
        };
        let mut fields =
            [element(0xa0, &[0x0a, 0x01, ACCEPT_COMPLETED]), element(0xa1, &element(0x06, mechanism.oid()))]
                .concat();
        if !reply.is_empty() {
            fields.extend(element(0xa2, &element(0x04, &reply)));
        }
        element(0xa1, &element(0x30, &fields))
    }
}

const ACCEPT_COMPLETED: u8 = 0;
const ACCEPT_INCOMPLETE: u8 = 1;
const REJECT: u8 = 2;

/// A client's first token: a NegTokenInit that offers Kerberos under both of its names, with a framed AP-REQ in it.
pub(crate) fn offer(kerberos: &[u8]) -> Vec<u8> {
    let mechanisms = [element(0x06, KRB5), element(0x06, MS_KRB5)].concat();
    let fields =
        [element(0xa0, &element(0x30, &mechanisms)), element(0xa2, &element(0x04, kerberos))].concat();
    frame(SPNEGO, &element(0xa0, &element(0x30, &fields)))
}

/// A server's answer to [`offer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The library's answer; empty if there is none.
    Accepted(Vec<u8>),
    Rejected,
    /// The server wants something else, or more.
    Incomplete,
}

/// A NegTokenResp, of either side.
pub(crate) struct Negotiation {
    /// `negState`.
    state: Option<u8>,
    /// The mechanism that is named is Kerberos, or none is.
    ours: bool,
    /// The token inside; empty if there is none.
    pub(crate) token: Vec<u8>,
    /// `mechListMIC`; empty if there is none.
    pub(crate) mic: Vec<u8>,
}

impl Negotiation {
    /// Reads one.
    pub(crate) fn read(token: &[u8]) -> Result<Self, der::Error> {
        let mut outer = SliceReader::new(token)?;
        let mut fields = SliceReader::new(nested(take(&mut outer, context(1))?, Tag::Sequence)?)?;
        outer.finish()?;
        let state = match optional(&mut fields, context(0))? {
            Some(state) => nested(state, Tag::Enumerated)?.first().copied(),
            None => None,
        };
        let mechanism = match optional(&mut fields, context(1))? {
            Some(mechanism) => Some(nested(mechanism, Tag::ObjectIdentifier)?),
            None => None,
        };
        let response = match optional(&mut fields, context(2))? {
            Some(response) => nested(response, Tag::OctetString)?,
            None => &[],
        };
        // With one exchange there is nothing that it would protect: both names are the same mechanism. Of several legs it is
        // verified.
        let mic = match optional(&mut fields, context(3))? {
            Some(mic) => nested(mic, Tag::OctetString)?,
            None => &[],
        };
        fields.finish()?;
        let ours = mechanism.is_none_or(|mechanism| mechanism == KRB5 || mechanism == MS_KRB5);
        Ok(Self { state, ours, token: response.to_vec(), mic: mic.to_vec() })
    }

    /// Whether the other side goes on with Kerberos, or is done with it.
    pub(crate) fn goes_on(&self) -> bool {
        self.ours && matches!(self.state, None | Some(ACCEPT_COMPLETED | ACCEPT_INCOMPLETE))
    }

    /// Whether the other side has nothing more to say.
    pub(crate) fn is_done(&self) -> bool {
        self.ours && self.state == Some(ACCEPT_COMPLETED)
    }

    pub(crate) fn is_rejected(&self) -> bool {
        self.state == Some(REJECT)
    }
}

/// The mechanisms that a client of DCE/RPC offers: one name of Kerberos, that of Windows.
pub(crate) fn dce_mechanisms() -> Vec<u8> {
    element(0x30, &element(0x06, MS_KRB5))
}

/// A client's first token for DCE/RPC, with a bare AP-REQ in it.
pub(crate) fn dce_offer(kerberos: &[u8]) -> Vec<u8> {
    let fields = [element(0xa0, &dce_mechanisms()), element(0xa2, &element(0x04, kerberos))].concat();
    frame(SPNEGO, &element(0xa0, &element(0x30, &fields)))
}

/// The mechanisms in a client's first token, as they are signed.
pub(crate) fn offered_mechanisms(token: &[u8]) -> Result<Vec<u8>, Refused> {
    let (_, rest) = unframe(token)?;
    let read = || -> Result<_, der::Error> {
        let mut fields = SliceReader::new(nested(nested(rest, context(0))?, Tag::Sequence)?)?;
        take(&mut fields, context(0)).map(<[u8]>::to_vec)
    };
    read().map_err(|error| Syntax(error).refusal())
}

/// A NegTokenResp with the client's next token in it, and its `mechListMIC`: servers with AES want one of an exchange with
/// several legs (MS-SPNG 3.1.5.1).
pub(crate) fn next_leg(token: &[u8], mic: &[u8]) -> Vec<u8> {
    let fields = [element(0xa2, &element(0x04, token)), element(0xa3, &element(0x04, mic))].concat();
    element(0xa1, &element(0x30, &fields))
}

/// The server's answer to the first or the last leg of an exchange with several.
pub(crate) fn answer_leg(complete: bool, microsoft: bool, token: &[u8], mic: &[u8]) -> Vec<u8> {
    let state = if complete { ACCEPT_COMPLETED } else { ACCEPT_INCOMPLETE };
    let mut fields = element(0xa0, &[0x0a, 0x01, state]);
    if !complete {
        let mechanism = if microsoft { MS_KRB5 } else { KRB5 };
        fields.extend(element(0xa1, &element(0x06, mechanism)));
        fields.extend(element(0xa2, &element(0x04, token)));
    }
    if !mic.is_empty() {
        fields.extend(element(0xa3, &element(0x04, mic)));
    }
    element(0xa1, &element(0x30, &fields))
}

/// A client's first token with a bare AP-REQ in it, as DCE/RPC has it, or a framed one; whether Microsoft's name of the
/// mechanism was offered first is the second value.
pub(crate) fn read_dce_offer(token: &[u8]) -> Result<(Vec<u8>, bool), Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::TooLong(token.len()));
    }
    let (mechanism, rest) = unframe(token)?;
    if mechanism != SPNEGO {
        return Err(Mechanism::of(mechanism).map_or_else(|refused| refused, |_| Refused::NotAnApReq));
    }
    let (first, token) = neg_token_init(rest).map_err(Syntax::refusal)??;
    if token.starts_with(NTLM_SIGNATURE) {
        return Err(Refused::Ntlm);
    }
    let ap_req = if token.first() == Some(&0x60) {
        let (mechanism, rest) = unframe(token)?;
        Mechanism::of(mechanism)?;
        ap_req_of(rest)?
    } else {
        token
    };
    Ticket::of(ap_req)?;
    Ok((ap_req.to_vec(), first == Mechanism::MicrosoftKerberos))
}

/// What the AP-REQ of a client says in clear.
pub(crate) fn ticket_of(ap_req: &[u8]) -> Result<Ticket, Refused> {
    Ticket::of(ap_req)
}

/// Reads a server's answer.
pub(crate) fn read_answer(token: &[u8]) -> Result<Answer, der::Error> {
    let Negotiation { state, ours, token, .. } = Negotiation::read(token)?;
    Ok(match state {
        Some(REJECT) => Answer::Rejected,
        Some(ACCEPT_COMPLETED) | None if ours => Answer::Accepted(token),
        // Windows says "incomplete" where the library of the peer still has to see its AP-REP.
        Some(ACCEPT_INCOMPLETE) | Some(_) | None => Answer::Incomplete,
    })
}

/// What is wrong with the encoding of a token.
struct Syntax(der::Error);

impl Syntax {
    fn refusal(self) -> Refused {
        Refused::Malformed(self.0.to_string())
    }
}

impl From<der::Error> for Syntax {
    fn from(error: der::Error) -> Self {
        Self(error)
    }
}

const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

const fn application(number: u32) -> Tag {
    Tag::Application { constructed: true, number: TagNumber(number) }
}

/// The content of the next element, which must have this tag.
fn take<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8], der::Error> {
    let header = Header::decode(reader)?;
    header.tag().assert_eq(tag)?;
    reader.read_slice(header.length())
}

/// The content of the next element, if it has this tag.
fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<Option<&'a [u8]>, der::Error> {
    if reader.is_finished() || Header::peek(reader)?.tag() != tag {
        return Ok(None);
    }
    take(reader, tag).map(Some)
}

/// The content of the only element in `octets`.
fn nested(octets: &[u8], tag: Tag) -> Result<&[u8], der::Error> {
    let mut reader = SliceReader::new(octets)?;
    let content = take(&mut reader, tag)?;
    reader.finish()?;
    Ok(content)
}

/// RFC 2743, section 3.1: mechanism and rest of an initial token.
fn unframe(token: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    if token.starts_with(NTLM_SIGNATURE) {
        return Err(Refused::Ntlm);
    }
    // A NegTokenResp: the client goes on with a negotiation that we did not begin.
    if token.first() == Some(&0xa1) {
        return Err(Refused::AnotherLeg);
    }
    let inner = || -> Result<_, der::Error> {
        let framed = nested(token, application(0))?;
        let mut reader = SliceReader::new(framed)?;
        let mechanism = take(&mut reader, Tag::ObjectIdentifier)?;
        let rest = reader.read_slice(reader.remaining_len())?;
        Ok((mechanism, rest))
    };
    inner().map_err(|error| Syntax(error).refusal())
}

/// The first mechanism of a NegTokenInit and the token for it.
fn neg_token_init(rest: &[u8]) -> Result<Result<(Mechanism, &[u8]), Refused>, Syntax> {
    let mut fields = SliceReader::new(nested(nested(rest, context(0))?, Tag::Sequence)?)?;
    let mut mechanisms = SliceReader::new(nested(take(&mut fields, context(0))?, Tag::Sequence)?)?;
    let first = take(&mut mechanisms, Tag::ObjectIdentifier)?;
    // Whatever else is offered must be readable, but does not matter.
    while !mechanisms.is_finished() {
        take(&mut mechanisms, Tag::ObjectIdentifier)?;
    }
    // reqFlags; mechToken; mechListMIC, which has nothing to protect: what is offered after the first is not looked at.
    optional(&mut fields, context(1))?;
    let token = match optional(&mut fields, context(2))? {
        Some(token) => Some(nested(token, Tag::OctetString)?),
        None => None,
    };
    optional(&mut fields, context(3))?;
    fields.finish()?;
    let mechanism = match Mechanism::of(first) {
        Ok(mechanism) => mechanism,
        Err(refused) => return Ok(Err(refused)),
    };
    Ok(token.map(|token| (mechanism, token)).ok_or(Refused::AnotherLeg))
}

/// The AP-REQ behind the mechanism of a Kerberos token.
fn ap_req_of(rest: &[u8]) -> Result<&[u8], Refused> {
    rest.strip_prefix(AP_REQ).ok_or(Refused::NotAnApReq)
}

impl Ticket {
    /// RFC 4120, section 5.5.1.
    fn of(ap_req: &[u8]) -> Result<Self, Refused> {
        Self::read(ap_req).map_err(Syntax::refusal)?.ok_or(Refused::NotAnApReq)
    }

    fn read(ap_req: &[u8]) -> Result<Option<Self>, Syntax> {
        let mut reader = SliceReader::new(ap_req)?;
        if Header::peek(&reader)?.tag() != application(14) {
            return Ok(None);
        }
        let content = take(&mut reader, application(14))?;
        reader.finish()?;
        let mut fields = SliceReader::new(nested(content, Tag::Sequence)?)?;
        let version = integer(take(&mut fields, context(0))?)?;
        let kind = integer(take(&mut fields, context(1))?)?;
        let options = nested(take(&mut fields, context(2))?, Tag::BitString)?;
        // reserved, use-session-key (user to user), mutual-required.
        let user_to_user = options.get(1).is_some_and(|first| first & 0x40 != 0);
        let ticket = nested(nested(take(&mut fields, context(3))?, application(1))?, Tag::Sequence)?;
        let (authenticator_etype, _) = encrypted(take(&mut fields, context(4))?)?;
        fields.finish()?;
        let mut fields = SliceReader::new(ticket)?;
        let ticket_version = integer(take(&mut fields, context(0))?)?;
        let realm = text(nested(take(&mut fields, context(1))?, Tag::GeneralString)?);
        let name = nested(take(&mut fields, context(2))?, Tag::Sequence)?;
        let (ticket_etype, kvno) = encrypted(take(&mut fields, context(3))?)?;
        fields.finish()?;
        let mut fields = SliceReader::new(name)?;
        integer(take(&mut fields, context(0))?)?;
        let mut components = SliceReader::new(nested(take(&mut fields, context(1))?, Tag::Sequence)?)?;
        fields.finish()?;
        let mut service = Vec::new();
        while !components.is_finished() {
            service.push(component(take(&mut components, Tag::GeneralString)?));
        }
        if version != 5 || kind != 14 || ticket_version != 5 || user_to_user {
            return Ok(None);
        }
        let service = service.join("/");
        Ok(Some(Self { realm, service, ticket_etype, authenticator_etype, kvno }))
    }
}

/// EncryptedData: its type and the version of the key.
fn encrypted(content: &[u8]) -> Result<(i64, Option<i64>), der::Error> {
    let mut fields = SliceReader::new(nested(content, Tag::Sequence)?)?;
    let etype = integer(take(&mut fields, context(0))?)?;
    let kvno = optional(&mut fields, context(1))?.map(integer).transpose()?;
    nested(take(&mut fields, context(2))?, Tag::OctetString)?;
    fields.finish()?;
    Ok((etype, kvno))
}

/// An INTEGER inside of `content`; Kerberos has none beyond 32 bits.
fn integer(content: &[u8]) -> Result<i64, der::Error> {
    i64::from_der(content)
}

/// A KerberosString. What is not UTF-8 compares with nothing that is configured.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A component of a name; one with a `/` in it must not look like two.
fn component(octets: &[u8]) -> String {
    text(octets).replace('/', "\\/")
}

/// An element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..0x80) => element.push(short),
        Ok(_) | Err(_) => {
            let length: Vec<u8> =
                content.len().to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            element.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            element.extend(length);
        }
    }
    element.extend(content);
    element
}

/// RFC 2743, section 3.1.
fn frame(mechanism: &[u8], rest: &[u8]) -> Vec<u8> {
    element(0x60, &[&element(0x06, mechanism), rest].concat())
}

/// An object identifier for a sentence; at most the first twenty arcs.
fn dotted(oid: &[u8]) -> String {
    let (mut arcs, mut arc) = (Vec::<u64>::new(), 0u64);
    for octet in oid {
        arc = arc.saturating_mul(128).saturating_add(u64::from(octet & 0x7f));
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    arcs.iter().take(20).map(u64::to_string).collect::<Vec<_>>().join(".")
}
