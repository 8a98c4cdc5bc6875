#!/usr/bin/env bash
# A machine without a domain enrolls once with a password, forgets it, and renews twice with its certificate alone; then
# it is lost. Usage: examples/key-based-renewal/run.sh [FOLDER]
# (default: a temporary one; the ports 9643 to 9645 of loopback, or PORT and the two after it; MUSTER names the executable)
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${MUSTER:-}" ]; then
    cargo build --quiet --release -p muster
    MUSTER=$PWD/target/release/muster
fi
port=${PORT:-9643}
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
say() { printf '\n# %s\n' "$*"; }
run() { printf '$ muster %s\n' "$*"; "$MUSTER" "$@" 2>&1; }

say 'The service: a template and two addresses for key-based renewal'
"$MUSTER" quickstart --dir . --listen "127.0.0.1:$port" --once >/dev/null 2>&1
cat >>muster.toml <<END

[[policy_endpoint]]
authentication = "client_certificate"
listener = "certificate"
key_based_renewal = true

[[enrollment_endpoint]]
authentication = "client_certificate"
listener = "certificate"
path = "/renewal"
renewal_only = true
key_based_renewal = true
END
cat >device.toml <<'END'
name = "Device"
display_name = "Machine without a domain"
kind = "computer"
eku = ["1.3.6.1.5.5.7.3.2"]

[subject]
source = "request"
allow_dns = ["own"]

[key]
algorithms = ["p256"]
usage = ["digital_signature"]

[validity]
days = 90
renew_before_days = 30

[issuance]
approval = true
renewal_without_approval = true

[renewal]
key_based = true
window_percent = 100    # at any time, so that this can be shown; leave it out

[permissions]
enroll = ["group:newcomers"]
END
run template put device.toml
head -c 18 /dev/urandom | base64 >password
chmod 600 password
run account add kiosk7 --kind computer --group newcomers --dns kiosk7.example.com --password-file password
"$MUSTER" serve 2>server.log &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until grep -q 'serving revocation' server.log; do sleep 0.1; done
policy=https://localhost:$port/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
renewal=https://localhost:$((port + 1))/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP
common=(--no-cache --ca-file ca/ca.pem --ca-only)

say 'The machine: once with its password; an officer looks at it'
run enroll "${common[@]}" --policy-url "$policy" --user kiosk7 --password-file password \
    --template Device --dns kiosk7.example.com --out kiosk7.pem || [ $? -eq 4 ]
id=$("$MUSTER" request list --json | sed -n 's/.*"id": \([0-9]*\).*/\1/p' | head -1)
run request approve "$id"
run enroll "${common[@]}" --resume --state kiosk7.pem.pending.json --user kiosk7 --password-file password

say 'From now on there is no password, and no permission to enroll'
rm password
(umask 077 && head -c 64 /dev/urandom | base64 -w 0 >forgotten)
run account password kiosk7 --password-file forgotten
rm forgotten
run account set kiosk7 --group machines

say 'It renews with its certificate alone, twice in a row'
for _ in 1 2; do
    run renew "${common[@]}" --policy-url "$renewal" --cert kiosk7.pem
done
run cert line "$id"

say 'The machine is lost'
run cert revoke --line "$id" --reason keyCompromise
run cert line "$id"
run renew "${common[@]}" --policy-url "$renewal" --cert kiosk7.pem && exit 1
echo "refused, as it must be"
