//! The messages of RFC 4511 that we send, and what we understand of the answers.

use std::fmt;

use super::ber::{
    BOOLEAN, BerError, ENUMERATED, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, Writer, boolean, context,
    context_constructed,
};
use super::filter::Filter;

/// Paged results (RFC 2696).
const PAGED: &str = "1.2.840.113556.1.4.319";
/// `LDAP_SERVER_SD_FLAGS_OID` (MS-ADTS 3.1.1.3.4.1.11): which parts of a security descriptor are meant.
const SD_FLAGS: &str = "1.2.840.113556.1.4.801";
/// `LDAP_SERVER_SHOW_DELETED_OID` (MS-ADTS 3.1.1.3.4.1.14).
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// `LDAP_SERVER_DOMAIN_SCOPE_OID` (MS-ADTS 3.1.1.3.4.1.4): no references to other partitions.
const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// `LDAP_SERVER_SEARCH_OPTIONS_OID` (MS-ADTS 3.1.1.3.4.1.12).
const SEARCH_OPTIONS: &str = "1.2.840.113556.1.4.1340";
/// StartTLS (RFC 4511 4.14).
pub(crate) const START_TLS: &str = "1.3.6.1.4.1.1466.20037";

/// How far below the base a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base itself.
    Base,
    /// The children of the base.
    Children,
    /// The base and everything below it.
    Subtree,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Distinguished name of the base; also `<GUID=…>` and `<SID=…>` (MS-ADTS 3.1.1.3.1.2.4).
    pub base: String,
    /// How far below the base.
    pub scope: Scope,
    /// Which objects.
    pub filter: Filter,
    /// Which attributes; the distinguished name comes always.
    pub attributes: Vec<&'static str>,
    /// Also deleted objects that the reader may see.
    pub deleted: bool,
    /// Every partition that the server holds, those of other domains in a global catalog included; the base is then
    /// empty.
    pub forest: bool,
    /// Owner, group and DACL with `nTSecurityDescriptor`.
    pub descriptor: bool,
    /// At most so many entries; more are an error, never silently left out.
    pub limit: usize,
}

impl Search {
    /// The object of this name.
    #[must_use]
    pub fn object(base: impl Into<String>, attributes: &[&'static str]) -> Self {
        Self {
            base: base.into(),
            scope: Scope::Base,
            filter: Filter::Present("objectClass"),
            attributes: attributes.to_vec(),
            deleted: false,
            forest: false,
            descriptor: false,
            limit: 1,
        }
    }

    /// Objects anywhere in the forest, as far as the server knows it.
    #[must_use]
    pub fn forest(filter: Filter, attributes: &[&'static str], limit: usize) -> Self {
        Self { forest: true, ..Self::below("", filter, attributes, limit) }
    }

    /// Objects below `base`, at most `limit`.
    #[must_use]
    pub fn below(base: impl Into<String>, filter: Filter, attributes: &[&'static str], limit: usize) -> Self {
        Self { scope: Scope::Subtree, filter, limit, ..Self::object(base, attributes) }
    }
}

/// What a modification does with the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds them to the attribute.
    Add,
    /// Removes them from the attribute; all of its values if none is named.
    Delete,
    /// Makes them the attribute's only values.
    Replace,
}

/// An attribute and its values.
pub type Attribute = (String, Vec<Vec<u8>>);

/// What is asked of the directory.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Simple bind; the password is written over when the message has been sent.
    Simple {
        name: String,
        password: zeroize::Zeroizing<Vec<u8>>,
    },
    Sasl {
        mechanism: &'static str,
        token: Vec<u8>,
    },
    Unbind,
    Search {
        search: Search,
        page: Option<Page>,
    },
    Add {
        dn: String,
        attributes: Vec<Attribute>,
    },
    Modify {
        dn: String,
        changes: Vec<(Operation, Attribute)>,
    },
    Delete {
        dn: String,
    },
    StartTls,
}

/// Which page of a search.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) size: i32,
    pub(crate) cookie: Vec<u8>,
}

impl Request {
    pub(crate) fn encode(&self, id: i32) -> zeroize::Zeroizing<Vec<u8>> {
        let mut out = Writer::with_capacity(512);
        out.nested(SEQUENCE, |out| {
            out.integer(INTEGER, id);
            self.operation(out);
            self.controls(out);
        });
        out.finish()
    }

