package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/moby/sys/atomicwriter"

	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/lead"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

// candidate is a planner that leads, or waits for its turn.
type candidate struct {
	who     func(ctx context.Context) (fleet.Leader, error)  // leads now
	lead    func(ctx context.Context) (*consul.Lease, error) // waits until this process leads
	planner func() *lead.Planner                             // one that knows nothing yet
	journal func(lines []byte) error
	memory  string // file of what was learned of demand; "": none
	told    func(context.Context, lead.Cycle)
	seen    *seen
	log     hclog.Logger
	now     func() time.Time
}

// cycleLimit bounds one cycle: what hangs is given up, and the next one begins anew.
const cycleLimit = 30 * time.Second

// run leads again and again until ctx ends.
func (c *candidate) run(ctx context.Context) {
	go c.watch(ctx)
	for ctx.Err() == nil {
		lease, err := c.lead(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("cannot become the leader: tried again", "error", err)
			}
			pause(ctx, 5*time.Second)
			continue
		}
		c.log.Info("leads", "epoch", lease.Epoch)
		c.seen.leads(true, lease.Epoch)
		c.lease(ctx, lease)
		c.seen.leads(false, 0)
		if err := lease.Release(context.WithoutCancel(ctx)); err != nil {
			c.log.Warn("leadership not released: it ends by itself", "error", err)
		}
	}
}

// watch notes who leads, for those who look at the page of a planner that does not.
func (c *candidate) watch(ctx context.Context) {
	for {
		leader, err := c.who(ctx)
		switch {
		case err == nil:
			c.seen.led(leader.Node)
		case errors.Is(err, fleet.ErrNotFound):
			c.seen.led("")
		}
		if !pause(ctx, scale.DefaultTick) {
			return
		}
	}
}

// lease plans for as long as the lease lasts.
func (c *candidate) lease(ctx context.Context, l *consul.Lease) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-l.Lost():
			c.log.Warn("leads no longer: nothing more is written")
			stop()
		case <-ctx.Done():
		}
	}()
	p := c.planner()
	p.Since = c.now()
	c.recall(p)
	saved := c.now()
	tick := time.NewTicker(scale.DefaultTick)
	defer tick.Stop()
	for {
		err := c.cycle(ctx, p, l)
		if errors.Is(err, consul.ErrFenced) {
			return
		}
		if c.now().Sub(saved) >= saveEach {
			saved = c.now()
			c.remember(p)
		}
		select {
		case <-ctx.Done():
			c.remember(p)
			return
		case <-tick.C:
		}
	}
}

// saveEach is how often what was learned is kept on disk.
const saveEach = 5 * time.Minute

// cycle is one look, decision and write.
func (c *candidate) cycle(ctx context.Context, p *lead.Planner, l lead.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, cycleLimit)
	defer cancel()
	began := c.now()
	cycle, err := p.Look(ctx, began)
	if err == nil {
		var lines []byte
		if lines, err = planner.Lines(cycle.Snapshot, cycle.Plan, false); err == nil && len(lines) > 0 {
			if bad := c.journal(lines); bad != nil { // a full disk must not stop scaling
				c.log.Warn("journal not written", "error", bad)
			}
		}
	}
	if err == nil {
		err = p.Write(ctx, l, cycle)
	}
	c.seen.cycled(cycle, c.now().Sub(began), err)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.log.Warn("cycle failed: what nodes were told stays", "error", err)
		}
		return err
	}
	c.told(ctx, cycle)
	return nil
}

// recall takes up what was learned of demand before, where there is something.
func (c *candidate) recall(p *lead.Planner) {
	if c.memory == "" {
		return
	}
	text, err := os.ReadFile(c.memory)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = p.Recall(text)
	}
	if err != nil {
		c.log.Warn("demand of earlier days is not known", "file", c.memory, "error", err)
	}
}

// remember keeps what was learned, whole or not at all.
func (c *candidate) remember(p *lead.Planner) {
	if c.memory == "" {
		return
	}
	text, err := p.Learned()
	if err == nil {
		err = replaceFile(c.memory, text)
	}
	if err != nil {
		c.log.Warn("what was learned of demand is not kept", "file", c.memory, "error", err)
	}
}

func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicwriter.WriteFile(path, text, 0o600)
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
