#!/usr/bin/env bash
# Two nodes on one store; the client spreads over them and survives the loss of one.
# Usage: examples/two-nodes/run.sh [FOLDER]   (default: a temporary one; ports 9443 to 9445, 9543 and 9545 of loopback)
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p muster
muster=$PWD/target/release/muster
folder=${1:-$(mktemp -d)}
cd "$folder"

"$muster" quickstart --dir . --listen 127.0.0.1:9443 --once >/dev/null 2>&1
# Each node names the other in its policy answer; both have the same CA, store and policy identifier.
for port in 9443 9543; do
    sed -e "s/9443/$port/g; s/9444/$((port + 1))/g; s/127.0.0.1:9445/127.0.0.1:$((port + 2))/" muster.toml >"node-$port.toml"
    cat >>"node-$port.toml" <<END

[[advertise]]
uri = "https://localhost:$((9443 + 9543 - port))/Muster%20CA_CES_UsernamePassword/service.svc/CES"
authentication = "username_password"
priority = 10
END
done

nodes=()
trap 'kill "${nodes[@]}" 2>/dev/null || true' EXIT
for port in 9443 9543; do
    "$muster" serve --config "node-$port.toml" 2>"node-$port.log" &
    nodes+=($!)
done
until grep -q 'serving revocation' node-9443.log && grep -q 'serving revocation' node-9543.log; do sleep 0.1; done

enroll() {
    "$muster" enroll --no-cache --ca-file ca/ca.pem --user first-user --password-file secrets/first-user.password \
        --policy-url https://localhost:9443/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP \
        --policy-url https://localhost:9543/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP \
        --template User --out "$1.pem" >/dev/null
}
issued() { grep -c 'operation="issue"' "node-$1.log" || true; }

for i in $(seq 10); do enroll "both-$i"; done
echo "both nodes up:   10 certificates, $(issued 9443) from the first node, $(issued 9543) from the second"
before=$(issued 9543)
kill -9 "${nodes[0]}"
for i in $(seq 5); do enroll "one-$i"; done
echo "first node gone:  5 certificates, $(($(issued 9543) - before)) from the second"
count=$("$muster" cert list --config muster.toml --account first-user --json | grep -c '"serial"')
echo "in the store:    $count certificates of first-user (one of them from quickstart), none twice"
