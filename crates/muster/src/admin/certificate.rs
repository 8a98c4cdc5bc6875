//! `muster cert …`

mod line;

use clap::Subcommand;
use muster_core::identity::AccountName;
use muster_core::revocation::Reason;
use muster_core::{RequestId, Serial};
use muster_store::{CertificateFilter, CertificateSummary};
use serde::Serialize;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// List certificates, newest first.
    List {
        /// Only of this account.
        #[arg(long)]
        account: Option<AccountName>,
        /// Only revoked ones.
        #[arg(long)]
        revoked: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show a certificate, as PEM with --pem.
    Show {
        /// Serial number, or number of the request.
        which: String,
        /// Print the certificate itself.
        #[arg(long)]
        pem: bool,
    },
    /// Revoke a certificate for good; the revocation list names it at once.
    Revoke {
        /// Serial number, or number of the request.
        which: String,
        /// unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation,
        /// certificateHold or privilegeWithdrawn.
        #[arg(long, default_value = "unspecified")]
        reason: Reason,
        /// Revoke the whole line of the certificate: those that it was renewed from, and all that were had with any of
        /// them. Their keys are never accepted again.
        #[arg(long)]
        line: bool,
    },
    /// Show the line of a certificate: those that it was renewed from, and all that were had with any of them.
    Line {
        /// Serial number, or number of the request.
        which: String,
    },
    /// Take a certificate off hold.
    Release {
        /// Serial number, or number of the request.
        which: String,
    },
}

#[derive(Serialize)]
struct Row {
    request: u32,
    serial: String,
    account: String,
    template: String,
    subject: String,
    issued: String,
    not_before: String,
    not_after: String,
    revoked: Option<String>,
    reason: Option<&'static str>,
}

impl From<CertificateSummary> for Row {
    fn from(row: CertificateSummary) -> Self {
        Self {
            request: row.id.number(),
            serial: row.serial.to_string(),
            account: row.account.to_string(),
            template: row.template.to_string(),
            subject: row.subject,
            issued: row.issued.to_string(),
            not_before: row.not_before.to_string(),
            not_after: row.not_after.to_string(),
            revoked: row.revocation.map(|r| r.at.to_string()),
            reason: row.revocation.map(|r| r.reason.as_str()),
        }
    }
}

pub(crate) async fn run(command: Certificate, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Certificate::List { account, revoked, limit } => {
            let revoked = revoked.then_some(true);
            let filter = CertificateFilter { account, revoked, limit, ..CertificateFilter::default() };
            let rows: Vec<Row> = store.certificates(filter).await?.into_iter().map(Row::from).collect();
            output.table(&rows, &["REQUEST", "SERIAL", "ACCOUNT", "SUBJECT", "NOT AFTER", "REVOKED"], |row| {
                vec![
                    row.request.to_string(),
                    row.serial.clone(),
                    row.account.clone(),
                    row.subject.clone(),
                    row.not_after.clone(),
                    row.reason.unwrap_or_default().to_owned(),
                ]
            })
        }
        Certificate::Show { which, pem } => {
            let serial = find(admin, &which).await?;
            let certificate = store.certificate(serial).await?.ok_or_else(|| unknown(&which))?;
            if pem {
                return output.line(muster_server::certificate_pem(&certificate.der).trim_end());
            }
            let row = Row::from(certificate.summary);
            output.value(&row, || toml::to_string(&row).unwrap_or_default())
        }
        Certificate::Line { which } => line::show(find(admin, &which).await?, admin, output).await,
        Certificate::Revoke { which, reason, line: true } => {
            line::revoke(find(admin, &which).await?, reason, admin, output).await
        }
        Certificate::Revoke { which, reason, line: false } => {
            let serial = find(admin, &which).await?;
            let revoked = store.revoke(serial, reason, admin.actor(), now()).await?;
            // The list is made here and now, so that it is there whether the service runs or not.
            let number = muster_server::publish_now(&admin.settings, &admin.store).await?;
            output.note(format_args!(
                "certificate {serial} is revoked ({reason}); revocation list {number} names it"
            ));
            if revoked.key_blocked {
                output.note("its key is never accepted again");
            }
            line::warn_of_others(serial, admin, output).await
        }
        Certificate::Release { which } => {
            let serial = find(admin, &which).await?;
            store.release_hold(serial, admin.actor(), now()).await?;
            let number = muster_server::publish_now(&admin.settings, &admin.store).await?;
            output.note(format_args!(
                "certificate {serial} is valid again; revocation list {number} no longer names it"
            ));
            Ok(())
        }
    }
}

/// A serial number, or the number of the request that a certificate answers.
async fn find(admin: &Admin, which: &str) -> Outcome<Serial> {
    match (which.parse::<Serial>(), which.parse::<RequestId>()) {
        (Ok(serial), _) => Ok(serial),
        (Err(_), Ok(id)) => {
            let request = admin.store.request(id).await?;
            request.and_then(|r| r.certificate).map(|(serial, _)| serial).ok_or_else(|| unknown(which))
        }
        (Err(error), Err(_)) => Err(Failure::new(error).hint("'muster cert list' shows serial numbers")),
    }
}

fn unknown(which: &str) -> Failure {
    Failure::new(format_args!("there is no certificate '{which}'"))
        .hint("'muster cert list' shows the newest")
}
