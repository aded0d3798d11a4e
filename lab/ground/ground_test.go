package ground

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNamesOfPlaces(t *testing.T) {
	for _, row := range []struct {
		name string
		good bool
	}{
		{"test", true},
		{"test.e1", true},
		{"my-lab-2", true},
		{"", false},
		{".e1", false},
		{"test.", false},
		{"test.e1.e2", false},
		{"../etc", false},
		{"a/b", false},
		{"Test", false},
		{"a-name-of-21-letters-", false},
		{"-x", false},
	} {
		if _, err := NewPlace(row.name); (err == nil) != row.good {
			t.Errorf("NewPlace(%q): error %v, want good %t", row.name, err, row.good)
		}
	}
}

func TestMountPointsAreThoseOfTheFolderAndBelowOnly(t *testing.T) {
	const table = `21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 21 0:30 / /run/lab/a rw - tmpfs svckit-lab rw
41 40 0:31 / /run/lab/a/with\040blank rw - tmpfs svckit-lab rw
42 21 0:32 / /run/lab/ab rw - tmpfs svckit-lab rw
43 21 0:33 /run/lab/a /somewhere rw - tmpfs svckit-lab rw
`
	got := mountPoints(table, "/run/lab/a")
	if want := []string{"/run/lab/a", "/run/lab/a/with blank"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLockNamesItsHolderAndRemembersOneThatDied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	first, err := tryLock(path, "make test")
	if err != nil || first.Before != nil {
		t.Fatalf("first: before %v, error %v", first.Before, err)
	}

	second, err := tryLock(path, "make demo")
	if !errors.Is(err, ErrHeld) || second.PID != os.Getpid() || second.Command != "make test" {
		t.Errorf("second: holder %d %q, error %v", second.PID, second.Command, err)
	}

	first.file.Close() // as the kernel does when the process dies
	third, err := tryLock(path, "make demo")
	if err != nil {
		t.Fatal(err)
	}
	if third.Before == nil || third.Before.Cookie != first.Cookie || third.Cookie == first.Cookie {
		t.Errorf("third: before %+v, want the first's cookie and a cookie of its own", third.Before)
	}
	if err := third.Release(); err != nil {
		t.Error(err)
	}

	fourth, err := tryLock(path, "make test")
	if err != nil || fourth.Before != nil {
		t.Errorf("after a release: before %v, error %v", fourth.Before, err)
	}
}

func TestLockFileThatIsDamagedStillLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	if err := os.WriteFile(path, []byte("{not json"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := tryLock(path, "make test")
	if err != nil || lock.Before != nil {
		t.Errorf("before %v, error %v", lock.Before, err)
	}
}

func TestOnlyItsOwnCookieMarksAProcess(t *testing.T) {
	// This process stands for any other: its environment is what it was started with.
	if hasCookie(os.Getpid(), nil) || hasCookie(os.Getpid(), []string{""}) || hasCookie(os.Getpid(), []string{"of-another-lab"}) {
		t.Error("a process without the cookie is taken for the lab's")
	}
	family := ancestors()
	if !family[os.Getpid()] || !family[os.Getppid()] {
		t.Errorf("ancestors %v lack %d or %d", family, os.Getpid(), os.Getppid())
	}
}

func TestVariablesOfTheUsersOwnSystemsAreTakenOut(t *testing.T) {
	for _, name := range []string{"CONSUL_HTTP_TOKEN=x", "DOCKER_HOST=x", "SVC_PREFIX=x", "SVCKIT_LAB=x"} {
		if !foreign(name) {
			t.Errorf("%s is passed on", name)
		}
	}
	if foreign("HOME=/root") || foreign("MY_DOCKER_HOST=x") {
		t.Error("an unrelated variable is taken out")
	}
}

func TestFailureInsideTheEnginesStreamIsSeen(t *testing.T) {
	err := streamError([]byte(`{"status":"Importing"}` + "\n" + `{"errorDetail":{"message":"no space left"},"error":"no space left"}`))
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	if err := streamError([]byte(`{"status":"sha256:1234"}`)); err != nil {
		t.Errorf("error %v for an import that worked", err)
	}
}
