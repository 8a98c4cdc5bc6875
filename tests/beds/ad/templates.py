#!/usr/bin/python3
"""What AD CS keeps in the configuration partition: templates, their OIDs, enrollment services, CA certificates.

    ldif(base, domain, ca, sid_of)   all of it
    templates.py BASE DOMAIN COUNT   COUNT templates Bulk000, Bulk001 … that authenticated users may have, for measurements

MS-CRTD describes the attributes, MS-ADTS 6.1.1 the containers.
"""
import base64
import struct
import sys

from samba.dcerpc import security
from samba.ndr import ndr_pack

ENROLL = "0e10c968-78fb-11d2-90d4-00c04f79dc55"
AUTOENROLL = "a05b8cc2-17bc-4802-a710-e7c15ab866a2"
TEMPLATE_CLASS = "e5209ca2-3bba-11d2-90cc-00c04fd91ab1"
SERVICE_CLASS = "ee4aa692-3bba-11d2-90cc-00c04fd91ab1"
OIDS = "1.3.6.1.4.1.311.21.8.7654321.1234567.3456789.4567890.5678901.100"
CLIENT, SERVER, EMAIL = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.4"
EFS, AGENT, LOGON, KDC = "1.3.6.1.4.1.311.10.3.4", "1.3.6.1.4.1.311.20.2.1", "1.3.6.1.4.1.311.20.2.2", "1.3.6.1.5.2.3.5"
SCHANNEL = ["1,Microsoft RSA SChannel Cryptographic Provider"]
ENHANCED = ["1,Microsoft Enhanced Cryptographic Provider v1.0", "2,Microsoft Base Cryptographic Provider v1.0"]
READ = "LCRPLORC"


def allow(trustee, right=ENROLL, flags=""):
    return f"(OA;{flags};CR;{right};;{trustee})"


def deny(trustee, right=ENROLL):
    return f"(OD;;CR;{right};;{trustee})"


def descriptor(domain, *entries, read="AU", protected=True):
    """Owned by Enterprise Admins; they and Domain Admins control it, `read` reads it; `entries`, in SDDL, come first."""
    admins = "".join(f"(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;{who})" + allow(who) for who in ("DA", "EA"))
    reads = f"(A;;{READ};;;{read})" if read else ""
    sddl = f"O:EAG:EAD:{'P' if protected else ''}AI" + "".join(entries) + admins + reads
    return ndr_pack(security.descriptor.from_sddl(sddl, security.dom_sid(domain)))


def period(days):
    """pKIExpirationPeriod, pKIOverlapPeriod: negative units of 100 ns, little endian."""
    return struct.pack("<q", -days * 86400 * 10**7)


def signed(value):
    return value - (1 << 32) if value >> 31 else value


def template(name, display, *, schema=2, revision=100, minor=0, flags=0x20220, enrollment=0, names=0x82000000, key=0, spec=1, usage=b"\xa0\x00",
             purposes=(CLIENT,), providers=SCHANNEL, days=365, bits=2048, ra=0, access=(), read="AU", protected=True, change=None, **more):
    """(name, attributes, entries of the descriptor). `change` replaces attributes at the end, or takes them away with None."""
    attributes = {
        "displayName": display, "flags": signed(flags), "revision": revision, "pKIDefaultKeySpec": spec, "pKIKeyUsage": usage,
        "pKIMaxIssuingDepth": 0, "pKICriticalExtensions": ["2.5.29.15"], "pKIExpirationPeriod": period(days), "pKIOverlapPeriod": period(42),
        "pKIExtendedKeyUsage": list(purposes), "pKIDefaultCSPs": providers, "msPKI-RA-Signature": ra,
        "msPKI-Enrollment-Flag": signed(enrollment), "msPKI-Private-Key-Flag": signed(key), "msPKI-Certificate-Name-Flag": signed(names),
        "msPKI-Minimal-Key-Size": bits, "msPKI-Template-Schema-Version": schema, "msPKI-Template-Minor-Revision": minor}
    if schema > 1:
        attributes["msPKI-Certificate-Application-Policy"] = list(purposes)
    attributes.update({key.replace("_", "-"): value for key, value in more.items()})
    attributes.update(change or {})
    return name, {key: value for key, value in attributes.items() if value is not None}, dict(access=access, read=read, protected=protected)


