"""A client of both services that knows them from WSDL and schema alone (zeep), and takes nothing that breaks them.

    zeep_client.py [--negotiate] CEP-URL CES-URL CA.pem [CERTIFICATE.pem KEY.pem]

reads a JSON object from each line of standard input and answers each with one on standard output:

    {"do": "policies", "user": …, "password": …, "filter": null | {"oids": [...], "client": 6, "server": 0}, "since": null | ISO}
    {"do": "issue", "user": …, "password": …, "request": base64, "context": {name: value}}
    {"do": "query", "user": …, "password": …, "id": text}
    {"do": "key-exchange", "user": …, "password": …}

Without "user" there is no UsernameToken. With --negotiate there is the Kerberos ticket of KRB5CCNAME, with the channel
binding, by requests-gssapi; its refusals are {"status": number, "text": …}. An answer that breaks the schema, or a header that is missing, is {"broken": why}.
"""
import base64
import datetime
import json
import pathlib
import sys

import requests
import zeep
from lxml import etree
from zeep.transports import Transport
from zeep.wsa import WsAddressingPlugin
from zeep.wsse.username import UsernameToken

HERE = pathlib.Path(__file__).parent / "wsdl"
SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
WSA = "{http://www.w3.org/2005/08/addressing}"
WSTEP = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
X509V3 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
XCEP = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
WST = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
RESPONSE_ACTIONS = {
    "policies": XCEP + "/IPolicy/GetPoliciesResponse",
    "issue": WSTEP + "/RSTRC/wstep",
    "query": WSTEP + "/RSTRC/wstep",
    "key-exchange": WST + "/RSTR/KETFinal",
}


class Broken(Exception):
    pass


class Last(zeep.Plugin):
    """Keeps the envelopes of the last exchange."""

    def egress(self, envelope, headers, operation, options):
        self.sent = envelope
        return envelope, headers

    def ingress(self, envelope, headers, operation):
        self.received = envelope
        return envelope, headers


def schema(name):
    return etree.XMLSchema(etree.parse(str(HERE / name)))


