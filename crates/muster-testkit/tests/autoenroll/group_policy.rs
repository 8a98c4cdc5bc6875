//! Policy servers from group policy.

use std::path::Path;
use std::process::Command;

use muster_testkit::peers::muster;
use serde_json::Value;

use super::{Client, site, text};

/// As the servers of group policy and other parts of it are written by a domain's administrators.
fn registry_pol(file: &Path, values: &[(&str, &str, Result<&str, u32>)]) {
    let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut content = b"PReg\x01\x00\x00\x00".to_vec();
    for (key, name, data) in values {
        let (kind, data) = match data {
            Ok(text) => (1_u32, units(&format!("{text}\0"))),
            Err(number) => (4, number.to_le_bytes().to_vec()),
        };
        content.extend(units(&format!("[{key}\0;{name}\0;")));
        content.extend(kind.to_le_bytes());
        content.extend(units(";"));
        content.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        content.extend(units(";"));
        content.extend(data);
        content.extend(units("]"));
    }
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

#[test]
fn group_policy_names_the_servers_and_what_is_allowed() {
    const SERVERS: &str = r"Software\Policies\Microsoft\Cryptography\PolicyServers\0a";
    const AUTOENROLLMENT: &str = r"Software\Policies\Microsoft\Cryptography\AutoEnrollment";

    let site = site();
    let client = Client::new(&site, "web1");
    let cep = site.cep();
    let sysvol = site.path("sysvol");
    let file =
        sysvol.join("corp.example/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/MACHINE/Registry.pol");
    let write = |flags: u32, allowed: u32| {
        let values = [
            (SERVERS, "URL", Ok(cep.as_str())),
            (SERVERS, "PolicyID", Ok("{any}")),
            (SERVERS, "Flags", Err(flags)),
            (SERVERS, "AuthFlags", Err(4)),
            (AUTOENROLLMENT, "AEPolicy", Err(allowed)),
        ];
        registry_pol(&file, &values);
    };
    let (password, sysvol) = (text(&site.path("password")), text(&sysvol));
    let run = || {
        client.bare(&[
            "--group-policy",
            "--registry-pol",
            &sysvol,
            "--user",
            "web1",
            "--password-file",
            &password,
        ])
    };
    write(0x14, 0x8000);
    run().expect(0).is("Computer", "leave", "-");
    // Not marked for autoenrollment: there is nobody to ask.
    write(0x4, 7);
    assert_eq!(run().expect(0).report["policies"].as_array().unwrap().len(), 0);
    write(0x14, 7);
    run().expect(0).is("Computer", "enroll", "done");

    let shown =
        Command::new(muster()).args(["policy", "servers", "--json", "--registry-pol", &sysvol]).output();
    let shown: Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    assert_eq!((&shown["servers"][0]["url"], &shown["autoenrollment"]), (&cep.into(), &7.into()));
}
