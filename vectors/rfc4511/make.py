#!/usr/bin/python3
"""Answers of the bed's domain controller to LDAP and DNS, octet by octet: tests/beds/ad/up.sh DIR vectors/rfc4511/make.py VECTORS

Shares no code with anything: requests are written here, answers are kept as they come, one message a file.
"""
import pathlib
import socket
import sys

DC = "127.0.0.2"
out = pathlib.Path(sys.argv[1])


def element(tag, contents):
    n = len(contents)
    return bytes([tag, n] if n < 128 else [tag, 0x82, n >> 8, n & 255]) + contents


def message(number, operation):
    return element(0x30, element(2, bytes([number])) + operation)


def search(base, scope, *attributes):
    fixed = element(10, bytes([scope])) + element(10, b"\0") + element(2, b"\0") * 2 + element(1, b"\0")
    return element(0x63, element(4, base.encode()) + fixed + element(0x87, b"objectClass")
                   + element(0x30, b"".join(element(4, a.encode()) for a in attributes)))


def ask(request):
    """The messages that come within a second."""
    with socket.create_connection((DC, 389)) as connection:
        connection.sendall(request)
        connection.settimeout(1)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            pass
    while received:
        length, head = received[1], 2
        if length & 0x80:
            head += length & 0x7F
            length = int.from_bytes(received[2:head], "big")
        yield received[:head + length]
        received = received[head + length:]


def dns(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\x21\0\1"
    with socket.create_connection((DC, 53)) as connection:
        connection.sendall(len(question).to_bytes(2, "big") + question)
        answer = connection.makefile("rb")
        return answer.read(int.from_bytes(answer.read(2), "big"))


def write(folder, name, octets):
    (out / folder / name).write_bytes(octets)


root = ["defaultNamingContext", "configurationNamingContext", "rootDomainNamingContext", "dsServiceName", "dnsHostName", "highestCommittedUSN",
        "currentTime", "isGlobalCatalogReady"]
entry, done = ask(message(1, search("", 0, *root)))
write("rfc4511", "samba-root-entry.ber", entry)
write("rfc4511", "samba-search-done.ber", done)
simple = element(0x60, element(2, b"\3") + element(4, b"svc-ces@corp.test") + element(0x80, b"wrong"))
[refused] = ask(message(2, simple))
write("rfc4511", "samba-bind-refused.ber", refused)
[refused] = ask(message(3, search("DC=corp,DC=test", 2, "cn")))
write("rfc4511", "samba-search-refused.ber", refused)
[started] = ask(message(4, element(0x77, element(0x80, b"1.3.6.1.4.1.1466.20037"))))
write("rfc4511", "samba-start-tls.ber", started)
write("rfc2782", "samba-srv.dns", dns("_ldap._tcp.dc._msdcs.corp.test"))
write("rfc2782", "samba-no-name.dns", dns("_ldap._tcp.dc._msdcs.nowhere.corp.test"))