def templates():
    ce, pki, con = "{CertEnrollers}", "{PkiUsers}", "{Contractors}"
    user = dict(enrollment=0x29, names=0xA6000000, key=0x10, purposes=(CLIENT, EMAIL), providers=ENHANCED, flags=0x2023A)
    plain = dict(names=0x82000000)
    return [
        # As AD CS installs them.
        template("User", "User", schema=1, revision=3, minor=1, flags=0x1023A, enrollment=0x29, names=0xA6000000, key=0x10,
                 purposes=(EFS, EMAIL, CLIENT), providers=ENHANCED, access=[allow("DU")]),
        template("Machine", "Computer", schema=1, revision=5, minor=1, flags=0x10260, enrollment=0x20, names=0x18000000,
                 purposes=(CLIENT, SERVER), access=[allow("DC")]),
        template("WebServer", "Web Server", schema=1, revision=4, minor=1, flags=0x10241, names=0x1, purposes=(SERVER,), days=730),
        template("DomainController", "Domain Controller", schema=1, revision=4, minor=1, flags=0x1026C, enrollment=0x28, names=0x19000000,
                 purposes=(CLIENT, SERVER), access=[allow("DD"), allow("ED")]),
        template("EnrollmentAgent", "Enrollment Agent", schema=1, revision=5, minor=1, flags=0x10220, enrollment=0x20, spec=2, usage=b"\x80\x00",
                 purposes=(AGENT,), providers=ENHANCED, days=730),
        # As administrators copy them.
        template("Workstation", "Workstation Authentication", revision=101, flags=0x20260, enrollment=0x20, names=0x08000000,
                 access=[allow("DC"), allow("DC", AUTOENROLL)], msPKI_Supersede_Templates=["Machine"]),
        template("SmartcardOBO", "Smartcard (on behalf of)", minor=3, enrollment=0x20, spec=2, purposes=(CLIENT, LOGON), ra=1,
                 providers=["1,Microsoft Base Smart Card Crypto Provider"], access=[allow("DU")], msPKI_RA_Application_Policies=[AGENT]),
        template("UserPending", "User (manager approval)", minor=5, **{**user, "enrollment": 0x2 | 0x9}, access=[allow("AU")]),
        template("CorpServerV4", "Corp Server v4", schema=4, minor=7, flags=0x20241, enrollment=0x8020, names=0x9, key=0x06050010, bits=256,
                 usage=b"\x80\x00", purposes=(SERVER,), providers=["1,Microsoft Software Key Storage Provider"],
                 access=[allow("DC"), allow("DC", AUTOENROLL)], msPKI_RA_Application_Policies=[
                     "msPKI-Asymmetric-Algorithm`PZPWSTR`ECDSA_P256`msPKI-Hash-Algorithm`PZPWSTR`SHA256`msPKI-Key-Usage`DWORD`16777215`"]),
        # Whom permissions reach, and how.
        template("EnrollersUser", "User of CertEnrollers", **user, access=[allow(ce), allow(ce, AUTOENROLL)]),
        template("NestedUser", "User of PkiUsers", **user, access=[allow(pki)]),
        template("DenyContractors", "Everybody but contractors", **plain, access=[deny(con), allow("AU"), allow("AU", AUTOENROLL)]),
        template("AllowFirst", "Allowed before it is denied", **plain, access=[allow("AU"), deny(con)]),
        template("DenyPlain", "Denied by an entry without object", **plain, access=[f"(D;;CR;;;{con})", allow("AU")]),
        template("AnyRight", "Every extended right", **plain, access=[f"(A;;CR;;;{ce})"]),
        template("FullControl", "Full control", **plain, access=[f"(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;{ce})"]),
        template("OtherRight", "Another extended right", **plain, access=[allow("AU", "00299570-246d-11d0-a768-00aa006e0529")]),
        template("InheritOnly", "Allowed for children alone", **plain, access=[allow("AU", flags="CIIO")]),
        template("Inherited", "Allowed from the container", **plain, protected=False),
        template("Unreadable", "May be had, not read", **plain, access=[allow("AU")], read=None),
        template("PartnerUser", "Users from the other forest", **plain, access=[allow("{PartnerEnrollers}")]),
        template("MachineOfGroup", "Computers of a group", flags=0x20260, names=0x18000000, access=[allow("{CertComputers}")]),
        # What should not be served as it is.
        template("Risky", "Names from the request", names=0x1, access=[allow("AU")]),
        template("Unrecorded", "Not recorded", flags=0x21220, access=[allow("AU")]),
        template("NoSid", "Without the SID", enrollment=0x80000, access=[allow("AU")]),
        template("DamagedPeriod", "Period of three octets", access=[allow("AU")], change={"pKIExpirationPeriod": b"\x01\x02\x03"}),
        template("DamagedPositive", "Positive period", access=[allow("AU")], change={"pKIExpirationPeriod": struct.pack("<q", 1)}),
        template("DamagedTriplets", "Broken triplets", schema=4, access=[allow("AU")],
                 msPKI_RA_Application_Policies=["msPKI-Asymmetric-Algorithm`PZPWSTR"]),
        template("DamagedOid", "OID that is none", access=[allow("AU")], change={"pKIExtendedKeyUsage": ["1.3.six"]}),
        template("DamagedBare", "Nothing but a name", access=[allow("AU")], change={key: None for key in (
            "flags", "revision", "pKIKeyUsage", "pKIExpirationPeriod", "pKIOverlapPeriod", "pKIExtendedKeyUsage", "msPKI-Enrollment-Flag",
            "msPKI-Private-Key-Flag", "msPKI-Certificate-Name-Flag", "msPKI-Minimal-Key-Size", "msPKI-Template-Schema-Version",
            "msPKI-Template-Minor-Revision", "msPKI-Cert-Template-OID", "msPKI-Certificate-Application-Policy")}),
        # Which no enrollment service lists, or only one without a URI.
        template("Unpublished", "In no list", access=[allow("AU")]),
        template("NoUri", "Of a CA without URIs", access=[allow("AU")]),
    ]