    fn operation(&self, out: &mut Writer) {
        match self {
            Self::Simple { name, password } => out.nested(0x60, |out| {
                out.integer(INTEGER, 3);
                out.octets(name.as_bytes());
                out.element(context(0), password);
            }),
            Self::Sasl { mechanism, token } => out.nested(0x60, |out| {
                out.integer(INTEGER, 3);
                out.octets(b"");
                out.nested(context_constructed(3), |out| {
                    out.octets(mechanism.as_bytes());
                    out.octets(token);
                });
            }),
            Self::Unbind => out.element(0x42, &[]),
            Self::Search { search, .. } => out.nested(0x63, |out| {
                out.octets(search.base.as_bytes());
                let scope = match search.scope {
                    Scope::Base => 0,
                    Scope::Children => 1,
                    Scope::Subtree => 2,
                };
                out.integer(ENUMERATED, scope);
                out.integer(ENUMERATED, 0);
                out.integer(INTEGER, 0);
                out.integer(INTEGER, 0);
                out.boolean(BOOLEAN, false);
                search.filter.write(out);
                out.nested(SEQUENCE, |out| {
                    search.attributes.iter().for_each(|attribute| out.octets(attribute.as_bytes()));
                });
            }),
            Self::Add { dn, attributes } => out.nested(0x68, |out| {
                out.octets(dn.as_bytes());
                out.nested(SEQUENCE, |out| attributes.iter().for_each(|a| write_attribute(out, a)));
            }),
            Self::Modify { dn, changes } => out.nested(0x66, |out| {
                out.octets(dn.as_bytes());
                out.nested(SEQUENCE, |out| {
                    for (operation, attribute) in changes {
                        out.nested(SEQUENCE, |out| {
                            let operation = match operation {
                                Operation::Add => 0,
                                Operation::Delete => 1,
                                Operation::Replace => 2,
                            };
                            out.integer(ENUMERATED, operation);
                            write_attribute(out, attribute);
                        });
                    }
                });
            }),
            Self::Delete { dn } => out.element(0x4a, dn.as_bytes()),
            Self::StartTls => {
                out.nested(0x77, |out| out.element(context(0), START_TLS.as_bytes()));
            }
        }
    }

    fn controls(&self, out: &mut Writer) {
        let mut list = Writer::default();
        match self {
            Self::Search { search, page } => {
                if let Some(page) = page {
                    control(&mut list, PAGED, |value| {
                        value.integer(INTEGER, page.size);
                        value.octets(&page.cookie);
                    });
                }
                if search.descriptor {
                    // Owner 1, group 2, DACL 4.
                    control(&mut list, SD_FLAGS, |value| value.integer(INTEGER, 7));
                }
                if search.deleted {
                    flag(&mut list, SHOW_DELETED);
                }
                if search.forest {
                    // No references 1, phantom root 2.
                    control(&mut list, SEARCH_OPTIONS, |value| value.integer(INTEGER, 3));
                } else if search.scope != Scope::Base {
                    flag(&mut list, DOMAIN_SCOPE);
                }
            }
            Self::Add { attributes, .. } if attributes.iter().any(is_descriptor) => {
                control(&mut list, SD_FLAGS, |value| value.integer(INTEGER, 4));
            }
            Self::Modify { changes, .. } if changes.iter().any(|(_, a)| is_descriptor(a)) => {
                control(&mut list, SD_FLAGS, |value| value.integer(INTEGER, 4));
            }
            Self::Add { .. }
            | Self::Modify { .. }
            | Self::Simple { .. }
            | Self::Sasl { .. }
            | Self::Unbind
            | Self::Delete { .. }
            | Self::StartTls => {}
        }
        let list = list.finish();
        if !list.is_empty() {
            out.element(context_constructed(0), &list);
        }
    }
}

fn is_descriptor(attribute: &Attribute) -> bool {
    attribute.0.eq_ignore_ascii_case("nTSecurityDescriptor")
}

fn write_attribute(out: &mut Writer, (name, values): &Attribute) {
    out.nested(SEQUENCE, |out| {
        out.octets(name.as_bytes());
        out.nested(SET, |out| values.iter().for_each(|value| out.octets(value)));
    });
}

