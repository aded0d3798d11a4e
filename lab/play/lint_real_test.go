//go:build real

package play

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What ansible-lint says of the collection, which includes whether each playbook can be read.
func TestCollectionIsClean(t *testing.T) {
	root, err := filepath.Abs("../../ansible")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/ansible_collections/svckit", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, dir+"/ansible_collections/svckit/svckit"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ansible-lint", "--offline", "--nocolor", "-q")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "ANSIBLE_COLLECTIONS_PATH="+dir, "ANSIBLE_HOME="+dir+"/home", "XDG_CACHE_HOME="+dir+"/cache", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
