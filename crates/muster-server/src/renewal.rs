//! Renewal: what policy has to know of the certificate that vouches for the next one, and what officers have to know when
//! two holders of one key show themselves. The rule itself is in `muster_core::policy`.

use der::{Decode, Encode};
use muster_core::issuance::RequestRecord;
use muster_core::policy::Renewed;
use muster_core::request::{RequestForm, RequestId, Serial};
use muster_core::{Caller, Submission};
use muster_store::StoreError;
use x509_cert::Certificate;

use crate::auth::serial_of;
use crate::decode;
use crate::enroll::{Enrollment, Reply};
use crate::fault::{ServiceError, Unavailable};
use crate::record::Record;

/// Whether a request renews a certificate.
pub(crate) const fn is_renewal(form: &RequestForm) -> bool {
    match form {
        RequestForm::Renewal { .. } => true,
        RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } => false,
    }
}

/// The certificate that a request was made with: the one that it renews, or that of the connection. What was had with a
/// certificate goes with it when its line is revoked.
pub(crate) fn asked_with(form: &RequestForm, caller: &Caller) -> Option<Serial> {
    match form {
        RequestForm::Renewal { old_certificate, .. } => serial_of(old_certificate),
        RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } => {
            caller.certificate().and_then(serial_of)
        }
    }
}

impl Enrollment {
    /// What is known of the certificate that a renewal presents; `None` if it is none of ours.
    pub(crate) async fn renewed(&self, submission: &Submission) -> Result<Option<Renewed>, ServiceError> {
        let old = match &submission.form {
            RequestForm::Renewal { old_certificate, .. } => old_certificate,
            RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } => return Ok(None),
        };
        let Some(serial) = serial_of(old) else { return Ok(None) };
        let Some(known) = self.store.known_certificate(serial, old).await? else { return Ok(None) };
        let line = self.store.line_place(serial, &submission.key.spki).await?;
        // The store has these octets, so they are a certificate that we made.
        let defect = |e: der::Error| ServiceError::Internal(format!("certificate {serial}: {e}"));
        let certificate = Certificate::from_der(old).map_err(defect)?;
        let spki = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(defect)?;
        Ok(Some(Renewed {
            known,
            names: decode::names_of(&certificate),
            sid: decode::sid_of(&certificate),
            spki,
            line,
        }))
    }

    /// Writes down a second renewal of one certificate for an officer to look at.
    pub(crate) async fn pend_forked(
        &self,
        row: RequestRecord,
        spki: &[u8],
        revision: String,
        record: &Record,
    ) -> Result<(), StoreError> {
        let id = row.id;
        let why = self.store.record_forked(row, spki, revision).await?;
        alarm(id, &why, record);
        Ok(())
    }

    /// Puts an approved renewal back before an officer, who did not know of the other one.
    pub(crate) async fn reopen_forked(
        &self,
        id: RequestId,
        submission: &Submission,
        revision: String,
        record: &Record,
    ) -> Result<Reply, ServiceError> {
        let (spki, now) = (&submission.key.spki, self.clock.now());
        match self.store.reopen_forked(id, spki, revision, record.actor(), now).await {
            Ok(why) => alarm(id, &why, record),
            // Another poll was faster.
            Err(StoreError::WrongState { .. }) => {}
            Err(StoreError::Changed) => return Err(Unavailable::Changed.into()),
            Err(error) => return Err(error.into()),
        }
        Ok(Reply::Pending { id })
    }
}

/// Somebody may have a copy of a key: an officer has to know soon.
fn alarm(id: RequestId, why: &str, record: &Record) {
    tracing::warn!(request.id = id.number(), reference = record.reference, "{why}");
}