fn flag(out: &mut Writer, oid: &str) {
    out.nested(SEQUENCE, |out| {
        out.octets(oid.as_bytes());
        out.boolean(BOOLEAN, true);
    });
}

fn control(out: &mut Writer, oid: &str, value: impl FnOnce(&mut Writer)) {
    let mut contents = Writer::default();
    contents.nested(SEQUENCE, value);
    out.nested(SEQUENCE, |out| {
        out.octets(oid.as_bytes());
        out.boolean(BOOLEAN, true);
        out.octets(&contents.finish());
    });
}

/// One object that a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Distinguished name (RFC 4514).
    pub dn: String,
    /// Attributes as they came: name as the directory writes it, values as octets.
    pub attributes: Vec<Attribute>,
}

impl Entry {
    /// The values of an attribute; none if it is absent. Of an attribute that the directory sends in portions
    /// (`name;range=0-1499`, MS-ADTS 3.1.1.3.1.3.3) the first portion.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.attributes
            .iter()
            .filter(move |(found, _)| found.split(';').next().is_some_and(|f| f.eq_ignore_ascii_case(name)))
            .flat_map(|(_, values)| values)
            .map(Vec::as_slice)
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The first value of an attribute as text; `None` also if it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.value(name)?).ok()
    }

    /// The values of an attribute that are UTF-8.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of an attribute as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Octets of names and values, to bound what a search collects.
    pub(crate) fn size(&self) -> usize {
        let of = |(name, values): &Attribute| {
            let values = values.iter().map(|value| value.len() + size_of::<Vec<u8>>()).sum::<usize>();
            name.len() + values + size_of::<Attribute>()
        };
        self.dn.len() + self.attributes.iter().map(of).sum::<usize>()
    }
}

/// How an operation ended (RFC 4511 4.1.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result code.
    pub code: ResultCode,
    /// The server's explanation, shortened to 200 characters without control characters; Active Directory puts the
    /// Windows error in it.
    pub message: String,
    /// Other servers that the directory names; never followed.
    pub referrals: Vec<String>,
}

/// A result code of RFC 4511 appendix A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultCode(pub i32);

impl ResultCode {
    /// The operation succeeded.
    pub const SUCCESS: Self = Self(0);
    /// The server wants stronger protection.
    pub const STRONGER_AUTH_REQUIRED: Self = Self(8);
    /// The object is with another server.
    pub const REFERRAL: Self = Self(10);
    /// A step of a SASL exchange.
    pub const SASL_BIND_IN_PROGRESS: Self = Self(14);
    /// The attribute has no such value.
    pub const NO_SUCH_ATTRIBUTE: Self = Self(16);
    /// The attribute has that value already.
    pub const VALUE_EXISTS: Self = Self(20);
    /// No object of that name.
    pub const NO_SUCH_OBJECT: Self = Self(32);
    /// Wrong name or password.
    pub const INVALID_CREDENTIALS: Self = Self(49);
    /// The account may not do this.
    pub const INSUFFICIENT_ACCESS: Self = Self(50);
    /// An object of that name exists.
    pub const ENTRY_EXISTS: Self = Self(68);
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "success",
            1 => "operationsError",
            2 => "protocolError",
            3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded",
            7 => "authMethodNotSupported",
            8 => "strongerAuthRequired",
            10 => "referral",
            11 => "adminLimitExceeded",
            12 => "unavailableCriticalExtension",
            13 => "confidentialityRequired",
            14 => "saslBindInProgress",
            16 => "noSuchAttribute",
            17 => "undefinedAttributeType",
            19 => "constraintViolation",
            20 => "attributeOrValueExists",
            21 => "invalidAttributeSyntax",
            32 => "noSuchObject",
            34 => "invalidDNSyntax",
            48 => "inappropriateAuthentication",
            49 => "invalidCredentials",
            50 => "insufficientAccessRights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwillingToPerform",
            64 => "namingViolation",
            65 => "objectClassViolation",
            68 => "entryAlreadyExists",
            other => return write!(f, "result {other}"),
        };
        f.write_str(name)
    }
}

/// One message of the directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The number of the request that it answers; 0 if it answers none.
    pub id: i32,
    /// What it says.
    pub response: Response,
}

