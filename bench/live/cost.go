package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// costFor is how long a daemon is watched.
const costFor = 20 * time.Second

// cost measures the processor time of the daemon of a node, with its hand and
// without: the difference is what following wishes and tending costs.
func (g *ground) cost() error {
	both, err := spent(g.node, costFor)
	if err != nil {
		return err
	}
	planner, err := spent(g.planner, costFor)
	if err != nil {
		return err
	}
	_ = g.node.Process.Signal(syscall.SIGTERM)
	_ = g.node.Wait()
	watching, err := g.part("node", "scaled", "node", "--watch-only")
	if err != nil {
		return err
	}
	g.node = watching
	if err := until(30*time.Second, "the monitor", func() (bool, error) { return answers("http://127.0.0.1:9654/v1/sample") }); err != nil {
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
	before, err := ticks(cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	time.Sleep(d)
	after, err := ticks(cmd.Process.Pid)
	return (after - before) * 1000 / time.Since(began).Seconds(), err
}

// ticks is the processor time of a process in seconds: fields 14 and 15 of its stat, in hundredths.
func ticks(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100, err
}
