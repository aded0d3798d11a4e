#!/usr/bin/env bash
# The demo of the autoscaler: a service that follows its load, an announcement, a
# freeze, traffic that is cut at its source, a queue that is worked off. Real
# engine, Consul, registry, gunicorn and Redis. `make demo-scale` runs it in a lab.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${SVCKIT_DEMO_INSIDE:-}" ]; then
  SVCKIT_DEMO_INSIDE=1 exec ${SVCKIT_LAB_EXEC:?run it by \`make demo-scale\`} "$0" "$@"
fi

work=$(mktemp -d "${SVCKIT_TEST_RUN:?}/demo.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
root=$PWD
export PATH="$root/bin:$PATH" DOCKER_HOST=$SVCKIT_TEST_DOCKER CONSUL_HTTP_ADDR=http://127.0.0.1:8500
export SVC_RUN_DIR=$work/run SVC_STATE_DIR=$work/state SVC_CODE_DIR=$work/code SVC_CONFIG=''

bold='' blue='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' blue=$'\033[36m' plain=$'\033[0m'; fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
run()   { printf '%s$ %s%s\n' "$blue" "$*" "$plain"; "$@"; }
until_ok() { for _ in $(seq 1200); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; echo "demo: gave up waiting: $*" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }
ready() { scaled status --json "$1" 2>/dev/null | jq -e --argjson n "$3" ".services[0].reached $2 \$n"; }
reached() { scaled status --json "$1" | jq '.services[0].reached'; }
wait_for() { local began=$SECONDS; until_ok ready "$@"; echo "$(reached "$1") ready after $((SECONDS - began)) s"; }
# so many requests a second, at the one address of the service on this node
traffic() { hey -z 10m -c "$1" -q 5 -t 30 "$2" > "$work/hey.txt" 2>&1 & hitting=$!; }
quiet() { kill -INT "$hitting" 2>/dev/null || true; wait "$hitting" 2>/dev/null || true; }
why() { scaled history scale/web | head -n "${1:-4}"; }

title "A registry, Redis and a Consul agent, in a network namespace of their own"
cat > "$work/registry.yml" <<YML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: 127.0.0.1:5000}
YML
docker-registry serve "$work/registry.yml" >/dev/null 2>&1 &
"$SVCKIT_TEST_CONSUL" agent -dev -node=demo -log-level=error >/dev/null &
ln -s "$(command -v redis-check-rdb)" "$work/redis-server"
bridge=$(ip -4 -o addr show docker0 | awk '{split($4, a, "/"); print a[1]}')
"$work/redis-server" --bind 127.0.0.1 "$bridge" --port 6379 --save '' --protected-mode no --dir "$work" >/dev/null &
until_ok curl -fsS http://127.0.0.1:5000/v2/
until_ok curl -fsS http://127.0.0.1:8500/v1/catalog/service/consul
until_ok redis-cli ping
echo "ready"

title "A project with a scale section: gunicorn workers, and consumers of a Redis list"
cp -R examples/scale "$work/scale"
cp examples/marks/svckit_marks.py "$work/scale/"
sed -i 's#^\( *image:\).*#\1 127.0.0.1:5000/scale#' "$work/scale/app.yaml"
run sed -n '/^    scale:/,/^  work:/p' "$work/scale/app.yaml"
(cd "$work/scale" && run svc-build --push --build-arg BASE=svckit/base:bookworm)
release=$(svc-run releases --json scale | jq -r '.releases[0].release')
run curl -fsS -X PUT -d "redis://$bridge:6379/0" http://127.0.0.1:8500/v1/kv/svc/apps/scale/config/QUEUE_URL; echo
run svc-run promote scale "$release"

title "The agent of this node, and a planner: the first placement is theirs"
scaled node 2> "$work/node.log" &
scaled run 2> "$work/run.log" &
wait_for scale/web '>=' 2
wait_for scale/work '>=' 1
run scaled status
run svc-run ps
echo "the page: $(scaled status --json | jq -r .leader.url), $(curl -fsS http://127.0.0.1:9521/service/scale/web | wc -c) bytes about scale/web"

web=$(curl -fsS 'http://127.0.0.1:8500/v1/health/service/scale-web?passing' | jq -r '.[0].Service | "http://\(.Address):\(.Port)/"')
title "Load: 60 requests a second of a tenth of a second each are 6 busy workers"
traffic 4 "$web"; sleep 12; quiet
traffic 12 "$web"
wait_for scale/web '>=' 8
run scaled plan scale/web
why

title "An announcement: workers come before the load does"
run scaled announce --rps 90 --hold 20s --id push scale/web
wait_for scale/web '>=' 11
run scaled announcements
why 3

title "A freeze: nothing changes until somebody says so"
run scaled freeze --mode no-change --for 1h --why "the demo looks at it" all
run scaled freeze
run scaled thaw all

title "The load is cut at its source: the guard holds the size for when it comes back"
sleep 45 # the announcement is over, and a minute of load is known
before=$(reached scale/web)
quiet
sed -n '/requests\/sec\|Status code\|\[200\]\|\[5/Ip' "$work/hey.txt"
sleep 40
echo "$before workers before, $(reached scale/web) now, without any traffic"
run scaled status scale/web
traffic 12 "$web"; sleep 8; quiet
sed -n '/Status code\|\[[0-9]*\].*responses\|Error/Ip' "$work/hey.txt"

title "A burst of 300 messages of 0.2 s: a minute of work for one consumer"
for n in $(seq 300); do echo "LPUSH jobs job-$n"; done | redis-cli >/dev/null
wait_for scale/work '>=' 3
for _ in $(seq 120); do [ "$(redis-cli llen jobs:log)" -ge 300 ] && break; sleep 1; done
echo "$(redis-cli llen jobs:log) messages done, $(redis-cli lrange jobs:log 0 -1 | sort -u | wc -l) different ones, $(redis-cli llen jobs:busy) left by consumers that ended"
wait_for scale/work '==' 1
run scaled history scale/work

title "What the planner shows to Prometheus, and who did what"
curl -fsS http://127.0.0.1:9521/metrics | grep -E '^scaled_(leader|service_size|service_ready|service_demand_erlangs|cycle_seconds|nodes)'
run svc-run audit

title "The planner is gone: what runs keeps running, and set still works"
kill %?scaled\ run 2>/dev/null || pkill -f "scaled run" || true
run scaled set --size 4 --why "by hand" scale/web
wait_for scale/web '==' 4

title "Down again"
pkill -f "scaled node" || true
run svc-run down scale/web
run svc-run down scale/work
