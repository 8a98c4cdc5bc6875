//! The rules for enrollment over RPC.

use std::path::Path;
use std::sync::Arc;

use muster_core::Method;
use muster_core::names::is_host_name;

use super::{Fault, fault};
use crate::config::{Backend, CaSettings, Endpoint, KerberosRealm, RpcSettings, Service, file};

/// The service names that clients ask tickets for: of the calls, and of the activation.
const CLASSES: [&str; 2] = ["HOST/", "RPCSS/"];

pub(super) fn rpc(
    tree: &file::File,
    base: &Path,
    realms: &[KerberosRealm],
    authorities: &[CaSettings],
) -> Result<Option<RpcSettings>, Fault> {
    let Some(written) = &tree.rpc else { return Ok(None) };
    let embedded = authorities.iter().find(|ca| matches!(ca.backend, Backend::Embedded(_)));
    let Some(ca) = embedded else {
        return fault("rpc", "is in front of a CA of its own: no [ca.\"NAME\"] has backend = \"embedded\"");
    };
    let Some(realm) = realms.iter().find(|realm| realm.name == written.realm) else {
        return fault("rpc.realm", format!("there is no [kerberos.\"{}\"]", written.realm));
    };
    let host_of = |service: &str| {
        let host = CLASSES.into_iter().find_map(|class| service.strip_prefix(class))?;
        (host == "localhost" || is_host_name(host, false)).then(|| host.to_owned())
    };
    let mut hosts = Vec::new();
    for service in &written.services {
        match host_of(service) {
            Some(host) => hosts.push(host),
            None => {
                return fault(
                    "rpc.services",
                    format!(
                        "'{service}' must be HOST/ or RPCSS/ and a host name in lower case, without the realm"
                    ),
                );
            }
        }
    }
    for host in &hosts {
        for class in CLASSES {
            let needed = format!("{class}{host}");
            if !written.services.contains(&needed) {
                return fault(
                    "rpc.services",
                    format!("lacks {needed}: clients ask for tickets of both names"),
                );
            }
        }
    }
    let Some(host) = hosts.into_iter().next() else {
        return fault("rpc.services", "needs names such as HOST/pki.corp.example and RPCSS/pki.corp.example");
    };
    let others = tree.listener.iter().map(|(name, listener)| (format!("listener.{name}"), listener.address));
    let publication = tree.publication.as_ref().map(|it| ("publication".to_owned(), it.address));
    let mut taken: Vec<_> = others.chain(publication).collect();
    for (key, address) in [("rpc.address", written.address), ("rpc.request_address", written.request_address)]
    {
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == address && address.port() != 0) {
            return fault(key, format!("{address} is used by {other}"));
        }
        taken.push((key.to_owned(), address));
    }
    let endpoint = |interface: &str| {
        Arc::new(Endpoint {
            service: Service::Enrollment,
            ca: Arc::clone(&ca.name),
            identity: None,
            method: Method::Kerberos,
            listener: "rpc".to_owned(),
            path: format!("/{interface}"),
            uri: format!("rpc://{host}/{interface}"),
            priority: 0,
            renewal_only: false,
            key_based_renewal: false,
        })
    };
    Ok(Some(RpcSettings {
        address: written.address,
        request_address: written.request_address,
        realm: realm.name.clone(),
        keytab: written.keytab.as_ref().map_or_else(|| realm.keytab.clone(), |file| base.join(file)),
        services: written.services.clone(),
        unsigned_headers: written.unsigned_headers,
        passage: endpoint("ICertPassage"),
        object: endpoint("ICertRequestD"),
        host,
    }))
}
