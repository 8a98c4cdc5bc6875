#!/usr/bin/python3
"""Makes the files named samba-* here with Samba's own encoder (package python3-samba)."""
from samba.dcerpc import misc, preg
from samba.ndr import ndr_pack

CRYPTOGRAPHY = "Software\\Policies\\Microsoft\\Cryptography\\"


def write(name, values):
    file = preg.file()
    file.header.signature, file.header.version = "PReg", 1
    entries = []
    for key, value, kind, data in values:
        entry = preg.entry()
        entry.keyname, entry.valuename, entry.type, entry.data = key, value, kind, data
        entries.append(entry)
    file.num_entries, file.entries = len(entries), entries
    open(name, "wb").write(ndr_pack(file))


def server(number, url, policy, auth, cost, flags=0x14):
    key = CRYPTOGRAPHY + "PolicyServers\\%040x" % number
    return [
        (key, "URL", misc.REG_SZ, url),
        (key, "PolicyID", misc.REG_SZ, policy),
        (key, "FriendlyName", misc.REG_SZ, "Server %d" % number),
        (key, "Flags", misc.REG_DWORD, flags),
        (key, "AuthFlags", misc.REG_DWORD, auth),
        (key, "Cost", misc.REG_DWORD, cost),
    ]


A, B = "{0e6f0b5c-0000-4000-8000-00000000000a}", "{0e6f0b5c-0000-4000-8000-00000000000b}"
AE = CRYPTOGRAPHY + "AutoEnrollment"
write("samba-servers.pol", [
    ("Software\\Policies\\Else", "Name", misc.REG_SZ, "of no interest"),
    (AE, "AEPolicy", misc.REG_DWORD, 7),
    (AE, "OfflineExpirationStoreNames", misc.REG_SZ, "MY"),
    *server(1, "https://b1.corp.example/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP", B, 4, 20),
    *server(2, "https://a2.corp.example/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP", A, 4, 10),
    *server(3, "https://a1.corp.example/ADPolicyProvider_CEP_Kerberos/service.svc/CEP", A, 2, 10),
    *server(4, "https://a3.corp.example/ADPolicyProvider_CEP_Certificate/service.svc/CEP", A, 8, 30, 0x4),
    *server(5, "LDAP:", "{0e6f0b5c-0000-4000-8000-00000000000c}", 2, 0x7FFFFFFD),
    *server(6, "http://plain.corp.example/CEP", B, 2, 1),
])
write("samba-disabled.pol", [(AE, "AEPolicy", misc.REG_DWORD, 0x8000)])
write("samba-override.pol", [
    (CRYPTOGRAPHY + "PolicyServers", "Flags", misc.REG_DWORD, 0),
    *server(2, "https://moved.corp.example/CEP", A, 2, 5),
])
