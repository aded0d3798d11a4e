package timetable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"svckit/lib/fleet"
)

func (p *proc) Make(ctx context.Context, s Service, run string) (Made, error) {
	p.w.mu.Lock()
	d := time.Duration(p.w.dice.Int64N(int64(3 * time.Second)))
	p.w.mu.Unlock()
	if !pause(ctx, d) {
		return Made{}, ctx.Err()
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return Made{}, errors.New("killed")
	}
	if p.n.broken != nil {
		return Made{}, p.n.broken
	}
	p.w.count++
	c := &fakeContainer{id: fmt.Sprint("c", p.w.count), run: run, state: fleet.Created, ended: make(chan struct{})}
	if r := p.w.state.Run; r != nil && r.ID == run {
		c.tick = r.Tick
	}
	c.length = time.Duration(p.w.dice.Int64N(int64(6 * time.Minute)))
	p.n.containers[c.id] = c
	return Made{ID: c.id, Release: s.Release}, nil
}

func (p *proc) Start(_ context.Context, id string) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	c := p.n.containers[id]
	if p.dead || c == nil {
		return errors.New("no such container")
	}
	if c.state != fleet.Created {
		p.w.t.Errorf("container %s is started twice", id)
	}
	for _, n := range p.w.nodes {
		for _, other := range n.containers {
			p.w.overlap = p.w.overlap || other.state == fleet.Running
		}
	}
	c.state, c.began = fleet.Running, time.Now()
	p.w.starts[c.tick.Unix()] = append(p.w.starts[c.tick.Unix()], p.n.name)
	go func() {
		time.Sleep(c.length)
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		c.finish(fleet.Exited, 0)
	}()
	return nil
}

func (c *fakeContainer) finish(s fleet.State, code int) {
	if c.state == fleet.Running {
		c.state, c.code = s, code
		close(c.ended)
	}
}

func (p *proc) Stop(_ context.Context, id string, _ bool) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if c := p.n.containers[id]; c != nil && !p.dead {
		c.finish(fleet.Exited, 143)
	}
	return nil
}

func (p *proc) Remove(_ context.Context, id string) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if c := p.n.containers[id]; c != nil && !p.dead {
		c.finish(fleet.Exited, 137)
		delete(p.n.containers, id)
	}
	return nil
}

func (p *proc) Ended(ctx context.Context, id string) (End, error) {
	p.w.mu.Lock()
	c := p.n.containers[id]
	p.w.mu.Unlock()
	if c == nil {
		return End{}, fleet.ErrNotFound
	}
	select {
	case <-ctx.Done():
		return End{}, ctx.Err()
	case <-c.ended:
		return End{Code: c.code}, nil
	}
}

func (p *proc) Lines(context.Context, string) ([]string, error) { return []string{"said"}, nil }

func (p *proc) Left(context.Context) (out []Leftover, err error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return nil, errors.New("killed")
	}
	for _, id := range slices.Sorted(maps.Keys(p.n.containers)) {
		c := p.n.containers[id]
		out = append(out, Leftover{Name: p.w.service.Name, Run: c.run, ID: id, State: c.state, Began: c.began})
	}
	return out, nil
}
