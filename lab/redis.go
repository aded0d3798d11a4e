package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// RedisServer returns a redis-server. Debian's package of that name would start one on
// port 6379; the program is also in redis-tools, and is what it is called.
func RedisServer(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("redis-check-rdb")
	if err != nil {
		t.Fatalf("%v (run `make setup`)", err)
	}
	link := filepath.Join(t.TempDir(), "redis-server")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return link
}
