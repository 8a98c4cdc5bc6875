#!/usr/bin/python3
"""Makes the files named samba-* here, with the Samba of Debian (packages samba, samba-ad-provision, python3-samba).

  vectors/ms-crtd/make.py [FOLDER]     (as any user inside `unshare -Ur`, or as root; about ten seconds, no server runs)

A domain is provisioned into a temporary folder; templates, a CA, identifiers, groups and accounts are added, and read
back as LDIF. Who may enroll is judged by the function that Samba's LDAP server uses for extended rights,
sec_access_check_ds, for the tokens that Samba computes (tokenGroups) and for descriptors drawn with a fixed seed.
"""
import base64, ctypes, glob, json, logging, os, random, struct, sys, tempfile

import ldb
import samba.provision as provision
from samba.auth import system_session
from samba.dcerpc import misc, security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

HERE = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
DOMAIN_SID = "S-1-5-21-1111111111-2222222222-3333333333"
BASE = "DC=corp,DC=test"
SERVICES = f"CN=Public Key Services,CN=Services,CN=Configuration,{BASE}"
ARC = "1.3.6.1.4.1.311.21.8.1111111.2222222.3333333.4444444.5555555.100"
ENROLL = "0e10c968-78fb-11d2-90d4-00c04f79dc55"
AUTO_ENROLL = "a05b8cc2-17bc-4802-a710-e7c15ab866a2"
CHANGE_PASSWORD = "ab721a53-1e2f-11d0-9819-00aa0040529b"
COMPUTER_CLASS = "bf967a86-0de6-11d0-a285-00aa003049e2"

# ---------------------------------------------------------------- Samba's own judge


def library(pattern):
    return ctypes.PyDLL(glob.glob("/usr/lib/*-linux-gnu/" + pattern)[0])


judge = library("samba/libsamba-security-samba4.so*")
pointer = library("libpytalloc-util.cpython-*.so*")._pytalloc_get_ptr
pointer.argtypes, pointer.restype = [ctypes.py_object], ctypes.c_void_p
judge.insert_in_object_tree.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
judge.insert_in_object_tree.restype = ctypes.c_bool
judge.sec_access_check_ds.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32), ctypes.c_void_p, ctypes.c_void_p]
judge.sec_access_check_ds.restype = ctypes.c_uint32


def may(descriptor, sids, right):
    """Whether a token of these SIDs has the extended right."""
    token, guid = security.token(), misc.GUID(right)
    token.sids = [security.dom_sid(sid) for sid in sids]
    token.num_sids = len(sids)
    tree, granted = ctypes.c_void_p(), ctypes.c_uint32()
    assert judge.insert_in_object_tree(None, pointer(guid), 0x100, None, ctypes.byref(tree))
    status = judge.sec_access_check_ds(
        pointer(descriptor), pointer(token), 0x100, ctypes.byref(granted), tree, None)
    return status == 0


# ---------------------------------------------------------------- templates


def period(hours):
    return struct.pack("<q", -hours * 3600 * 10**7)


def signed(number):
    return str(number - (1 << 32) if number >> 31 else number)


def sddl(enroll=(), auto=(), more=""):
    """As the console writes it: administrators may everything, authenticated users may read."""
    text = "O:EAG:EAD:PAI" + more
    for admins in ("DA", "EA"):
        text += f"(OA;;CR;{ENROLL};;{admins})(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;{admins})"
    text += "".join(f"(OA;;CR;{ENROLL};;{who})" for who in enroll)
    text += "".join(f"(OA;;CR;{AUTO_ENROLL};;{who})" for who in auto)
    return text + "(A;;LCRPLORC;;;AU)"


