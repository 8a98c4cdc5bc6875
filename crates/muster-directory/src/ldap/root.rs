//! What a domain controller says of itself in its root entry (MS-ADTS 3.1.1.3.2).

use muster_core::time::UnixTime;

use super::connect::Connection;
use super::error::LdapError;
use super::filter::Filter;
use super::message::{Entry, Request, Response, ResultCode, Search};
use super::settings::LdapSettings;

/// Well-known GUID of the container of deleted objects (MS-ADTS 6.1.1.4.2).
const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";
/// More domains than any forest has.
const MAX_DOMAINS: usize = 1_000;

const ATTRIBUTES: &[&str] = &[
    "defaultNamingContext",
    "configurationNamingContext",
    "rootDomainNamingContext",
    "dsServiceName",
    "dnsHostName",
    "highestCommittedUSN",
    "currentTime",
    "isGlobalCatalogReady",
];

/// The root entry of a domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `DC=corp,DC=example`.
    pub domain: String,
    /// `CN=Configuration,DC=corp,DC=example`.
    pub configuration: String,
    /// The domain at the root of the forest.
    pub forest_root: String,
    /// The settings object of this controller: the same after a restart, another for another controller.
    pub service: String,
    /// Host name that the controller gives itself.
    pub host: String,
    /// Number of its latest change (MS-ADTS 3.1.1.1.9).
    pub usn: i64,
    /// NetBIOS name of the domain, if the server lets us read it.
    pub netbios: Option<String>,
    /// The server knows every object of the forest: it is a global catalog, or there is no other domain.
    pub whole_forest: bool,
    /// Deleted objects can be seen, so that a deletion is noticed like any other change.
    pub deleted_visible: bool,
    /// Its clock when it was asked, as it writes it: `20261123075750.0Z`.
    pub current_time: String,
    /// Which incarnation of its database numbers the changes; another one after a restore (MS-ADTS 3.1.1.1.9).
    pub invocation: Vec<u8>,
}

impl Root {
    /// `CN=Public Key Services,CN=Services,CN=Configuration,…`.
    #[must_use]
    pub fn public_key_services(&self) -> String {
        format!("CN=Public Key Services,CN=Services,{}", self.configuration)
    }

    /// Its clock when it was asked; `None` if it writes something else than a time.
    #[must_use]
    pub fn time(&self) -> Option<UnixTime> {
        let digits = self.current_time.get(..14).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
        let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
        // Days since 1970-01-01 in the Gregorian calendar, years beginning in March.
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
        Some(UnixTime(days * 86_400 + part(8, 10)? * 3_600 + part(10, 12)? * 60 + part(12, 14)?))
    }

    /// Reads it as the first questions on a new connection.
    pub(crate) async fn read(
        connection: &mut Connection,
        settings: &LdapSettings,
    ) -> Result<Self, LdapError> {
        let entry = object(connection, Search::object("", ATTRIBUTES)).await?.unwrap_or_default();
        let server = connection.wire.server().to_owned();
        let text = |missing: &'static str| {
            entry
                .text(missing)
                .map(str::to_owned)
                .ok_or_else(|| LdapError::NotActiveDirectory { server: server.clone(), missing })
        };
        let domain = text("defaultNamingContext")?;
        let expected = settings.base();
        if !domain.eq_ignore_ascii_case(&expected) {
            return Err(LdapError::OtherDomain { server, found: domain, expected });
        }
        let service = text("dsServiceName")?;
        let usn = entry.number("highestCommittedUSN").ok_or_else(|| LdapError::NotActiveDirectory {
            server: server.clone(),
            missing: "highestCommittedUSN",
        })?;
        let settings_object = object(connection, Search::object(service.clone(), &["invocationId"])).await?;
        let invocation =
            settings_object.as_ref().and_then(|o| o.value("invocationId")).unwrap_or_default().to_vec();
        let partitions = domains(connection, &text("configurationNamingContext")?).await?;
        let netbios = partitions
            .iter()
            .find(|partition| partition.text("nCName").is_some_and(|name| name.eq_ignore_ascii_case(&domain)))
            .and_then(|partition| partition.text("nETBIOSName"))
            .map(str::to_owned);
        let catalog =
            entry.text("isGlobalCatalogReady").is_some_and(|value| value.eq_ignore_ascii_case("TRUE"));
        // Without the right to list it, the container is a name without attributes.
        let container = format!("<WKGUID={DELETED_OBJECTS},{domain}>");
        let container =
            object(connection, Search { deleted: true, ..Search::object(container, &["objectClass"]) })
                .await?;
        Ok(Self {
            netbios,
            whole_forest: catalog || partitions.len() == 1,
            deleted_visible: container.is_some_and(|container| container.value("objectClass").is_some()),
            domain,
            configuration: text("configurationNamingContext")?,
            forest_root: text("rootDomainNamingContext")?,
            service,
            host: text("dnsHostName")?,
            usn,
            current_time: text("currentTime")?,
            invocation,
        })
    }
}

/// The partitions of the forest that are domains.
async fn domains(connection: &mut Connection, configuration: &str) -> Result<Vec<Entry>, LdapError> {
    // FLAG_CR_NTDS_DOMAIN (MS-ADTS 6.1.1.2.1.1.1.1).
    let filter = Filter::And(vec![Filter::text("objectClass", "crossRef"), Filter::Bits("systemFlags", 2)]);
    let base = format!("CN=Partitions,{configuration}");
    objects(connection, Search::below(base, filter, &["nCName", "nETBIOSName"], MAX_DOMAINS)).await
}

async fn object(connection: &mut Connection, search: Search) -> Result<Option<Entry>, LdapError> {
    Ok(objects(connection, search).await?.into_iter().next())
}

/// A search before the task runs; an absent base is no object.
async fn objects(connection: &mut Connection, search: Search) -> Result<Vec<Entry>, LdapError> {
    let limit = search.limit;
    let request = Request::Search { search, page: None };
    let mut found = Vec::new();
    let mut response = connection.exchange(&request).await?;
    loop {
        match response {
            Response::Entry(entry) if found.len() < limit => found.push(entry),
            Response::Done { outcome, .. } if outcome.code == ResultCode::SUCCESS => return Ok(found),
            Response::Done { outcome, .. } if outcome.code == ResultCode::NO_SUCH_OBJECT => {
                return Ok(Vec::new());
            }
            Response::Done { outcome, .. } => return Err(LdapError::from_outcome(outcome)),
            Response::Entry(_)
            | Response::Bind { .. }
            | Response::Reference(_)
            | Response::Changed(_)
            | Response::Extended { .. } => return Err(connection.out_of_place()),
        }
        response = connection.wire.receive().await?.response;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_controller_is_read() {
        let at = |text: &str| Root {
            domain: String::new(),
            configuration: String::new(),
            forest_root: String::new(),
            service: String::new(),
            host: String::new(),
            usn: 0,
            netbios: None,
            whole_forest: true,
            deleted_visible: true,
            current_time: text.to_owned(),
            invocation: Vec::new(),
        };
        for (text, seconds) in [
            ("20261123044143.0Z", 1_795_408_903),
            ("20000229000000.0Z", 951_782_400),
            ("19700101000000.0Z", 0),
        ] {
            assert_eq!(at(text).time(), Some(UnixTime(seconds)), "{text}");
        }
        assert_eq!(at("now").time(), None);
    }
}
