#!/usr/bin/env python3
"""Makes the files named handmade-*.der in this folder, so that no message of anyone else is needed.

They have the shape of what a Windows client and a Windows CA write, with invented names. RSA keys come from the
openssl command and are thrown away; DER is put together here, independent of the crates that read it. Needs
Python 3.9 or later and OpenSSL 3. Every run makes new keys, so all files change together.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
REQUEST_ID = b"4711"
AIA = "http://pki.example.test/issuing-ca.crt"
CDP = "http://pki.example.test/issuing-ca.crl"


# DER


def tlv(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def seq(*parts):
    return tlv(0x30, *parts)


def set_of(*parts, tag=0x31):
    return tlv(tag, *sorted(parts))


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted):
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in [first * 40 + second, *rest]:
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.insert(0, 0x80 | arc & 0x7F)
        content += bytes(group)
    return tlv(0x06, bytes(content))


def octets(value):
    return tlv(0x04, value)


def bits(value, unused=0):
    return tlv(0x03, bytes([unused]), value)


def utf8(text):
    return tlv(0x0C, text.encode())


def ia5(text):
    return tlv(0x16, text.encode("ascii"))


def bmp(text):
    return tlv(0x1E, text.encode("utf-16-be"))


NULL = tlv(0x05)


# Keys and algorithms


MICROSOFT = "1.3.6.1.4.1.311."
DIGESTS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}
WITH_RSA = {"sha1": "1.2.840.113549.1.1.5", "sha256": "1.2.840.113549.1.1.11"}
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"


def algorithm(dotted):
    return seq(oid(dotted), NULL)


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


class Key:
    """A private key in a file of the work folder."""

    def __init__(self, folder, name):
        self.path = str(Path(folder, name + ".pem"))
        openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path)
        self.spki = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        # The BIT STRING's content begins 24 octets into the SubjectPublicKeyInfo of an RSA key of this size.
        self.identifier = hashlib.sha1(self.spki[24:]).digest()

    def sign(self, digest, content):
        return openssl("dgst", "-" + digest, "-sign", self.path, stdin=content)

    def signed(self, digest, content):
        """What X.509 and PKCS#10 have in common: content, algorithm, signature."""
        return seq(content, algorithm(WITH_RSA[digest]), bits(self.sign(digest, content)))


# Names and extensions


def name(*pairs):
    return seq(*(set_of(seq(oid(kind), value)) for kind, value in pairs))


def ca_name(common_name):
    return name(("2.5.4.10", utf8("Example")), ("2.5.4.3", utf8(common_name)))


ROOT = ca_name("Example Root CA")
ISSUING = ca_name("Example Issuing CA")
EXCHANGE = ca_name("Example Issuing CA-Xchg")
DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25"
USER = name(
    (DOMAIN_COMPONENT, ia5("test")),
    (DOMAIN_COMPONENT, ia5("example")),
    ("2.5.4.3", utf8("People")),
    ("2.5.4.3", utf8("Alice")),
    ("1.2.840.113549.1.9.1", ia5("alice@example.test")),
)
CLIENT_AUTH, EMAIL, FILE_SYSTEM = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.4", MICROSOFT + "10.3.4"
CA_EXCHANGE = MICROSOFT + "21.5"


def extension(dotted, value, critical=False):
    return seq(oid(dotted), tlv(0x01, b"\xff") if critical else b"", octets(value))


def template_name(text):
    return extension(MICROSOFT + "20.2", bmp(text))


def key_usages(*dotted):
    return extension("2.5.29.37", seq(*map(oid, dotted)))


def key_usage(octet, unused):
    return extension("2.5.29.15", bits(bytes([octet]), unused), critical=True)


def key_identifier(key):
    return extension("2.5.29.14", octets(key.identifier))


def authority_key_identifier(key):
    return extension("2.5.29.35", seq(tlv(0x80, key.identifier)))


def uri(text):
    return tlv(0x86, text.encode("ascii"))


def crl_distribution_point():
    return extension("2.5.29.31", seq(seq(tlv(0xA0, tlv(0xA0, uri(CDP))))))


def authority_information():
    return extension("1.3.6.1.5.5.7.1.1", seq(seq(oid("1.3.6.1.5.5.7.48.2"), uri(AIA))))