CLIENT, SERVER, MAIL, CODE = (f"1.3.6.1.5.5.7.3.{n}" for n in (2, 1, 4, 3))
EFS, AGENT, LOGON = "1.3.6.1.4.1.311.10.3.4", "1.3.6.1.4.1.311.20.2.1", "1.3.6.1.4.1.311.20.2.2"
KDC, ANY = "1.3.6.1.5.2.3.5", "2.5.29.37.0"
SCHANNEL = ["1,Microsoft RSA SChannel Cryptographic Provider"]
ENHANCED = ["2,Microsoft Base Cryptographic Provider v1.0", "1,Microsoft Enhanced Cryptographic Provider v1.0"]
STORAGE = ["1,Microsoft Software Key Storage Provider"]
P256 = "msPKI-Asymmetric-Algorithm`PZPWSTR`ECDSA_P256`msPKI-Hash-Algorithm`PZPWSTR`SHA256`msPKI-Key-Usage`DWORD`16777215`"
RSA4 = ("msPKI-Asymmetric-Algorithm`PZPWSTR`RSA`msPKI-Hash-Algorithm`PZPWSTR`SHA256`"
        "msPKI-Key-Security-Descriptor`PZPWSTR`D:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;GR;;;S-1-5-80-3847866527-469524349-687026318-516638107-1125189541)`"
        "msPKI-Key-Usage`DWORD`2`msPKI-RA-Application-Policies`PZPWSTR`1.3.6.1.4.1.311.20.2.1`")

TEMPLATES = []


def template(cn, **given):
    t = dict(display=cn, schema=2, revision=100, minor=0, flags=0x20220, enrollment=0, names=0, key=0, spec=1,
             usage=b"\xa0\x00", eku=[CLIENT], csp=SCHANNEL, hours=365 * 24, overlap=42 * 24, bits=2048,
             access=sddl(), policies=None, ra=0, extra={})
    t.update(given)
    TEMPLATES.append((cn, t))


# Schema 1, values as a new forest has them.
template("User", schema=1, revision=3, minor=1, flags=0x1023A, enrollment=0x29, names=0xA6000000, key=0x10,
         eku=[EFS, MAIL, CLIENT], csp=ENHANCED, access=sddl(["DU"]))
template("Machine", display="Computer", schema=1, revision=5, minor=1, flags=0x10260, names=0x18000000,
         eku=[CLIENT, SERVER], access=sddl(["DC"]))
template("WebServer", display="Web Server", schema=1, revision=4, minor=1, flags=0x10241, names=1, eku=[SERVER],
         hours=730 * 24)
template("DomainController", display="Domain Controller", schema=1, revision=4, minor=1, flags=0x1026C,
         enrollment=0x28, names=0x19000000, eku=[CLIENT, SERVER], access=sddl(["DD", "ED"]))
template("EnrollmentAgent", display="Enrollment Agent", schema=1, revision=5, minor=1, flags=0x10220,
         enrollment=0x20, names=0x82000000, spec=2, usage=b"\x80\x00", eku=[AGENT], csp=ENHANCED, hours=730 * 24)
template("SubCA", display="Subordinate Certification Authority", schema=1, revision=5, minor=1, flags=0x102D1,
         names=1, key=0x10, spec=2, usage=b"\x86\x00", eku=[], hours=5 * 365 * 24, csp=ENHANCED)
# Schema 2 to 4, as administrators make them.
template("Workstation", display="Workstation Authentication", revision=101, flags=0x20260, enrollment=0x20,
         names=0x08000000, access=sddl(["DC"], ["DC"]), extra={"msPKI-Supersede-Templates": ["Machine"]})
template("KerberosAuthentication", display="Kerberos Authentication", revision=110, flags=0x2026C, enrollment=0x20,
         names=0x08400000, eku=[CLIENT, SERVER, LOGON, KDC], access=sddl(["DD", "ED"], ["DD", "ED"]))
template("UserPending", display="User (manager approval)", minor=5, flags=0x2023A, enrollment=0xB, names=0xA6000000,
         key=0x10, eku=[CLIENT, MAIL], csp=ENHANCED, access=sddl(["AU"]))
