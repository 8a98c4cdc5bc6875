//! OpenSSL, curl and an installation together: enroll and verify.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]

use crate::messages::{self, certificate};
use crate::peers::Peer;
use crate::site::{PASSWORD, Site};
use crate::tools::{Answer, Curl, OpenSsl, from_base64};

/// OpenSSL, curl to carry messages, and an installation with accounts.
#[derive(Debug)]
pub struct Bed {
    /// The installation.
    pub site: Site,
    /// OpenSSL.
    pub openssl: OpenSsl,
    /// curl.
    pub curl: Curl,
}

impl Bed {
    /// The installation that `site` makes, once both programs are there, with [`Site::usual_accounts`].
    pub fn or_not_run(site: impl FnOnce() -> Site) -> Option<Self> {
        let (openssl, curl) = (Peer::OpenSsl.or_not_run()?, Peer::Curl.or_not_run()?);
        let site = site();
        site.usual_accounts();
        Some(Self { openssl: OpenSsl::new(openssl, &site), curl: Curl::new(curl, &site), site })
    }

    /// Enrolls `account` with a new key and returns the certificate, DER.
    pub fn enroll(&self, account: &str, template: &str, key: &str, extensions: &[&str]) -> (Vec<u8>, Answer) {
        let request = self.openssl.request(key, template, extensions);
        let mut answer = self.curl.issue(&self.site, account, &request);
        assert_eq!(answer.status, 200, "{template}: {}", answer.body);
        if messages::text(&answer.body, "DispositionMessage") == Some("Taken Under Submission") {
            let id = messages::text(&answer.body, "RequestID").unwrap();
            self.site.muster("request", &["approve", id]);
            let query = messages::query(&self.site.ces(), Some((account, PASSWORD)), id);
            answer = self.curl.post(&self.site.ces(), &query, &[]);
            assert_eq!(answer.status, 200, "{template}: {}", answer.body);
        }
        (from_base64(certificate(&answer.body).unwrap()), answer)
    }

    /// What `openssl verify` says, with the revocation list that is published now.
    #[must_use]
    pub fn verify(&self, certificate: &str, purpose: &str) -> String {
        let (ca, list) = (self.site.ca(), self.openssl.revocation_list(&self.curl, &self.site));
        let ca = ca.to_str().unwrap();
        let ran = self.openssl.try_run(
            &[
                "verify",
                "-x509_strict",
                "-no-CApath",
                "-no-CAstore",
                "-crl_check",
                "-purpose",
                purpose,
                "-CAfile",
                ca,
                "-CRLfile",
                &list,
                certificate,
            ],
            b"",
        );
        ran.all()
    }
}
