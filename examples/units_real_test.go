//go:build real

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// systemd reads the units as it would on a node; it need not run for that.
func TestUnitsAreWhatSystemdUnderstands(t *testing.T) {
	found, err := filepath.Glob("systemd/*.*")
	if err != nil || len(found) < 4 {
		t.Fatalf("units %v, error %v", found, err)
	}
	dir := t.TempDir()
	var units []string
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Our programs and Docker need not be installed where this is tested.
		text = regexp.MustCompile(`/usr/local/bin/\S+`).ReplaceAll(text, []byte("/usr/bin/env"))
		text = regexp.MustCompile(`(?m)^Requires=docker.service$`).ReplaceAll(text, nil)
		unit := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(unit, text, 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// It knows a mistake when it sees one.
	wrong := filepath.Join(dir, "wrong.service")
	if err := os.WriteFile(wrong, []byte("[Service]\nExecStart=/usr/bin/env\nProtectSytem=strict\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("systemd-analyze", "verify", "--man=no", wrong).CombinedOutput(); !strings.Contains(string(out), "ProtectSytem") {
		t.Errorf("a wrong unit is not noticed:\n%s", out)
	}
}

// Daemons keep no right that they do not need: systemd's own measure, from 0 to 100.
// svc-reload may trace the workers of uWSGI, which counts 2.
func TestDaemonsAreConfined(t *testing.T) {
	for unit, most := range map[string]string{"svc-dns.service": "25", "svc-reload-watch.service": "32"} {
		cmd := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+most, filepath.Join("systemd", unit))
		cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=cat")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s is more exposed than %s: %v\n%s", unit, most, err, out)
		}
	}
}
