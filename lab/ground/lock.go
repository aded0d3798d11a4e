package ground

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const lockSuffix = ".lock"

// Holder is who runs a lab, as its lock file says.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	// Cookie is in the environment (SVCKIT_LAB_COOKIE) of everything that the
	// lab's command starts, so that processes left behind are known for certain.
	Cookie string `json:"cookie"`
}

// ErrHeld says that a lab of that name is running.
var ErrHeld = errors.New("lab is running")

// Lock is the right to use a lab's name; the kernel frees it when its process ends, however it ends.
type Lock struct {
	Holder
	// Before is the holder that left the lock file behind without releasing it; nil when there was none.
	Before *Holder
	file   *os.File
}

// Acquire takes a lab's lock. While another process holds it, it waits up to
// wait, having called waiting once, and then returns ErrHeld with the holder.
func Acquire(ctx context.Context, lab, command string, wait time.Duration, waiting func(Holder)) (*Lock, error) {
	if err := os.MkdirAll(runRoot, 0o755); err != nil {
		return nil, fmt.Errorf("lock lab %s: %w", lab, err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; {
		l, err := tryLock(filepath.Join(runRoot, lab+lockSuffix), command)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if !said && wait > 0 {
			waiting(l.Holder)
			said = true
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, fmt.Errorf("lock lab %s: %w: process %d since %s: %s", lab, ErrHeld, l.PID, l.Since.Format(time.TimeOnly), l.Command)
			}
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// tryLock returns ErrHeld together with the holder when somebody else has the lock.
func tryLock(path, command string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	before := readHolder(f)
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if before == nil {
			before = &Holder{}
		}
		return &Lock{Holder: *before}, ErrHeld
	}
	// The last holder removes the file: what was locked may no longer be what the name means.
	var locked, named unix.Stat_t
	if unix.Fstat(int(f.Fd()), &locked) != nil || unix.Stat(path, &named) != nil || locked.Ino != named.Ino {
		f.Close()
		return &Lock{}, ErrHeld
	}
	l := &Lock{Before: readHolder(f), file: f, Holder: Holder{
		PID: os.Getpid(), Command: command, Since: time.Now(), Cookie: rand.Text(),
	}}
	text, err := json.Marshal(l.Holder)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return l, nil
}

func readHolder(f *os.File) *Holder {
	var h Holder
	text := make([]byte, 4096)
	n, _ := f.ReadAt(text, 0)
	if json.NewDecoder(strings.NewReader(string(text[:n]))).Decode(&h) != nil {
		return nil
	}
	return &h
}

// Release gives the name back. Call it when nothing of the lab is left.
func (l *Lock) Release() error {
	if err := os.Remove(l.file.Name()); err != nil {
		return fmt.Errorf("release lab: %w", err)
	}
	return l.file.Close()
}
