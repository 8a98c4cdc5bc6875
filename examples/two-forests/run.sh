#!/usr/bin/env bash
# Two forests that trust each other: the services are in one, users of the other enroll with the tickets that they have.
# Usage: examples/two-forests/run.sh [FOLDER]
. "$(dirname "$0")/../directory.sh"

service ces.corp.test
cat >>muster.toml <<END

[directory."partner.test"]
servers = ["pdc1.partner.test"]
account = "svc-ces@CORP.TEST"
keytab = "secrets/svc-ces.keytab"
templates = false
trusted_by = "corp.test"
END
publish PartnerUser EnrollersUser
serve

for user in alice petra@PARTNER.TEST paul@PARTNER.TEST; do
    ticket "$user"
    echo "$user may have: $(templates)"
done
ticket petra@PARTNER.TEST
echo "petra, whom a group of CORP.TEST has as a member, enrolls; her names come from PARTNER.TEST:"
enroll petra PartnerUser
ticket paul@PARTNER.TEST
echo "paul, who is in no such group, asks:"
enroll paul PartnerUser
ticket oscar@OTHER.TEST
echo "oscar of a forest that nobody trusts gets no ticket:"
kvno HTTP/ces.corp.test@OTHER.TEST 2>&1 | sed 's/^/    /' || true
