//! What officers of an authority do (MS-CSRA), and what became of a request whose call broke.

use der::{Decode as _, Encode as _};
use muster_rpc::client::RpcError;
use muster_rpc::csra::{
    self, Column, FileTime, RequestState, Restriction, RevocationReason, Roles, Row, Rows, Seek, Sort, Value,
};
use muster_rpc::dcom::Version;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{self, Disposition, PropertyId};
use muster_rpc::{Interface, Uuid};
use tokio::time::timeout;
use x509_cert::Certificate;

use crate::adcs::{Adcs, Identity};
use crate::error::AdcsError;
use crate::health::Health;
use crate::session::{Session, before};
use crate::settings::Settings;
use crate::wire::{CallError, connection};

/// Rows of one answer. A row's texts have at most 11 KiB, and an answer at most a megabyte.
const PAGE: u32 = 64;
/// The same where requests themselves are among the columns, which have 64 KiB at most, and certificates, which have 16.
const PAGE_OF_REQUESTS: u32 = 11;
/// Columns asked for at once, and all of them.
const COLUMNS: (u32, usize) = (100, 400);
/// Rows that are looked through for one request.
const LOOKED_THROUGH: usize = 20_000;

const ID: &str = "Request.RequestID";
const SUBMITTED: &str = "Request.SubmittedWhen";
const STATE: &str = "Request.Disposition";
const RAW_REQUEST: &str = "Request.RawRequest";
const RAW_CERTIFICATE: &str = "RawCertificate";
/// What is shown of a request; columns that an authority does not have are left out.
const SHOWN: [&str; 9] = [
    ID,
    SUBMITTED,
    STATE,
    "Request.RequesterName",
    "Request.StatusCode",
    "Request.DispositionMessage",
    "Request.ResolvedWhen",
    "CertificateTemplate",
    "SerialNumber",
];

/// A request as the authority's database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// The authority's number.
    pub id: u32,
    /// Who is said to have asked: `CORP\alice`.
    pub requester: String,
    /// What became of it.
    pub state: Option<RequestState>,
    /// Why it failed or was denied, if it has a number.
    pub status: Option<HResult>,
    /// The authority's words.
    pub message: String,
    /// The template: its name, or of newer ones the object identifier.
    pub template: String,
    /// The certificate's serial number in hexadecimal digits.
    pub serial: String,
    /// When it came, in seconds since 1970.
    pub submitted: Option<i64>,
    /// When it was decided on, in seconds since 1970.
    pub resolved: Option<i64>,
}

/// Which requests are listed, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those alone that wait for an officer.
    pub pending: bool,
    /// At most so many.
    pub limit: usize,
}

/// What was found of a request that may have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These are of the same key, in the order in which they came.
    Found(Vec<RequestRow>),
    /// There is none.
    NotFound,
    /// There is none, unless it is one of these, of which the database has neither request nor certificate.
    Untold(Vec<RequestRow>),
    /// The identity may not read the database.
    NotPermitted,
    /// There are more requests since then than were looked through.
    TooMany {
        /// How many were.
        looked_through: usize,
    },
}

/// A connection of an officer, or of whoever may read the authority's database. The authority decides on each call.
#[derive(Debug)]
pub struct Officer<'a> {
    settings: &'a Settings,
    session: Session,
}

