//go:build !real

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets a script call svc-dns as a process of its own. Tests with real parts have another one.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"svc-dns": main})
}
