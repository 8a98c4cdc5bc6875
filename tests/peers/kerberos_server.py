"""An HTTPS server of python-gssapi that takes one ticket for each message and judges its channel binding.

kerberos_server.py PORT CERTIFICATE KEY DER KEYTAB ANSWER: serves the file ANSWER as SOAP to whoever has a good ticket.
The first word of the path chooses how it behaves: /good_, /silent_ (no proof of its own), /foreign_ (the proof of
another exchange), /garbage_. What it saw goes to standard output, one JSON object for each message."""
import base64
import hashlib
import http.server
import json
import ssl
import sys

import gssapi
import gssapi.raw

PORT, CERTIFICATE, KEY, DER, KEYTAB, ANSWER = sys.argv[1:]
CHANNEL_BOUND = 0x800
BINDING = b"tls-server-end-point:" + hashlib.sha256(open(DER, "rb").read()).digest()
NAME = gssapi.Name("HTTP@localhost", gssapi.NameType.hostbased_service)
CREDENTIALS = gssapi.Credentials(usage="accept", store={"keytab": KEYTAB})
PROOFS = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, headers, body, kind):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        saw = {"path": self.path, "connection": self.client_address[1]}
        try:
            scheme, token = self.headers.get("Authorization", " ").split(" ", 1)
            saw["scheme"], saw["token"] = scheme, hashlib.sha256(token.encode()).hexdigest()
            bindings = gssapi.raw.ChannelBindings(application_data=BINDING)
            context = gssapi.SecurityContext(creds=CREDENTIALS, usage="accept", channel_bindings=bindings)
            proof = context.step(base64.b64decode(token))
            saw["initiator"], saw["complete"] = str(context.initiator_name), context.complete
            saw["bound"] = bool(int(context.actual_flags) & CHANNEL_BOUND)
            saw["mutual"] = gssapi.RequirementFlag.mutual_authentication in context.actual_flags
        except Exception as error:
            saw["error"] = str(error)
        print(json.dumps(saw), flush=True)
        if "error" in saw:
            self.say(401, [("WWW-Authenticate", "Negotiate")], b"no good ticket\nno more", "text/plain")
            return
        PROOFS.append(base64.b64encode(proof).decode())
        how = self.path.split("/")[1].split("_")[0]
        shown = {"silent": None, "garbage": "AAAA", "foreign": PROOFS[0]}.get(how, PROOFS[-1])
        headers = [("WWW-Authenticate", "Negotiate " + shown)] if shown else []
        self.say(200, headers, open(ANSWER, "rb").read(), "application/soap+xml; charset=utf-8")


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
