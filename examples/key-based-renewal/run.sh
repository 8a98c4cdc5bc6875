#!/usr/bin/env bash
# A machine without a domain or an account enrolls once with a one-time token and renews twice with its certificate
# alone; then it is lost. Usage: examples/key-based-renewal/run.sh [FOLDER]
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
source = "identity"
common_name = "dns_name"
alternatives = ["dns_names"]

[key]
algorithms = ["p256"]
usage = ["digital_signature"]

[validity]
days = 90
renew_before_days = 30

[renewal]
key_based = true
window_percent = 100    # at any time, so that this can be shown; leave it out
END
run template put device.toml
"$MUSTER" serve 2>server.log &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until grep -q 'serving revocation' server.log; do sleep 0.1; done
policy=https://localhost:$port/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
renewal=https://localhost:$((port + 1))/KeyBasedRenewal_ADPolicyProvider_CEP_Certificate/service.svc/CEP
common=(--no-cache --ca-file ca/ca.pem --ca-only)

say 'An officer makes a token: for this template, this name, once, within an hour'
token=$("$MUSTER" token create --template Device --dns kiosk7.example.com --uses 1 --ttl 1h)
printf '%s\n' "$token" | sed '/^password/s/ [^ ]*$/ (handed to the machine)/'
user=$(printf '%s\n' "$token" | sed -n 's/^user name *//p')
(umask 077 && printf '%s\n' "$token" | sed -n 's/^password *//p' >password)

say 'The machine enrolls once; then there is no password any more'
run enroll "${common[@]}" --policy-url "$policy" --user "$user" --password-file password \
    --template Device --out kiosk7.pem
rm password
run token list
serial=$("$MUSTER" cert list --account "$user" --json | sed -n 's/.*"serial": "\([0-9a-f]*\)".*/\1/p' | head -1)

say 'It renews with its certificate alone, twice in a row'
for _ in 1 2; do
    run renew --force "${common[@]}" --policy-url "$renewal" --cert kiosk7.pem
done
run cert line "$serial"

say 'The machine is lost'
run cert revoke --line "$serial" --reason keyCompromise
run cert line "$serial"
run renew "${common[@]}" --policy-url "$renewal" --cert kiosk7.pem && exit 1
echo "refused, as it must be"
