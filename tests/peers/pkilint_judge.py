"""Runs pkilint's linters over many files in one process.

Reads lines from standard input and answers each with a JSON object:

    certificate FILE        lint_pkix_cert
    crl FILE                lint_crl, profile PKIX
    chain ISSUER SUBJECT    lint_pkix_signer_signee_cert_chain

The answer: {"linter": name, "findings": [{"code", "severity", "node", "message"}]}, from NOTICE up.
"""
import contextlib
import io
import json
import sys

from pkilint.bin import lint_crl, lint_pkix_cert, lint_pkix_signer_signee_cert_chain

LINTERS = {
    "certificate": ("lint_pkix_cert", lint_pkix_cert.main, []),
    "crl": ("lint_crl", lint_crl.main, ["-t", "CRL", "-p", "PKIX"]),
    "chain": ("lint_pkix_signer_signee_cert_chain", lint_pkix_signer_signee_cert_chain.main, []),
}

for line in sys.stdin:
    kind, *files = line.rstrip("\n").split("\t")
    name, main, options = LINTERS[kind]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(["lint", "-s", "NOTICE", "-f", "JSON", *options, *files])
    report = json.loads(printed.getvalue())
    findings = [
        {"code": finding["code"], "severity": finding["severity"], "node": result["node_path"],
         "message": finding.get("message") or ""}
        for result in report["results"] for finding in result["finding_descriptions"]
    ]
    print(json.dumps({"linter": name, "findings": findings}), flush=True)
