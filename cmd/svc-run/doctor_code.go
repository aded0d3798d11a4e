package main

import (
	"errors"
	"fmt"

	"svckit/lib/fleet"
)

// checkCode looks whether services whose image holds no code have it on this node.
func checkCode(f facts) []finding {
	var out []finding
	seen := map[string]bool{}
	for _, i := range f.instances {
		name := i.App + "/" + i.Service
		if i.code == "" || seen[name] {
			continue
		}
		seen[name] = true
		fix := fmt.Sprintf("svc-reload %s --source DIR", name)
		switch {
		case errors.Is(i.codeErr, fleet.ErrNotFound):
			out = append(out, is(bad, fix, "%s: this node has no code for %s: it fails at its next start", name, i.code))
		case i.codeErr != nil:
			out = append(out, is(bad, fix, "%s: %v", name, i.codeErr))
		case i.codeState.Plain:
			out = append(out, is(warn, fix, "%s: %s was put there by hand: it is not changed at once and whole, and there is no way back", name, i.code))
		default:
			out = append(out, ok("%s: %s is generation %s", name, i.code, i.codeState.Generation)...)
		}
	}
	return out
}
