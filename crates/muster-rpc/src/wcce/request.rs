//! Asking for a certificate: `Request`, `Request2` and `CertServerRequest`, which differ in the order of their arguments.

use crate::client::RpcError;
use crate::dcom::{Version, parse_this, read_that, that, this};
use crate::ndr::{NdrError, Reader, Writer, utf16, wide};
use crate::status::HResult;
use crate::uuid::Uuid;
use crate::wcce::{MAX_SERIAL, MAX_TEXT, read_blob, words, write_blob};

/// The form of a request (MS-WCCE 3.2.1.4.3.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The authority finds out.
    #[default]
    Detect,
    /// PKCS#10.
    Pkcs10,
    /// CMS.
    Cms,
    /// CMC.
    Cmc,
    /// The answer to a challenge of key attestation.
    Challenge,
}

/// `dwFlags`; what is not here is never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestFlags {
    /// The form of the request.
    pub form: Form,
    /// The answer shall be a CMC full PKI response.
    pub full_response: bool,
    /// The caller renews for the holder of the old certificate (`CR_IN_ROBO`).
    pub on_behalf: bool,
}

impl RequestFlags {
    /// As one number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        let form = match self.form {
            Form::Detect => 0,
            Form::Pkcs10 => 0x100,
            Form::Cms => 0x300,
            Form::Cmc => 0x400,
            Form::Challenge => 0x500,
        };
        let full = if self.full_response { 0x0004_0000 } else { 0 };
        let on_behalf = if self.on_behalf { 0x0020_0000 } else { 0 };
        form | full | on_behalf
    }

    /// The flags in a number; those that are not known here are left out.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        let form = match bits & 0xff00 {
            0x100 => Form::Pkcs10,
            0x300 => Form::Cms,
            0x400 => Form::Cmc,
            0x500 => Form::Challenge,
            _ => Form::Detect,
        };
        Self { form, full_response: bits & 0x0004_0000 != 0, on_behalf: bits & 0x0020_0000 != 0 }
    }
}

/// One request, or the query for an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertRequest {
    /// The authority's name, `None` if the caller does not say.
    pub authority: Option<String>,
    /// How.
    pub flags: RequestFlags,
    /// The number of the earlier request, in a query; else 0.
    pub request_id: u32,
    /// The serial number of the certificate, in a query by `Request2`.
    pub serial: Option<String>,
    /// Request attributes; [`crate::wcce::RequestAttributes::text`] makes them.
    pub attributes: Option<String>,
    /// The request; empty in a query.
    pub request: Vec<u8>,
}

impl CertRequest {
    /// The arguments of `ICertPassage::CertServerRequest`.
    #[must_use]
    pub fn to_passage(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(self.flags.bits()).optional_string(self.authority.as_deref()).u32(self.request_id);
        write_blob(&mut writer, &self.attributes.as_deref().map(wide).unwrap_or_default());
        write_blob(&mut writer, &self.request);
        writer.finish()
    }

