//go:build real

package main

import (
	"fmt"
	"testing"
)

func TestZZChain(t *testing.T) {
	env := newEnvironment(t)
	r := stage(t, env, uwsgiSpec, chained, 1)
	l := newWrk(r)
	for n := range 20 {
		r.code(appCode(fmt.Sprintf("generation %d", n)))
		r.must(r.service(), "--source", r.source)
	}
	d, f, said := l.stop()
	t.Logf("%d %d %s", d, f, said)
	if f > 0 {
		t.Error(said)
	}
}
