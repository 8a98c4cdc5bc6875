"""The other end of a Kerberos exchange: tokens as lines of base64, in and out.

initiate SERVICE [HASH]     python-gssapi with SPNEGO, to a Kerberos principal; HASH (hex) for tls-server-end-point
initiate-krb5 SERVICE [HASH]  the same without SPNEGO
forward SERVICE HASH        the same as `initiate`, sending its ticket-granting ticket along; the first token only
pyspnego HOST [HASH]        pyspnego's own SPNEGO around Kerberos, to HTTP on HOST
no-checksum HOST            an AP-REQ without authenticator checksum, made by libkrb5
flags SERVICE KEYTAB        python-gssapi accepts, then says with which flags (GSS_C_…_FLAG) as a decimal number
accept SERVICE KEYTAB       python-gssapi accepts, then answers each sealed message with the same in capitals
"""

import base64
import ctypes
import sys
import types

import gssapi

# pyspnego asks for this package, which has to be built, also where it does not use it: for tickets that are there.
sys.modules["krb5"] = types.ModuleType("krb5")
import spnego
import spnego.channel_bindings

PREFIX = b"tls-server-end-point:"
FLAGS = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.confidentiality


def say(octets):
    print(base64.b64encode(octets or b"").decode(), flush=True)


def hear():
    return base64.b64decode(sys.stdin.readline())


def initiate(service, hash=None, mechanism=gssapi.OID.from_int_seq("1.3.6.1.5.5.2")):
    bindings = hash and gssapi.raw.ChannelBindings(application_data=PREFIX + bytes.fromhex(hash))
    context = gssapi.SecurityContext(
        name=gssapi.Name(service, gssapi.NameType.kerberos_principal),
        mech=mechanism,
        flags=FLAGS,
        channel_bindings=bindings or None,
        usage="initiate",
    )
    say(context.step())
    context.step(hear())
    print("complete" if context.complete else "not complete", flush=True)


def forward(service, hash):
    context = gssapi.SecurityContext(
        name=gssapi.Name(service, gssapi.NameType.kerberos_principal),
        mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"),
        flags=FLAGS | gssapi.RequirementFlag.delegate_to_peer,
        channel_bindings=gssapi.raw.ChannelBindings(application_data=PREFIX + bytes.fromhex(hash)),
        usage="initiate",
    )
    say(context.step())


def pyspnego(host, hash=None):
    bindings = hash and spnego.channel_bindings.GssChannelBindings(
        application_data=PREFIX + bytes.fromhex(hash)
    )
    context = spnego.client(
        hostname=host,
        service="HTTP",
        protocol="negotiate",
        options=spnego.NegotiateOptions.use_negotiate,
        channel_bindings=bindings or None,
    )
    say(context.step())
    context.step(hear())
    print("complete" if context.complete else "not complete", flush=True)


def no_checksum(host):
    krb5 = ctypes.CDLL("libkrb5.so.3")

    class Data(ctypes.Structure):
        _fields_ = [("magic", ctypes.c_int), ("length", ctypes.c_uint), ("data", ctypes.c_void_p)]

    context, authentication, cache, out = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), Data()
    by = ctypes.byref
    assert krb5.krb5_init_context(by(context)) == 0
    assert krb5.krb5_cc_default(context, by(cache)) == 0
    code = krb5.krb5_mk_req(context, by(authentication), 0, b"HTTP", host.encode(), None, cache, by(out))
    assert code == 0, code
    say(ctypes.string_at(out.data, out.length))


def accept(service, keytab):
    name = gssapi.Name(service, gssapi.NameType.kerberos_principal)
    credentials = gssapi.Credentials(name=name, usage="accept", store={"keytab": keytab, "rcache": "none:"})
    context = gssapi.SecurityContext(creds=credentials, usage="accept")
    say(context.step(hear()))
    while line := sys.stdin.readline():
        message = context.unwrap(base64.b64decode(line))
        assert message.encrypted
        say(context.wrap(message.message.upper(), encrypt=True).message)


def flags(service, keytab):
    name = gssapi.Name(service, gssapi.NameType.kerberos_principal)
    credentials = gssapi.Credentials(name=name, usage="accept", store={"keytab": keytab, "rcache": "none:"})
    context = gssapi.SecurityContext(creds=credentials, usage="accept")
    say(context.step(hear()))
    say(str(int(context.actual_flags)).encode())


mode, *arguments = sys.argv[1:]
if mode == "initiate-krb5":
    initiate(*arguments, *([None] * (2 - len(arguments))), gssapi.MechType.kerberos)
else:
    {"initiate": initiate, "forward": forward, "pyspnego": pyspnego, "no-checksum": no_checksum, "accept": accept, "flags": flags}[mode](*arguments)
