package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"svckit/bench/stage"
)

func (g *ground) up(int) error { return g.run("ours", "svc-run", "up", "bench/web", "--quiet") }

// dockerRun starts the same image, waits until it answers, and registers it, as a script would.
func (g *ground) dockerRun(int) error {
	script := `set -e
docker run -d --name bench-theirs --init --restart always --label svckit.bench=1 -p 127.0.0.1:29999:8000 "$IMAGE" python3 -m http.server 8000
until curl -fs -o /dev/null http://127.0.0.1:29999/; do sleep 0.05; done
curl -fsS -X PUT --data '{"ID":"theirs","Name":"theirs","Address":"127.0.0.1","Port":29999,"Check":{"HTTP":"http://127.0.0.1:29999/","Interval":"1s","Status":"passing"}}' ` + stage.Consul + `/v1/agent/service/register`
	return g.run("theirs", "env", "IMAGE="+stage.Registry+"/ours", "bash", "-c", strings.Replace(script, `"$IMAGE"`, `$(docker images -q "$IMAGE" | head -1)`, 1))
}

func (g *ground) down() error {
	_ = g.run("theirs", "docker", "rm", "-f", "bench-theirs")
	_ = g.run("theirs", "curl", "-fsS", "-X", "PUT", stage.Consul+"/v1/agent/service/deregister/theirs")
	return g.run("ours", "svc-run", "down", "bench/web", "--quiet")
}

// change makes one file of a project new, so that a build has something to do.
func (g *ground) change(who, file string) error {
	g.count++
	return os.WriteFile(filepath.Join(g.Dir, who, file), []byte(fmt.Sprintf("changed = %d\n", g.count)), 0o644)
}

func (g *ground) buildCold(int) error {
	if err := g.change("ours", "requirements.txt"); err != nil {
		return err
	}
	return g.run("ours", "svc-build", "--push", "--no-cache", "--quiet")
}

func (g *ground) dockerBuildCold(int) error {
	if err := g.change("theirs", "requirements.txt"); err != nil {
		return err
	}
	return g.dockerBuild("--no-cache")
}

func (g *ground) buildChanged(int) error {
	if err := g.change("ours", "main.py"); err != nil {
		return err
	}
	return g.buildWarm(0)
}

func (g *ground) dockerBuildChanged(int) error {
	if err := g.change("theirs", "main.py"); err != nil {
		return err
	}
	return g.dockerBuild()
}

func (g *ground) buildWarm(int) error { return g.run("ours", "svc-build", "--push", "--quiet") }

func (g *ground) dockerBuildWarm(int) error { return g.dockerBuild() }

func (g *ground) dockerBuild(args ...string) error {
	ref := stage.Registry + "/theirs:bench"
	args = append(append([]string{"build", "-q", "-t", ref}, args...), ".")
	if err := g.run("theirs", "docker", args...); err != nil {
		return err
	}
	return g.run("theirs", "docker", "push", "-q", ref)
}
