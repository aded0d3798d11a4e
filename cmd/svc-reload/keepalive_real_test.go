//go:build real

package main

import (
	"fmt"
	"strings"
	"testing"
)

// Clients that keep their connections and never resolve again are what gunicorn
// 20.1 with threads cannot keep whole: it closes idle connections when it replaces
// its workers, and a request may be on its way on one. docs/reload.md has the
// numbers. What holds: at most one for each connection and reload.
func connectionsThatAreKeptAreCutOnceAReload(env environment) (rows []row) {
	const connections = 8
	for _, k := range []struct {
		name      string
		instances int
		args      []string
	}{
		{"in place", 1, []string{"--floor", "0"}},
		{"out of DNS, and the client does not care", 2, nil},
	} {
		rows = append(rows, row{"gthread with connections that are kept: " + k.name, func(t *testing.T) {
			r := stage(t, env, gunicornSpec, `--worker-class, gthread, --threads, "4", `, k.instances)
			code := func(n int) {
				files := appCode(fmt.Sprintf("generation %d", n))
				files["app.py"] = strings.Replace(files["app.py"], `, ("Connection", "close")`, "", 1)
				r.code(files)
				r.must(append([]string{r.service(), "--source", r.source}, k.args...)...)
			}
			code(0) // from here on the app lets connections live
			l := startWrk(r, "")
			for n := range leastReloads {
				code(n + 1)
			}
			done, failed, said := l.stop()
			t.Logf("%d reloads, %d requests, %d failed", leastReloads, done, failed)
			// Failures go with reloads; requests go with the machine, and only show that there was load.
			if failed > leastReloads*connections || done < 10*failed {
				t.Errorf("%d requests failed in %d reloads with %d connections:\n%s", failed, leastReloads, connections, said)
			}
			if got, want := r.get("/")[0], fmt.Sprintf("generation %d", leastReloads); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		}})
	}
	return rows
}