def ca_extensions(key, template):
    """Those of the root and of the issuing CA; 21.1 counts the renewals of a CA."""
    return [
        template_name(template),
        extension("2.5.29.19", seq(tlv(0x01, b"\xff")), critical=True),
        key_usage(0x86, 1),
        key_identifier(key),
        extension(MICROSOFT + "21.1", integer(0)),
    ]


SMIME_CAPABILITIES = extension(
    "1.2.840.113549.1.9.15",
    seq(
        seq(oid("2.16.840.1.101.3.4.1.42")),
        seq(oid("1.2.840.113549.3.7")),
        seq(oid("1.2.840.113549.3.2"), integer(128)),
    ),
)
USER_NAMES = extension(
    "2.5.29.17",
    seq(
        tlv(0xA0, oid(MICROSOFT + "20.2.3"), tlv(0xA0, utf8("alice@example.test"))),
        tlv(0x81, b"alice@example.test"),
    ),
)


def certificate(digest, signer, issuer, serial, subject, key, extensions, until=b"360101000000Z"):
    return signer.signed(
        digest,
        seq(
            tlv(0xA0, integer(2)),
            integer(serial),
            algorithm(WITH_RSA[digest]),
            issuer,
            seq(tlv(0x17, b"260101000000Z"), tlv(0x17, until)),
            subject,
            key.spki,
            tlv(0xA3, seq(*extensions)),
        ),
    )


# Requests


def attribute(dotted, value):
    return seq(oid(dotted), set_of(value))


def client_attributes():
    """What a Windows client says about itself."""
    return [
        attribute(MICROSOFT + "13.2.3", ia5("10.0.26100.2")),
        attribute(
            MICROSOFT + "21.20",
            seq(integer(5), utf8("pc1.example.test"), utf8("EXAMPLE\\alice"), utf8("enroll.exe")),
        ),
        attribute(
            MICROSOFT + "13.2.2",
            seq(integer(1), bmp("Example Cryptographic Provider"), bits(b"")),
        ),
    ]


def pkcs10(key, subject, extensions, attributes):
    asked_for = attribute("1.2.840.113549.1.9.14", seq(*extensions))
    info = seq(
        integer(0),
        subject,
        key.spki,
        set_of(asked_for, *client_attributes(), *attributes, tag=0xA0),
    )
    return key.signed("sha1", info)


def user_extensions(key, *more):
    return [
        template_name("User"),
        key_usages(FILE_SYSTEM, EMAIL, CLIENT_AUTH),
        key_usage(0xA0, 5),
        SMIME_CAPABILITIES,
        *more,
        key_identifier(key),
    ]


# CMS


def signed_data(version, digest, content_type, content, certificates, signer_info):
    return seq(
        oid("1.2.840.113549.1.7.2"),
        tlv(
            0xA0,
            seq(
                integer(version),
                set_of(algorithm(DIGESTS[digest])),
                seq(oid(content_type), tlv(0xA0, octets(content))),
                set_of(*certificates, tag=0xA0),
                set_of(signer_info),
            ),
        ),
    )


def signer_info(digest, key, issuer, serial, content, content_type=None):
    """With a content type it has signed attributes, otherwise the signature covers the content."""
    signed = b""
    if content_type:
        attributes = [
            attribute("1.2.840.113549.1.9.3", oid(content_type)),
            attribute("1.2.840.113549.1.9.4", octets(hashlib.new(digest, content).digest())),
        ]
        signed, content = set_of(*attributes, tag=0xA0), set_of(*attributes)
    return seq(
        integer(1),
        seq(issuer, integer(serial)),
        algorithm(DIGESTS[digest]),
        signed,
        algorithm(RSA_ENCRYPTION),
        octets(key.sign(digest, content)),
    )


def renewal(old_key, old_serial, old, request):
    content_type = "1.2.840.113549.1.7.1"
    info = signer_info("sha1", old_key, ISSUING, old_serial, request)
    return signed_data(1, "sha1", content_type, request, [old], info)


