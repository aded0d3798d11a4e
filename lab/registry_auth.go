package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"svckit/lab/setup"
)

// GuardedRegistry is a registry that asks for a login.
type GuardedRegistry struct {
	Host           string // host:port
	User, Password string
	kill           func()
}

// RegistryWithLogin starts a registry with basic authentication in a folder of the test.
func RegistryWithLogin(t testing.TB) *GuardedRegistry {
	t.Helper()
	parts, err := setup.Find()
	if err != nil {
		t.Fatal(err)
	}
	r := &GuardedRegistry{Host: fmt.Sprintf("127.0.0.1:%d", FreePorts(t, 1)[0]), User: "bob", Password: "correct-horse"}
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(r.Password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := writeFile(t, dir, "htpasswd", r.User+":"+string(hash)+"\n", 0o600)
	config := writeFile(t, dir, "config.yml", fmt.Sprintf(
		"version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: %s}\nauth:\n  htpasswd: {realm: lab, path: %s}\n",
		filepath.Join(dir, "data"), r.Host, users), 0o600)
	cmd := exec.Command(parts.Registry, "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start registry: %v (run `make setup`)", err)
	}
	r.kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(r.kill)
	if err := poll(time.Minute, func() error {
		res, err := http.Get("http://" + r.Host + "/v2/")
		if err == nil {
			res.Body.Close()
		}
		return err
	}); err != nil {
		r.kill() // its log is whole then
		t.Fatalf("registry: %v\n%s", err, log.String())
	}
	return r
}

// Kill ends the registry as a crash would. It is nothing to kill it twice.
func (r *GuardedRegistry) Kill() { r.kill() }

// LogIn makes Docker settings of the test's own in which a credential helper, a program of
// its own as in real life, knows the login, and points DOCKER_CONFIG and PATH at them.
func (r *GuardedRegistry) LogIn(t *testing.T) {
	t.Helper()
	answer, err := json.Marshal(map[string]string{"ServerURL": r.Host, "Username": r.User, "Secret": r.Password})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, dir, "docker-credential-lab", "#!/bin/sh\n"+
		"read -r server\n"+
		"[ \"$1\" = get ] && [ \"$server\" = \""+r.Host+"\" ] || { echo 'credentials not found in native keychain'; exit 1; }\n"+
		"cat <<'END'\n"+string(answer)+"\nEND\n", 0o700)
	settings, err := json.Marshal(map[string]any{"credHelpers": map[string]string{r.Host: "lab"}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "config.json", string(settings), 0o600)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// LogOut makes Docker settings of the test's own that know no login.
func LogOut(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir, "config.json", "{}", 0o600)
	t.Setenv("DOCKER_CONFIG", dir)
}

func writeFile(t testing.TB, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}