def entry(dn, attributes):
    lines = [f"dn: {dn}"]
    for name, values in attributes.items():
        for value in values if isinstance(values, list) else [values]:
            plain = isinstance(value, int) or (isinstance(value, str) and value.isascii() and "\n" not in value)
            octets = value if isinstance(value, bytes) else str(value).encode()
            lines.append(f"{name}: {value}" if plain else f"{name}:: {base64.b64encode(octets).decode()}")
    return "\n".join(lines) + "\n\n"


def one_template(services, domain, number, name, attributes, access, sid_of):
    oid = f"{OIDS}.1.{number}"
    entries = [text.format_map(sid_of) for text in access["access"]]
    with_oid = {"objectClass": ["top", "pKICertificateTemplate"], "msPKI-Cert-Template-OID": oid, **attributes,
                "nTSecurityDescriptor": descriptor(domain, *entries, read=access["read"], protected=access["protected"])}
    if name == "DamagedBare":
        del with_oid["msPKI-Cert-Template-OID"]
    return entry(f"CN={name},CN=Certificate Templates,{services}", with_oid) + entry(
        f"CN={number}.{0xABCDEF00 + number:032X},CN=OID,{services}",
        {"objectClass": ["top", "msPKI-Enterprise-Oid"], "displayName": attributes["displayName"], "flags": 1, "msPKI-Cert-Template-OID": oid})


def ldif(base, domain, ca, sid_of):
    """`domain`: its SID. `ca`: the certificate of the CAs, DER. `sid_of`: SIDs by the name of a group."""
    services = f"CN=Public Key Services,CN=Services,CN=Configuration,{base}"
    dns = ".".join(part[3:] for part in base.split(",")).lower()
    text = ""
    published = []
    for number, (name, attributes, access) in enumerate(templates(), 1):
        if any("{" in one and one[one.index("{") + 1:one.index("}")] not in sid_of for one in access["access"]):
            continue    # of another forest's groups
        text += one_template(services, domain, number, name, attributes, access, sid_of)
        published += [name] if name not in ("Unpublished", "NoUri") else []
    text += entry(f"CN=400.{0xFEED:032X},CN=OID,{services}", {
        "objectClass": ["top", "msPKI-Enterprise-Oid"], "displayName": "High Assurance", "flags": 2,
        "msPKI-Cert-Template-OID": f"{OIDS}.1.402", "msPKI-OID-CPS": f"https://ces.{dns}/cps"})
    uris = [f"{priority}\n{method}\n0\nhttps://ces.{dns}/CORP-CA_CES_{name}/service.svc/CES\n0"
            for priority, method, name in ((1, 2, "Kerberos"), (2, 4, "UsernamePassword"), (3, 8, "Certificate"))]
    for name, lists, uris in (("CORP-CA", published, uris), ("SECOND-CA", ["NoUri"], [])):
        attributes = {
            "objectClass": ["top", "pKIEnrollmentService"], "displayName": name, "flags": 10, "dNSHostName": f"ca1.{dns}",
            "cACertificate": ca, "cACertificateDN": f"CN={name}", "certificateTemplates": lists, "msPKI-Enrollment-Servers": uris,
            "nTSecurityDescriptor": descriptor(domain, allow("AU"))}
        text += entry(f"CN={name},CN=Enrollment Services,{services}", attributes)
    empty = {"authorityRevocationList": b"\0", "certificateRevocationList": b"\0"}
    for dn in ("CN=CORP-CA,CN=AIA", "CN=CORP-CA,CN=Certification Authorities", "CN=NTAuthCertificates"):
        text += entry(f"{dn},{services}", {"objectClass": ["top", "certificationAuthority"], "cACertificate": ca, **empty})
    return text


def inherited(sid_of):
    """What the container of the templates hands down: enrollment for CertEnrollers, but on enrollment services alone for Contractors."""
    return (f"(OA;CIIO;CR;{ENROLL};{TEMPLATE_CLASS};{sid_of['CertEnrollers']})"
            f"(OA;CIIO;CR;{ENROLL};{SERVICE_CLASS};{sid_of['Contractors']})")


if __name__ == "__main__":
    services = f"CN=Public Key Services,CN=Services,CN=Configuration,{sys.argv[1]}"
    for number in range(int(sys.argv[3])):
        name, attributes, access = template(f"Bulk{number:03}", f"Bulk {number:03}", access=[allow("AU")])
        print(one_template(services, sys.argv[2], 1000 + number, name, attributes, access, {}), end="")