def response(digest, ca_key, ca_serial, status, text, other_info, added, certificates):
    """CMC full response. Its signer is named by the issuer and the serial number of the CA certificate."""
    content_type = "1.3.6.1.5.5.7.12.3"
    body_list = seq(integer(1))
    status_info = seq(integer(status), body_list, utf8(text), other_info)
    add_attributes = seq(integer(0), body_list, set_of(*added))
    controls = seq(
        seq(integer(1), oid("1.3.6.1.5.5.7.7.1"), set_of(status_info)),
        seq(integer(2), oid(MICROSOFT + "10.10.1"), set_of(add_attributes)),
    )
    body = seq(controls, seq(), seq())
    info = signer_info(digest, ca_key, ROOT, ca_serial, body, content_type)
    return signed_data(3, digest, content_type, body, certificates, info)


def issued(digest, ca_key, ca_serial, chain, leaf):
    hash_of_leaf = attribute(MICROSOFT + "21.17", octets(hashlib.sha1(leaf).digest()))
    return response(digest, ca_key, ca_serial, 0, "Issued", b"", [hash_of_leaf], [*chain, leaf])


def pending(digest, ca_key, ca_serial, chain):
    pend_info = seq(octets(REQUEST_ID), tlv(0x18, b"20260301120000Z"))
    return response(digest, ca_key, ca_serial, 3, "Taken Under Submission", pend_info, [], chain)


class Pki:
    """Root, issuing CA and two certificates of one user, everything signed with one digest."""

    def __init__(self, folder, digest):
        self.digest = digest
        self.keys = {who: Key(folder, f"{digest}-{who}") for who in ["root", "ca", "user", "renewed", "exchange"]}
        root, ca = self.keys["root"], self.keys["ca"]
        self.root = certificate(digest, root, ROOT, 0x5A01, ROOT, root, ca_extensions(root, "CA"))
        self.ca_serial = 0x6100_0000_0002
        links = [authority_key_identifier(root), crl_distribution_point(), authority_information()]
        self.ca = certificate(
            digest, root, ROOT, self.ca_serial, ISSUING, ca, ca_extensions(ca, "SubCA") + links
        )

    def leaf(self, serial, key, subject, extensions, **more):
        ca = self.keys["ca"]
        links = [authority_key_identifier(ca), crl_distribution_point(), authority_information()]
        return certificate(self.digest, ca, ISSUING, serial, subject, key, extensions + links, **more)

    def user(self, serial, key):
        return self.leaf(serial, key, USER, user_extensions(key, USER_NAMES))

    def exchange(self):
        key = self.keys["exchange"]
        template = seq(oid(MICROSOFT + "21.8.1.2.3.4"), integer(106), integer(0))
        extensions = [
            key_identifier(key),
            template_name("CAExchange"),
            extension(MICROSOFT + "21.7", template),
            key_usages(CA_EXCHANGE),
            key_usage(0x20, 5),
            extension(MICROSOFT + "21.10", seq(seq(oid(CA_EXCHANGE)))),
        ]
        return self.leaf(0x1800_0000_0040, key, EXCHANGE, extensions, until=b"260108000000Z")

    def issued(self, leaf):
        return issued(self.digest, self.keys["ca"], self.ca_serial, [self.root, self.ca], leaf)

    def pending(self):
        return pending(self.digest, self.keys["ca"], self.ca_serial, [self.root, self.ca])


def main():
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        pki = Pki(folder, "sha1")
        user, renewed = pki.keys["user"], pki.keys["renewed"]
        files["user-pkcs10"] = pkcs10(user, name(), user_extensions(user), [])
        old_serial = 0x1800_0000_003D
        old = pki.user(old_serial, user)
        files["issued-sha1-certificate"] = old
        files["issued-sha1-response"] = pki.issued(old)
        files["pending-sha1-response"] = pki.pending()
        files["exchange-certificate"] = pki.exchange()
        request = pkcs10(renewed, USER, user_extensions(renewed, USER_NAMES), [attribute(MICROSOFT + "13.1", old)])
        files["renewal"] = renewal(user, old_serial, old, request)

        pki = Pki(folder, "sha256")
        files["issuing-ca-sha256-certificate"] = pki.ca
        leaf = pki.user(0x1800_0000_003F, pki.keys["user"])
        files["issued-sha256-certificate"] = leaf
        files["issued-sha256-response"] = pki.issued(leaf)
        files["pending-sha256-response"] = pki.pending()
        # As if the last 48 octets had been lost on the way.
        files["truncated-response"] = files["issued-sha256-response"][:-48]
    for case, content in files.items():
        Path(HERE, f"handmade-{case}.der").write_bytes(content)


if __name__ == "__main__":
    main()
