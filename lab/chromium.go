package lab

import (
	"os/exec"
	"testing"
)

// Chromium returns the program of a browser.
func Chromium(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v (run `make setup`)", err)
	}
	return program
}