class Services:
    def __init__(self, cep, ces, ca, certificate=None, key=None, negotiate=False):
        session = requests.Session()
        session.verify = ca
        session.trust_env = False
        if certificate:
            session.cert = (certificate, key)
        if negotiate:
            from requests_gssapi import HTTPSPNEGOAuth, OPTIONAL
            session.auth = HTTPSPNEGOAuth(channel_bindings="tls-server-end-point", mutual_authentication=OPTIONAL)
        self.urls = {"xcep.wsdl": cep, "wstep.wsdl": ces}
        self.schemas = {"xcep.wsdl": schema("xcep.xsd"), "wstep.wsdl": schema("wst.xsd")}
        self.detail = schema("wstep.xsd")
        self.last = Last()
        self.clients = {}
        self.session = session

    def operation(self, wsdl, name, credentials):
        if (wsdl, credentials) not in self.clients:
            token = UsernameToken(*credentials) if credentials else None
            # Where the WSDL names wsaw:Action, zeep adds the headers by itself.
            addressing = [] if wsdl == "xcep.wsdl" else [WsAddressingPlugin(address_url=self.urls[wsdl])]
            self.clients[wsdl, credentials] = zeep.Client(
                str(HERE / wsdl), transport=Transport(session=self.session), wsse=token,
                plugins=[*addressing, self.last],
                settings=zeep.Settings(strict=True, xml_huge_tree=False))
        client = self.clients[wsdl, credentials]
        binding = next(iter(client.wsdl.bindings))
        return getattr(client.create_service(binding, self.urls[wsdl]), name)

    def header(self, name):
        found = self.last.received.findall(f"{SOAP}Header/{WSA}{name}")
        if len(found) != 1:
            raise Broken(f"{len(found)} headers {name}")
        return found[0]

    def check(self, what, wsdl):
        """Headers and body of an answer that is no fault."""
        action = self.header("Action")
        if action.text != RESPONSE_ACTIONS[what] or action.get(SOAP + "mustUnderstand") != "1":
            raise Broken(etree.tostring(action).decode())
        sent = self.last.sent.find(f"{SOAP}Header/{WSA}MessageID").text
        if self.header("RelatesTo").text != sent:
            raise Broken("RelatesTo is not the MessageID")
        body = self.last.received.find(SOAP + "Body")
        if len(body) != 1:
            raise Broken(f"{len(body)} elements in the body")
        # Serialised and parsed again, as line numbers and namespaces then are those of the body alone.
        alone = etree.fromstring(etree.tostring(body[0]))
        if not self.schemas[wsdl].validate(alone):
            raise Broken(str(self.schemas[wsdl].error_log))

    def fault(self, fault):
        answer = {"fault": fault.code.split(":")[-1], "reason": fault.message,
                  "subcodes": [sub.localname for sub in fault.subcodes or []],
                  "action": self.header("Action").text}
        node = self.last.received.find(f"{SOAP}Body/{SOAP}Fault/{SOAP}Reason/{SOAP}Text")
        if node is None or node.get("{http://www.w3.org/XML/1998/namespace}lang") is None:
            raise Broken("a fault's Text needs xml:lang")
        detail = self.last.received.find(f".//{{{WSTEP}}}CertificateEnrollmentWSDetail")
        if detail is not None:
            alone = etree.fromstring(etree.tostring(detail))
            if not self.detail.validate(alone):
                raise Broken(str(self.detail.error_log))
            for child in alone:
                nil = child.get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true"
                answer[etree.QName(child).localname] = None if nil else child.text
            if answer.get("BinaryResponse"):
                base64.b64decode(answer["BinaryResponse"], validate=True)
        return answer

    def policies(self, call, credentials):
        request_filter = zeep.xsd.Nil
        if call.get("filter"):
            given = call["filter"]
            oids = {"oid": given["oids"]} if given.get("oids") else zeep.xsd.Nil
            request_filter = {"policyOIDs": oids, "clientVersion": given.get("client"),
                              "serverVersion": given.get("server")}
        since = zeep.xsd.Nil
        if call.get("since"):
            since = datetime.datetime.fromisoformat(call["since"])
        get = self.operation("xcep.wsdl", "GetPolicies", credentials)
        answer = get(client={"lastUpdate": since, "preferredLanguage": "en-US"}, requestFilter=request_filter)
        self.check("policies", "xcep.wsdl")
        response = answer.response
        oids = {oid.oIDReferenceID: oid for oid in (answer.oIDs.oID if answer.oIDs else [])}
        cas = {ca.cAReferenceID: ca for ca in (answer.cAs.cA if answer.cAs else [])}
        if answer.oIDs and len(oids) != len(answer.oIDs.oID):
            raise Broken("an oIDReferenceID is there twice")
        templates = []
        for policy in response.policies.policy if response.policies else []:
            attributes, references = policy.attributes, [policy.policyOIDReference]
            extensions = attributes.extensions.extension if attributes.extensions else []
            references += [extension.oIDReference for extension in extensions]
            references += [r for r in (attributes.hashAlgorithmOIDReference,
                                       attributes.privateKeyAttributes.algorithmOIDReference) if r is not None]
            for reference in references:
                if reference not in oids:
                    raise Broken(f"{attributes.commonName}: no OID {reference}")
                if not oids[reference].defaultName:
                    raise Broken(f"{attributes.commonName}: OID {reference} has no name")
            for reference in policy.cAs.cAReference if policy.cAs else []:
                if reference not in cas:
                    raise Broken(f"{attributes.commonName}: no CA {reference}")
            templates.append({
                "name": attributes.commonName, "oid": oids[policy.policyOIDReference].value,
                "group": oids[policy.policyOIDReference].group,
                "schema": attributes.policySchema,
                "revision": [attributes.revision.majorRevision, attributes.revision.minorRevision],
                "enroll": attributes.permission.enroll, "autoEnroll": attributes.permission.autoEnroll,
                "seconds": attributes.certificateValidity.validityPeriodSeconds,
                "renewal": attributes.certificateValidity.renewalPeriodSeconds,
                "bits": attributes.privateKeyAttributes.minimalKeyLength,
                "providers": attributes.privateKeyAttributes.cryptoProviders.provider,
                "enrollmentFlags": attributes.enrollmentFlags, "generalFlags": attributes.generalFlags,
                "subjectNameFlags": attributes.subjectNameFlags, "privateKeyFlags": attributes.privateKeyFlags,
                "extensions": {oids[e.oIDReference].value: [e.critical, base64.b64encode(e.value).decode()]
                               for e in extensions},
                "cas": policy.cAs.cAReference if policy.cAs else [],
            })
        return {
            "id": response.policyID, "name": response.policyFriendlyName, "hours": response.nextUpdateHours,
            "unchanged": response.policiesNotChanged, "templates": templates,
            "cas": [{"certificate": base64.b64encode(ca.certificate).decode(), "enroll": ca.enrollPermission,
                     "uris": [[u.clientAuthentication, u.uri, u.priority, u.renewalOnly] for u in ca.uris.cAURI]}
                    for ca in cas.values()],
        }

    def enrollment(self, call, credentials):
        what = call["do"]
        fields = {"TokenType": X509V3}
        name = "RequestSecurityToken2"
        if what == "issue":
            fields["RequestType"] = WST + "/Issue"
            fields["BinarySecurityToken"] = {"_value_1": base64.b64decode(call["request"]), "ValueType": WSTEP + "#PKCS10",
                                             "EncodingType": WSSE + "#base64binary"}
            if call.get("context"):
                items = [{"Name": n, "Value": v} for n, v in call["context"].items()]
                fields["AdditionalContext"] = {"ContextItem": items}
            fields["RequestID"] = zeep.xsd.Nil
        elif what == "query":
            fields["RequestType"] = WSTEP + "/QueryTokenStatus"
            fields["RequestID"] = call["id"]
        else:
            name = "RequestKeyExchangeToken"
            fields["RequestType"] = WST + "/KET"
            fields["RequestKET"] = {}
            fields["RequestID"] = zeep.xsd.Nil
        response = self.operation("wstep.wsdl", name, credentials)(**fields)
        self.check(what, "wstep.wsdl")
        token, requested = response.BinarySecurityToken, response.RequestedSecurityToken
        exchange = requested.KeyExchangeToken
        whole = (response.DispositionMessage, token, response.RequestID)
        if what == "key-exchange":
            if exchange is None or any(part is not None for part in whole):
                raise Broken("not the answer of MS-WSTEP 4.1.2.2")
            if exchange.BinarySecurityToken.ValueType != X509V3:
                raise Broken(exchange.BinarySecurityToken.ValueType)
            return {"certificate": base64.b64encode(exchange.BinarySecurityToken._value_1).decode()}
        if exchange is not None or any(part is None for part in whole):
            raise Broken("not the answer of MS-WSTEP 4.1.1.2")
        if token.ValueType != WSSE + "#PKCS7":
            raise Broken(token.ValueType)
        issued = requested.BinarySecurityToken
        if issued is not None and issued.ValueType != X509V3:
            raise Broken(issued.ValueType)
        reference = requested.SecurityTokenReference
        return {
            "disposition": response.DispositionMessage._value_1, "language": response.DispositionMessage.lang,
            "id": response.RequestID, "response": base64.b64encode(token._value_1).decode(),
            "certificate": base64.b64encode(issued._value_1).decode() if issued is not None else None,
            "reference": reference.Reference.URI if reference is not None else None,
        }

    def answer(self, call):
        credentials = (call["user"], call["password"]) if call.get("user") else None
        try:
            if call["do"] == "forward":
                # From now on its own ticket goes along.
                self.session.auth.delegate = True
                return {}
            if call["do"] == "policies":
                return self.policies(call, credentials)
            return self.enrollment(call, credentials)
        except zeep.exceptions.Fault as fault:
            return self.fault(fault)
        except zeep.exceptions.TransportError as error:
            if self.session.auth is None:
                raise
            return {"status": error.status_code, "text": error.content.decode()}


def main():
    arguments = sys.argv[1:]
    negotiate = arguments[:1] == ["--negotiate"]
    services = Services(*arguments[negotiate:], negotiate=negotiate)
    for line in sys.stdin:
        try:
            answer = services.answer(json.loads(line))
        except Broken as broken:
            answer = {"broken": str(broken)}
        except (zeep.exceptions.Error, etree.LxmlError, AttributeError, TypeError, ValueError) as error:
            answer = {"broken": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
