package setup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// GoImage returns the tar file of an image: the base image with this machine's
// Go toolchain and a warm build cache. It stands in for Docker Hub's golang
// image where nothing can be pulled. Set GoEnv when importing it.
func GoImage(ctx context.Context, say *Teller) (string, error) {
	parts, err := Find()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("find Go toolchain: %w", err)
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	file := strings.TrimSuffix(parts.Base, ".tar") + "-" + version + ".tar"
	return file, makeParts(ctx, say, []part{{
		file, "make an image with " + version, "1 min",
		func(ctx context.Context, work, out string) error {
			cache := filepath.Join(work, "cache")
			// What a small web program imports goes into the build cache.
			cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "net/http", "log/slog", "os/signal", "encoding/json", "flag", "testing")
			cmd.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOCACHE="+cache, "GOTMPDIR="+work)
			if err := runQuietly(cmd); err != nil {
				return err
			}
			return writeGoImage(out, parts.Base, goroot, cache)
		},
	}})
}

// GoEnv is the environment of the image of GoImage, as lines of a Dockerfile.
func GoEnv() []string {
	return []string{
		"ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ENV GOPATH=/go GOCACHE=/var/cache/go-build GOTOOLCHAIN=local GOPROXY=off",
	}
}

func writeGoImage(file, base, goroot, cache string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(f)
	if err := copyTar(out, base); err != nil {
		return fmt.Errorf("copy base image: %w", err)
	}
	if err := addFolder(out, "usr/local/go", goroot, unusedByBuild); err != nil {
		return fmt.Errorf("pack Go toolchain: %w", err)
	}
	if err := addFolder(out, "var/cache/go-build", cache, func(string) bool { return false }); err != nil {
		return fmt.Errorf("pack build cache: %w", err)
	}
	if err := out.Close(); err != nil {
		return err
	}
	return f.Close()
}

// addFolder adds the regular files below dir whose path in it is not skipped.
func addFolder(out *tar.Writer, name, dir string, skip func(path string) bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && skip(rel):
			return fs.SkipDir
		case !d.Type().IsRegular() || skip(rel):
			return nil
		}
		return addFile(out, name+"/"+rel, path)
	})
}

func copyTar(out *tar.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for in := tar.NewReader(f); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = out.WriteHeader(header)
		}
		if err == nil {
			_, err = io.Copy(out, in)
		}
		if err != nil {
			return err
		}
	}
}

// unusedByBuild is true for what `go build` never reads: half of the Go distribution.
func unusedByBuild(path string) bool {
	return slices.Contains([]string{"api", "doc", "misc", "test", "src/cmd"}, path) ||
		filepath.Base(path) == "testdata" || strings.HasSuffix(path, "_test.go")
}

func addFile(out *tar.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}
