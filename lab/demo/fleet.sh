#!/usr/bin/env bash
# The demo of a fleet: five machines with nothing but Debian and sshd, and on them
# what a team does every day, by the playbooks of ansible/ and under load. `make
# demo-fleet` runs it; fleet.sh NAME gives the lab another name. At its end, also
# after Ctrl-C or a failure, nothing of it is left.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD name=${1:-demo-fleet}
work=$(mktemp -d "${TMPDIR:-/tmp}/demo.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$work/" ./lab/cmd/load ./lab/testapp

bold='' blue='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' blue=$'\033[36m' plain=$'\033[0m'; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say()   { printf '%s%s$ %s%s\n' "$blue" "$1" "$2" "$plain"; }
# A shell's line on a machine, with the rights of its node.
on()    { "$root/bin/lab" on --name "$name" "$1" sh -euc "export HOME=/root CONSUL_HTTP_TOKEN_FILE=/etc/svckit/consul.token; cd; $2"; }
run()   { say "$1" "$2"; on "$1" "$2"; }
# What a playbook planned, changed and came to; of site only the end.
told() {
  awk -v brief="$1" '/^TASK/ { sub(/^TASK \[(svckit.svckit.[a-z]+ : )?/, ""); sub(/\] \**$/, ""); task = $0; round++; next }
    /^PLAY RECAP/ { recap = 1; next }
    recap && NF { sub(/ +: ok=/, " ok="); sub(/ +skipped=.*/, ""); gsub(/ +/, " "); print "  " $0; next }
    /^        "/ && task ~ /^Say what/ { gsub(/^ *"|",?$/, ""); print "  plan: " $0; next }
    /^changed:/ && brief != "site" { node = $2; gsub(/\[|\]|:/, "", node); if (!seen[round, node]++) print "  changed " node ": " task }
    /^fatal:/ { if (match($0, /"msg": "[^"]*/)) print "  failed " $2 " " substr($0, RSTART + 8, RLENGTH - 8) }' "$work/play.txt"
}
play() {
  say "" "ansible-playbook svckit.svckit.$*"
  local began=$SECONDS; status=0
  "$work/fleet/play" "$@" >"$work/play.txt" 2>&1 || status=$?
  told "$1"
  echo "  ($((SECONDS - began)) s)"
}
must() { play "$@"; [ "$status" = 0 ] || { tail -n 40 "$work/play.txt" >&2; exit 1; }; }
# Requests from node5, which runs none of the services and finds them by its svc-dns, until `quiet`.
traffic() {
  rm -f "$work/end"; mkfifo "$work/end"
  on node5 "nice -n 10 load -dns 127.0.0.1:53 -for 10m -rate 1000 $* & pid=\$!; read end || true; kill -INT \$pid; wait \$pid" <"$work/end" >"$work/load.txt" 2>&1 & loading=$!
  exec 3>"$work/end"
}
quiet() {
  echo end >&3; exec 3>&-
  local status=0; wait $loading || status=$?
  cat "$work/load.txt"; [ "$status" = 0 ]
}

title "Five machines in two zones: a systemd and an sshd each, and nothing else"
setpriv --pdeathsig TERM "$root/bin/lab" fleet --name "$name" --machines --servers 0 --hosts 5 --zones 2 --ansible "$work/fleet" >"$work/fleet.txt" 2>&1 & fleet=$!
until grep -q ^playbooks "$work/fleet.txt"; do
  kill -0 $fleet 2>/dev/null || { cat "$work/fleet.txt" >&2; exit 1; }
  sleep 0.1
done
grep -E '^(node|registry)' "$work/fleet.txt"
registry=$(awk '/^registry/ {print $2}' "$work/fleet.txt") base=$(awk '/^base image/ {print $3}' "$work/fleet.txt")

title "site: Consul (three servers, TLS, ACLs that deny by default), Docker, svckit under systemd, a token of least rights each"
must site
run node5 "consul members"

title "Two apps, built and pushed on node1: a Go server FROM scratch found by SRV, and gunicorn with its code on a volume at a fixed port"
mkdir "$work/shop" "$work/pages" "$work/code"
mv "$work/testapp" "$work/shop/"
printf 'FROM scratch\nCOPY testapp release manners /\nENTRYPOINT ["/testapp"]\n' >"$work/shop/Dockerfile"
cat >"$work/shop/app.yaml" <<YML
app: shop
build: {dockerfile: Dockerfile, image: "$registry/shop"}
deploy: {canary: 1, batch: 50%}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 20s, drain: 1s}
    smoke: {http: /smoke}
YML
cp examples/code-on-volume/{app.py,gunicorn.conf.py} "$work/code/"
echo one >"$work/code/GENERATION"
printf 'FROM %s\n' "$base" >"$work/pages/Dockerfile"
cat >"$work/pages/app.yaml" <<YML
app: pages
build: {dockerfile: Dockerfile, image: "$registry/pages"}
deploy: {canary: 1, batch: 50%}
services:
  web:
    command: [gunicorn, -c, /srv/app/gunicorn.conf.py, "app:application"]
    master: gunicorn
    port: 8000
    publish: 8080
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 20s, drain: 1s}
YML
tar -C "$work" -c pages | on node1 'tar x'
run node1 'cd pages && svc-build --push --quiet --tag one'
shop() { # a release of it, and how it behaves
  echo "$1" >"$work/shop/release"; echo "$2" >"$work/shop/manners"
  tar -C "$work" -c shop | on node1 'tar x'
  run node1 "cd shop && svc-build --push --quiet --tag $1"
}
shop one good
tar -C "$work" -c load | on node5 'tar -C /usr/local/bin -x'
nodes=node1:node2:node3:node4

title "The first deploy: on four nodes, a canary, then zone by zone"
must deploy -e app=shop -e release=one -e nodes=$nodes
must reload -e service=pages/web -e source="$work/code" -e nodes=$nodes -e batch=100%
must deploy -e app=pages -e release=one -e nodes=$nodes
run node1 "svc-run ps --fleet"

title "A new release of shop, while node5 asks for it"
shop two good
traffic http://shop-web.service.consul/
must deploy -e app=shop -e release=two
quiet

title "A release whose smoke test fails on node3, in the second batch: the fleet goes back by itself"
shop three "sour node3"
traffic http://shop-web.service.consul/
play deploy -e app=shop -e release=three
quiet
[ "$status" != 0 ]
run node1 "svc-run deploy status shop"
run node1 "svc-run releases shop"

title "Back to the release before, as an owner would after a complaint"
traffic http://shop-web.service.consul/
must rollback -e app=shop
quiet

title "New code into pages, node after node, without a new container"
echo two >"$work/code/GENERATION"
traffic -plain http://pages-web.service.consul:8080/generation
must reload -e service=pages/web -e source="$work/code" -e nodes=$nodes
quiet
run node5 "curl -fsS http://pages-web.service.consul:8080/generation"
must reload -e service=pages/web -e source="$work/code" -e nodes=$nodes # nothing is new

title "node3 is drained for work on it, and returns"
traffic http://shop-web.service.consul/
must drain_node -e node=node3 -e why="a new disk"
run node1 "svc-run ps --fleet"
must return_node -e node=node3
quiet

title "The fleet by zone, and who did what"
must status
run node1 "svc-run ps --fleet"
run node1 "scaled status"
run node1 "svc-run audit shop | head -n 12"
title "Done. The machines go away with everything on them."
