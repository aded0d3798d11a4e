#!/usr/bin/env bash
# The demo: the main job of svckit from a source folder to a name in DNS, with a
# real engine, agent and registry. `make demo` runs it in a lab of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${SVCKIT_DEMO_INSIDE:-}" ]; then
  go build -o bin/ ./lab/cmd/load
  bin/lab load golang
  SVCKIT_DEMO_INSIDE=1 exec ${SVCKIT_LAB_EXEC:?run it by \`make demo\`} "$0" "$@"
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
until_ok() { for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done; echo "demo: gave up waiting: $*" >&2; exit 1; }
ask()   { curl -fsS "http://$(bin_srv "$1")$2"; }
# The first endpoint that Consul DNS names for a service, as host:port.
bin_srv() { load -dns 127.0.0.1:8600 -where "$1"; }

title "A registry and a Consul agent, on loopback in a network namespace of their own"
cat > "$work/registry.yml" <<YML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: 127.0.0.1:5000}
YML
docker-registry serve "$work/registry.yml" >/dev/null 2>&1 &
"$SVCKIT_TEST_CONSUL" agent -dev -node=demo -log-level=error >/dev/null &
until_ok curl -fsS http://127.0.0.1:5000/v2/
until_ok curl -fsS http://127.0.0.1:8500/v1/catalog/service/consul
echo "ready"

title "Two projects: a Go server FROM scratch, and a Python app under gunicorn"
for p in hello-go wsgi-gunicorn; do
  cp -R "examples/$p" "$work/$p"
  git -C "$work/$p" init -q
  git -C "$work/$p" add -A
  git -C "$work/$p" -c user.name=demo -c user.email=demo@example.org commit -qm "$p"
done
commit() { git -C "$work/$1" -c user.name=demo -c user.email=demo@example.org commit -qam "$2"; }
base() { case $1 in hello-go) echo svckit/golang:1.26;; *) echo svckit/base:bookworm;; esac; }
build() { (cd "$work/$1" && run svc-build --push --build-arg "BASE=$(base "$1")"); }
for p in hello-go wsgi-gunicorn; do
  sed -i 's#^\( *image:\).*#\1 127.0.0.1:5000/'"$p"'#' "$work/$p/app.yaml"
  commit "$p" "push to the registry of the demo"
  build "$p"
done

title "Two instances of each on this node"
run curl -fsS -X PUT -d 'hello from Consul' http://127.0.0.1:8500/v1/kv/svc/shared/config/GREETING; echo
run svc-run up hello-go/web --instances 2 --promote
run svc-run up wsgi-gunicorn/web --instances 2 --promote
run svc-run ps

title "Found through Consul DNS"
for s in hello-go-web wsgi-gunicorn-web; do
  load -dns 127.0.0.1:8600 -where "$s.service.consul" -all
done
for _ in 1 2 3; do ask hello-go-web.service.consul /; done
ask wsgi-gunicorn-web.service.consul /

title "A new release under load"
echo '// a second version' >> "$work/hello-go/main.go"
commit hello-go "second version"
build hello-go
new=$(git -C "$work/hello-go" rev-parse --short=12 HEAD)
load -for 5m http://hello-go-web.service.consul/ > "$work/load.txt" & loading=$!
run svc-run up hello-go/web --instances 2 --release "$new"
kill -INT $loading; wait $loading && status=0 || status=$?
cat "$work/load.txt"
[ "$status" = 0 ]
run svc-run promote hello-go "$new"

title "Broken code: the test in the built image fails, so nothing is pushed"
cp "$work/hello-go/main.go" "$work/main.go"
sed -i 's/"ok"/"broken"/; s/http.StatusOK/http.StatusInternalServerError/' "$work/hello-go/main.go"
commit hello-go "break the code"
build hello-go && status=0 || status=$?
echo "(exit $status)"; [ "$status" = 1 ]

title "A broken release: its check never passes; the old one stays"
cp "$work/main.go" "$work/hello-go/main.go"
sed -i 's#deadline: [0-9a-z]*#deadline: 6s#; s#http: /healthz#http: /nothing-here#' "$work/hello-go/app.yaml"
commit hello-go "break the check"
build hello-go
bad=$(git -C "$work/hello-go" rev-parse --short=12 HEAD)
load -for 5m http://hello-go-web.service.consul/ > "$work/load.txt" & loading=$!
run svc-run up hello-go/web --instances 2 --release "$bad" && status=0 || status=$?
echo "(exit $status)"; [ "$status" = 16 ]
kill -INT $loading; wait $loading && status=0 || status=$?
cat "$work/load.txt"
[ "$status" = 0 ]

title "Roll back to the release that was stable before"
run svc-run rollback hello-go/web --promote

title "Code on a volume: new code into what runs, under load, without a new container"
cp -R examples/code-on-volume "$work/code-on-volume"
vol=$work/code-on-volume
sed -i 's#^\( *image:\).*#\1 127.0.0.1:5000/code-on-volume#' "$vol/app.yaml"
(cd "$vol" && run svc-build --push --build-arg BASE=svckit/base:bookworm)
run svc-reload code-on-volume/web --source "$vol"
run svc-run up code-on-volume/web --instances 2
load -for 5m http://code-on-volume-web.service.consul/generation > "$work/load.txt" & loading=$!
for version in two three four; do
  echo "$version" > "$vol/GENERATION"
  echo "- GENERATION is \"$version\" now"
  svc-reload code-on-volume/web --source "$vol" --quiet >/dev/null
  ask code-on-volume-web.service.consul /generation
done
echo five > "$vol/GENERATION"
run svc-reload code-on-volume/web --source "$vol" --dry-run
kill -INT $loading; wait $loading && status=0 || status=$?
cat "$work/load.txt"
[ "$status" = 0 ]

title "Code that does not load never reaches the master; the code from before comes back by its name"
cp "$vol/app.py" "$work/app.py"
echo 'import a_module_that_nobody_has' >> "$vol/app.py"
run svc-reload code-on-volume/web --source "$vol" && status=0 || status=$?
echo "(exit $status)"; [ "$status" = 17 ]
ask code-on-volume-web.service.consul /generation
run svc-reload rollback code-on-volume/web
ask code-on-volume-web.service.consul /generation

title "What there is, what there was, who did what"
run svc-run ps
run svc-run releases hello-go
run svc-run audit hello-go

title "Down again"
run svc-run down hello-go/web
run svc-run down wsgi-gunicorn/web
run svc-run down code-on-volume/web
run svc-run ps
title "Done. The lab goes away with everything in it."
