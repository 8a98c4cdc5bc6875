//! The rules for listeners: addresses, and the server names by which listeners share one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use muster_core::names::is_host_name;

use super::validate::{Fault, fault, https_url};
use super::{Listener, file};

/// What is known of an address so far.
#[derive(Default)]
struct Shared {
    /// The listener without names, and the host of its URL.
    default: Option<(String, String)>,
    names: BTreeSet<String>,
}

pub(super) fn listeners(tree: &file::File) -> Result<BTreeMap<String, Listener>, Fault> {
    let mut listeners = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, Shared> = BTreeMap::new();
    if tree.listener.is_empty() {
        return fault("listener", "no socket is configured; add [listener.main]");
    }
    for (name, written) in &tree.listener {
        let key = format!("listener.{name}");
        https_url(&format!("{key}.url"), &written.url, false)?;
        let url = written.url.trim_end_matches('/').to_owned();
        let publication = tree.publication.as_ref().map(|publication| publication.address);
        if publication == Some(written.address) && written.address.port() != 0 {
            return fault(format!("{key}.address"), format!("{} is used twice", written.address));
        }
        let server_names = server_names(tree, &key, written, &url)?;
        if written.address.port() != 0 {
            let shared = addresses.entry(written.address).or_default();
            if server_names.is_empty() && shared.default.is_some() {
                return fault(
                    format!("{key}.address"),
                    format!("{} is used twice; listeners can share it by server_names", written.address),
                );
            }
            if server_names.is_empty() {
                shared.default = Some((key.clone(), host(&url)));
            }
            for server_name in &server_names {
                if !shared.names.insert(server_name.clone()) {
                    return fault(
                        format!("{key}.server_names"),
                        format!("'{server_name}' leads to another listener of {} already", written.address),
                    );
                }
            }
        }
        listeners.insert(
            name.clone(),
            Listener {
                name: name.clone(),
                address: written.address,
                url,
                server_names,
                client_certificate: written.client_certificate,
            },
        );
    }
    for shared in addresses.into_values() {
        if let Some((key, host)) = shared.default
            && shared.names.contains(&host)
        {
            return fault(
                format!("{key}.url"),
                format!("'{host}' leads to another listener of this address"),
            );
        }
    }
    Ok(listeners)
}

fn server_names(
    tree: &file::File,
    key: &str,
    written: &file::Listener,
    url: &str,
) -> Result<Vec<String>, Fault> {
    let key = format!("{key}.server_names");
    let names: Vec<String> = written.server_names.iter().map(|n| n.to_ascii_lowercase()).collect();
    for name in &names {
        if name != "localhost" && !is_host_name(name, false) {
            return fault(
                key,
                format!("'{name}' is no host name; clients name no addresses in the handshake"),
            );
        }
        let own = &tree.tls.names;
        if !own.is_empty() && !own.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return fault(key, format!("'{name}' is not in tls.names, so the certificate would not fit"));
        }
    }
    let host = host(url);
    if !names.is_empty() && !names.contains(&host) {
        return fault(
            key,
            format!("'{host}', the host of the url, is missing, so clients would not get here"),
        );
    }
    Ok(names)
}

/// The host of `https://host:port`, in lower case.
fn host(url: &str) -> String {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => rest,
    };
    host.to_ascii_lowercase()
}
