//! Group policy from files that Samba's encoder made, and from folders as they lie about.

use super::*;

const SERVERS: &[u8] = include_bytes!("../../../../vectors/ms-gpreg/samba-servers.pol");
const DISABLED: &[u8] = include_bytes!("../../../../vectors/ms-gpreg/samba-disabled.pol");
const OVERRIDE: &[u8] = include_bytes!("../../../../vectors/ms-gpreg/samba-override.pol");

fn policy(files: &[&[u8]]) -> GroupPolicy {
    let values: Vec<_> = files.iter().flat_map(|file| registry_pol::parse(file).unwrap()).collect();
    GroupPolicy::from_values(&values)
}

fn hosts(policy: &GroupPolicy) -> Vec<&str> {
    policy.servers.iter().map(|server| server.endpoint.host()).collect()
}

#[test]
fn servers_are_grouped_and_ordered() {
    let read = policy(&[SERVERS]);
    // Kerberos before password at the same cost; the policy of the best server first.
    let expected = ["a1.corp.example", "a2.corp.example", "a3.corp.example", "b1.corp.example"];
    assert_eq!(hosts(&read), expected);
    assert_eq!(read.autoenrollment, Some(Autoenrollment(7)));
    let groups = read.policies(|server| server.autoenroll);
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 1], "a3 is not for autoenrollment");
    assert_eq!(groups[0][0].authentication, ClientAuthentication::KERBEROS);
    let unusable: Vec<&str> = read.unusable.iter().map(|(url, _)| url.as_str()).collect();
    assert_eq!(unusable, ["LDAP:", "http://plain.corp.example/CEP"]);
}

#[test]
fn later_file_wins() {
    let read = policy(&[SERVERS, OVERRIDE]);
    assert_eq!(hosts(&read), ["moved.corp.example", "a1.corp.example", "a3.corp.example", "b1.corp.example"]);
    assert_eq!(hosts(&policy(&[OVERRIDE, SERVERS])), hosts(&policy(&[SERVERS])));
}

#[test]
fn switched_off_means_off() {
    let read = policy(&[SERVERS, DISABLED]);
    let allowed = read.autoenrollment.unwrap();
    assert!(allowed.is_disabled());
    assert!(!allowed.enrolls() && !allowed.renews() && !allowed.fetches());
    assert!(Autoenrollment::ALL.enrolls() && Autoenrollment::ALL.renews() && Autoenrollment::ALL.fetches());
    assert!(!Autoenrollment(0x8007).enrolls());

    let key = r"SOFTWARE\Policies\Microsoft\Cryptography\PolicyServers".to_owned();
    let off = RegistryValue { key, name: "Flags".into(), data: RegistryData::Number(2) };
    let mut values = registry_pol::parse(SERVERS).unwrap();
    values.push(off);
    let read = GroupPolicy::from_values(&values);
    assert!(read.servers.is_empty());
    assert_eq!(read.unusable.len(), 6);
}

#[test]
fn files_are_found_in_either_case_and_by_scope() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &[u8]| {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    };
    // Samba writes everything in capitals, SYSVOL has the cases of Windows.
    put("CORP.EXAMPLE/POLICIES/{1}/MACHINE/REGISTRY.POL", SERVERS);
    put("corp.example/Policies/{2}/Machine/Registry.pol", OVERRIDE);
    put("corp.example/Policies/{2}/User/Registry.pol", DISABLED);
    put("corp.example/Policies/{2}/GPT.INI", b"[General]");
    let paths = [folder.path().to_owned()];
    let machine = read(&paths, Scope::Machine).unwrap();
    assert_eq!(hosts(&machine)[0], "moved.corp.example");
    let user = read(&paths, Scope::User).unwrap();
    assert!(user.servers.is_empty() && user.autoenrollment.unwrap().is_disabled());

    let empty = tempfile::tempdir().unwrap();
    let nothing = read(&[empty.path().to_owned()], Scope::Machine);
    assert!(matches!(nothing, Err(GroupPolicyError::None(_))), "{nothing:?}");
    put("damaged.pol", b"PReg\x01\x00\x00\x00[");
    let damaged = read(&[folder.path().join("damaged.pol")], Scope::Machine);
    assert!(matches!(damaged, Err(GroupPolicyError::Damaged { .. })), "{damaged:?}");
    assert!(read(&[folder.path().join("missing.pol")], Scope::Machine).is_err());
}
