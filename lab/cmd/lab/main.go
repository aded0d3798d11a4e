// Command lab makes the ground that tests, demo and benchmarks stand on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() { cancel(signalError{<-signals}) }()

	code, err := command(ctx, os.Args[1:])
	var stopped signalError
	if errors.As(context.Cause(ctx), &stopped) {
		code, err = stopped.code(), stopped
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	}
	os.Exit(code)
}

// signalError is why the work was cut short.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped: " + e.String() }

// code is the exit code that shells give, e.g. 130 after Ctrl-C.
func (e signalError) code() int {
	if number, ok := e.Signal.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return 1
}
