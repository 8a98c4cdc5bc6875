"""Gets a ticket for HTTP/pki.corp.test, accepts it with the keytab, and writes the verified PAC to standard output."""

import sys

import gssapi

target = gssapi.Name("HTTP/pki.corp.test@CORP.TEST", gssapi.NameType.kerberos_principal)
client = gssapi.SecurityContext(name=target, usage="initiate")
server = gssapi.SecurityContext(creds=gssapi.Credentials(usage="accept"), usage="accept")
server.step(client.step())
pac = gssapi.raw.get_name_attribute(server.initiator_name, b"urn:mspac:")
assert pac.authenticated
sys.stdout.buffer.write(pac.values[0])
