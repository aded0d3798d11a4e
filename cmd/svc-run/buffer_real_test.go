//go:build real

package main

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// await polls until the buffer holds exactly want.
func (l *lockedBuffer) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		l.mu.Lock()
		got := l.b.String()
		l.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("wrote %q, want %q", got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
