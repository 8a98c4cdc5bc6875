//! A server with every address at which a certificate can be renewed, and what tests send there.

use std::sync::Arc;

use muster_core::audit::Actor;
use muster_core::identity::AccountName;
use muster_core::{Clock, Method, Serial, Template, UnixTime};
use muster_proto::wcce::{
    Cosigner, Pkcs10Builder, RequestedName, TemplateSelector, build_cmc, build_cms_renewal,
};
use muster_server::config::{Endpoint, Service};
use muster_store::CertificateFilter;
use muster_testkit::server::{PASSWORD, path};
use muster_testkit::site::KEY_BASED;
use muster_testkit::{Answer, Identity, Key, SignIn, TestServer, log};

/// Where a renewal can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Password,
    PasswordRenewalOnly,
    Certificate,
    CertificateRenewalOnly,
    KeyBased,
}

impl Route {
    pub(crate) const ALL: [Self; 5] = [
        Self::Password,
        Self::PasswordRenewalOnly,
        Self::Certificate,
        Self::CertificateRenewalOnly,
        Self::KeyBased,
    ];

    pub(crate) const fn by_certificate(self) -> bool {
        matches!(self, Self::Certificate | Self::CertificateRenewalOnly | Self::KeyBased)
    }

    pub(crate) const fn renewal_only(self) -> bool {
        matches!(self, Self::PasswordRenewalOnly | Self::CertificateRenewalOnly | Self::KeyBased)
    }
}

/// The two forms of a renewal (MS-WCCE 3.1.1.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Cms,
    Cmc,
}

impl Form {
    pub(crate) const ALL: [Self; 2] = [Self::Cms, Self::Cmc];
}

/// A template as a workgroup machine uses it: names from the request, approved once, renewed by certificate alone.
const DEVICE: &str = r#"
name = "Device"
display_name = "Device without an account of its own"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2"]

[subject]
source = "request"
allow_dns = ["own", ".example.test"]

[key]
algorithms = ["p256"]
usage = ["digital_signature"]

[validity]
days = 30
renew_before_days = 5

[issuance]
approval = true
renewal_without_approval = true

[renewal]
key_based = true
window_percent = 100

[permissions]
enroll = ["group:computers"]
"#;

pub(crate) struct World {
    pub(crate) server: TestServer,
}

pub(crate) fn officer() -> Actor {
    Actor::Officer("officer".to_owned())
}

impl World {
    /// `User` renews by certificate alone and at any time, `Device` is there.
    pub(crate) async fn new() -> Self {
        let server = TestServer::start_with(|config| config + KEY_BASED).await;
        let world = Self { server };
        world
            .change("User", |template| {
                template.renewal.key_based = true;
                template.renewal.window_percent = 100;
            })
            .await;
        world.put(Template::from_toml(DEVICE).unwrap()).await;
        world
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.server.clock.now()
    }

    pub(crate) async fn put(&self, template: Template) {
        let arcs = muster_server::setup::random_arcs().unwrap();
        self.server.store.put_template(template, arcs, officer(), self.now()).await.unwrap();
    }

    pub(crate) async fn change(&self, name: &str, change: impl FnOnce(&mut Template)) {
        let catalog = self.server.store.catalog().await.unwrap();
        let mut template = catalog.into_iter().find(|template| template.name == name).unwrap();
        change(&mut template);
        self.put(template).await;
    }

    pub(crate) fn endpoint(&self, route: Route) -> &Endpoint {
        let server = &self.server;
        match route {
            Route::Password => server.endpoint(Service::Enrollment, Method::UsernamePassword),
            Route::Certificate => server.endpoint(Service::Enrollment, Method::ClientCertificate),
            Route::PasswordRenewalOnly => server.renewal_only(Method::UsernamePassword),
            Route::CertificateRenewalOnly => server.renewal_only(Method::ClientCertificate),
            Route::KeyBased => server
                .settings
                .enrollment_endpoints
                .iter()
                .find(|endpoint| endpoint.key_based_renewal)
                .unwrap(),
        }
    }

    /// Sends a request by a route, as `account` or with `identity`.
    pub(crate) async fn send(
        &self,
        route: Route,
        account: &str,
        identity: &Identity,
        request: &[u8],
    ) -> Answer {
        let endpoint = self.endpoint(route);
        let (sign_in, identity) = if route.by_certificate() {
            (SignIn::None, Some(identity))
        } else {
            (SignIn::Password(account, PASSWORD), None)
        };
        let message = self.server.messages(endpoint, sign_in).issue(request);
        self.server.post(endpoint, identity, &message).await
    }

    /// Asks for the state of a request.
    pub(crate) async fn query(&self, route: Route, identity: &Identity, id: &str) -> Answer {
        let endpoint = self.endpoint(route);
        let message = self.server.messages(endpoint, SignIn::None).query(id);
        self.server.post(endpoint, Some(identity), &message).await
    }

    /// A device's first certificate, approved by an officer.
    pub(crate) async fn device(&self, host: &str) -> Identity {
        let key = Arc::new(Key::generate());
        let request = Ask { names: &[host], ..Ask::new("Device", &key) }.first();
        let nobody = Identity { certificate: Vec::new(), key: Arc::clone(&key) };
        let id = self.send(Route::Password, "host", &nobody, &request).await.pending();
        self.approve(&id).await;
        let endpoint = self.endpoint(Route::Password);
        let message = self.server.messages(endpoint, SignIn::Password("host", PASSWORD)).query(&id);
        let (_, certificate) = self.server.post(endpoint, None, &message).await.issued();
        Identity { certificate, key }
    }

