package lab

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"svckit/lab/ground"
	"svckit/lab/setup"
)

// BaseImage is the image with Python, gunicorn and uWSGI that the test engine holds.
const BaseImage = setup.BaseImage

// GoImageName is the image that GoImage provides.
const GoImageName = "svckit/golang:1.26"

// GoImage makes sure that the test engine holds an image with this machine's Go
// toolchain, and returns its name. It stands in for golang:…-bookworm as the
// first stage of a Dockerfile; a module without dependencies builds in it. The
// first call of a test run takes some 10 s.
func GoImage(t testing.TB) string {
	t.Helper()
	host := DockerHost(t)
	lock, err := os.OpenFile(filepath.Join(runRoot(), "golang.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	// Packages are tested in parallel, and each of them may be the first.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := LoadGo(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	return GoImageName
}

// LoadGo gives the engine at host the image of GoImage, unless it is there.
func LoadGo(ctx context.Context, host string) error {
	there, err := ground.HasImage(ctx, host, GoImageName)
	if there || err != nil {
		return err
	}
	file, err := setup.GoImage(ctx, setup.NewTeller(os.Stderr))
	if err != nil {
		return err
	}
	return ground.Import(ctx, host, file, GoImageName, setup.GoEnv()...)
}
