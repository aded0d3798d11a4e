//go:build real

package code

import (
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFullDiskLeavesEverythingAsItWas(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("svckit-test", dir, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := Open(dir + "/code")
	must(t, err)
	files := map[string]string{"app.py": "1"}
	one := put(t, s, files)
	must(t, s.Switch(t.Context(), "shop", "web", one))
	before := content(t, s.Dir("shop", "web"))

	_, err = s.Put(t.Context(), "shop", "web", tree(t, map[string]string{"a": "a", "big": strings.Repeat("x", 1<<20)}), nil)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v, want no space left", err)
	}
	if after := content(t, s.Dir("shop", "web")); !maps.Equal(after, before) {
		t.Errorf("before %v, after %v", before, after)
	}
	if left, err := os.ReadDir(s.Dir("shop", "web") + "/versions"); err != nil || len(left) != 1 {
		t.Errorf("versions %v, %v", left, err)
	}
}