impl Adcs {
    /// Connects in the name of `identity` for what officers do; always over DCOM, whatever requests are sent over.
    ///
    /// # Errors
    /// See [`AdcsError`].
    pub async fn officer(&self, identity: &Identity) -> Result<Officer<'_>, AdcsError> {
        let settings = self.settings();
        let limit = settings.timeouts.connect;
        let late = |_| AdcsError::ConnectTimedOut { host: settings.host.clone(), limit };
        let session = timeout(limit, Session::open_for_officer(settings, identity)).await.map_err(late)??;
        Ok(Officer { settings, session })
    }

    /// Looks for requests with this key (SubjectPublicKeyInfo, DER) that came at `since` (seconds since 1970) or later, by
    /// the authority's clock: what became of a request of [`AdcsError::Unknown`]. The identity must be one that may read
    /// the authority's database.
    ///
    /// # Errors
    /// See [`AdcsError`]; it can always be repeated.
    pub async fn find(&self, identity: &Identity, public_key: &[u8], since: i64) -> Result<Found, AdcsError> {
        let denied = |error: &AdcsError| {
            matches!(
                error,
                AdcsError::NotDone { result: HResult::ACCESS_DENIED, .. }
                    | AdcsError::Activation { result: HResult::ACCESS_DENIED, .. }
            )
        };
        let looked = async {
            let mut officer = self.officer(identity).await?;
            let found = officer.find(public_key, since).await?;
            officer.close().await;
            Ok(found)
        };
        looked.await.or_else(|error| if denied(&error) { Ok(Found::NotPermitted) } else { Err(error) })
    }
}