template("SmartcardAgent", display="Smartcard (on behalf of)", minor=3, enrollment=0x20, names=0x82000000, spec=2,
         eku=[CLIENT, LOGON], csp=["1,Microsoft Base Smart Card Crypto Provider"], ra=1, access=sddl(["DU"]),
         extra={"msPKI-RA-Application-Policies": [AGENT]})
template("CorpServer", display="Corp Server", schema=4, minor=7, flags=0x20240, enrollment=0x20 | 0x8000,
         names=0x18000000, key=0x06050010, usage=b"\x80\x00", eku=[SERVER, CLIENT], csp=STORAGE, bits=256,
         access=sddl(["DC"], ["DC"]), extra={"msPKI-RA-Application-Policies": [P256]})
template("OfflineServer", display="Server (names from the request)", schema=4, flags=0x20241, enrollment=0x2,
         names=0x9, key=0x05050110, eku=[SERVER], access=sddl(["AU"]))
template("Ephemeral", display="Logon for a shift", schema=3, key=0x10, names=0x02000000 | 0x80000000, hours=10,
         overlap=2, csp=STORAGE, bits=3072, usage=b"\x80", access=sddl(["DU"]),
         extra={"msPKI-RA-Application-Policies": [RSA4]})
template("Mail.Signing (2)", display="Mail signing", enrollment=0x41, names=0x64000000, usage=b"\xc0", eku=[MAIL],
         access=sddl(["DU"]))
template("GuidMachine", display="Machine by GUID", flags=0x20260, names=0x11000000, access=sddl(["DC"]))
# Access lists with all kinds of entries.
template("DeniedGroup", names=0x42000000, access=sddl(["DU"], ["DU"], f"(OD;;CR;{ENROLL};;@Contractors@)"))
template("DeniedLate", names=0x42000000, access=sddl(["DU"]) + f"(OD;;CR;{ENROLL};;@Contractors@)")
template("AllRights", names=0x42000000, access=sddl(more="(A;;CR;;;@Enrollers@)(OA;;CR;;;@Contractors@)"))
template("FullControl", names=0x42000000, access=sddl(more="(A;;GA;;;@Enrollers@)"))
template("Inherited", names=0x42000000,
         access=sddl(more=f"(OA;CIIO;CR;{ENROLL};;DU)(OA;ID;CR;{ENROLL};;@Enrollers@)(OA;CI;CR;{ENROLL};{COMPUTER_CLASS};@Contractors@)"))
template("Nested", names=0x42000000, access=sddl(["@Outer@"], ["@Outer@"]))
template("OtherRight", names=0x42000000, access=sddl(more=f"(OA;;CR;{CHANGE_PASSWORD};;DU)(A;;RPWP;;;@Enrollers@)"))
# What is attacked, and what is refused.
template("Esc1", enrollment=0, names=1, access=sddl(["DU"]))
template("Esc2", names=0x42000000, eku=[], access=sddl(["DU"]))
template("Esc2Any", names=0x42000000, eku=[ANY], access=sddl(["DU"]))
template("Esc4", names=0x42000000, access=sddl(["DU"], more="(A;;WD;;;AU)"))
template("Esc9", enrollment=0x80000, names=0x42000000, access=sddl(["DU"]))
template("Esc13", names=0x42000000, policies=[f"{ARC}.1.402"], access=sddl(["DU"]))
template("NotRecorded", flags=0x21220, names=0x42000000, access=sddl(["DU"]))
template("CrossCertificate", flags=0x20A20, names=0x42000000, access=sddl(["DU"]))
template("Archived", names=0x42000000, key=0x11, access=sddl(["DU"]))
template("Attested", schema=4, names=0x42000000, key=0x06052510, csp=STORAGE, access=sddl(["DU"]))
template("HugeKey", names=0x42000000, bits=16384, access=sddl(["DU"]))
template("WeakKey", names=0x42000000, bits=1024, access=sddl(["DU"]))
template("Dsa", schema=3, names=0x42000000, csp=STORAGE, access=sddl(["DU"]),
         extra={"msPKI-RA-Application-Policies": ["msPKI-Asymmetric-Algorithm`PZPWSTR`DSA`"]})
