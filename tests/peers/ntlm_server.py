"""A web server that believes everybody who signs in with NTLM, for the attacks that ours has to withstand (impacket).

    ntlm_server.py

prints the port on which it listens, over HTTP.
"""
import base64
import http.server

from impacket.ntlm import NTLMAuthChallenge, getNTLMSSPType1


def challenge():
    made = NTLMAuthChallenge()
    made["flags"] = getNTLMSSPType1("", "")["flags"]
    made["domain_name"], made["domain_len"], made["domain_max_len"], made["domain_offset"] = b"", 0, 0, 48
    made["challenge"] = b"12345678"
    made["TargetInfoFields"], made["TargetInfoFields_len"], made["TargetInfoFields_max_len"] = b"\0\0\0\0", 4, 4
    made["TargetInfoFields_offset"] = 48
    made["Version"], made["VersionLen"] = b"", 0
    return base64.b64encode(made.getData()).decode()


class Believer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        message = base64.b64decode(token)[8:9] if kind == "NTLM" else b""
        offers = {b"": "NTLM", b"\1": f"NTLM {challenge()}"}.get(message)
        self.send_response(401 if offers else 200)
        if offers:
            self.send_header("WWW-Authenticate", offers)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Believer)
print(server.server_port, flush=True)
server.serve_forever()