impl Officer<'_> {
    /// What the identity may do here.
    ///
    /// # Errors
    /// [`AdcsError::NotDone`] with [`HResult::ACCESS_DENIED`] for those who may not even read;
    /// [`AdcsError::NotOffered`] by an authority without `ICertAdminD2`.
    pub async fn roles(&mut self) -> Result<Roles, AdcsError> {
        const WHAT: &str = "tell the roles of the caller";
        if self.session.interface() != Some(Interface::CertAdmin2) {
            let (host, method) = (self.settings.host.clone(), "ICertAdminD");
            return Err(AdcsError::NotOffered { host, what: "the roles of the caller", method });
        }
        let said = self.ask(csra::GET_MY_ROLES, csra::of_authority).await?;
        self.done(WHAT, csra::parse_roles(&said))
    }

    /// What the authority says of itself to those who may read, but not request certificates (MS-CSRA 3.1.1.7).
    ///
    /// # Errors
    /// See [`AdcsError`]; what it does not say is left out.
    pub async fn health(&mut self) -> Result<Health, AdcsError> {
        let mut health = Health::default();
        if self.session.interface() != Some(Interface::CertAdmin2) {
            return Ok(health);
        }
        for (property, index) in
            [(PropertyId::Name, 0), (PropertyId::SigningCertificate, u32::MAX), (PropertyId::Templates, 0)]
        {
            let arguments = |version, cause, authority: &str| {
                wcce::ca_property(version, cause, authority, property, index)
            };
            let said = self.ask(csra::GET_CA_PROPERTY, arguments).await?;
            let said = wcce::parse_octets(&said).map_err(|error| connection(&self.settings.host, error))?;
            if let Ok(value) = said {
                health.learn(property, value);
            }
        }
        Ok(health)
    }

    /// Approves a request that waits: the authority goes on with it, and says what became of it.
    ///
    /// # Errors
    /// [`AdcsError::NotDone`] if the identity may not; [`AdcsError::Unknown`] if the call broke.
    pub async fn approve(&mut self, request_id: u32) -> Result<Disposition, AdcsError> {
        let arguments =
            |version, cause, authority: &str| csra::of_request(version, cause, authority, request_id);
        let said = self.tell(csra::RESUBMIT, arguments).await?;
        self.done("approve the request", csra::parse_resubmitted(&said))
    }

    /// Denies a request that waits.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub async fn deny(&mut self, request_id: u32) -> Result<(), AdcsError> {
        let arguments =
            |version, cause, authority: &str| csra::of_request(version, cause, authority, request_id);
        let said = self.tell(csra::DENY, arguments).await?;
        let denied = csra::parse_done(&said);
        self.done("deny the request", denied.map(succeeded))
    }

    /// Revokes the certificate with this serial number (hexadecimal digits, as in [`RequestRow::serial`]), as of `since`
    /// (seconds since 1970).
    ///
    /// # Errors
    /// As [`Self::approve`]; [`HResult::INVALID_ARGUMENT`] if there is no such certificate.
    pub async fn revoke(
        &mut self,
        serial: &str,
        reason: RevocationReason,
        since: i64,
    ) -> Result<(), AdcsError> {
        let since = FileTime::from_unix(since);
        let arguments =
            |version, cause, authority: &str| csra::revoke(version, cause, authority, serial, reason, since);
        let said = self.tell(csra::REVOKE, arguments).await?;
        let revoked = csra::parse_done(&said);
        self.done("revoke the certificate", revoked.map(succeeded))
    }

    /// Requests, the newest first.
    ///
    /// # Errors
    /// [`AdcsError::NotDone`] if the identity may not read the database.
    pub async fn requests(&mut self, wanted: Wanted) -> Result<Vec<RequestRow>, AdcsError> {
        let columns = self.columns(&SHOWN).await?;
        let mut restrictions = Vec::new();
        // The order goes with a restriction; this one holds for all requests.
        let newest_first = (ID, Seek::AtLeast, Sort::Descending, Value::Number(1));
        let waiting = (STATE, Seek::Equal, Sort::No, Value::Number(RequestState::PENDING));
        for (name, seek, sort, value) in
            std::iter::once(newest_first).chain(wanted.pending.then_some(waiting))
        {
            restrictions.push(Restriction { column: self.number(&columns, name)?, seek, sort, value });
        }
        let mut found = Vec::new();
        self.view(&columns, &restrictions, PAGE, |row| {
            found.push(shown(&columns, row));
            found.len() < wanted.limit
        })
        .await?;
        found.truncate(wanted.limit);
        Ok(found)
    }

    /// One request, and its certificate (DER), if there is one. The certificate is not checked: [`crate::check_reply`] does.
    ///
    /// # Errors
    /// As [`Self::requests`].
    pub async fn request(&mut self, id: u32) -> Result<Option<(RequestRow, Option<Vec<u8>>)>, AdcsError> {
        let names: Vec<&str> = SHOWN.into_iter().chain([RAW_CERTIFICATE]).collect();
        let columns = self.columns(&names).await?;
        let raw = self.number(&columns, RAW_CERTIFICATE)?;
        let column = self.number(&columns, ID)?;
        let restriction = Restriction { column, seek: Seek::Equal, sort: Sort::No, value: Value::Number(id) };
        let mut found = None;
        self.view(&columns, &[restriction], PAGE_OF_REQUESTS, |row| {
            found = Some((shown(&columns, row), octets_of(row, raw).map(<[u8]>::to_vec)));
            false
        })
        .await?;
        Ok(found.filter(|(row, _)| row.id == id))
    }

    async fn find(&mut self, public_key: &[u8], since: i64) -> Result<Found, AdcsError> {
        let names: Vec<&str> = SHOWN.into_iter().chain([RAW_REQUEST, RAW_CERTIFICATE]).collect();
        let columns = self.columns(&names).await?;
        let (raw, certificate) =
            (self.number(&columns, RAW_REQUEST)?, self.number(&columns, RAW_CERTIFICATE)?);
        let restriction = Restriction {
            column: self.number(&columns, SUBMITTED)?,
            seek: Seek::AtLeast,
            sort: Sort::Ascending,
            value: Value::Date(FileTime::from_unix(since)),
        };
        let (mut looked_through, mut found, mut untold) = (0, Vec::new(), Vec::new());
        let seen_all = self
            .view(&columns, &[restriction], PAGE_OF_REQUESTS, |row| {
                looked_through += 1;
                match (octets_of(row, raw), octets_of(row, certificate)) {
                    // The key stands in every form of request as it is (PKCS#10, in CMS or CMC or alone).
                    (Some(request), _) if contains(request, public_key) => found.push(shown(&columns, row)),
                    (None, Some(certificate)) if is_key_of(certificate, public_key) => {
                        found.push(shown(&columns, row));
                    }
                    (None, None) => untold.push(shown(&columns, row)),
                    (Some(_), _) | (None, Some(_)) => {}
                }
                looked_through < LOOKED_THROUGH
            })
            .await?;
        Ok(match (found.is_empty(), seen_all) {
            (false, _) => Found::Found(found),
            (true, true) if untold.is_empty() => Found::NotFound,
            (true, true) => Found::Untold(untold),
            (true, false) => Found::TooMany { looked_through },
        })
    }

    /// Says to the authority that nothing is wanted of it any more.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// The columns of the table of requests that have these names.
    async fn columns(&mut self, names: &[&str]) -> Result<Vec<Column>, AdcsError> {
        let (count, limit) = COLUMNS;
        let mut all: Vec<Column> = Vec::new();
        loop {
            let first = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let arguments =
                |version, cause, authority: &str| csra::view_columns(version, cause, authority, first, count);
            let said = self.ask(csra::ENUM_VIEW_COLUMN, arguments).await?;
            let some = self.done("show its database", csra::parse_columns(&said))?;
            let last = u32::try_from(some.len()).map_or(true, |got| got < count);
            all.extend(some);
            if last || all.len() >= limit {
                break;
            }
        }
        all.retain(|column| names.iter().any(|name| column.name.eq_ignore_ascii_case(name)));
        Ok(all)
    }

    fn number(&self, columns: &[Column], name: &str) -> Result<u32, AdcsError> {
        let found = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let missing = || AdcsError::NotDone {
            host: self.settings.host.clone(),
            what: "have the columns of a database of requests",
            result: HResult::PROPERTY_EMPTY,
        };
        found.map(|column| column.id).ok_or_else(missing)
    }

    /// Shows rows to `each` until it has enough; whether it has seen all.
    async fn view(
        &mut self,
        columns: &[Column],
        restrictions: &[Restriction],
        page: u32,
        mut each: impl FnMut(&Row) -> bool,
    ) -> Result<bool, AdcsError> {
        const WHAT: &str = "show its requests";
        let ids: Vec<u32> = columns.iter().map(|column| column.id).collect();
        // The first row has the number 1.
        let mut next = 1;
        let arguments = |version, cause, authority: &str| {
            csra::open_view(version, cause, authority, restrictions, &ids, (next, page))
        };
        let said = self.ask(csra::OPEN_VIEW, arguments).await?;
        let mut some: Rows = self.done(WHAT, csra::parse_rows(&said))?;
        let seen_all = loop {
            next += u32::try_from(some.rows.len()).unwrap_or(page);
            if !some.rows.iter().all(&mut each) {
                break false;
            }
            // One that says neither that there are more nor that there are none has come to its end.
            if some.total.is_some() || some.rows.is_empty() {
                break true;
            }
            let arguments =
                |version, cause, authority: &str| csra::enum_view(version, cause, authority, next, page);
            let said = self.ask(csra::ENUM_VIEW, arguments).await?;
            some = self.done(WHAT, csra::parse_rows(&said))?;
        };
        let said = self.ask(csra::CLOSE_VIEW, csra::close_view).await?;
        self.done(WHAT, csra::parse_done(&said).map(succeeded))?;
        Ok(seen_all)
    }

    /// A question, which can always be repeated.
    async fn ask(
        &mut self,
        opnum: u16,
        arguments: impl FnOnce(Version, Uuid, &str) -> Vec<u8>,
    ) -> Result<Vec<u8>, AdcsError> {
        let host = self.settings.host.as_str();
        self.call(opnum, arguments).await?.map_err(|error| before(host, error))
    }

    /// A call that changes something, and may have done so although its answer is missing.
    async fn tell(
        &mut self,
        opnum: u16,
        arguments: impl FnOnce(Version, Uuid, &str) -> Vec<u8>,
    ) -> Result<Vec<u8>, AdcsError> {
        let host = || self.settings.host.clone();
        match self.call(opnum, arguments).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(CallError::NotBegun(error))) => Err(AdcsError::CallRefused { host: host(), error }),
            Ok(Err(CallError::Lost(why))) => Err(AdcsError::Unknown { host: host(), why }),
            Ok(Err(CallError::Unproven(fault))) => {
                let why = RpcError::UnverifiedFault(fault).to_string();
                Err(AdcsError::Unknown { host: host(), why })
            }
            Err(late) => Err(AdcsError::Unknown { host: host(), why: late.to_string() }),
        }
    }

    async fn call(
        &mut self,
        opnum: u16,
        arguments: impl FnOnce(Version, Uuid, &str) -> Vec<u8>,
    ) -> Result<Result<Vec<u8>, CallError>, AdcsError> {
        let Settings { host, timeouts, authority, .. } = self.settings;
        let arguments = |version, cause| arguments(version, cause, authority.as_str());
        let late = |_| AdcsError::ConnectTimedOut { host: host.clone(), limit: timeouts.call };
        let said = timeout(timeouts.call, self.session.method(opnum, arguments)).await.map_err(late)?;
        let no_object =
            || AdcsError::NotOffered { host: host.clone(), what: "the work of officers", method: "MS-ICPR" };
        said.ok_or_else(no_object)
    }

    /// The results, or why there are none.
    fn done<T>(
        &self,
        what: &'static str,
        results: Result<Result<T, HResult>, RpcError>,
    ) -> Result<T, AdcsError> {
        let host = self.settings.host.as_str();
        let results = results.map_err(|error| connection(host, error))?;
        results.map_err(|result| AdcsError::NotDone { host: host.to_owned(), what, result })
    }
}

