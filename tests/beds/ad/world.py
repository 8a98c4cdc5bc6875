"""What is in the directories of the bed: the one place to add a user, a group, a computer or a service.

Every password is `password(NAME)`; SIDs of domains are fixed, so that SIDs of objects are the same in every bed.
"""

FORESTS = {
    #          realm           NetBIOS    DC      address      SID of the domain
    "corp":    ("CORP.TEST",    "CORP",    "dc1",  "127.0.0.2", "S-1-5-21-1001-2001-3001"),
    "partner": ("PARTNER.TEST", "PARTNER", "pdc1", "127.0.0.3", "S-1-5-21-1002-2002-3002"),
    "other":   ("OTHER.TEST",   "OTHER",   "odc1", "127.0.0.4", "S-1-5-21-1003-2003-3003"),
}
ADMINISTRATOR = "Passw0rd!test"


def password(name):
    return f"Passw0rd!{name}"


GLOBAL, UNIVERSAL, LOCAL = -2147483646, -2147483640, -2147483644  # groupType of security groups

# A user is (name, attributes). `userAccountControl` 0x200 is a normal account, 0x2 disabled, 0x10000 password never expires.
USERS = {
    "corp": [
        ("alice", {"givenName": "Alice", "sn": "Adams", "mail": "alice@corp.test"}),
        ("bob", {"givenName": "Bob", "sn": "Brown", "mail": "bob@corp.test"}),
        ("carol", {"givenName": "Carol", "sn": "Clark", "mail": "carol@corp.test"}),
        ("dave", {"givenName": "Dave", "sn": "Davis", "mail": "dave@corp.test"}),
        ("erin", {"mail": "erin@corp.test", "accountExpires": "116444736000000000"}),   # expired in 1970
        ("frank", {"mail": "frank@corp.test", "userAccountControl": str(0x10202)}),     # disabled
        ("gina", {"mail": "gina@corp.test", "userAccountControl": str(0x200), "pwdLastSet": "0"}),                        # must change her password
        ("nomail", {}),
        ("svc-ces", {}),
        ("svc-rc4", {}),
        ("svc-old", {}),
    ],
    "partner": [("petra", {"givenName": "Petra", "mail": "petra@partner.test"}), ("paul", {"mail": "paul@partner.test"}), ("svc-ces", {})],
    "other": [("oscar", {"givenName": "Oscar", "mail": "oscar@other.test"}), ("svc-ces", {})],
}

# (name, type, members). carol is in PkiUsers through two groups; dave is in 500.
GROUPS = {
    "corp": [
        ("CertEnrollers", GLOBAL, ["alice"]),
        ("Team", GLOBAL, ["carol"]),
        ("Division", UNIVERSAL, ["Team"]),
        ("PkiUsers", LOCAL, ["Division"]),
        ("Contractors", GLOBAL, ["bob"]),
        ("PartnerEnrollers", LOCAL, []),    # forests.sh puts petra in, across the trust
        ("CertComputers", GLOBAL, ["PC1$"]),
    ] + [(f"G{n:03}", (GLOBAL, GLOBAL, GLOBAL, UNIVERSAL, LOCAL)[n % 5], ["dave"]) for n in range(500)],
    "partner": [("PartnerTeam", GLOBAL, ["petra"])],
    "other": [],
}

# (name, attributes). EVIL1 claims the name of the domain controller, EVIL2 the one of PC3; neither has an SPN (Certifried).
COMPUTERS = {
    "corp": [
        ("PC1", {"dNSHostName": "pc1.corp.test", "servicePrincipalName": ["HOST/pc1.corp.test", "HOST/PC1"]}),
        ("PC2", {"dNSHostName": "pc2.corp.test", "servicePrincipalName": ["HOST/pc2.corp.test", "HOST/PC2"]}),
        ("PC3", {"dNSHostName": "pc3.corp.test", "servicePrincipalName": ["HOST/pc3.corp.test", "HOST/PC3"]}),
        ("CA1", {"dNSHostName": "ca1.corp.test", "servicePrincipalName": ["HOST/ca1.corp.test", "HOST/CA1", "RPCSS/ca1.corp.test"]}),
        ("EVIL1", {"dNSHostName": "dc1.corp.test"}),
        ("EVIL2", {"dNSHostName": "pc3.corp.test"}),
        ("NONAME", {}),
    ],
    "partner": [("PPC1", {"dNSHostName": "ppc1.partner.test", "servicePrincipalName": ["HOST/ppc1.partner.test", "HOST/PPC1"]})],
    "other": [],
}

# Services that run as users: (user, SPNs, encryption types: 24 is AES alone, 4 is RC4 alone).
# HOST, cifs (which is HOST to a directory) and RestrictedKrbHost of svc-ces share its keys with HTTP: they must be refused all the same.
SERVICES = {
    "corp": [
        ("svc-ces", ["HTTP/ces.corp.test", "HTTP/ces", "HTTP/ces2.corp.test", "HTTP/alias.corp.test", "HOST/ces.corp.test",
                     "RestrictedKrbHost/ces.corp.test"], 24),
        ("svc-rc4", ["HTTP/rc4.corp.test"], 4),
        ("svc-old", ["HTTP/old.corp.test"], 24),
    ],
    "partner": [("svc-ces", ["HTTP/ces.partner.test"], 24)],
    "other": [("svc-ces", ["HTTP/ces.other.test"], 24)],
}

# Keytabs: file -> principals. In `stale` the key of svc-old is one version behind.
KEYTABS = {
    "corp": {
        "http": ["HTTP/ces.corp.test"],
        "http-two": ["HTTP/ces.corp.test", "HTTP/ces2.corp.test"],
        "all": ["HTTP/ces.corp.test", "HTTP/alias.corp.test", "HOST/ces.corp.test", "RestrictedKrbHost/ces.corp.test"],
        "svc-ces": ["svc-ces"],
        "rc4": ["HTTP/rc4.corp.test"],
        "old": ["HTTP/old.corp.test"],
        "pc1": ["PC1$", "HOST/pc1.corp.test"],
        "pc2": ["PC2$"],
        "pc3": ["PC3$"],
        "ca1": ["CA1$", "HOST/ca1.corp.test", "RPCSS/ca1.corp.test"],
        "evil1": ["EVIL1$"],
        "evil2": ["EVIL2$"],
        "noname": ["NONAME$"],
    },
    "partner": {"http.partner": ["HTTP/ces.partner.test"], "svc-ces.partner": ["svc-ces"], "ppc1": ["PPC1$"]},
    "other": {"http.other": ["HTTP/ces.other.test"], "svc-ces.other": ["svc-ces"]},
}