    /// The reverse.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parse_passage(stub: &[u8]) -> Result<Self, NdrError> {
        const ATTRIBUTES: &str = "the attributes";
        let mut reader = Reader::new(stub);
        let flags = RequestFlags::from_bits(reader.u32()?);
        let authority = reader.optional_string("the authority", MAX_TEXT)?;
        let request_id = reader.u32()?;
        let attributes = read_blob(&mut reader, ATTRIBUTES)?;
        // The NUL belongs to it (MS-ICPR 3.2.4.1.1).
        let attributes = if attributes.is_empty() {
            None
        } else {
            let text = utf16(attributes).ok_or(NdrError::Text(ATTRIBUTES))?;
            let text = text.strip_suffix('\0').filter(|text| !text.contains('\0'));
            Some(text.ok_or(NdrError::Text(ATTRIBUTES))?.to_owned())
        };
        let request = read_blob(&mut reader, "the request")?.to_vec();
        Ok(Self { authority, flags, request_id, serial: None, attributes, request })
    }

    /// The arguments of `ICertRequestD::Request`, which knows no serial number.
    #[must_use]
    pub fn to_request(&self, version: Version, causality: Uuid) -> Vec<u8> {
        this(version, causality, |writer| {
            writer.u32(self.flags.bits()).optional_string(self.authority.as_deref());
            writer.u32(self.request_id).optional_string(self.attributes.as_deref());
            write_blob(writer, &self.request);
        })
    }

    /// The reverse.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parse_request(stub: &[u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(stub);
        parse_this(&mut reader)?;
        let flags = RequestFlags::from_bits(reader.u32()?);
        let authority = reader.optional_string("the authority", MAX_TEXT)?;
        let request_id = reader.u32()?;
        let attributes = reader.optional_string("the attributes", MAX_TEXT)?;
        let request = read_blob(&mut reader, "the request")?.to_vec();
        Ok(Self { authority, flags, request_id, serial: None, attributes, request })
    }

    /// The arguments of `ICertRequestD2::Request2`.
    #[must_use]
    pub fn to_request2(&self, version: Version, causality: Uuid) -> Vec<u8> {
        this(version, causality, |writer| {
            writer.optional_string(self.authority.as_deref()).u32(self.flags.bits());
            writer.optional_string(self.serial.as_deref()).u32(self.request_id);
            writer.optional_string(self.attributes.as_deref());
            write_blob(writer, &self.request);
        })
    }

    /// The reverse.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parse_request2(stub: &[u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(stub);
        parse_this(&mut reader)?;
        let authority = reader.optional_string("the authority", MAX_TEXT)?;
        let flags = RequestFlags::from_bits(reader.u32()?);
        let serial = reader.optional_string("the serial number", MAX_SERIAL)?;
        let request_id = reader.u32()?;
        let attributes = reader.optional_string("the attributes", MAX_TEXT)?;
        let request = read_blob(&mut reader, "the request")?.to_vec();
        Ok(Self { authority, flags, request_id, serial, attributes, request })
    }
}

/// What became of a request (MS-WCCE 3.2.1.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// 2.
    Denied,
    /// 3.
    Issued,
    /// 5: somebody has to decide.
    Pending,
    /// 6.
    Revoked,
    /// 0: made elsewhere.
    Foreign,
    /// It failed.
    Failed(HResult),
}

impl Disposition {
    /// The meaning of a number.
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::Foreign,
            2 => Self::Denied,
            3 => Self::Issued,
            5 => Self::Pending,
            6 => Self::Revoked,
            other => Self::Failed(HResult(other)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Foreign => 0,
            Self::Denied => 2,
            Self::Issued => 3,
            Self::Pending => 5,
            Self::Revoked => 6,
            Self::Failed(HResult(number)) => number,
        }
    }
}

/// The authority's answer to a request. Nothing of it is to be believed before it has been compared with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertReply {
    /// What the method returned. If it is a failure, the rest has no meaning.
    pub result: HResult,
    /// The authority's number of the request.
    pub request_id: u32,
    /// What became of it.
    pub disposition: Disposition,
    /// CMS: the certificate with its chain, or the CMC full PKI response that was asked for.
    pub response: Vec<u8>,
    /// The certificate (DER).
    pub certificate: Vec<u8>,
    /// The authority's words.
    pub message: String,
}

impl CertReply {
    /// The results of `CertServerRequest`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parse_passage(stub: &[u8]) -> Result<Self, RpcError> {
        Ok(Self::read(&mut Reader::new(stub))?)
    }

    /// The results of `Request` and `Request2`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn parse_object(stub: &[u8]) -> Result<Self, RpcError> {
        let mut reader = Reader::new(stub);
        read_that(&mut reader)?;
        Ok(Self::read(&mut reader)?)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, NdrError> {
        let request_id = reader.u32()?;
        let disposition = Disposition::of(reader.u32()?);
        let response = read_blob(reader, "the response")?.to_vec();
        let certificate = read_blob(reader, "the certificate")?.to_vec();
        let message = words(read_blob(reader, "the message")?);
        let result = HResult(reader.u32()?);
        if !reader.rest().is_empty() {
            return Err(NdrError::Invalid("the end of the results"));
        }
        Ok(Self { result, request_id, disposition, response, certificate, message })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.request_id).u32(self.disposition.number());
        write_blob(writer, &self.response);
        write_blob(writer, &self.certificate);
        write_blob(writer, &if self.message.is_empty() { Vec::new() } else { wide(&self.message) });
        writer.u32(self.result.0);
    }

    /// The results of `CertServerRequest`, as octets.
    #[must_use]
    pub fn to_passage(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// The results of `Request` and `Request2`, as octets.
    #[must_use]
    pub fn to_object(&self) -> Vec<u8> {
        that(|writer| self.write(writer))
    }
}
