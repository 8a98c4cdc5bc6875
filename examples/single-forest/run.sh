#!/usr/bin/env bash
# One forest: its users and computers enroll with their tickets, and get what their groups allow.
# Usage: examples/single-forest/run.sh [FOLDER]
. "$(dirname "$0")/../directory.sh"

service ces.corp.test
publish EnrollersUser NestedUser Machine UserPending
serve

for user in alice carol bob; do
    ticket "$user"
    echo "$user may have: $(templates)"
done

ticket alice
echo "alice enrolls:"
enroll alice EnrollersUser
echo "alice asks for what only groups within groups allow:"
enroll not-alice NestedUser
ticket carol
echo "carol, who is in such a group, enrolls:"
enroll carol NestedUser
machine pc1 'PC1$'
echo "the computer PC1 enrolls:"
enroll pc1 Machine
machine evil1 'EVIL1$'
echo "a computer that calls itself like the domain controller asks:"
enroll evil1 Machine

ticket bob
echo "bob asks, and an officer approves:"
enroll bob UserPending
id=$("$python" -c 'import json; print(json.load(open("bob.json"))["id"])')
"$muster" request --config muster.toml approve "$id" >/dev/null
soap "{\"do\": \"query\", \"id\": \"$id\"}" | grep -q '"certificate": "MII' && echo "    bob has it"
echo "in the store:"
"$muster" cert --config muster.toml list
