package ground

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// GoImage writes the file system of an image: the one in the tar file base
// with the Go toolchain at goroot. It stands in for Docker Hub's golang image
// where nothing can be pulled.
func GoImage(w io.Writer, base, goroot string) error {
	out := tar.NewWriter(w)
	if err := copyTar(out, base); err != nil {
		return fmt.Errorf("copy base image: %w", err)
	}
	err := filepath.WalkDir(goroot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(goroot, path)
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir() && unusedByBuild(name):
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		return addFile(out, "usr/local/go/"+name, path)
	})
	if err != nil {
		return fmt.Errorf("pack Go toolchain: %w", err)
	}
	return out.Close()
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

// unusedByBuild is true for folders of the Go distribution that `go build` never reads: half of its files.
func unusedByBuild(name string) bool {
	return slices.Contains([]string{"api", "doc", "misc", "test", "src/cmd"}, name) || filepath.Base(name) == "testdata" ||
		strings.HasPrefix(name, "pkg/") && filepath.Dir(name) == "pkg/tool" && filepath.Base(name) != runtime.GOOS+"_"+runtime.GOARCH
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