    pub(crate) async fn approve(&self, id: &str) {
        let id = id.parse().unwrap();
        self.server.store.approve(id, "officer".to_owned(), self.now()).await.unwrap();
    }

    pub(crate) async fn serial(&self, identity: &Identity) -> Serial {
        let filter = CertificateFilter { limit: u32::MAX, ..CertificateFilter::default() };
        for summary in self.server.store.certificates(filter).await.unwrap() {
            let certificate = self.server.store.certificate(summary.serial).await.unwrap().unwrap();
            if certificate.der == identity.certificate {
                return summary.serial;
            }
        }
        unreachable!("the certificate is in the store");
    }

    /// Renews and returns the new certificate with its key.
    pub(crate) async fn renew(&self, route: Route, template: &str, old: &Identity) -> Identity {
        let key = Arc::new(Key::generate());
        let request = Ask::new(template, &key).renewal(Form::Cms, old);
        let account = if template == "Device" { "host" } else { "alice" };
        let (_, certificate) = self.send(route, account, old, &request).await.issued();
        Identity { certificate, key }
    }

    pub(crate) async fn set_enabled(&self, account: &str, enabled: bool) {
        let name: AccountName = account.parse().unwrap();
        self.server.store.set_enabled(name, enabled, officer(), self.now()).await.unwrap();
    }

    /// How many requests and certificates there are.
    pub(crate) async fn rows(&self) -> (usize, usize) {
        let requests = muster_store::RequestFilter { limit: u32::MAX, ..Default::default() };
        let certificates = CertificateFilter { limit: u32::MAX, ..CertificateFilter::default() };
        (
            self.server.store.requests(requests).await.unwrap().len(),
            self.server.store.certificates(certificates).await.unwrap().len(),
        )
    }

    /// The policy endpoint for key-based renewal.
    pub(crate) fn policy(&self, key_based: bool) -> &Endpoint {
        let fits =
            |e: &&Arc<Endpoint>| e.method == Method::ClientCertificate && e.key_based_renewal == key_based;
        self.server.settings.policy_endpoints.iter().find(fits).unwrap()
    }

    pub(crate) async fn policies(
        &self,
        key_based: bool,
        identity: &Identity,
    ) -> muster_proto::xcep::GetPoliciesResponse {
        let endpoint = self.policy(key_based);
        let message = self.server.messages(endpoint, SignIn::None).get_policies();
        self.server.connect(endpoint, Some(identity)).await.post(&path(endpoint), &message).await.policies()
    }
}

/// The code of a refusal, from the log line that its reference finds.
pub(crate) fn code(answer: &Answer) -> String {
    if answer.status == 200 {
        return "ok".to_owned();
    }
    log::event(&answer.reference())["outcome"].as_str().unwrap().to_owned()
}

/// What a request asks for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) template: &'a str,
    pub(crate) key: &'a Key,
    /// Host names.
    pub(crate) names: &'a [&'a str],
    /// DER of the subject.
    pub(crate) subject: &'a [u8],
}

impl<'a> Ask<'a> {
    pub(crate) const fn new(template: &'a str, key: &'a Key) -> Self {
        Self { template, key, names: &[], subject: &[] }
    }

    fn pkcs10(&self, old: Option<&[u8]>) -> Vec<u8> {
        let template = TemplateSelector::Name(self.template.to_owned());
        let names: Vec<RequestedName> =
            self.names.iter().map(|name| RequestedName::Dns((*name).to_owned())).collect();
        let builder = Pkcs10Builder {
            template: Some(&template),
            names: &names,
            subject: self.subject,
            renewal_certificate: old,
            ..Pkcs10Builder::new(self.key.spki())
        };
        builder.build(self.key).unwrap()
    }

    /// A first enrollment.
    pub(crate) fn first(&self) -> Vec<u8> {
        self.pkcs10(None)
    }

    /// The same as CMC, signed by these as well.
    pub(crate) fn first_cmc(&self, cosigners: &[Cosigner<'_>]) -> Vec<u8> {
        build_cmc(&self.pkcs10(None), self.key.spki(), self.key, &[], cosigners).unwrap()
    }

    /// The same as CMS, signed by the old key, but without the attribute that makes it a renewal.
    pub(crate) fn first_cms(&self, old: &Identity) -> Vec<u8> {
        build_cms_renewal(&self.pkcs10(None), signer(old)).unwrap()
    }

    pub(crate) fn renewal(&self, form: Form, old: &Identity) -> Vec<u8> {
        self.renewal_of(form, &old.certificate, &[signer(old)])
    }

    /// A renewal that names `attribute`, signed by all of these; CMS takes the first alone.
    pub(crate) fn renewal_of(&self, form: Form, attribute: &[u8], signers: &[Cosigner<'_>]) -> Vec<u8> {
        let pkcs10 = self.pkcs10(Some(attribute));
        match form {
            Form::Cms => build_cms_renewal(&pkcs10, signers[0]).unwrap(),
            Form::Cmc => build_cmc(&pkcs10, self.key.spki(), self.key, &[], signers).unwrap(),
        }
    }
}

pub(crate) fn signer(identity: &Identity) -> Cosigner<'_> {
    Cosigner { certificate: &identity.certificate, key: &*identity.key }
}