fn succeeded(result: HResult) -> Result<(), HResult> {
    if result.is_success() { Ok(()) } else { Err(result) }
}

fn contains(octets: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && octets.windows(part.len()).any(|window| window == part)
}

/// What stands in a column of octets, if there is something.
fn octets_of(row: &Row, column: u32) -> Option<&[u8]> {
    row.cells.iter().find_map(|(id, value)| match value {
        Value::Octets(octets) if *id == column && !octets.is_empty() => Some(octets.as_slice()),
        Value::Octets(_) | Value::Number(_) | Value::Date(_) | Value::Text(_) => None,
    })
}

fn is_key_of(certificate: &[u8], public_key: &[u8]) -> bool {
    let key = Certificate::from_der(certificate)
        .and_then(|certificate| certificate.tbs_certificate().subject_public_key_info().to_der());
    key.is_ok_and(|key| key == public_key)
}

/// A row as it is shown.
fn shown(columns: &[Column], row: &Row) -> RequestRow {
    let mut shown = RequestRow {
        id: row.id,
        requester: String::new(),
        state: None,
        status: None,
        message: String::new(),
        template: String::new(),
        serial: String::new(),
        submitted: None,
        resolved: None,
    };
    for (id, value) in &row.cells {
        let Some(column) = columns.iter().find(|column| column.id == *id) else { continue };
        match (column.name.to_ascii_lowercase().as_str(), value) {
            ("request.requestid", Value::Number(number)) => shown.id = *number,
            ("request.disposition", Value::Number(number)) => shown.state = Some(RequestState::of(*number)),
            ("request.statuscode", Value::Number(number)) if *number != 0 => {
                shown.status = Some(HResult(*number));
            }
            ("request.requestername", Value::Text(text)) => shown.requester.clone_from(text),
            ("request.dispositionmessage", Value::Text(text)) => shown.message.clone_from(text),
            ("certificatetemplate", Value::Text(text)) => shown.template.clone_from(text),
            ("serialnumber", Value::Text(text)) => shown.serial.clone_from(text),
            ("request.submittedwhen", Value::Date(time)) => shown.submitted = Some(time.to_unix()),
            ("request.resolvedwhen", Value::Date(time)) => shown.resolved = Some(time.to_unix()),
            _ => {}
        }
    }
    shown
}
