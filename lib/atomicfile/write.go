// Package atomicfile replaces files whole or not at all.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file, or makes it, with mode 0600. Whoever reads it, also after
// a crash or a power cut, finds the old text or the new one, and after a nil error
// the new one. On an error the old text stays and nothing else is left; a SIGKILL
// may leave a file .NAME-* beside it. The folder must exist.
func Write(file string, text []byte) error {
	folder := filepath.Dir(file)
	f, err := os.CreateTemp(folder, "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	at, err := os.Open(folder) // a new name is only safe once its folder is
	if err != nil {
		return err
	}
	return errors.Join(at.Sync(), at.Close())
}