template("TwoPurposes", names=0x42000000, eku=[CLIENT, MAIL], policies=[], access=sddl(["DU"]),
         extra={"msPKI-Certificate-Application-Policy": [CLIENT, CODE]})
# Damaged.
template("DamagedPeriod", names=0x42000000, extra={"pKIExpirationPeriod": [b"\x00" * 7]})
template("DamagedIdentifier", names=0x42000000, extra={"msPKI-Cert-Template-OID": ["1.3.6.1.4.1.x"]})
template("DamagedProperties", schema=3, names=0x42000000,
         extra={"msPKI-RA-Application-Policies": ["msPKI-Hash-Algorithm`PZPWSTR"]})
template("DamagedSchema", schema=9, names=0x42000000)
template("DamagedUsage", names=0x42000000, usage=b"\xa0\x00\x00")


def attributes(number, cn, t):
    values = {
        "objectClass": ["top", "pKICertificateTemplate"],
        "displayName": [t["display"]], "flags": [signed(t["flags"])], "revision": [str(t["revision"])],
        "pKIDefaultKeySpec": [str(t["spec"])], "pKIKeyUsage": [t["usage"]], "pKIMaxIssuingDepth": ["0"],
        "pKICriticalExtensions": ["2.5.29.15"], "pKIExpirationPeriod": [period(t["hours"])],
        "pKIOverlapPeriod": [period(t["overlap"])], "pKIExtendedKeyUsage": t["eku"], "pKIDefaultCSPs": t["csp"],
        "msPKI-RA-Signature": [str(t["ra"])], "msPKI-Enrollment-Flag": [signed(t["enrollment"])],
        "msPKI-Private-Key-Flag": [signed(t["key"])], "msPKI-Certificate-Name-Flag": [signed(t["names"])],
        "msPKI-Minimal-Key-Size": [str(t["bits"])], "msPKI-Template-Schema-Version": [str(t["schema"])],
        "msPKI-Template-Minor-Revision": [str(t["minor"])], "msPKI-Cert-Template-OID": [f"{ARC}.1.{number}"],
    }
    if t["schema"] > 1:
        values["msPKI-Certificate-Application-Policy"] = t["eku"]
    if t["policies"]:
        values["msPKI-Certificate-Policy"] = t["policies"]
    values.update(t["extra"])
    return {name: list_ for name, list_ in values.items() if list_}


def octets(value):
    return value if isinstance(value, bytes) else str(value).encode()


def add(samdb, dn, values, descriptor=None):
    message = ldb.Message(ldb.Dn(samdb, dn))
    for name, list_ in values.items():
        message[name] = ldb.MessageElement([octets(v) for v in list_], ldb.FLAG_MOD_ADD, name)
    if descriptor is not None:
        message["nTSecurityDescriptor"] = ldb.MessageElement([ndr_pack(descriptor)], ldb.FLAG_MOD_ADD, "nTSecurityDescriptor")
    samdb.add(message)


# ---------------------------------------------------------------- the domain


def domain(folder):
    provision.setsysvolacl = lambda *_, **__: None
    logger = logging.getLogger("provision")
    logger.setLevel(logging.ERROR)
    lp = LoadParm()
    provision.provision(
        logger, system_session(), smbconf=None, targetdir=folder, realm="CORP.TEST", domain="CORP", hostname="dc1",
        hostip="127.0.0.2", domainsid=security.dom_sid(DOMAIN_SID), adminpass="Passw0rd!test", serverrole="active directory domain controller",
        dns_backend="SAMBA_INTERNAL", use_rfc2307=False, dom_for_fun_level=4)
    lp.load(os.path.join(folder, "etc", "smb.conf"))
    return SamDB(url=os.path.join(folder, "private", "sam.ldb"), session_info=system_session(), lp=lp)


