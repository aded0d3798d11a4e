// Package watch tells which files of a source folder changed, in batches: an
// editor's save, a branch checked out or a formatter's run is one batch each.
package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/moby/patternmatcher"

	"svckit/lib/fault"
)

// Everything stands for a change of which only is known that there was one.
const Everything = "."

// Options say what of a folder counts.
type Options struct {
	Ignore []string      // patterns as in .dockerignore
	Always []string      // paths that count although a pattern ignores them
	Quiet  time.Duration // a batch ends when nothing changed for so long …
	Limit  time.Duration // … or when it is that old: something may write without end
}

// Watcher watches one folder and what is below it. Links are not followed.
type Watcher struct {
	dir     string
	options Options
	matcher *patternmatcher.PatternMatcher
	notify  *fsnotify.Watcher
	batches chan []string
	stop    chan struct{}
	done    chan struct{}
}

// Open begins to watch. What changes from now on is in a batch.
func Open(dir string, o Options) (*Watcher, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	matcher, err := patternmatcher.New(o.Ignore)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read .dockerignore: %w", err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, limits(fmt.Errorf("watch %s: %w", dir, err))
	}
	w := &Watcher{
		dir: root, options: o, matcher: matcher, notify: notify,
		batches: make(chan []string), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if _, err := w.add(root); err != nil {
		_ = notify.Close()
		return nil, limits(fmt.Errorf("watch %s: %w", dir, err))
	}
	go w.run()
	return w, nil
}

// Batches gives the paths that changed, relative with slashes, sorted, each once.
// While nobody receives, one batch grows. It is closed when the folder is gone.
func (w *Watcher) Batches() <-chan []string { return w.batches }

// Close ends the watching.
func (w *Watcher) Close() error {
	close(w.stop)
	<-w.done
	return w.notify.Close()
}

// run gathers changes into batches.
func (w *Watcher) run() {
	defer close(w.done)
	pending := map[string]bool{}
	var first time.Time
	var quiet <-chan time.Time
	var ready chan []string // w.batches once the batch has ended
	for {
		select {
		case <-w.stop:
			return
		case e, ok := <-w.notify.Events:
			if !ok || e.Has(fsnotify.Remove|fsnotify.Rename) && e.Name == w.dir {
				close(w.batches)
				return
			}
			if !w.take(e, pending) {
				continue
			}
		case err, ok := <-w.notify.Errors:
			if !ok {
				close(w.batches)
				return
			}
			if err != nil { // most of all: more changes than the kernel keeps
				pending[Everything] = true
			}
		case <-quiet:
			quiet, ready = nil, w.batches
			continue
		case ready <- sortedKeys(pending):
			pending, ready, first = map[string]bool{}, nil, time.Time{}
			continue
		}
		if first.IsZero() {
			first = time.Now()
		}
		if ready == nil {
			quiet = time.After(min(w.options.Quiet, max(0, w.options.Limit-time.Since(first))))
		}
	}
}

// take notes an event, and reports whether it counts.
func (w *Watcher) take(e fsnotify.Event, pending map[string]bool) bool {
	path, ok := w.relative(e.Name)
	// Chmod comes with every removal of an open file and from indexers; touch changes no content.
	if !ok || e.Op == fsnotify.Chmod {
		return false
	}
	if e.Has(fsnotify.Create) {
		if info, err := os.Lstat(e.Name); err == nil && info.IsDir() {
			if w.skipDir(path) {
				return false
			}
			// Files may have come into it before it was watched.
			found, err := w.add(e.Name)
			if err != nil {
				found = append(found, Everything)
			}
			for _, p := range found {
				pending[p] = true
			}
			return len(found) > 0
		}
	}
	if e.Has(fsnotify.Rename | fsnotify.Remove) {
		w.forget(e.Name)
	}
	if !w.counts(path) {
		return false
	}
	pending[path] = true
	return true
}

// add watches a folder and all below it, and returns the files in it that count.
func (w *Watcher) add(top string) (found []string, err error) {
	err = filepath.WalkDir(top, func(full string, d fs.DirEntry, err error) error {
		path, ok := w.relative(full)
		switch {
		case errors.Is(err, fs.ErrNotExist) && full != w.dir:
			return nil // it came and went
		case err != nil:
			return err
		case d.IsDir() && full != w.dir && (!ok || w.skipDir(path)):
			return filepath.SkipDir
		case d.IsDir():
			err := w.notify.Add(full)
			if errors.Is(err, fs.ErrNotExist) && full != w.dir {
				return filepath.SkipDir
			}
			return err
		case ok && w.counts(path):
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// forget ends the watching of a folder that was moved away: the kernel would go on
// telling of it under its old name.
func (w *Watcher) forget(full string) {
	for _, at := range w.notify.WatchList() {
		if at == full || strings.HasPrefix(at, full+string(filepath.Separator)) {
			_ = w.notify.Remove(at)
		}
	}
}

// relative is a path below the folder, with slashes.
func (w *Watcher) relative(full string) (string, bool) {
	path, err := filepath.Rel(w.dir, full)
	return filepath.ToSlash(path), err == nil && path != "." && filepath.IsLocal(path)
}

// counts reports whether a change of a file is to be told.
func (w *Watcher) counts(path string) bool {
	return slices.Contains(w.options.Always, path) || !Noise(path) && !w.ignored(path)
}

// skipDir reports whether nothing below a folder counts. One that is ignored is
// watched all the same when a pattern takes something in it back (!) or Always names it.
func (w *Watcher) skipDir(path string) bool {
	for _, a := range w.options.Always {
		if strings.HasPrefix(a, path+"/") {
			return false
		}
	}
	return Noise(path) || !w.matcher.Exclusions() && w.ignored(path)
}

func (w *Watcher) ignored(path string) bool {
	match, err := w.matcher.MatchesOrParentMatches(path)
	return err == nil && match
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// limits says what to do where the kernel's bounds are reached.
func limits(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fault.WithHint(err, "the folder has more folders than the kernel will watch: sysctl fs.inotify.max_user_watches=200000, or add large ones to .dockerignore")
	case errors.Is(err, syscall.EMFILE):
		return fault.WithHint(err, "sysctl fs.inotify.max_user_instances=512")
	}
	return err
}
