package tool

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals returns a context that the first SIGINT or SIGTERM cancels; at the second, exit is called.
// SIGPIPE becomes an ordinary write error: a closed stdout must not end a
// command in the middle of a change.
func withSignals(parent context.Context, exit func(code int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case sig := <-ch:
				s := sig.(syscall.Signal)
				if n > 0 {
					exit(128 + int(s))
					return
				}
				cancel(&stopped{term: s == syscall.SIGTERM})
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		signal.Stop(pipe)
		close(done)
		cancel(nil)
	}
}