def fill(samdb):
    for user in ("alice", "bob", "carol"):
        samdb.newuser(user, "Passw0rd!" + user, mailaddress=f"{user}@corp.test")
    for group in ("Enrollers", "Contractors", "Outer", "Inner"):
        samdb.newgroup(group)
    # A group that is linked to a policy is universal and empty.
    samdb.newgroup("HighAssurance", grouptype=security.GTYPE_SECURITY_UNIVERSAL_GROUP if hasattr(security, "GTYPE_SECURITY_UNIVERSAL_GROUP") else -2147483640)
    samdb.add_remove_group_members("Enrollers", ["alice"], add_members_operation=True)
    samdb.add_remove_group_members("Contractors", ["bob"], add_members_operation=True)
    samdb.add_remove_group_members("Inner", ["carol"], add_members_operation=True)
    samdb.add_remove_group_members("Outer", ["Inner"], add_members_operation=True)
    for host in ("pc1", "evil"):
        samdb.newcomputer(host.upper())
        modify(samdb, f"CN={host.upper()},CN=Computers,{BASE}", "dNSHostName", [f"{host}.corp.test"])
    modify(samdb, f"CN=PC1,CN=Computers,{BASE}", "servicePrincipalName", ["HOST/pc1.corp.test", "HOST/PC1"])
    # CVE-2022-26923: no service principal names, and the host name of the domain controller.
    modify(samdb, f"CN=EVIL,CN=Computers,{BASE}", "dNSHostName", ["dc1.corp.test"])
    sid = lambda name: str(ndr_unpack(security.dom_sid, samdb.search(
        BASE, expression=f"(sAMAccountName={name})", attrs=["objectSid"])[0]["objectSid"][0]))
    names = {f"@{group}@": sid(group) for group in ("Enrollers", "Contractors", "Outer", "HighAssurance")}
    for number, (cn, t) in enumerate(TEMPLATES, 1):
        text = t["access"]
        for name, value in names.items():
            text = text.replace(name, value)
        descriptor = security.descriptor.from_sddl(text, security.dom_sid(DOMAIN_SID))
        add(samdb, f"CN={cn},CN=Certificate Templates,{SERVICES}", attributes(number, cn, t), descriptor)
        if number <= 3:
            add(samdb, f"CN={number}.{number:032X},CN=OID,{SERVICES}", {
                "objectClass": ["top", "msPKI-Enterprise-Oid"], "displayName": [t["display"]], "flags": ["1"],
                "msPKI-Cert-Template-OID": [f"{ARC}.1.{number}"]})
    add(samdb, f"CN=402.{402:032X},CN=OID,{SERVICES}", {
        "objectClass": ["top", "msPKI-Enterprise-Oid"], "displayName": ["High Assurance"], "flags": ["2"],
        "msPKI-Cert-Template-OID": [f"{ARC}.1.402"], "msDS-OIDToGroupLink": [f"CN=HighAssurance,CN=Users,{BASE}"]})
    enroll_all = security.descriptor.from_sddl(sddl(["AU"], more=f"(OD;;CR;{ENROLL};;{names['@Contractors@']})"), security.dom_sid(DOMAIN_SID))
    servers = [f"{priority}\n{authentication}\n{renewal}\nhttps://ces.corp.test/CORP-CA_CES_{name}/service.svc/CES\n{key}"
               for priority, authentication, renewal, name, key in (
                   (2, 4, 0, "UsernamePassword", 0), (1, 2, 0, "Kerberos", 0), (1, 8, 1, "Certificate", 1))]
    add(samdb, f"CN=CORP-CA,CN=Enrollment Services,{SERVICES}", {
        "objectClass": ["top", "pKIEnrollmentService"], "displayName": ["CORP-CA"], "flags": ["10"],
        "dNSHostName": ["ca1.corp.test"], "cACertificate": [b"\x30\x03\x02\x01\x07"],
        "cACertificateDN": ["CN=CORP-CA, DC=corp, DC=test"],
        "certificateTemplates": [cn for cn, _ in TEMPLATES if not cn.startswith("Damaged")] + ["DamagedPeriod"],
        "msPKI-Enrollment-Servers": servers + ["https://no.priority.test/"]}, enroll_all)


