package main

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"svckit/bench/stage"
)

const (
	costFor    = 20 * time.Second // that a daemon is watched
	costSettle = 30 * time.Second // after what was measured before
)

// cost measures the processor time of the daemon of a node, with its hand and
// without: the difference is what following wishes and tending costs.
func (g *ground) cost() error {
	time.Sleep(costSettle)
	var both, planner float64
	var errs [2]error
	var all sync.WaitGroup
	all.Go(func() { both, errs[0] = spent(g.node, costFor) })
	all.Go(func() { planner, errs[1] = spent(g.planner, costFor) })
	if all.Wait(); errs[0] != nil || errs[1] != nil {
		return errors.Join(errs[:]...)
	}
	_ = g.node.Process.Signal(syscall.SIGTERM)
	_ = g.node.Wait()
	watching, err := g.Start("node", "scaled", "node", "--watch-only")
	if err != nil {
		return err
	}
	g.node = watching
	if err := stage.Until(30*time.Second, "the monitor", func() error { return stage.Answers("http://127.0.0.1:9654/v1/sample") }); err != nil {
		return err
	}
	alone, err := spent(watching, costFor)
	if err != nil {
		return err
	}
	fmt.Printf("| processor time of a daemon, %d services at rest | ms each second |\n|---|---|\n", len(g.names))
	for _, row := range []struct {
		name string
		ms   float64
	}{{"scaled node: monitor and hand", both}, {"scaled node --watch-only: monitor alone", alone}, {"so the hand", both - alone}, {"scaled run", planner}} {
		fmt.Printf("| %s | %.1f |\n", row.name, row.ms)
	}
	fmt.Println()
	return nil
}

// spent is the processor time of a process over a while, in ms each second.
func spent(cmd *exec.Cmd, d time.Duration) (float64, error) {
	before, err := stage.Spent(cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	time.Sleep(d)
	after, err := stage.Spent(cmd.Process.Pid)
	return (after - before).Seconds() * 1000 / time.Since(began).Seconds(), err
}
