//! What to paste elsewhere to enroll with this node: Windows registry, PowerShell, our client, curl.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use muster_core::Method;

use crate::config::{Endpoint, Settings};

/// What the texts are about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// Identifier of the policy.
    pub policy_id: &'a str,
    /// An account.
    pub account: &'a str,
    /// A template that it may enroll for.
    pub template: &'a str,
}

/// The first policy endpoint for passwords.
fn password_policy(settings: &Settings) -> Option<&Endpoint> {
    settings.policy_endpoints.iter().map(|e| &**e).find(|e| match e.method {
        Method::UsernamePassword => true,
        Method::ClientCertificate | Method::Kerberos => false,
    })
}

/// The policy server as a registry file for the current user (MS-CAESO 4.4.5.3, `PolicyServers`).
#[must_use]
pub fn registry(subject: Subject<'_>) -> Option<String> {
    /// WebClientAuthentication: user name and password.
    const AUTH_FLAGS: u32 = 4;
    /// Use the client identification and allow an untrusted CA to be shown.
    const FLAGS: u32 = 0x14;
    const COST: u32 = 0x7fff_fffd;
    let url = &password_policy(subject.settings)?.uri;
    let utf16: Vec<u8> = url.to_lowercase().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let key: String =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &utf16).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!(
        "Windows Registry Editor Version 5.00\r\n\r\n\
         [HKEY_CURRENT_USER\\Software\\Microsoft\\Cryptography\\PolicyServers\\{key}]\r\n\
         \"URL\"=\"{url}\"\r\n\
         \"PolicyID\"=\"{id}\"\r\n\
         \"FriendlyName\"=\"{name}\"\r\n\
         \"Flags\"=dword:{FLAGS:08x}\r\n\
         \"AuthFlags\"=dword:{AUTH_FLAGS:08x}\r\n\
         \"Cost\"=dword:{COST:08x}\r\n",
        id = escape(subject.policy_id),
        name = escape(&subject.settings.policy_name),
    ))
}

/// PowerShell for Windows: trust the CA, add the policy server, enroll.
#[must_use]
pub fn powershell(subject: Subject<'_>) -> Option<String> {
    let url = &password_policy(subject.settings)?.uri;
    let ca = subject.settings.embedded().ok()?.publication.ca_url();
    let template = subject.template;
    let account = subject.account;
    Some(format!(
        "Invoke-WebRequest {ca} -OutFile muster-ca.crt\n\
         Import-Certificate .\\muster-ca.crt -CertStoreLocation Cert:\\CurrentUser\\Root\n\
         $c = Get-Credential {account}\n\
         Get-Certificate -Url {url} -Template {template} -Credential $c -CertStoreLocation Cert:\\CurrentUser\\My\n"
    ))
}

/// Our own client on Linux.
#[must_use]
pub fn linux(subject: Subject<'_>) -> Option<String> {
    let url = &password_policy(subject.settings)?.uri;
    let ca = format!("{}/ca.pem", subject.settings.embedded().ok()?.publication.url);
    let (account, template) = (subject.account, subject.template);
    Some(format!(
        "curl -fsS {ca} -o muster-ca.pem\n\
         muster enroll --policy-url '{url}' --ca-file muster-ca.pem --user {account} --template {template} --out {template}.pem\n"
    ))
}

/// curl: asks for the policy with a message of ours.
#[must_use]
pub fn curl(subject: Subject<'_>) -> Option<String> {
    let url = &password_policy(subject.settings)?.uri;
    let ca = format!("{}/ca.pem", subject.settings.embedded().ok()?.publication.url);
    let account = subject.account;
    Some(format!(
        r#"curl -fsS {ca} -o muster-ca.pem
read -rsp 'Password: ' P; curl -sS --cacert muster-ca.pem -H 'Content-Type: application/soap+xml; charset=utf-8' '{url}' --data-binary @- <<END
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>
<a:Action s:mustUnderstand="1">http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPolicies</a:Action>
<a:To s:mustUnderstand="1">{url}</a:To>
<o:Security s:mustUnderstand="1" xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>{account}</o:Username><o:Password>$P</o:Password></o:UsernameToken></o:Security>
</s:Header><s:Body><GetPolicies xmlns="http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><client><lastUpdate xsi:nil="true"/><preferredLanguage xsi:nil="true"/></client><requestFilter xsi:nil="true"/></GetPolicies></s:Body></s:Envelope>
END
"#
    ))
}