def modify(samdb, dn, attribute, values):
    message = ldb.Message(ldb.Dn(samdb, dn))
    message[attribute] = ldb.MessageElement([octets(v) for v in values], ldb.FLAG_MOD_REPLACE, attribute)
    samdb.modify(message)


# ---------------------------------------------------------------- what is written down

WANTED = ["cn", "displayName", "flags", "revision", "nTSecurityDescriptor", "dNSHostName", "cACertificate",
          "certificateTemplates", "objectClass", "pKI*", "msPKI-*", "msDS-OIDToGroupLink"]
ACCOUNT = ["cn", "objectClass", "objectSid", "objectGUID", "sAMAccountName", "userPrincipalName", "mail",
           "dNSHostName", "servicePrincipalName", "userAccountControl", "primaryGroupID", "distinguishedName"]
CONTROLS = ["sd_flags:1:7"]


def ldif(name, messages, wanted):
    def keep(attribute):
        return any(attribute.lower() == w.lower() or (w.endswith("*") and attribute.lower().startswith(w[:-1].lower()))
                   for w in wanted)
    with open(os.path.join(HERE, name), "w") as out:
        for message in messages:
            out.write(f"dn: {message.dn}\n")
            for attribute in sorted((k for k in message.keys() if keep(k)), key=str.lower):
                for value in message[attribute]:
                    value = bytes(value)
                    if value[:1] in (b" ", b":", b"<") or any(b < 0x20 or b > 0x7e for b in value):
                        text = f"{attribute}:: {base64.b64encode(value).decode()}"
                    else:
                        text = f"{attribute}: {value.decode()}"
                    lines = [text[:76]] + [" " + text[at:at + 75] for at in range(76, len(text), 75)]
                    out.write("\n".join(lines) + "\n")
            out.write("\n")


def search(samdb, base, expression, attrs):
    found = samdb.search(base, scope=ldb.SCOPE_SUBTREE, expression=expression, attrs=attrs, controls=CONTROLS)
    return sorted(found, key=lambda message: str(message.dn).lower())


def account_token(samdb, dn):
    """What Samba's tokenGroups says, the account itself, and what every account is."""
    entry = samdb.search(dn, scope=ldb.SCOPE_BASE, attrs=["tokenGroups", "objectSid"])[0]
    own = str(ndr_unpack(security.dom_sid, entry["objectSid"][0]))
    groups = [str(ndr_unpack(security.dom_sid, bytes(value))) for value in entry["tokenGroups"]]
    return own, sorted(groups)


def judge_accounts(samdb, templates, authorities, accounts):
    judged = []
    for account in accounts:
        own, groups = account_token(samdb, account.dn)
        token = sorted({own, *groups, "S-1-1-0", "S-1-5-11", "S-1-5-15"})
        rights = {}
        for entry in templates + authorities:
            descriptor = ndr_unpack(security.descriptor, bytes(entry["nTSecurityDescriptor"][0]))
            rights[str(entry["cn"][0])] = [may(descriptor, token, ENROLL), may(descriptor, token, AUTO_ENROLL)]
        judged.append({"account": str(account["sAMAccountName"][0]), "sid": own, "groups": groups, "rights": rights})
    return judged


