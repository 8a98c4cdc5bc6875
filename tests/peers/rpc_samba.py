"""Asks an authority with Samba's client of RPC, which finds the port by the endpoint mapper: rpc_samba.py HOST

As nobody in particular: with authentication, the bindings of Samba 4.17 crash for an interface that they do not know. Prints what the
server says.
"""
import sys

from samba import credentials, param
from samba.dcerpc import base

lp = param.LoadParm()
lp.load_default()
creds = credentials.Credentials()
creds.guess(lp)
creds.set_anonymous()
try:
    connection = base.ClientConnection(f"ncacn_ip_tcp:{sys.argv[1]}", ("91ae6020-9e3c-11cf-8d7c-00aa00c091be", 0), lp, creds)
    print("connected")
    print(connection.request(0, bytes(64)).hex())
except Exception as error:  # whatever Samba makes of a refusal
    print(f"error: {error}")