/// What a message of the directory says.
#[derive(Debug, PartialEq, Eq)]
pub enum Response {
    /// Answer to a bind.
    Bind {
        /// How it ended.
        outcome: Outcome,
        /// The SASL mechanism's token.
        token: Option<Vec<u8>>,
    },
    /// An object that a search found.
    Entry(Entry),
    /// Other servers where a search would have to go on; never followed.
    Reference(Vec<String>),
    /// End of a search; `cookie` is empty unless another page follows.
    Done {
        /// How it ended.
        outcome: Outcome,
        /// What to ask with for the next page.
        cookie: Vec<u8>,
    },
    /// Answer to a change.
    Changed(Outcome),
    /// Answer to an extended request, or a notification.
    Extended {
        /// How it ended.
        outcome: Outcome,
        /// Object identifier of what it is about.
        name: Option<String>,
    },
}

impl Message {
    /// Reads the message that `octets` are. Never recurses; takes memory in proportion to them.
    ///
    /// # Errors
    /// [`BerError`]; also for what only a client sends.
    pub fn decode(octets: &[u8]) -> Result<Self, BerError> {
        let mut message = Reader::new(Reader::new(octets).expect(SEQUENCE)?);
        let id = message.integer()?;
        let (operation, contents) = message.element()?;
        let mut body = Reader::new(contents);
        let response = match operation {
            0x61 => {
                let outcome = outcome(&mut body)?;
                Response::Bind { outcome, token: body.optional(context(7))?.map(<[u8]>::to_vec) }
            }
            0x64 => Response::Entry(entry(&mut body)?),
            0x73 => {
                let mut uris = Vec::new();
                while !body.is_empty() {
                    uris.push(readable(body.expect(OCTET_STRING)?));
                }
                Response::Reference(uris)
            }
            0x65 => {
                let outcome = outcome(&mut body)?;
                Response::Done { outcome, cookie: cookie(message)? }
            }
            // modify, add, delete, modify DN, compare
            0x67 | 0x69 | 0x6b | 0x6d | 0x6f => Response::Changed(outcome(&mut body)?),
            0x78 => {
                let outcome = outcome(&mut body)?;
                Response::Extended { outcome, name: body.optional(context(10))?.map(readable) }
            }
            found => return Err(BerError::Unexpected { expected: 0x64, found }),
        };
        Ok(Self { id, response })
    }
}

fn outcome(body: &mut Reader<'_>) -> Result<Outcome, BerError> {
    let code = ResultCode(body.enumerated()?);
    body.expect(OCTET_STRING)?;
    let message = readable(body.expect(OCTET_STRING)?);
    let mut referrals = Vec::new();
    if let Some(list) = body.optional(context_constructed(3))? {
        let mut list = Reader::new(list);
        while !list.is_empty() && referrals.len() < 16 {
            referrals.push(readable(list.expect(OCTET_STRING)?));
        }
    }
    Ok(Outcome { code, message, referrals })
}

fn entry(body: &mut Reader<'_>) -> Result<Entry, BerError> {
    let dn = body.text()?.to_owned();
    let mut list = Reader::new(body.expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = Reader::new(list.expect(SEQUENCE)?);
        let name = attribute.text()?.to_owned();
        let mut set = Reader::new(attribute.expect(SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(OCTET_STRING)?.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}

/// The cookie of the control of paged results, if the message has one.
fn cookie(mut message: Reader<'_>) -> Result<Vec<u8>, BerError> {
    let Some(controls) = message.optional(context_constructed(0))? else { return Ok(Vec::new()) };
    let mut controls = Reader::new(controls);
    while !controls.is_empty() {
        let mut control = Reader::new(controls.expect(SEQUENCE)?);
        let oid = control.expect(OCTET_STRING)?;
        if let Some(critical) = control.optional(BOOLEAN)? {
            boolean(critical)?;
        }
        if oid == PAGED.as_bytes() {
            let mut value = Reader::new(Reader::new(control.expect(OCTET_STRING)?).expect(SEQUENCE)?);
            value.integer()?;
            return Ok(value.expect(OCTET_STRING)?.to_vec());
        }
    }
    Ok(Vec::new())
}

/// Text of the server for a log line: at most 200 characters, without control characters.
fn readable(octets: &[u8]) -> String {
    let octets = octets.get(..800).unwrap_or(octets);
    String::from_utf8_lossy(octets)
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