def drawn_descriptors():
    draw = random.Random(20261123)
    who = [f"{DOMAIN_SID}-{rid}" for rid in (512, 513, 515, 1104, 1105, 1106)] + ["S-1-1-0", "S-1-5-11", "S-1-5-32-545", "S-1-5-10"]
    tokens = [
        [who[1], who[3], "S-1-1-0", "S-1-5-11", "S-1-5-15", "S-1-5-32-545"],
        [who[1], who[4], who[5], "S-1-1-0", "S-1-5-11", "S-1-5-15"],
        [who[2], who[5], "S-1-1-0", "S-1-5-11", "S-1-5-15"],
        [who[0], who[1], f"{DOMAIN_SID}-500", "S-1-1-0", "S-1-5-11"],
    ]
    judged = []
    for _ in range(240):
        entries = ""
        for _ in range(draw.choice([0, 1, 2, 3, 5, 8])):
            object_type = draw.choice([ENROLL, ENROLL, AUTO_ENROLL, AUTO_ENROLL, CHANGE_PASSWORD, ""])
            inherited = draw.choice(["", "", "", COMPUTER_CLASS])
            deny = draw.random() < 0.35
            flags = draw.choice(["", "", "", "", "ID", "CI", "CIID", "IO", "CIIO", "OICIIOID"])
            rights = draw.choice(["CR", "CR", "CR", "CRRP", "RP", "WPRP", "CCDCLCSWRPWPDTLOCRSDRCWDWO"] + ([] if deny else ["GA"]))
            plain = not object_type and not inherited and draw.random() < 0.8
            kind = ("D" if deny else "A") if plain else ("OD" if deny else "OA")
            entries += f"({kind};{flags};{rights};{object_type};{inherited};{draw.choice(who)})"
        text = f"O:{draw.choice(who[:6])}G:{who[0]}D:{draw.choice(['', 'P', 'PAI', 'AI'])}{entries}"
        descriptor = security.descriptor.from_sddl(text, security.dom_sid(DOMAIN_SID))
        judged.append({
            "sddl": text, "octets": base64.b64encode(ndr_pack(descriptor)).decode(),
            "enroll": [may(descriptor, token, ENROLL) for token in tokens],
            "auto_enroll": [may(descriptor, token, AUTO_ENROLL) for token in tokens]})
    return {"tokens": tokens, "descriptors": judged}


def write_json(name, data, rows):
    """One row of a list on each line, so that differences can be read."""
    with open(os.path.join(HERE, name), "w") as out:
        if isinstance(data, list):
            out.write("[\n" + ",\n".join(json.dumps(row) for row in data) + "\n]\n")
        else:
            head = {key: value for key, value in data.items() if key != rows}
            out.write(json.dumps(head)[:-1] + f', "{rows}": [\n' + ",\n".join(json.dumps(row) for row in data[rows]) + "\n]}\n")


def main():
    with tempfile.TemporaryDirectory() as folder:
        samdb = domain(folder)
        fill(samdb)
        templates = search(samdb, f"CN=Certificate Templates,{SERVICES}", "(objectClass=pKICertificateTemplate)", ["*", "nTSecurityDescriptor"])
        authorities = search(samdb, f"CN=Enrollment Services,{SERVICES}", "(objectClass=pKIEnrollmentService)", ["*", "nTSecurityDescriptor"])
        oids = search(samdb, f"CN=OID,{SERVICES}", "(objectClass=msPKI-Enterprise-Oid)", ["*"])
        accounts = search(samdb, BASE, "(|(sAMAccountName=alice)(sAMAccountName=bob)(sAMAccountName=carol)(sAMAccountName=Administrator)(objectClass=computer))", ["*"])
        ldif("samba-templates.ldif", templates, WANTED)
        ldif("samba-authorities.ldif", authorities, WANTED)
        ldif("samba-oids.ldif", oids, WANTED)
        ldif("samba-accounts.ldif", accounts, ACCOUNT)
        write_json("samba-access.json", judge_accounts(samdb, templates, authorities, accounts), None)
        write_json("samba-descriptors.json", drawn_descriptors(), "descriptors")


main()
